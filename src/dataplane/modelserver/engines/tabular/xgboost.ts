/** XGBoost's models in JSON and UBJSON (its schema of versions 1.6 to 3): gbtree, dart and gblinear. */
import { ModelError } from "../../failures.js";
import { type DocumentValue, Place } from "./document.js";
import { Forest, type TreeNode } from "./forest.js";
import type { TableModel } from "./types.js";

type Transform = (margins: Float64Array, width: number) => void;

interface Objective {
  /** From the base score as it is stored to a margin. */
  readonly margin: (score: number) => number;
  readonly transform: Transform;
  /** `argmax`: one class a row instead of a number for each. */
  readonly argmax?: boolean;
}

const f32 = Math.fround;
const same = (score: number): number => score;
const untouched: Transform = () => undefined;
const each =
  (change: (margin: number) => number): Transform =>
  (margins) => {
    for (let index = 0; index < margins.length; index++) margins[index] = f32(change(margins[index] ?? 0));
  };

/** In single precision, as XGBoost computes it. */
const sigmoid = each((margin) => 1 / f32(f32(f32(Math.exp(Math.min(f32(-margin), f32(88.7)))) + 1) + 1e-16));
const exponential = each((margin) => Math.exp(margin));
const softmax: Transform = (margins, width) => {
  for (let row = 0; row < margins.length; row += width) {
    const group = margins.subarray(row, row + width);
    const greatest = group.reduce((max, margin) => Math.max(max, margin), Number.NEGATIVE_INFINITY);
    let sum = 0;
    for (let index = 0; index < group.length; index++) {
      const power = f32(Math.exp(f32((group[index] ?? 0) - greatest)));
      group[index] = power;
      sum += power;
    }
    for (let index = 0; index < group.length; index++) group[index] = f32((group[index] ?? 0) / f32(sum));
  }
};

const logit = (score: number): number => f32(-Math.log(f32(f32(1 / score) - 1)));
const log = (score: number): number => f32(Math.log(score));
const plain: Objective = { margin: same, transform: untouched };
const logistic: Objective = { margin: logit, transform: sigmoid };
const positive: Objective = { margin: log, transform: exponential };

const OBJECTIVES: Readonly<Record<string, Objective>> = {
  "reg:squarederror": plain,
  "reg:linear": plain,
  "reg:squaredlogerror": plain,
  "reg:pseudohubererror": plain,
  "reg:absoluteerror": plain,
  "reg:quantileerror": plain,
  "reg:expectileerror": plain,
  "reg:logistic": logistic,
  "binary:logistic": logistic,
  "binary:logitraw": plain,
  "binary:hinge": { margin: same, transform: each((margin) => (margin > 0 ? 1 : 0)) },
  "count:poisson": positive,
  "reg:gamma": positive,
  "reg:tweedie": positive,
  "survival:cox": positive,
  "survival:aft": positive,
  "multi:softprob": { margin: same, transform: softmax },
  "multi:softmax": { margin: same, transform: untouched, argmax: true },
  "rank:pairwise": plain,
  "rank:ndcg": plain,
  "rank:map": plain,
};

/** Options of reading. */
export interface BoosterOptions {
  /** Margins instead of what the objective makes of them. */
  readonly raw: boolean;
}

/** Reads a model. Throws `ModelError` naming the place that is wrong, and for what is not supported. */
export function readXgboost(document: DocumentValue, file: string, { raw }: BoosterOptions): TableModel {
  const learner = new Place(document, file).at("learner");
  const parameters = learner.at("learner_model_param");
  const name = learner.at("objective", "name").text();
  const objective = Object.hasOwn(OBJECTIVES, name) ? OBJECTIVES[name] : undefined;
  if (objective === undefined)
    throw new ModelError(
      "UnsupportedFormat",
      `${file}: objective ${name} is not one of ${Object.keys(OBJECTIVES).join(", ")}`,
    );
  const features = parameters.at("num_feature").number();
  const optional = (field: string): number => (parameters.at(field).isHere ? parameters.at(field).number() : 0);
  const groups = Math.max(1, optional("num_class"), optional("num_target"));
  const base = baseMargins(parameters.at("base_score"), groups, objective);
  const add = readBooster(learner.at("gradient_booster"), { features, groups });
  const argmax = objective.argmax === true && !raw;
  const width = argmax || groups === 1 ? 0 : groups;
  return {
    platform: "xgboost",
    features,
    datatype: "FP32",
    outputs: [{ name: "predict", datatype: "FP32", width }],
    predict(rows, count) {
      const single = Float64Array.from(rows, f32);
      const margins = new Float64Array(count * groups);
      for (let row = 0; row < count; row++) {
        const into = margins.subarray(row * groups, (row + 1) * groups);
        into.set(base);
        add(single, row * features, into);
      }
      if (!raw) objective.transform(margins, groups);
      return [argmax ? greatest(margins, groups) : margins];
    },
  };
}

function baseMargins(place: Place, groups: number, objective: Objective): Float64Array {
  // Before version 3.1 one number; since then a list, written as a text.
  const scores = place
    .text()
    .replace(/^\[|\]$/g, "")
    .split(",")
    .map(Number);
  if (scores.some(Number.isNaN)) throw place.wrong("must be a number or a list of numbers");
  return Float64Array.from({ length: groups }, (_, group) =>
    f32(objective.margin(f32(scores[scores.length === 1 ? 0 : group] ?? 0))),
  );
}

type AddMargins = (rows: Float64Array, offset: number, into: Float64Array) => void;

interface Sizes {
  readonly features: number;
  readonly groups: number;
}

function readBooster(booster: Place, sizes: Sizes): AddMargins {
  const name = booster.at("name").text();
  switch (name) {
    case "gbtree":
      return readTrees(booster.at("model"), sizes, undefined);
    case "dart":
      return readTrees(booster.at("gbtree", "model"), sizes, booster.at("weight_drop").numbers());
    case "gblinear":
      return readLinear(booster.at("model", "weights"), sizes);
    default:
      throw new ModelError("UnsupportedFormat", `${booster.path}: the booster ${name} is not known`);
  }
}

function readLinear(place: Place, { features, groups }: Sizes): AddMargins {
  const weights = Float64Array.from(place.numbers(), f32);
  if (weights.length !== (features + 1) * groups) throw place.wrong(`must have ${(features + 1) * groups} numbers`);
  return (rows, offset, into) => {
    // XGBoost 3.2 adds the first group's base score to every group of a linear model.
    const base = into[0] ?? 0;
    for (let group = 0; group < groups; group++) {
      let sum = f32((weights[features * groups + group] ?? 0) + base);
      for (let feature = 0; feature < features; feature++) {
        const value = rows[offset + feature] ?? Number.NaN;
        if (!Number.isNaN(value)) sum = f32(sum + f32(value * (weights[feature * groups + group] ?? 0)));
      }
      into[group] = sum;
    }
  };
}

function readTrees(model: Place, { features, groups }: Sizes, weights: ArrayLike<number> | undefined): AddMargins {
  const trees = model.at("trees").list().map(readTree);
  const info = model.at("tree_info").numbers();
  if (info.length !== trees.length) throw model.wrong("must have a tree_info for each tree");
  if (weights !== undefined && weights.length !== trees.length)
    throw model.wrong("must have a weight_drop for each tree");
  const forest = new Forest(trees, features, { strict: true, single: true });
  return (rows, offset, into) => {
    for (let tree = 0; tree < forest.trees; tree++) {
      const group = info[tree] ?? 0;
      if (group >= groups) continue;
      const value = forest.value(tree, rows, offset);
      const weighted = weights === undefined ? value : f32(value * f32(weights[tree] ?? 0));
      into[group] = f32((into[group] ?? 0) + weighted);
    }
  };
}

function readTree(place: Place): TreeNode[] {
  const leafSize = place.at("tree_param", "size_leaf_vector");
  if (leafSize.isHere && leafSize.number() > 1)
    throw new ModelError(
      "UnsupportedFormat",
      `${place.path}: trees with vectors as leaves (multi_output_tree) are not supported`,
    );
  const [left, right, feature, condition, defaultLeft] = [
    "left_children",
    "right_children",
    "split_indices",
    "split_conditions",
    "default_left",
  ].map((name) => place.at(name).numbers());
  const types = place.at("split_type").isHere ? place.at("split_type").numbers() : [];
  const categories = readCategories(place);
  return Array.from(left ?? [], (child, node): TreeNode => {
    if (child === -1) return { leaf: f32(condition?.[node] ?? 0) };
    return {
      feature: feature?.[node] ?? -1,
      left: child,
      right: right?.[node] ?? -1,
      defaultLeft: (defaultLeft?.[node] ?? 0) !== 0,
      missing: "nan",
      split:
        types[node] === 1
          ? { categories: categories.get(node) ?? [], setSide: "right" }
          : (condition?.[node] ?? Number.NaN),
    };
  });
}

function readCategories(place: Place): ReadonlyMap<number, number[]> {
  const sets = new Map<number, number[]>();
  if (!place.at("categories_nodes").isHere) return sets;
  const [nodes, segments, sizes, categories] = [
    "categories_nodes",
    "categories_segments",
    "categories_sizes",
    "categories",
  ].map((name) => place.at(name).numbers());
  for (let index = 0; index < (nodes?.length ?? 0); index++) {
    const start = segments?.[index] ?? 0;
    const end = start + (sizes?.[index] ?? 0);
    if (end > (categories?.length ?? 0)) throw place.wrong("has categories_segments beyond its categories");
    sets.set(
      nodes?.[index] ?? -1,
      Array.from({ length: end - start }, (_, at) => categories?.[start + at] ?? -1),
    );
  }
  return sets;
}

function greatest(margins: Float64Array, width: number): Float64Array {
  return Float64Array.from({ length: margins.length / width }, (_, row) => {
    let best = 0;
    for (let index = 1; index < width; index++) {
      if ((margins[row * width + index] ?? 0) > (margins[row * width + best] ?? 0)) best = index;
    }
    return best;
  });
}
