import { expect, test } from "vitest";
import { virtualClock } from "../../kernel/clock/index.js";
import { Gathering } from "./gathering.js";

/** Requests that ask one gate, and the times at which each went, in milliseconds from the beginning. */
function requests() {
  const clock = virtualClock();
  const gate = new Gathering(clock);
  const went: number[] = [];
  const beganMs = clock.monotonicMs();
  const ask = async (): Promise<void> => {
    await gate.pass();
    went.push(clock.monotonicMs() - beganMs);
  };
  return { clock, gate, went, ask };
}

test("a request that comes alone goes at once, and so does each of a few", async () => {
  const { clock, went, ask } = requests();
  for (let index = 0; index < 10; index += 1) {
    await ask();
    await clock.advance(15);
  }
  expect(went).toEqual([0, 15, 30, 45, 60, 75, 90, 105, 120, 135]);
});

test("requests that come often go together, none later than 40 ms after it came", async () => {
  const { clock, went, ask } = requests();
  const asked: Promise<void>[] = [];
  for (let index = 0; index < 40; index += 1) {
    asked.push(ask());
    await clock.advance(5);
  }
  await clock.advance(40);
  await Promise.all(asked);
  expect(went.slice(0, 8)).toEqual([0, 5, 10, 15, 20, 25, 30, 35]);
  expect(new Set(went.slice(8))).toEqual(new Set([80, 120, 160, 200]));
  expect(went.every((at, index) => at - index * 5 <= 40)).toBe(true);
});

test("sixteen wait for no more", async () => {
  const { clock, gate, went, ask } = requests();
  for (let index = 0; index < 4; index += 1) await ask();
  await clock.advance(40);
  const asked = Array.from({ length: 15 }, ask);
  await clock.advance(0);
  expect(went).toHaveLength(4);
  asked.push(ask());
  await Promise.all(asked);
  expect(went.slice(4)).toEqual(Array.from({ length: 16 }, () => 40));
  // Nothing is left for the window's end.
  expect(gate.pass()).toBeInstanceOf(Promise);
});

test("after a pause they are few again", async () => {
  const { clock, went, ask } = requests();
  for (let index = 0; index < 12; index += 1) await ask();
  await clock.advance(80);
  await ask();
  expect(went.at(-1)).toBe(80);
});
