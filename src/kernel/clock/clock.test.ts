import { expect, test } from "vitest";
import { seededRandom, systemClock, systemRandom, virtualClock } from "./index.js";

test("a virtual clock fires in order of time, then of creation", async () => {
  const clock = virtualClock(1000);
  const seen: string[] = [];
  clock.setTimer(20, () => seen.push(`c@${clock.now()}`));
  clock.setTimer(10, () => seen.push(`a@${clock.now()}`));
  clock.setTimer(10, () => seen.push(`b@${clock.now()}`));
  clock.setTimer(15, () => seen.push("cancelled")).cancel();

  await clock.advance(30);

  expect(seen).toEqual(["a@1010", "b@1010", "c@1020"]);
  expect(clock.now()).toBe(1030);
  expect(clock.monotonicMs()).toBe(30);
});

test("promise chains and immediates settle between timers", async () => {
  const clock = virtualClock(0);
  const seen: number[] = [];
  const work = async (): Promise<void> => {
    for (let i = 0; i < 5; i += 1) {
      await clock.sleep(100);
      for (let hop = 0; hop < 20; hop += 1) await new Promise((resolve) => setImmediate(resolve));
      seen.push(clock.now());
    }
  };
  const done = work();

  expect(await clock.runUntilIdle()).toBe(500);

  await done;
  expect(seen).toEqual([100, 200, 300, 400, 500]);
});

test("runUntil stops at the condition and says when it is not reached", async () => {
  const clock = virtualClock(0);
  let ticks = 0;
  const tick = (): void => {
    ticks += 1;
    clock.setTimer(1000, tick);
  };
  tick();

  expect(await clock.runUntil(() => ticks >= 4, 60_000)).toBe(3000);
  await expect(clock.runUntil(() => ticks > 100, 10_000)).rejects.toThrow("not reached within 10000 ms");
});

test("sleep rejects with the signal's reason and drops its timer", async () => {
  const clock = virtualClock(0);
  const controller = new AbortController();
  const sleeping = clock.sleep(1000, controller.signal);

  controller.abort(new RangeError("enough"));

  await expect(sleeping).rejects.toThrow("enough");
  await expect(clock.sleep(1, controller.signal)).rejects.toThrow("enough");
  await expect(systemClock.sleep(1, controller.signal)).rejects.toThrow("enough");
  expect(clock.pendingTimers).toBe(0);
});

test("a seed fixes the whole sequence", () => {
  const draw = (seed: number): string => {
    const random = seededRandom(seed);
    return `${random.next()} ${random.int(100)} ${random.suffix(5)} ${random.uuid()}`;
  };

  expect(draw(7)).toBe(draw(7));
  expect(draw(7)).not.toBe(draw(8));
  expect(seededRandom(1).uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(systemRandom.suffix(8)).toMatch(/^[bcdfghjklmnpqrstvwxz2456789]{8}$/);
});

test("seeded numbers are uniform enough", () => {
  const random = seededRandom(42);
  const buckets = new Array<number>(10).fill(0);

  for (let i = 0; i < 10_000; i += 1) {
    const bucket = random.int(10);
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }

  for (const count of buckets) expect(Math.abs(count - 1000)).toBeLessThan(150);
});
