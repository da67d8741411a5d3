import { expect, test } from "vitest";
import { virtualClock } from "../../kernel/clock/index.js";
import { type Check, waitUntil } from "./wait.js";

/** Answers that come one after the other, the last for ever. */
function answers(...given: (string | number)[]): () => Promise<Check<number>> {
  let next = 0;
  return async () => {
    const answer = given[Math.min(next++, given.length - 1)] ?? 0;
    return typeof answer === "number" ? { done: answer } : { waitingFor: answer };
  };
}

test("it ends with the value once it is there, and says meanwhile what is missing", async () => {
  const clock = virtualClock();
  const details: string[] = [];
  const waiting = { timeoutMs: 5000, detail: (text: string) => details.push(text) };

  const result = waitUntil(clock, waiting, answers("pods", "pods", "an answer", 7));
  const passedMs = await clock.runUntilIdle();

  expect(await result).toBe(7);
  expect(details).toEqual(["pods", "pods", "an answer"]);
  expect(passedMs).toBe(300);
});

test("what breaks off while it must hold starts to hold anew", async () => {
  const clock = virtualClock();
  const waiting = { timeoutMs: 5000, holdMs: 300, detail: () => undefined };

  const result = waitUntil(clock, waiting, answers(1, 2, "it broke off", 3));
  const passedMs = await clock.runUntilIdle();

  expect(await result).toBe(3);
  expect(passedMs).toBe(600);
});

test("after the time allowed it fails with what was last missing", async () => {
  const clock = virtualClock();
  const waiting = { timeoutMs: 2000, everyMs: 500, detail: () => undefined };

  const failed = expect(waitUntil(clock, waiting, answers("pods", "a route"))).rejects.toThrow(
    "not done after 2 s: a route",
  );
  await clock.runUntilIdle();
  await failed;
});
