/** Explanations of tabular models of any format, computed from their answers alone. */
import { seededRandom } from "../../../kernel/clock/index.js";
import { HttpError } from "../../../kernel/http1/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import type { TensorSpec, TensorValue } from "../../../kernel/tensors/index.js";
import type { Batcher } from "../batcher.js";
import { asNumbers } from "../engines/tabular/numbers.js";
import { type Loss, permutationImportance } from "./importance.js";
import { type Evaluate, exactEvaluations, exactShapley, type ShapleyValues, sampledShapley } from "./shapley.js";
import { type ExplainedModel, readTable, type Table, writeTable } from "./table.js";

/** A request for an explanation: the rows, as an inference has them, and how. */
export interface ExplainRequest {
  readonly inputs: readonly TensorValue[];
  readonly parameters: JsonObject;
  readonly isGone?: () => boolean;
}

/** Most rows that one request may have computed, and how many when it does not say. */
const MOST_EVALUATIONS = 200_000;
const USUAL_EVALUATIONS = 20_000;
const MOST_EXACT_FEATURES = 12;
const MOST_BACKGROUND = 100;
/** Rows of one inference: others get their turn between. */
const CHUNK = 64;

/**
 * Explains. `parameters`: `method` (`shapley`, `permutation_importance`), `output`, `background` (rows), `max_evaluations`, `seed`;
 * for importance `labels`, `loss`, `repeats`. Throws a 400 `HttpError` naming the parameter that is wrong.
 */
export async function explain(
  model: ExplainedModel & { readonly batcher: Batcher },
  { inputs, parameters, isGone }: ExplainRequest,
): Promise<JsonObject> {
  const table = readTable(inputs);
  const output = chooseOutput(model.outputs, parameters["output"]);
  const width = output.shape[1] ?? 1;
  const evaluate: Evaluate = async (rows, count) => {
    const results = new Float64Array(count * width);
    const features = rows.length / count;
    for (let from = 0; from < count; from += CHUNK) {
      const chunk = rows.subarray(from * features, Math.min(count, from + CHUNK) * features);
      const answers = await model.batcher.infer(writeTable(chunk, table), isGone);
      const answer = answers.find(({ name }) => name === output.name);
      if (answer === undefined || answer.shape[0] !== chunk.length / features)
        throw new HttpError(500, `output ${output.name} has not a row for each that was asked`);
      results.set(asNumbers(answer), from * width);
    }
    return results;
  };
  const limit = wholeNumber(parameters, "max_evaluations", [1, MOST_EVALUATIONS]) ?? USUAL_EVALUATIONS;
  const problem = { table, width, evaluate, limit, parameters };
  const method = parameters["method"] ?? "shapley";
  const about = { output: output.name, feature_names: featureNames(model, table) };
  if (method === "shapley") return { method, ...about, ...(await shapley(problem, model)) };
  if (method === "permutation_importance") return { method, ...about, ...(await importance(problem)) };
  throw new HttpError(400, "parameter method must be shapley or permutation_importance");
}

interface Problem {
  readonly table: Table;
  readonly width: number;
  readonly evaluate: Evaluate;
  readonly limit: number;
  readonly parameters: JsonObject;
}

async function shapley(problem: Problem, model: ExplainedModel): Promise<JsonObject> {
  const { table, width, evaluate, limit, parameters } = problem;
  const { features, count } = table;
  const { background, origin } = readBackground(table, parameters["background"] ?? model.background);
  const others = background.length / features;
  const exact = features <= MOST_EXACT_FEATURES && count * exactEvaluations(features, others) <= limit;
  const orders = Math.floor(limit / (count * 2 * (features + 1) * others));
  if (!exact && orders < 1)
    throw new HttpError(
      400,
      `${count} rows of ${features} features against ${others} of background take ${count * 2 * (features + 1) * others} evaluations at least; max_evaluations is ${limit}`,
    );
  const random = seededRandom(wholeNumber(parameters, "seed", [0, 2 ** 31]) ?? 1);
  const explanations: Json[] = [];
  let base: ShapleyValues["base"] = new Float64Array(width);
  for (let index = 0; index < count; index++) {
    const row = table.rows.subarray(index * features, (index + 1) * features);
    const each = { row, background, width, evaluate };
    const found = exact ? await exactShapley(each) : await sampledShapley(each, { orders, random });
    base = found.base;
    explanations.push({
      prediction: [...found.prediction],
      shapley_values: byOutput(found.values, width),
      ...(found.errors === undefined ? {} : { standard_errors: byOutput(found.errors, width) }),
    });
  }
  return {
    exact,
    ...(exact ? {} : { sampled_orders: 2 * orders }),
    background: origin,
    base_values: [...base],
    explanations,
  };
}

async function importance({ table, width, evaluate, limit, parameters }: Problem): Promise<JsonObject> {
  const { features, count, rows } = table;
  if (count < 2) throw new HttpError(400, "permutation importance needs at least two rows");
  const { labels, loss } = readLabels(parameters, count);
  const repeats = wholeNumber(parameters, "repeats", [1, 1000]) ?? 5;
  const needed = count * (1 + features * repeats);
  if (needed > limit)
    throw new HttpError(
      400,
      `${repeats} repeats of ${features} features take ${needed} evaluations; max_evaluations is ${limit}`,
    );
  const random = seededRandom(wholeNumber(parameters, "seed", [0, 2 ** 31]) ?? 1);
  const found = await permutationImportance({ rows, features, width, labels, loss, repeats, evaluate, random });
  return {
    loss,
    repeats,
    loss_value: found.loss,
    importances_mean: [...found.means],
    importances_std: [...found.deviations],
  };
}

function readLabels(parameters: JsonObject, count: number): { labels: number[]; loss: Loss } {
  const given = parameters["labels"];
  const loss = parameters["loss"] ?? (given === undefined ? "change" : "squared_error");
  if (loss !== "squared_error" && loss !== "absolute_error" && loss !== "zero_one" && loss !== "change")
    throw new HttpError(400, "parameter loss must be squared_error, absolute_error, zero_one or change");
  if (loss === "change") return { labels: [], loss };
  if (!Array.isArray(given) || given.length !== count)
    throw new HttpError(400, `parameter labels must be a list of ${count} numbers, one a row`);
  return { labels: given.map((label) => numberOf(label, "labels")), loss };
}

function readBackground(table: Table, given: Json | undefined): { background: Float64Array; origin: string } {
  const { features, rows, count } = table;
  if (given !== undefined) {
    if (!Array.isArray(given) || given.length === 0 || given.length > MOST_BACKGROUND)
      throw new HttpError(400, `parameter background must be a list of 1 to ${MOST_BACKGROUND} rows`);
    const flat = given.flatMap((row) => {
      if (!Array.isArray(row) || row.length !== features)
        throw new HttpError(400, `parameter background: each row must have ${features} numbers`);
      return row.map((value) => (value === null ? Number.NaN : numberOf(value, "background")));
    });
    return { background: Float64Array.from(flat), origin: "given" };
  }
  if (count > 1) return { background: rows.slice(0, Math.min(count, MOST_BACKGROUND) * features), origin: "request" };
  return { background: new Float64Array(features), origin: "zeros" };
}

function chooseOutput(outputs: readonly TensorSpec[], asked: Json | undefined): TensorSpec {
  const usable = outputs.filter(({ datatype, shape }) => datatype !== "BYTES" && isRowOf(shape));
  // A score says more than the label that was made of it.
  const found =
    asked === undefined
      ? (usable.find(({ datatype }) => /^(FP|BF)/.test(datatype)) ?? usable[0])
      : usable.find(({ name }) => name === asked);
  if (found !== undefined) return found;
  throw new HttpError(400, `parameter output must be one of ${usable.map(({ name }) => name).join(", ")}`);
}

const isRowOf = (shape: readonly number[]): boolean =>
  shape[0] === -1 && (shape.length === 1 || (shape.length === 2 && (shape[1] ?? -1) > 0));

function featureNames(model: ExplainedModel, table: Table): string[] {
  const { featureNames: names } = model;
  if (names?.length === table.features) return [...names];
  return table.columns.flatMap(({ name, width }) =>
    width === 1 && table.columns.length > 1 ? [name] : Array.from({ length: width }, (_, index) => `${name}[${index}]`),
  );
}

const byOutput = (values: Float64Array, width: number): number[][] =>
  Array.from({ length: width }, (_, output) =>
    Array.from({ length: values.length / width }, (_value, feature) => values[feature * width + output] ?? 0),
  );

function numberOf(value: Json | undefined, name: string): number {
  if (typeof value === "number") return value;
  throw new HttpError(400, `parameter ${name} must hold numbers`);
}

function wholeNumber(parameters: JsonObject, name: string, [low, high]: readonly [number, number]): number | undefined {
  const value = parameters[name];
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= low && value <= high) return value;
  throw new HttpError(400, `parameter ${name} must be a whole number from ${low} to ${high}`);
}
