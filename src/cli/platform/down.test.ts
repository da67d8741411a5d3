import { expect, test } from "vitest";
import { virtualClock } from "../../kernel/clock/index.js";
import { ended } from "./down.js";

test("a process that takes its time to end is waited for, with a word now and then; one that never ends is not", async () => {
  const clock = virtualClock(0);
  const notes: number[] = [];
  const slow = ended(
    () => clock.monotonicMs() >= 100_000,
    clock,
    (waitedMs) => notes.push(waitedMs),
  );
  await clock.runUntilIdle();
  expect(await slow).toBe(true);
  expect(notes).toEqual([15_000, 30_000, 45_000, 60_000, 75_000, 90_000]);
  const never = ended(
    () => false,
    clock,
    () => {},
  );
  await clock.runUntilIdle();
  expect(await never).toBe(false);
});
