import { expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import { Reevaluation } from "./reevaluation.js";

const waiting = (count: number, priority = 0, prefix = "b") =>
  Array.from({ length: count }, (_, index) => ({ key: { namespace: "demo", name: `${prefix}${index}` }, priority }));

test("a change that concerns many is spread over time, 1,000 at once and 500 a second", async () => {
  const clock = virtualClock();
  const seen: string[] = [];
  const budget = new Reevaluation(clock, ({ name }) => seen.push(name));
  budget.add(waiting(3000));
  expect(seen).toHaveLength(1000);
  await clock.advance(1000);
  expect(seen.length).toBeGreaterThanOrEqual(1475);
  expect(seen.length).toBeLessThanOrEqual(1500);
  await clock.advance(3100);
  expect(new Set(seen).size).toBe(3000);
});

test("the more clusters there are to look at, the fewer are looked at again", async () => {
  const clock = virtualClock();
  const seen: string[] = [];
  const budget = new Reevaluation(
    clock,
    ({ name }) => seen.push(name),
    () => 1000,
  );
  budget.add(waiting(3000));
  expect(seen).toHaveLength(200);
  await clock.advance(10_000);
  expect(seen.length).toBeGreaterThanOrEqual(1190);
  expect(seen.length).toBeLessThanOrEqual(1200);
});

test("who waits is noted once, and the more important go first", async () => {
  const clock = virtualClock();
  const seen: string[] = [];
  const budget = new Reevaluation(clock, ({ name }) => seen.push(name));
  budget.add(waiting(1000, 0, "first"));
  budget.add(waiting(100));
  budget.add(waiting(100));
  budget.add(waiting(1, 10, "urgent"));
  await clock.advance(60);
  expect(seen[1000]).toBe("urgent0");
  await clock.advance(1000);
  expect(seen).toHaveLength(1101);
  budget.add(waiting(600, 0, "late"));
  budget.close();
  const { length } = seen;
  await clock.advance(5000);
  expect(seen).toHaveLength(length);
});
