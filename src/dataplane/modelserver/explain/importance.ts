/** Permutation importance (Breiman 2001): how much worse a model gets when one feature's values are mixed among the rows. */
import type { Random } from "../../../kernel/clock/types.js";
import { type Evaluate, shuffle } from "./shapley.js";

/** What the model is held against: smaller is better. `change`: its own unmixed answers. */
export type Loss = "squared_error" | "absolute_error" | "zero_one" | "change";

/** What is to be measured. */
export interface ImportanceProblem {
  readonly rows: Float64Array;
  readonly features: number;
  readonly width: number;
  /** One a row; for `zero_one` the number of the class. Not for `change`. */
  readonly labels: readonly number[];
  readonly loss: Loss;
  readonly repeats: number;
  readonly evaluate: Evaluate;
  readonly random: Random;
}

/** The loss as it is, and for each feature its growth over the repeats. */
export interface Importance {
  readonly loss: number;
  readonly means: readonly number[];
  readonly deviations: readonly number[];
}

/** Measures every feature. */
export async function permutationImportance(problem: ImportanceProblem): Promise<Importance> {
  const { rows, features, repeats, evaluate, random } = problem;
  const count = rows.length / features;
  const plain = await evaluate(rows, count);
  const loss = lossOf(plain, plain, problem);
  const means: number[] = [];
  const deviations: number[] = [];
  for (let feature = 0; feature < features; feature++) {
    const growths: number[] = [];
    for (let repeat = 0; repeat < repeats; repeat++) {
      const order = shuffle(count, random);
      const mixed = rows.slice();
      for (let row = 0; row < count; row++)
        mixed[row * features + feature] = rows[(order[row] ?? 0) * features + feature] ?? 0;
      growths.push(lossOf(await evaluate(mixed, count), plain, problem) - loss);
    }
    const mean = growths.reduce((sum, growth) => sum + growth, 0) / repeats;
    means.push(mean);
    deviations.push(Math.sqrt(growths.reduce((sum, growth) => sum + (growth - mean) ** 2, 0) / repeats));
  }
  return { loss, means, deviations };
}

function lossOf(answers: Float64Array, plain: Float64Array, { labels, loss, width }: ImportanceProblem): number {
  const count = answers.length / width;
  let sum = 0;
  for (let row = 0; row < count; row++) {
    const answer = answers.subarray(row * width, (row + 1) * width);
    switch (loss) {
      case "zero_one":
        sum += classOf(answer) === labels[row] ? 0 : 1;
        break;
      case "change":
        for (let output = 0; output < width; output++)
          sum += Math.abs((answer[output] ?? 0) - (plain[row * width + output] ?? 0)) / width;
        break;
      default: {
        const error = (answer[0] ?? 0) - (labels[row] ?? 0);
        sum += loss === "squared_error" ? error * error : Math.abs(error);
      }
    }
  }
  return sum / count;
}

/** One number is a class, or a probability of class 1; several are the classes' own. */
function classOf(answer: Float64Array): number {
  const [only = 0] = answer;
  if (answer.length === 1) return Number.isInteger(only) ? only : only > 0.5 ? 1 : 0;
  let best = 0;
  for (let index = 1; index < answer.length; index++) if ((answer[index] ?? 0) > (answer[best] ?? 0)) best = index;
  return best;
}
