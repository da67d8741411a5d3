import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { JournalError } from "../journal/errors.js";
import { type LogJournalOptions, logJournal } from "../journal/log.js";
import { memoryJournal } from "../journal/memory.js";
import type { Journal } from "../journal/types.js";
import type { StoreEvent } from "../types.js";
import { openStore } from "./index.js";

const start = Date.UTC(2026, 0, 1);
const key = (name: string, namespace = "ns", plural = "configmaps"): string => `//${plural}/${namespace}/${name}`;
const prefix = "//configmaps/";
const object = (name: string, value = ""): JsonObject => ({ kind: "ConfigMap", metadata: { name }, data: { value } });
const names = (items: readonly { key: string }[]): string[] => items.map((item) => item.key.split("/").at(-1) ?? "");
const codeOf = async (work: () => unknown): Promise<number> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof ApiError) return error.httpCode;
    throw error;
  }
  return 200;
};
const eventsOf = (events: readonly StoreEvent[]): string[] =>
  events.map((event) => `${event.type} ${event.now.key.split("/").at(-1)} ${event.now.revision}`);

const folders: string[] = [];
const newFile = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-store-"));
  folders.push(folder);
  return join(folder, "journal");
};
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

test("writes of one turn share a commit and are seen only when it is durable", async () => {
  const commits: number[] = [];
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  const journal: Journal = {
    ...memoryJournal(),
    append: async (entries) => {
      commits.push(entries.length);
      await gate;
    },
  };
  const store = openStore({ journal, clock: virtualClock(start) });
  const writes = ["a", "b", "c"].map((name) => store.create(key(name), object(name)));
  await new Promise((resolve) => setImmediate(resolve));

  const before = store.get(key("a"));
  release();
  const stored = await Promise.all(writes);

  expect(before).toBeUndefined();
  expect(commits).toEqual([3]);
  expect(stored.map((item) => item.revision)).toEqual([1, 2, 3]);
  expect(names(store.list(prefix).items)).toEqual(["a", "b", "c"]);
  expect(JSON.parse(Buffer.from(stored[1]?.bytes ?? []).toString())).toMatchObject({
    metadata: { resourceVersion: "2" },
  });
});

test("of two writes on one state one wins, and the loser sees the winner's", async () => {
  const store = openStore({ journal: memoryJournal(), clock: virtualClock(start) });
  const { revision } = await store.create(key("a"), object("a"));

  const results = await Promise.all([
    codeOf(() => store.update(key("a"), revision, object("a", "one"))),
    codeOf(() => store.update(key("a"), revision, object("a", "two"))),
    codeOf(() => store.create(key("a"), object("a"))),
    codeOf(() => store.delete(key("b"), 1)),
  ]);

  expect(results).toEqual([200, 409, 409, 404]);
  expect(store.get(key("a"))?.value["data"]).toEqual({ value: "one" });
});

test("pages are of one moment, however much is written meanwhile", async () => {
  const store = openStore({ journal: memoryJournal(), clock: virtualClock(start) });
  for (const name of ["a", "b", "c", "d"]) await store.create(key(name), object(name));
  const first = store.list(prefix, { limit: 2 });

  await store.delete(key("c"), 3);
  await store.create(key("bb"), object("bb"));
  await store.update(key("d"), 4, object("d", "changed"));
  const second = store.list(prefix, { at: first.revision, after: key("b"), limit: 2 });

  expect([first.more, first.remaining]).toEqual([true, 2]);
  expect(names(second.items)).toEqual(["c", "d"]);
  expect(second.items[1]?.value["data"]).toEqual({ value: "" });
  expect(second.more).toBe(false);
  expect(names(store.list(prefix).items)).toEqual(["a", "b", "bb", "d"]);
});

test("a watch gets what it missed and then what happens, of its prefix only", async () => {
  const store = openStore({ journal: memoryJournal(), clock: virtualClock(start) });
  const one = await store.create(key("a"), object("a"));
  await store.create(key("s", "ns", "secrets"), object("s"));
  await store.update(key("a"), one.revision, object("a", "x"));
  const seen: string[] = [];
  const single: string[] = [];
  store.watch(prefix, one.revision, {
    onEvents: (events) => seen.push(...eventsOf(events)),
    onClose: () => seen.push("closed"),
  });
  const watch = store.watch(key("b"), store.revision, {
    onEvents: (events) => single.push(...eventsOf(events)),
    onClose: () => undefined,
  });

  await store.delete(key("a"), 3);
  await store.create(key("b"), object("b"));
  watch.close();
  await store.delete(key("b"), 5);
  await store.close();

  expect(seen).toEqual(["put a 3", "delete a 4", "put b 5", "delete b 6", "closed"]);
  expect(single).toEqual(["put b 5"]);
});

test("the past is kept for a while, and then answers 410", async () => {
  const clock = virtualClock(start);
  const store = openStore({
    journal: memoryJournal(),
    clock,
    retention: { ageMs: 1000, revisions: 100, bytes: 1 << 20 },
  });
  await store.create(key("a"), object("a"));
  await store.update(key("a"), 1, object("a", "2"));
  expect(names(store.list(prefix, { at: 1 }).items)).toEqual(["a"]);

  await clock.advance(2000);
  await store.create(key("b"), object("b"));

  expect(await codeOf(() => store.list(prefix, { at: 1 }))).toBe(410);
  expect(await codeOf(() => store.watch(prefix, 1, { onEvents: () => undefined, onClose: () => undefined }))).toBe(410);
  expect(names(store.list(prefix, { at: 2 }).items)).toEqual(["a"]);
});

test("a full disk fails the writes of that commit, loses nothing and heals", async () => {
  let isFull = false;
  const kept: number[] = [];
  const journal: Journal = {
    ...memoryJournal(),
    append: (entries) => {
      if (isFull) return Promise.reject(new JournalError("DiskFull", "journal/1.log: the disk is full"));
      kept.push(...entries.map((entry) => entry.revision));
      return Promise.resolve();
    },
  };
  const store = openStore({ journal, clock: virtualClock(start) });
  await store.create(key("a"), object("a"));

  isFull = true;
  const refused = await Promise.all(["b", "c"].map((name) => codeOf(() => store.create(key(name), object(name)))));
  isFull = false;
  const after = await store.create(key("b"), object("b"));

  expect(refused).toEqual([507, 507]);
  expect(names(store.list(prefix).items)).toEqual(["a", "b"]);
  expect(kept).toEqual([1, after.revision]);
});

describe("over a log on the disk", () => {
  const open = (file: string, options?: LogJournalOptions) =>
    openStore({ journal: logJournal(file, options), clock: virtualClock(start) });
  // Every few commits a new segment, and as little of the past as can be.
  const small: LogJournalOptions = { segmentBytes: 400, slackBytes: 1000 };

  test("state and history survive a restart: watches resume where they were", async () => {
    const file = newFile();
    const first = open(file);
    await first.create(key("a"), object("a"));
    await first.create(key("b"), object("b"));
    await first.update(key("a"), 1, object("a", "2"));
    await first.delete(key("b"), 2);
    await first.close();

    const second = open(file);
    const missed: string[] = [];
    second.watch(prefix, 1, { onEvents: (events) => missed.push(...eventsOf(events)), onClose: () => undefined });

    expect(second.revision).toBe(4);
    expect(names(second.list(prefix).items)).toEqual(["a"]);
    expect(missed).toEqual(["put b 2", "put a 3", "delete b 4"]);
    expect(names(second.list(prefix, { at: 2 }).items)).toEqual(["a", "b"]);
    expect((await second.create(key("c"), object("c"))).revision).toBe(5);
    await second.close();
  });

  test("what nobody can ask for any more leaves the disk, and stays gone", async () => {
    const file = newFile();
    const first = open(file, small);
    await first.create(key("kept"), object("kept"));
    await first.create(key("gone"), object("gone"));
    await first.delete(key("gone"), 2);
    await first.create(key("a"), object("a"));
    for (let revision = 4; revision < 200; revision++) {
      await first.update(key("a"), revision, object("a", String(revision)));
      first.compact();
    }
    await first.close();
    const bytes = readdirSync(file).reduce((sum, name) => sum + statSync(join(file, name)).size, 0);

    const journal = logJournal(file, small);
    const { compacted, entries } = journal.load();
    const live = new Map([...entries].map((entry) => [entry.key, entry.revision]));
    await journal.close();

    expect(compacted).toBeGreaterThan(190);
    expect(live.get(key("kept"))).toBe(1);
    expect(live.get(key("a"))).toBe(200);
    expect(live.has(key("gone"))).toBe(false);
    expect(bytes).toBeLessThan(4000);
  });

  interface Run {
    store: ReturnType<typeof open>;
    readonly file: string;
    readonly model: Map<string, { revision: number; value: string }>;
    /** What the store held at each revision; below `floor` it has forgotten. */
    readonly past: string[];
    floor: number;
    readonly options: LogJournalOptions | undefined;
  }
  interface Command {
    readonly what: string;
    readonly name: string;
    readonly value: string;
  }

  const steps: Readonly<Record<string, (run: Run, command: Command) => Promise<void> | void>> = {
    async create({ store, model }, { name, value }) {
      if (model.has(name)) return;
      const { revision } = await store.create(key(name), object(name, value));
      model.set(name, { revision, value });
    },
    async update({ store, model }, { name, value }) {
      const known = model.get(name);
      if (known === undefined) return;
      const { revision } = await store.update(key(name), known.revision, object(name, value));
      model.set(name, { revision, value });
    },
    async delete({ store, model }, { name }) {
      const known = model.get(name);
      if (known === undefined) return;
      await store.delete(key(name), known.revision);
      model.delete(name);
    },
    compact(run) {
      run.store.compact();
      run.floor = run.store.revision;
    },
    async restart(run) {
      await run.store.close();
      run.store = open(run.file, run.options);
    },
  };
  const picture = (state: ReadonlyMap<string, { value: string }>): string =>
    [...state]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { value }]) => `${name}=${value}`)
      .join();
  const listed = ({ store }: Run, at: number): string =>
    store
      .list(prefix, { at })
      .items.map((item) => `${names([item])[0]}=${(item.value["data"] as JsonObject)["value"] as string}`)
      .join();

  /** The state at a revision as the store shows it; the expected one where it may have forgotten, and says so. */
  const seenAt = (run: Run, at: number, expected: string): string => {
    if (at < run.floor) return expected;
    try {
      return listed(run, at);
    } catch (error) {
      const mayForget = run.options !== undefined && at < run.store.revision;
      if (mayForget && error instanceof ApiError && error.httpCode === 410) return expected;
      throw error;
    }
  };

  test.each([
    ["with room for the past", undefined],
    ["with small segments", small],
  ])(
    "behaves as a plain map with versions, across compactions and restarts, %s",
    { timeout: 60_000 },
    async (_, options) => {
      const command = fc.record({
        what: fc.constantFrom(...Object.keys(steps)),
        name: fc.constantFrom("a", "b", "c"),
        value: fc.string({ maxLength: 5 }),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(command, { maxLength: 60 }), async (commands) => {
          const file = newFile();
          const run: Run = { store: open(file, options), file, model: new Map(), past: [""], floor: 0, options };
          for (const each of commands) {
            await steps[each.what]?.(run, each);
            run.past[run.store.revision] ??= picture(run.model);
          }
          await steps["restart"]?.(run, { what: "restart", name: "", value: "" });
          const seen = run.past.map((expected, at) => seenAt(run, at, expected));
          await run.store.close();
          expect(seen).toEqual(run.past);
        }),
        { numRuns: 40 },
      );
    },
  );
});
