import { expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import { Waiting } from "./waiting.js";

function start() {
  const clock = virtualClock();
  const cuts: string[] = [];
  const waiting = new Waiting(clock, { limitMs: 60_000, maxBytes: 100 });
  return { clock, cuts, waiting, begin: (name: string, bytes?: number) => waiting.begin(() => cuts.push(name), bytes) };
}

test("whoever takes too long is cut off, whoever finishes is not", async () => {
  const { clock, cuts, waiting, begin } = start();
  begin("slow");
  await clock.advance(30_000);
  const quick = begin("quick");
  begin("later");
  waiting.end(quick);
  await clock.advance(40_000);
  expect(cuts).toEqual(["slow"]);
  await clock.advance(30_000);
  expect(cuts).toEqual(["slow", "later"]);
  await clock.advance(10_000);
  expect(clock.pendingTimers).toBe(0);
});

test("when all hold too much together, the oldest that holds anything goes first", () => {
  const { cuts, waiting, begin } = start();
  begin("empty");
  const first = begin("first");
  const second = begin("second");
  waiting.grow(first, 60);
  waiting.grow(second, 40);
  expect(cuts).toEqual([]);
  waiting.grow(second, 1);
  expect(cuts).toEqual(["first"]);
  waiting.grow(first, 1000);
  begin("answer", 50);
  expect(cuts).toEqual(["first"]);
  begin("another", 50);
  expect(cuts).toEqual(["first", "second"]);
});
