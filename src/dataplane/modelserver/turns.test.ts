import { expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { createTurns } from "./turns.js";

const nextImmediate = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A thread whose time passes as the test says; `rests` of the turns so far. */
function drive() {
  let now = 0;
  let idle = 0;
  let rests = 0;
  const clock = { ...systemClock, monotonicMs: () => now };
  const thread = {
    idleMs: () => idle,
    rest: (ms: number) => {
      rests++;
      now += ms;
    },
  };
  const turns = createTurns(clock, thread);
  const turn = async ({ requests, busyMs, idleMs = 0 }: Turn): Promise<boolean> => {
    const before = rests;
    now += idleMs + busyMs;
    idle += idleMs;
    for (let left = requests; left > 0; left--) turns.arrived();
    turns.end(() => undefined);
    await nextImmediate();
    return rests > before;
  };
  /** How many of so many turns ended with a rest; what they are like may follow from whether the one before did. */
  const rested = async (count: number, like: (rested: boolean) => Turn): Promise<number> => {
    let total = 0;
    let last = false;
    for (let left = count; left > 0; left--) {
      last = await turn(like(last));
      if (last) total++;
    }
    return total;
  };
  return { turn, rested };
}

interface Turn {
  readonly requests: number;
  readonly busyMs: number;
  readonly idleMs?: number;
}

/** 25,000 a second on their own schedule: 32 µs of work a request alone, 15 together; a rest and a turn bring four. */
const onSchedule = (rested: boolean): Turn =>
  rested ? { requests: 4, busyMs: 0.06 } : { requests: 1, busyMs: 0.032, idleMs: 0.008 };

test("a server that is asked seldom, or in turns that are full, never rests", async () => {
  const seldom = drive();
  const full = drive();

  expect(await seldom.rested(5000, () => ({ requests: 1, busyMs: 0.04, idleMs: 0.3 }))).toBe(0);
  expect(await full.rested(2000, () => ({ requests: 32, busyMs: 0.6 }))).toBe(0);
});

test("requests that come fast and one by one gather, after answers went out", async () => {
  const { rested } = drive();

  expect(await rested(1000, onSchedule)).toBe(0);
  expect(await rested(2000, onSchedule)).toBeGreaterThan(1900);
});

test("what was begun in a turn comes before its rest", async () => {
  const order: string[] = [];
  let now = 0;
  const turns = createTurns(
    { ...systemClock, monotonicMs: () => now },
    { idleMs: () => 0, rest: () => void order.push("rest") },
  );
  while (order.length === 0) {
    now += 0.04;
    turns.arrived();
    turns.end(() => undefined);
    await nextImmediate();
  }
  order.length = 0;
  now += 0.04;

  for (const model of ["a", "b"]) turns.end(() => void Promise.resolve().then(() => order.push(`answer of ${model}`)));
  await nextImmediate();

  expect(order).toEqual(["answer of a", "answer of b", "rest"]);
});

test("while requests gather, a turn that is full, one after a pause, and all after a silence are followed at once by the next", async () => {
  const { turn, rested } = drive();
  await rested(2000, onSchedule);

  expect(await turn({ requests: 16, busyMs: 0.3 })).toBe(false);
  expect(await turn({ requests: 5, busyMs: 0.1 })).toBe(true);
  expect(await turn({ requests: 1, busyMs: 0.04, idleMs: 2 })).toBe(false);
  expect(await turn({ requests: 1, busyMs: 0.04 })).toBe(true);
  expect(await turn({ requests: 1, busyMs: 0.04, idleMs: 200 })).toBe(false);
  expect(await rested(500, () => ({ requests: 1, busyMs: 0.04 }))).toBe(0);
});

test("callers that ask again when they are answered are not kept: rests end soon, and are tried ever more seldom", async () => {
  const { rested } = drive();
  // Four callers: a turn with all of them, whether or not there was a rest before it.
  const four = (): Turn => ({ requests: 4, busyMs: 0.3 });
  const second = 3000;

  const first = await rested(second, four);
  await rested(14 * second, four);
  const later = await rested(14 * second, four);

  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThan(second / 2);
  expect(later).toBeLessThan(2 * first);
});

test("a load that shrinks ends the gathering, one that grows lets it be judged anew", async () => {
  const shrinking = drive();
  const growing = drive();
  await shrinking.rested(2000, onSchedule);
  await growing.rested(2000, onSchedule);

  await shrinking.rested(1000, () => ({ requests: 1, busyMs: 0.04, idleMs: 0.4 }));
  await growing.rested(1000, () => ({ requests: 12, busyMs: 0.05 }));

  expect(await shrinking.rested(1000, () => ({ requests: 1, busyMs: 0.04, idleMs: 0.4 }))).toBe(0);
  expect(await growing.rested(1000, () => ({ requests: 12, busyMs: 0.2 }))).toBe(0);
});
