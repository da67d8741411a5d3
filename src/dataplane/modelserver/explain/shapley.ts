/** Shapley values of a row's features: how much each moved the prediction away from the background's. */
import type { Random } from "../../../kernel/clock/types.js";

/** Computes rows of features, row-major; `width` numbers a row come back. */
export type Evaluate = (rows: Float64Array, count: number) => Promise<Float64Array>;

/** What is to be explained, and against what. */
export interface ShapleyProblem {
  readonly row: Float64Array;
  /** Rows that stand for "not knowing the feature", row-major. */
  readonly background: Float64Array;
  readonly width: number;
  readonly evaluate: Evaluate;
}

/** The values: `values[feature * width + output]`. */
export interface ShapleyValues {
  /** The mean prediction of the background. */
  readonly base: Float64Array;
  readonly prediction: Float64Array;
  readonly values: Float64Array;
  /** Standard errors of the values; `undefined` where they are exact. */
  readonly errors: Float64Array | undefined;
}

/** Rows that exact values of so many features take. */
export const exactEvaluations = (features: number, background: number): number => 2 ** features * background;

/**
 * By definition: over all sets of the other features, the mean gain of knowing this one, weighted by the sets' sizes (Shapley
 * 1953). Of a set it knows the row's values, of the others the background's (interventional).
 */
export async function exactShapley(problem: ShapleyProblem): Promise<ShapleyValues> {
  const { row, width } = problem;
  const features = row.length;
  const sets = 2 ** features;
  const gains = await evaluateSets(
    problem,
    Array.from({ length: sets }, (_, set) => (feature: number) => ((set >> feature) & 1) === 1),
  );
  const weights = sizeWeights(features);
  const values = new Float64Array(features * width);
  for (let set = 0; set < sets; set++) {
    const weight = weights[countBits(set)] ?? 0;
    for (let feature = 0; feature < features; feature++) {
      if ((set >> feature) & 1) continue;
      const joined = set | (1 << feature);
      for (let output = 0; output < width; output++) {
        const gain = (gains[joined * width + output] ?? 0) - (gains[set * width + output] ?? 0);
        values[feature * width + output] = (values[feature * width + output] ?? 0) + weight * gain;
      }
    }
  }
  return {
    base: gains.slice(0, width),
    prediction: gains.slice((sets - 1) * width),
    values,
    errors: undefined,
  };
}

/**
 * By sampled orders (Štrumbelj and Kononenko 2010), each order also backwards: features become known one after the other, and
 * each gets the gain of its moment. The values add up exactly to what is to be explained, whatever the number of orders.
 */
export async function sampledShapley(
  problem: ShapleyProblem,
  { orders, random }: { readonly orders: number; readonly random: Random },
): Promise<ShapleyValues> {
  const { row, width } = problem;
  const features = row.length;
  const sums = new Float64Array(features * width);
  const squares = new Float64Array(features * width);
  let base = new Float64Array(width);
  let prediction = new Float64Array(width);
  for (let order = 0; order < orders; order++) {
    const forwards = shuffle(features, random);
    const pair = new Float64Array(features * width);
    for (const sequence of [forwards, [...forwards].reverse()]) {
      const gains = await alongOrder(problem, sequence);
      for (const [at, feature] of sequence.entries()) {
        for (let output = 0; output < width; output++) {
          const gain = (gains[(at + 1) * width + output] ?? 0) - (gains[at * width + output] ?? 0);
          pair[feature * width + output] = (pair[feature * width + output] ?? 0) + gain / 2;
        }
      }
      base = gains.slice(0, width);
      prediction = gains.slice(features * width);
    }
    for (const [index, value] of pair.entries()) {
      sums[index] = (sums[index] ?? 0) + value;
      squares[index] = (squares[index] ?? 0) + value * value;
    }
  }
  const values = sums.map((sum) => sum / orders);
  const errors = squares.map((square, index) => {
    const variance = Math.max(0, square / orders - (values[index] ?? 0) ** 2);
    return orders > 1 ? Math.sqrt(variance / (orders - 1)) : Number.NaN;
  });
  return { base, prediction, values, errors };
}

function alongOrder(problem: ShapleyProblem, sequence: readonly number[]): Promise<Float64Array> {
  const places = new Array<number>(sequence.length);
  for (const [at, feature] of sequence.entries()) places[feature] = at;
  return evaluateSets(
    problem,
    Array.from({ length: sequence.length + 1 }, (_, known) => (feature: number) => (places[feature] ?? 0) < known),
  );
}

/** The mean prediction over the background for each set of known features. */
async function evaluateSets(
  { row, background, width, evaluate }: ShapleyProblem,
  sets: readonly ((feature: number) => boolean)[],
): Promise<Float64Array> {
  const features = row.length;
  const others = background.length / features;
  const rows = new Float64Array(sets.length * background.length);
  for (const [index, isKnown] of sets.entries()) {
    const into = rows.subarray(index * background.length, (index + 1) * background.length);
    into.set(background);
    for (let feature = 0; feature < features; feature++) {
      if (!isKnown(feature)) continue;
      for (let other = 0; other < others; other++) into[other * features + feature] = row[feature] ?? 0;
    }
  }
  const answers = await evaluate(rows, sets.length * others);
  const means = new Float64Array(sets.length * width);
  for (let at = 0; at < sets.length * others; at++) {
    const set = Math.floor(at / others);
    for (let output = 0; output < width; output++)
      means[set * width + output] = (means[set * width + output] ?? 0) + (answers[at * width + output] ?? 0) / others;
  }
  return means;
}

/** `size! (features - size - 1)! / features!` by size. */
function sizeWeights(features: number): number[] {
  const weights = [1 / features];
  for (let size = 1; size < features; size++) weights.push(((weights[size - 1] ?? 0) * size) / (features - size));
  return weights;
}

function countBits(value: number): number {
  let count = 0;
  for (let rest = value; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** Fisher and Yates. */
export function shuffle(count: number, random: Random): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let at = count - 1; at > 0; at--) {
    const other = random.int(at + 1);
    const value = order[at] ?? 0;
    order[at] = order[other] ?? 0;
    order[other] = value;
  }
  return order;
}
