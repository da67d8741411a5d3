import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../../kernel/clock/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { createPayloadLog } from "./log.js";
import { openPayloadLog } from "./open.js";
import type { Sink } from "./queue.js";
import { readPayloadLog } from "./settings.js";
import { createTap } from "./tap.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

const TOOLS = { clock: systemClock, random: systemRandom, log: silentLogger, env: {} };

async function filesOf(more: object, ids: readonly string[], body: Uint8Array, coding?: string): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), "argosy-payloads-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const settings = readPayloadLog(JSON.stringify({ service: "s", urls: [`file://${folder}`], ...more }));
  const log = openPayloadLog(settings, TOOLS);
  for (const id of ids)
    log.begin((name) => (name === "ce-id" ? id : undefined)).request({ body, type: "application/json", coding });
  // As long as a busy machine takes for what is unpacked and written.
  await log.close(50_000);
  const names = await readdir(join(folder, "s", "predictor"));
  return names.map((name) => join(folder, "s", "predictor", name));
}

test("long ids of clients are names of files all the same, each its own", async () => {
  const ids = ["a".repeat(256), `${"a".repeat(255)}b`, "\xff".repeat(256)];
  expect(await filesOf({}, ids, Buffer.from("{}"))).toHaveLength(3);
});

test("what a batch of coded bodies becomes is bounded all together; the rest stays as it came", async () => {
  const packed = gzipSync(Buffer.alloc(36 * 2 ** 20, " "));
  const [file = ""] = await filesOf({ batchSize: 2 }, ["a", "b"], packed, "gzip");
  const records: { Bytes: string }[] = JSON.parse(await readFile(file, "utf8"));

  expect(records.map(({ Bytes }) => Buffer.from(Bytes, "base64").length > 2 ** 20)).toEqual([true, false]);
});

test("a connection that is not followed any more holds nothing that was gathered", () => {
  const sink: Sink = {
    ...{ name: "sink", concurrency: 1, batchSize: 1, batchIntervalMs: 0 },
    deliver: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  const settings = readPayloadLog(JSON.stringify({ urls: ["http://sink/"], maxBytes: 10_000 }));
  const log = createPayloadLog({ settings, sinks: [sink], ...TOOLS });
  for (let count = 0; count < 20; count++) {
    const tap = createTap(log);
    tap.fromClient(Buffer.from("POST /v1 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}"));
    tap.fromServer(Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n${"x".repeat(2000)}`));
    tap.fromClient(Buffer.from("no request\r\n\r\n"));
    tap.closed();
  }

  expect(log.budget.take(10_000)).toBe(true);
});
