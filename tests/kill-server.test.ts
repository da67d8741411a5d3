import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { ApiClient } from "../src/kernel/client/types.js";
import { seededRandom, systemClock } from "../src/kernel/clock/index.js";
import { isExpired } from "../src/kernel/errors/index.js";
import { type ConfigMap, ConfigMapKind } from "../src/kernel/kinds/index.js";
import { isKillableBuilt, Killable } from "./support/killable.js";

/** A thousand for a long night: `ARGOSY_KILL_ROUNDS=1000 npx vitest run tests/kill-server.test.ts`; `ARGOSY_KILL_SEED` for another one. */
const rounds = Number(process.env["ARGOSY_KILL_ROUNDS"] ?? 6);
const seed = Number(process.env["ARGOSY_KILL_SEED"] ?? 20_261_122);
const writers = ["a", "b", "c", "d", "e", "f"];
const namespace = "default";

const countIn = (object: ConfigMap | undefined): number => Number(object?.data?.["count"] ?? 0);

/** What one writer was told, and what it may have done besides. */
interface Told {
  acknowledged: number;
  attempted: number;
}

/** Counts its object up until the server is gone; every seventh step is a deletion, after which it begins anew. */
async function write(client: ApiClient, name: string, told: Told, isOver: () => boolean): Promise<void> {
  const maps = client.resource(ConfigMapKind);
  while (!isOver()) {
    const next = told.acknowledged + 1;
    told.attempted = next;
    const now = await maps.find(name, { namespace });
    const data = { count: String(next), filler: "x".repeat(600) };
    if (next % 7 === 0 && now !== undefined) await maps.delete(name, { namespace });
    else if (now === undefined)
      await maps.create({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data }, { namespace });
    else await maps.update({ ...now, data }, { namespace });
    told.acknowledged = next;
  }
}

/** What a watch saw of each object, over all its lives. */
class Observer {
  readonly counts = new Map<string, number[]>();
  expired = 0;
  #version: string;

  constructor(version: string) {
    this.#version = version;
  }

  /** Watches from where it stopped until the connection breaks, or is told to stop. */
  async watch(client: ApiClient, signal?: AbortSignal): Promise<void> {
    try {
      for await (const { type, object } of client
        .resource(ConfigMapKind)
        .watch({ namespace, resourceVersion: this.#version, ...(signal === undefined ? {} : { signal }) })) {
        this.#version = object.metadata.resourceVersion ?? this.#version;
        const { name } = object.metadata;
        if (type === "BOOKMARK" || !writers.includes(name)) continue;
        const seen = this.counts.get(name) ?? [];
        // A deletion is the step after the last count.
        seen.push(type === "DELETED" ? countIn(object) + 1 : countIn(object));
        this.counts.set(name, seen);
      }
    } catch (error) {
      if (isExpired(error)) this.expired++;
    }
  }

  /** Watches until it has seen a write that is made now. */
  async catchUp(client: ApiClient, round: number): Promise<void> {
    const { metadata } = await client
      .resource(ConfigMapKind)
      .create({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: `mark-${round}` } }, { namespace });
    const end = systemClock.monotonicMs() + 20_000;
    const stop = new AbortController();
    const watching = this.watch(client, stop.signal);
    while (this.#version !== metadata.resourceVersion && systemClock.monotonicMs() < end) await systemClock.sleep(10);
    stop.abort();
    await watching;
  }
}

const total = (told: ReadonlyMap<string, Told>): number =>
  [...told.values()].reduce((sum, { acknowledged }) => sum + acknowledged, 0);

async function acknowledgedBeyond(count: number, told: ReadonlyMap<string, Told>): Promise<void> {
  const end = systemClock.monotonicMs() + 10_000;
  while (total(told) < count && systemClock.monotonicMs() < end) await systemClock.sleep(1);
}

test(`kill -9 under load, ${rounds} rounds: no acknowledged write is lost, watches go on without a gap`, {
  timeout: 60_000 + rounds * 30_000,
}, async ({ skip }) => {
  skip(!isKillableBuilt(), "the program is not built: npm run build");
  const directory = mkdtempSync(join(tmpdir(), "argosy-kill-"));
  const server = new Killable(directory);
  const random = seededRandom(seed);
  const told = new Map<string, Told>(writers.map((name) => [name, { acknowledged: 0, attempted: 0 }]));
  let observer = new Observer("1");
  const faults: string[] = [];
  // Long runs may be stopped before their end: what was seen until then is said.
  const fault = (what: string): void => {
    faults.push(what);
    process.stderr.write(`${what}\n`);
  };
  try {
    for (let round = 1; round <= rounds; round++) {
      await server.start();
      const client = server.client();
      if (round === 1) {
        const { resourceVersion } = await client.resource(ConfigMapKind).list({ namespace });
        observer = new Observer(resourceVersion);
      }
      let isOver = false;
      const watching = observer.watch(client);
      const writing = writers.map((name) =>
        write(client, name, told.get(name) ?? { acknowledged: 0, attempted: 0 }, () => isOver).catch(() => undefined),
      );
      await acknowledgedBeyond(total(told) + 10 + random.int(80), told);
      await systemClock.sleep(random.int(20));
      await server.kill();
      isOver = true;
      await Promise.all(writing);
      await client.close();
      await watching;

      await server.start();
      const after = server.client();
      const { items } = await after.resource(ConfigMapKind).list({ namespace });
      for (const [name, { acknowledged, attempted }] of told) {
        const found = items.find(({ metadata }) => metadata.name === name);
        const possible = [acknowledged, attempted].map((count) => (count % 7 === 0 ? 0 : count));
        if (!possible.includes(countIn(found)))
          fault(`round ${round}: ${name} holds ${countIn(found)}, acknowledged ${acknowledged}`);
      }
      await observer.catchUp(after, round);
      for (const [name, known] of told) {
        // What was done and never acknowledged counts too.
        const last = observer.counts.get(name)?.at(-1) ?? 0;
        if (last < known.acknowledged)
          fault(`round ${round}: the watch saw ${name} at ${last} of ${known.acknowledged}`);
        known.acknowledged = Math.max(last, known.acknowledged);
      }
      await after.close();
      await server.kill();
      if (round % 100 === 0) process.stderr.write(`${round} rounds, ${faults.length} faults\n`);
    }
  } finally {
    await server.kill();
    rmSync(directory, { recursive: true, force: true });
  }

  for (const [name, counts] of observer.counts) {
    const gap = counts.findIndex((count, index) => index > 0 && count !== (counts[index - 1] ?? 0) + 1);
    if (gap >= 0) fault(`the watch of ${name} jumps from ${counts[gap - 1]} to ${counts[gap]}`);
  }
  expect(faults).toEqual([]);
  expect(observer.expired).toBe(0);
  expect(total(told)).toBeGreaterThan(rounds * 5);
});
