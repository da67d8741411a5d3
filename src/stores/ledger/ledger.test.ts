import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type VirtualClock, virtualClock } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { openSqliteRecords, type Records } from "../records/index.js";
import { type Decision, type Ledger, memoryLedger, openLedger, type RecordsLedgerOptions } from "./index.js";

const start = Date.parse("2026-01-01T00:00:00Z");
const directories: string[] = [];
afterAll(async () => {
  for (const directory of directories) await rm(directory, { recursive: true });
});

async function records(clock: VirtualClock, file?: string): Promise<{ records: Records; file: string }> {
  const directory = await mkdtemp(path.join(tmpdir(), "argosy-ledger-"));
  directories.push(directory);
  const where = file ?? path.join(directory, "records.db");
  return { records: openSqliteRecords({ file: where, clock }), file: where };
}

async function sqlLedger(clock: VirtualClock, options: Partial<RecordsLedgerOptions> = {}): Promise<Ledger> {
  return openLedger({ records: (await records(clock)).records, clock, log: silentLogger, ...options });
}

const decision = (name: string, outcome: string, topic = "placement"): Decision => ({
  cluster: "hub",
  about: { apiVersion: "v1", kind: "Pod", namespace: "default", name },
  topic,
  rule: "most free memory",
  inputs: { a: 1, b: [1, { c: 2 }] },
  outcome,
  winners: [{ name: "node-1", reason: "it has room", score: 2 }],
  losers: [{ name: "node-2", reason: "full" }],
});

describe.each([
  ["memory", async (clock: VirtualClock) => memoryLedger({ clock })],
  ["records", (clock: VirtualClock) => sqlLedger(clock)],
] as const)("%s ledger", (_, make) => {
  test("returns decisions newest first, by what they are about", async () => {
    const clock = virtualClock(start);
    const ledger = await make(clock);
    ledger.record(decision("a", "on node-1"));
    await clock.advance(1500);
    ledger.record(decision("b", "on node-1"));
    ledger.record(decision("a", "weight 30", "weight"));

    const all = await ledger.query({});
    const ofA = await ledger.query({ kind: "Pod", namespace: "default", name: "a" });

    expect(all.map((d) => [d.about.name, d.topic])).toEqual([
      ["a", "weight"],
      ["b", "placement"],
      ["a", "placement"],
    ]);
    expect(ofA).toHaveLength(2);
    expect(ofA[1]).toEqual({ ...decision("a", "on node-1"), id: ofA[1]?.id, time: "2026-01-01T00:00:00.000Z" });
    expect(await ledger.query({ topic: "weight", cluster: "hub" })).toHaveLength(1);
    expect(await ledger.query({ cluster: "edge" })).toEqual([]);
    expect(await ledger.query({ limit: 1 })).toHaveLength(1);
    await ledger.close();
  });

  test("does not repeat an equal decision, but records a change and a change back", async () => {
    const clock = virtualClock(start);
    const ledger = await make(clock);
    ledger.record(decision("a", "x"));
    ledger.record({ ...decision("a", "x"), inputs: { b: [1, { c: 2 }], a: 1 } });
    ledger.record(decision("a", "y"));
    ledger.record(decision("a", "x"));

    expect((await ledger.query({})).map((d) => d.outcome)).toEqual(["x", "y", "x"]);
    await ledger.close();
  });
});

test("writes after a while by itself, and knows after a restart what it said last", async () => {
  const clock = virtualClock(start);
  const first = await records(clock);
  const ledger = await openLedger({ records: first.records, clock, log: silentLogger });
  ledger.record(decision("a", "x"));
  await ledger.close();
  await first.records.close();

  const second = await records(clock, first.file);
  const again = await openLedger({ records: second.records, clock, log: silentLogger });
  again.record(decision("a", "x"));
  again.record(decision("a", "y"));

  expect((await again.query({})).map((d) => [d.id, d.outcome])).toEqual([
    [2, "y"],
    [1, "x"],
  ]);
});

test("drops what is too old or too many, and counts what its buffer cannot hold", async () => {
  const clock = virtualClock(start);
  const { records: store } = await records(clock);
  const open = () =>
    openLedger({ records: store, clock, log: silentLogger, retentionMs: 1000, maxDecisions: 3, bufferSize: 5 });
  const ledger = await open();
  ledger.record(decision("old", "x"));
  await ledger.flush();
  await clock.advance(5000);

  const later = await open();
  for (let i = 0; i < 7; i++) later.record(decision(`p${i}`, "x"));

  expect((await later.query({})).map((d) => d.about.name)).toEqual(["p4", "p3", "p2"]);
  expect(later.lost).toBe(2);
});

test("what cannot be written down costs a line, not the controller that decided it", async () => {
  const clock = virtualClock(start);
  const ledger = await openLedger({ records: (await records(clock)).records, clock, log: silentLogger });
  const cycle: Decision["inputs"] = {};
  cycle["self"] = cycle;

  ledger.record({ ...decision("a", "x"), inputs: cycle });

  expect(ledger.lost).toBe(1);
  await ledger.close();
});

test("a store that fails costs lines, not the program", async () => {
  const clock = virtualClock(start);
  const { records: store } = await records(clock);
  const ledger = await openLedger({ records: store, clock, log: silentLogger });
  await store.close();

  ledger.record(decision("a", "x"));
  await ledger.flush();

  expect(ledger.lost).toBe(1);
});

test("where many decisions come, the next ones wait longer and are written together", async () => {
  const clock = virtualClock(start);
  const { records: own } = await records(clock);
  const ledger = await openLedger({ records: own, clock, log: silentLogger, flushMs: 100 });
  // Another one, which has nothing to write itself when it is asked.
  const reader = await openLedger({ records: own, clock, log: silentLogger });
  const fence = await own.tables("fence", []);
  const writtenAfter = async (ms: number): Promise<number> => {
    await clock.advance(ms);
    await fence.write(async () => undefined);
    return (await reader.query({ limit: 100 })).length;
  };

  for (let index = 0; index < 20; index++) ledger.record(decision(`first-${index}`, "on node-1"));
  const counts = [await writtenAfter(100)];
  ledger.record(decision("second", "on node-1"));
  counts.push(await writtenAfter(400), await writtenAfter(100));
  ledger.record(decision("third", "on node-1"));
  counts.push(await writtenAfter(100));

  expect(counts).toEqual([20, 20, 21, 22]);
  await ledger.close();
});
