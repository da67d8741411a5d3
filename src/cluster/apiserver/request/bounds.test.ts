import { expect, test } from "vitest";
import { isExcessive } from "./aliases.js";
import { tooDeepAt } from "./depth.js";

const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

test("depth is counted in brackets outside of strings", () => {
  expect(tooDeepAt(nested(10_000))).toBeUndefined();
  expect(tooDeepAt(nested(10_001))).toBe("[");
  expect(tooDeepAt('{"a":'.repeat(10_001))).toBe("{");
  expect(tooDeepAt(JSON.stringify([nested(20_000), '"'.repeat(20_000), "\\".repeat(20_001)]))).toBeUndefined();
  expect(tooDeepAt(`["${"[".repeat(20_000)}`)).toBeUndefined();
  expect(tooDeepAt("[]".repeat(20_000))).toBeUndefined();
});

test("aliases may share, but not multiply without end", () => {
  const shared = { a: [1, 2, 3] };
  expect(isExcessive({ x: shared, y: shared })).toBe(false);
  let bomb: unknown[] = ["x"];
  for (let level = 0; level < 30; level++) bomb = [bomb, bomb];
  expect(isExcessive(bomb)).toBe(true);
  const cycle: unknown[] = [];
  cycle.push(cycle);
  expect(isExcessive(cycle)).toBe(true);
});
