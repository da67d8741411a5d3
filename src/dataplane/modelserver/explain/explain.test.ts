import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { seededRandom } from "../../../kernel/clock/index.js";
import { type Closers, openRepository, scale, tensor } from "../models.fixture.js";
import { permutationImportance } from "./importance.js";
import { type Evaluate, exactShapley, sampledShapley } from "./shapley.js";

const closers: Closers = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Plain = (row: readonly number[]) => number;

const evaluator =
  (f: Plain, features: number): Evaluate =>
  async (rows, count) =>
    Float64Array.from({ length: count }, (_, row) => f([...rows.subarray(row * features, (row + 1) * features)]));

/** The oracle: over every order of the features, what each gains at its moment. */
function byAllOrders(f: Plain, row: readonly number[], background: readonly (readonly number[])[]): number[] {
  const orders = (rest: readonly number[]): number[][] =>
    rest.length === 0 ? [[]] : rest.flatMap((each) => orders(rest.filter((r) => r !== each)).map((o) => [each, ...o]));
  const worth = (known: ReadonlySet<number>): number =>
    background.reduce((sum, other) => sum + f(other.map((value, i) => (known.has(i) ? (row[i] ?? 0) : value))), 0) /
    background.length;
  const all = orders(row.map((_, index) => index));
  const gains = row.map(() => 0);
  for (const order of all) {
    const known = new Set<number>();
    for (const feature of order) {
      const before = worth(known);
      known.add(feature);
      gains[feature] = (gains[feature] ?? 0) + (worth(known) - before) / all.length;
    }
  }
  return gains;
}

const value = fc.integer({ min: -20, max: 20 }).map((whole) => whole / 4);
const rows = (features: number, count: number) =>
  fc.array(fc.array(value, { minLength: features, maxLength: features }), { minLength: count, maxLength: count });
/** A function with interactions, made of its coefficients. */
const make =
  (c: readonly number[]): Plain =>
  (x) =>
    x.reduce((sum, each, i) => sum + (c[i] ?? 0) * each, 0) +
    (c[4] ?? 0) * (x[0] ?? 0) * (x[1] ?? 0) +
    (c[5] ?? 0) * Math.max(0, x[2] ?? 0) * (x[3] ?? 1);

test("exact values are those of the definition over all orders, and add up to the prediction", async () => {
  await fc.assert(
    fc.asyncProperty(rows(6, 1), rows(4, 1), rows(4, 3), async ([c = []], [row = []], background) => {
      const f = make(c);
      const problem = { row: Float64Array.from(row), background: Float64Array.from(background.flat()), width: 1 };

      const found = await exactShapley({ ...problem, evaluate: evaluator(f, 4) });

      const wanted = byAllOrders(f, row, background);
      for (const [index, each] of wanted.entries()) expect(found.values[index]).toBeCloseTo(each, 8);
      const total = found.values.reduce((sum, each) => sum + each, 0);
      expect((found.base[0] ?? 0) + total).toBeCloseTo(f(row), 8);
      expect(found.prediction[0]).toBeCloseTo(f(row), 8);
    }),
    { numRuns: 60 },
  );
});

test("features that do the same get the same; one that does nothing gets nothing; sampled values add up as well", async () => {
  await fc.assert(
    fc.asyncProperty(value, value, value, fc.nat(1000), async (a, b, other, seed) => {
      // x0 and x1 are exchangeable, x2 is not looked at.
      const f: Plain = ([x0 = 0, x1 = 0, , x3 = 0]) => Math.max(x0 + x1, a) * (1 + x0 * x1) + b * x3 * x3;
      const problem = {
        row: Float64Array.of(1.5, 1.5, other, -2),
        background: Float64Array.of(0.25, 0.25, 7, 1, -1, -1, 3, b),
        width: 1,
        evaluate: evaluator(f, 4),
      };

      const exact = await exactShapley(problem);
      const sampled = await sampledShapley(problem, { orders: 3, random: seededRandom(seed) });

      expect(exact.values[0]).toBeCloseTo(exact.values[1] ?? Number.NaN, 9);
      for (const found of [exact, sampled]) {
        expect(found.values[2]).toBeCloseTo(0, 9);
        const total = found.values.reduce((sum, each) => sum + each, 0);
        expect((found.base[0] ?? 0) + total).toBeCloseTo(f([1.5, 1.5, other, -2]), 8);
      }
    }),
    { numRuns: 60 },
  );
});

test("sampled values come near the exact ones, as near as their standard errors say", async () => {
  const f: Plain = (x) => (x[0] ?? 0) * (x[1] ?? 0) + (x[2] ?? 0) * (x[3] ?? 0) * (x[4] ?? 0) - (x[5] ?? 0);
  const problem = {
    row: Float64Array.of(1, 2, 3, -1, 2, 5),
    background: Float64Array.of(0, 1, 0, 1, -1, 0, 2, 0, 1, 1, 1, 1),
    width: 1,
    evaluate: evaluator(f, 6),
  };

  const exact = await exactShapley(problem);
  const sampled = await sampledShapley(problem, { orders: 200, random: seededRandom(5) });

  for (const [index, each] of exact.values.entries()) {
    const error = sampled.errors?.[index] ?? 0;
    expect(Math.abs((sampled.values[index] ?? 0) - each)).toBeLessThanOrEqual(5 * error + 1e-9);
  }
});

test("permutation importance: nothing for what is not used, more for what matters more", async () => {
  const features = 3;
  const random = seededRandom(3);
  const data = Float64Array.from({ length: 60 * features }, () => random.next());
  const f: Plain = ([a = 0, b = 0]) => 5 * a + b;
  const labels = Array.from({ length: 60 }, (_, row) => f([...data.subarray(row * features, (row + 1) * features)]));

  const found = await permutationImportance({
    ...{ rows: data, features, width: 1, labels, loss: "squared_error", repeats: 4 },
    ...{ evaluate: evaluator(f, features), random },
  });

  const [a = 0, b = 0, c = 0] = found.means;
  expect(found.loss).toBe(0);
  expect(c).toBe(0);
  expect(b).toBeGreaterThan(0);
  expect(a).toBeGreaterThan(5 * b);
});

test("any tabular model that is served can be explained; what is wrong with a request is named", async () => {
  const { repository } = await openRepository(
    { "m/config.json": JSON.stringify({ parameters: { feature_names: "age, height" } }), "m/1/model.onnx": scale(3) },
    closers,
  );
  const { explain } = repository.find("m");
  const inputs = [tensor("x", "FP32", Float32Array.of(1, 2), [1, 2])];

  const shapley = await explain?.({
    inputs,
    parameters: {
      background: [
        [0, 1],
        [2, 1],
      ],
    },
  });
  const many = [tensor("x", "FP32", Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2])];
  const importance = await explain?.({
    inputs: many,
    parameters: { method: "permutation_importance", labels: [3, 9, 15] },
  });

  expect(shapley).toMatchObject({
    ...{ method: "shapley", output: "y", exact: true, background: "given", feature_names: ["age", "height"] },
    base_values: [3, 3],
    explanations: [
      {
        prediction: [3, 6],
        shapley_values: [
          [0, 0],
          [0, 3],
        ],
      },
    ],
  });
  expect(importance).toMatchObject({ method: "permutation_importance", loss: "squared_error", loss_value: 0 });
  for (const [parameters, words] of [
    [{ method: "magic" }, "method must be"],
    [{ output: "z" }, "output must be one of y"],
    [{ background: [[1]] }, "each row must have 2 numbers"],
    [{ max_evaluations: 1 }, "take 6 evaluations at least"],
    [{ seed: -1 }, "seed must be a whole number"],
    [{ method: "permutation_importance" }, "at least two rows"],
  ] as const) {
    const error = await explain?.({ inputs, parameters: JSON.parse(JSON.stringify(parameters)) }).catch(
      (e: unknown) => e,
    );
    expect(error).toMatchObject({ status: 400, message: expect.stringContaining(words) });
  }
});
