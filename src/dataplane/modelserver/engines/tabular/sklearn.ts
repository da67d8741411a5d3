/** scikit-learn's estimators in the open form that `export_sklearn.py` writes (docs/model-server.md), computed as scikit-learn does. */
import { HttpError } from "../../../../kernel/http1/index.js";
import { ModelError } from "../../failures.js";
import { type DocumentValue, Place } from "./document.js";
import { readEstimator } from "./sklearn-estimators.js";
import { readTransform } from "./sklearn-transforms.js";
import type { TableModel, TableOutput } from "./types.js";

/** What the last step of a pipeline gives for one row: a number for each of `width` outputs. */
export interface Estimator {
  readonly features: number;
  /** Numbers of `decide` for a row. */
  readonly width: number;
  /** Classes of a classifier; `undefined`: a regressor or a clustering. */
  readonly classes?: readonly (string | number)[];
  /** A clustering: what `decide` gives is a label. */
  readonly isLabel?: boolean;
  /** Whether missing values may come in. */
  readonly takesMissing: boolean;
  /** A regressor's predictions, a classifier's probabilities or, where it has none, its scores. */
  decide(row: Float64Array, into: Float64Array): void;
  /** What decides between classes where it is not the greatest of `decide`. */
  choose?(decided: Float64Array): number;
  /** Whether `decide` gives probabilities. */
  readonly hasProbabilities?: boolean;
}

/** Changes a row into another. */
export interface RowTransform {
  readonly features: number;
  readonly width: number;
  readonly takesMissing: boolean;
  apply(row: Float64Array): Float64Array;
}

/**
 * Reads an export. `output`: `predict` (default), `predict_proba` or `all` of what it can give. Throws `ModelError`.
 */
export function readSklearn(document: DocumentValue, file: string, output: string): TableModel {
  const root = new Place(document, file);
  const version = root.at("version").number();
  if (version !== 1)
    throw new ModelError("UnsupportedFormat", `${file}: version ${version} of the export is not known`);
  const { steps, last } = readPipeline(root.at("estimator"));
  const features = steps[0]?.features ?? last.features;
  return {
    platform: "sklearn",
    features,
    datatype: "FP64",
    outputs: outputsOf(last, output, file),
    predict(rows, count) {
      const labels: (string | number)[] = [];
      const decided = new Float64Array(count * last.width);
      for (let index = 0; index < count; index++) {
        const into = decided.subarray(index * last.width, (index + 1) * last.width);
        last.decide(transformed(rows.slice(index * features, (index + 1) * features), steps, last), into);
        if (last.classes !== undefined) labels.push(last.classes[chosen(last, into)] ?? 0);
      }
      const predicted = last.classes === undefined ? decided : column(labels);
      return output === "predict_proba"
        ? [decided]
        : output === "all" && last.hasProbabilities === true
          ? [predicted, decided]
          : [predicted];
    },
  };
}

function transformed(row: Float64Array, steps: readonly RowTransform[], last: Estimator): Float64Array {
  let current = row;
  for (const step of steps) {
    refuseMissing(current, step);
    current = step.apply(current);
  }
  refuseMissing(current, last);
  return current;
}

function refuseMissing(row: Float64Array, { takesMissing }: { readonly takesMissing: boolean }): void {
  if (takesMissing) return;
  for (let index = 0; index < row.length; index++) {
    if (!Number.isFinite(row[index]))
      throw new HttpError(
        400,
        `feature ${index} is ${Number.isNaN(row[index]) ? "missing" : "infinite"}, which this model does not take`,
      );
  }
}

function chosen(estimator: Estimator, decided: Float64Array): number {
  if (estimator.choose !== undefined) return estimator.choose(decided);
  let best = 0;
  for (let index = 1; index < decided.length; index++) if ((decided[index] ?? 0) > (decided[best] ?? 0)) best = index;
  return best;
}

function column(labels: readonly (string | number)[]): Float64Array | string[] {
  return labels.some((label) => typeof label === "string") ? labels.map(String) : Float64Array.from(labels, Number);
}

function outputsOf(last: Estimator, output: string, file: string): TableOutput[] {
  const { classes, width } = last;
  if (output !== "predict" && output !== "predict_proba" && output !== "all")
    throw new ModelError("ModelLoadFailed", `parameter output is "${output}"; expected predict, predict_proba or all`);
  const texts = classes?.some((label) => typeof label === "string") === true;
  const whole = classes?.every((label) => Number.isInteger(label)) === true;
  const predict: TableOutput =
    classes === undefined && last.isLabel !== true
      ? { name: "predict", datatype: "FP64", width: width === 1 ? 0 : width }
      : { name: "predict", datatype: texts ? "BYTES" : whole || last.isLabel === true ? "INT64" : "FP64", width: 0 };
  const probabilities: TableOutput = { name: "predict_proba", datatype: "FP64", width };
  if (output === "predict") return [predict];
  if (last.hasProbabilities !== true) {
    if (output === "all") return [predict];
    throw new ModelError("ModelLoadFailed", `${file}: the model has no predict_proba`);
  }
  return output === "all" ? [predict, probabilities] : [probabilities];
}

function readPipeline(place: Place): { steps: RowTransform[]; last: Estimator } {
  const steps: RowTransform[] = [];
  let last = place;
  while (last.at("type").text() === "Pipeline") {
    const inner = last.at("steps").list();
    const end = inner.at(-1);
    if (end === undefined) throw last.wrong("has no steps");
    steps.push(...inner.slice(0, -1).map(readTransform));
    last = end;
  }
  const estimator = readEstimator(last);
  for (const [index, step] of steps.entries()) {
    const next = steps[index + 1]?.features ?? estimator.features;
    if (step.width !== next)
      throw place.wrong(`has a step that gives ${step.width} features before one that takes ${next}`);
  }
  return { steps, last: estimator };
}
