import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { ApiClient } from "../../src/kernel/client/types.js";
import { type Random, seededRandom, systemClock } from "../../src/kernel/clock/index.js";
import { ApiError } from "../../src/kernel/errors/index.js";
import { type ConfigMap, ConfigMapKind } from "../../src/kernel/kinds/index.js";
import { Killable } from "../support/killable.js";
import { type Executed, execute, goTool, testWith } from "./support.js";

/** As the checker reads it (`porcupine/main.go`). */
interface Operation {
  readonly client: number;
  readonly key: string;
  readonly op: "get" | "create" | "update" | "delete";
  readonly expect: number;
  readonly value: number;
  readonly result: "ok" | "refused" | "unknown";
  readonly call: number;
  readonly return: number;
}

const namespace = "default";
const keys = ["a", "b", "c", "d"];
const clients = 8;
const rounds = 5;
/** More of them: `ARGOSY_HISTORIES=100 npx vitest run tests/clients/linearizability.test.ts`. */
const histories = Number(process.env["ARGOSY_HISTORIES"] ?? 1);
const porcupine = goTool("porcupine");
let lastValue = 0;

/** What a client knows of a key, by its last read. */
interface Known {
  readonly value: number;
  readonly object: ConfigMap | undefined;
}

type Outcome = Pick<Operation, "op" | "expect" | "value" | "result">;

async function read(client: ApiClient, key: string): Promise<Known> {
  const found = await client.resource(ConfigMapKind).find(key, { namespace });
  return { value: Number(found?.data?.["value"] ?? 0), object: found };
}

/** A write that depends on what was read before, which may be old by now. */
async function write(client: ApiClient, key: string, known: Known, random: Random): Promise<Outcome> {
  const maps = client.resource(ConfigMapKind);
  const { object } = known;
  const value = ++lastValue;
  const data = { value: String(value) };
  const op = object === undefined ? "create" : random.int(4) === 0 ? "delete" : "update";
  const told = { op, expect: known.value, value } as const;
  try {
    if (object === undefined)
      await maps.create({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: key }, data }, { namespace });
    else if (op === "update") await maps.update({ ...object, data }, { namespace });
    else {
      const { resourceVersion } = object.metadata;
      await client.json("DELETE", `/api/v1/namespaces/${namespace}/configmaps/${key}`, {
        preconditions: { resourceVersion },
      });
    }
    return { ...told, result: "ok" };
  } catch (error) {
    const isRefused = error instanceof ApiError && (error.httpCode === 409 || error.httpCode === 404);
    return { ...told, result: isRefused ? "refused" : "unknown" };
  }
}

/** Reads and writes of one client until the server is gone. */
async function act(
  client: ApiClient,
  number: number,
  random: Random,
  note: (operation: Operation) => void,
): Promise<void> {
  const now = (): number => Math.round(systemClock.monotonicMs() * 1e6);
  for (;;) {
    const key = keys[random.int(keys.length)] ?? "a";
    let call = now();
    const known = await read(client, key);
    note({ client: number, key, op: "get", expect: 0, value: known.value, result: "ok", call, return: now() });
    call = now();
    const outcome = await write(client, key, known, random);
    note({ client: number, key, ...outcome, call, return: now() });
    // Nobody waits for the answer of this one: whoever goes on is another client.
    if (outcome.result === "unknown") return;
  }
}

async function check(program: string, history: readonly Operation[]): Promise<Executed> {
  const folder = mkdtempSync(join(tmpdir(), "argosy-history-"));
  try {
    const file = join(folder, "history.jsonl");
    writeFileSync(file, history.map((operation) => `${JSON.stringify(operation)}\n`).join(""));
    return await execute("sh", ["-c", '"$0" < "$1"', program, file]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What clients of a server that is killed again and again did, and were told. */
async function recordHistory(seed: number): Promise<Operation[]> {
  const directory = mkdtempSync(join(tmpdir(), "argosy-history-"));
  const server = new Killable(directory);
  const random = seededRandom(seed);
  const history: Operation[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      await server.start();
      const client = server.client();
      const acting = Array.from({ length: clients }, (_, index) =>
        act(client, round * clients + index, random, (operation) => history.push(operation)).catch(() => undefined),
      );
      const enough = history.length + 200 + random.int(200);
      const end = systemClock.monotonicMs() + 10_000;
      while (history.length < enough && systemClock.monotonicMs() < end) await systemClock.sleep(1);
      await server.kill();
      await Promise.all(acting);
      await client.close();
    }
    return history;
  } finally {
    await server.kill();
    rmSync(directory, { recursive: true, force: true });
  }
}

const title = "histories of concurrent clients are linearizable, over kills of the server";
const checkAll = async (folder: string): Promise<void> => {
  for (let seed = 7; seed < 7 + histories; seed++) {
    const history = await recordHistory(seed);

    const { code, stdout } = await check(join(folder, "porcupine"), history);

    expect(stdout, `history ${seed}`).toMatch(/^linearizable: \d+ operations/);
    expect(code).toBe(0);
    expect(history.length).toBeGreaterThan(200);
  }
};
testWith(porcupine, title, checkAll, 900_000 + histories * 60_000);
