import { beforeEach, expect, test } from "vitest";
import { type VirtualClock, virtualClock } from "../../../kernel/clock/index.js";
import type { StoreEvent, WatchHandle } from "../types.js";
import { Snapshot } from "./snapshot.js";
import { Watchers } from "./watchers.js";

let clock: VirtualClock;
let watchers: Watchers;
let revision: number;
beforeEach(() => {
  clock = virtualClock(0);
  watchers = new Watchers(clock);
  revision = 0;
});

const pods = "/core/pods/";
function put(namespace = "a"): StoreEvent {
  revision++;
  const now = new Snapshot(`${pods}${namespace}/p${revision}`, revision, { value: {} });
  return { type: "put", now, old: undefined };
}

interface Watch {
  readonly batches: number[][];
  readonly seen: (readonly StoreEvent[])[];
  readonly handle: WatchHandle;
}
function watch(prefix = pods, isPatient = true): Watch {
  const seen: (readonly StoreEvent[])[] = [];
  const batches: number[][] = [];
  const handle = watchers.add(prefix, {
    isPatient,
    onEvents: (events) => {
      seen.push(events);
      batches.push(events.map((event) => event.now.revision));
    },
    onClose: () => undefined,
  });
  return { batches, seen, handle };
}
const crowd = (count: number, prefix = pods): Watch[] => Array.from({ length: count }, () => watch(prefix));

const roundEnds = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a few watchers get each event by itself", () => {
  const few = crowd(32);
  for (let count = 0; count < 3; count++) watchers.deliver([put()]);

  for (const { batches } of few) expect(batches).toEqual([[1], [2], [3]]);
});

test("a crowd gets the first event at once and the next ones together; the impatient get each", async () => {
  const many = crowd(100);
  const prompt = watch(pods, false);
  watchers.deliver([put()]);
  watchers.deliver([put()]);
  watchers.deliver([put(), put()]);
  expect(many[99]?.batches).toEqual([[1]]);
  await roundEnds();
  await clock.advance(5);

  for (const { batches } of many) expect(batches).toEqual([[1], [2, 3, 4]]);
  expect(prompt.batches).toEqual([[1], [2], [3, 4]]);
  await clock.advance(1000);
  watchers.deliver([put()]);
  expect(many[0]?.batches).toEqual([[1], [2, 3, 4], [5]]);
});

test.each([
  [3, 3],
  [10_000, 4],
])("after a round of %i ms for a hundred the next one waits %i ms", async (tookMs, pauseMs) => {
  let spentMs = 0;
  watchers = new Watchers({ ...clock, monotonicMs: () => clock.monotonicMs() + spentMs });
  const [one] = crowd(100);
  const onEvents = (): void => {
    spentMs += tookMs;
  };
  watchers.add(pods, { isPatient: true, onEvents, onClose: () => undefined });
  watchers.deliver([put()]);
  await roundEnds();
  watchers.deliver([put()]);
  await clock.advance(pauseMs - 1);
  expect(one?.batches).toEqual([[1]]);
  await clock.advance(2);

  expect(one?.batches).toEqual([[1], [2]]);
});

test("whoever joins gets nothing from before; whoever catches up has everything, and nothing twice", async () => {
  const [one] = crowd(100);
  watchers.deliver([put()]);
  watchers.deliver([put()]);
  const late = watch();
  watchers.deliver([put()]);
  one?.handle.catchUp();
  expect(one?.batches).toEqual([[1], [2], [3]]);
  await roundEnds();
  await clock.advance(1000);

  expect(one?.batches).toEqual([[1], [2], [3]]);
  expect(late.batches).toEqual([[3]]);
});

test("watchers of one namespace share one batch of what concerns them", () => {
  const all = watch();
  const [first, second] = crowd(2, `${pods}b/`);
  const other = watch(`${pods}c/`);
  watchers.deliver([put("a"), put("b"), put("b")]);

  expect(all.batches).toEqual([[1, 2, 3]]);
  expect(first?.batches).toEqual([[2, 3]]);
  expect(second?.seen[0]).toBe(first?.seen[0]);
  expect(other.batches).toEqual([]);
});
