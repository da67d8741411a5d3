/** LightGBM's models: the text of `save_model` (versions 3 and 4) and the JSON of `dump_model`. */
import { ModelError } from "../../failures.js";
import { type DocumentValue, Place } from "./document.js";
import { Forest, type Missing, type TreeNode } from "./forest.js";
import type { TableModel } from "./types.js";

interface Ensemble {
  readonly objective: string;
  readonly features: number;
  readonly classes: number;
  readonly perIteration: number;
  readonly average: boolean;
  readonly trees: readonly (readonly TreeNode[])[];
}

const MISSING: readonly Missing[] = ["none", "zero", "nan"];

/** Options of reading. */
export interface LightgbmOptions {
  /** Sums of leaves instead of what the objective makes of them. */
  readonly raw: boolean;
}

/** Reads a model from its text. Throws `ModelError` naming tree and field. */
export function readLightgbmText(text: string, file: string, options: LightgbmOptions): TableModel {
  const sections = text.split(/\r?\n(?=Tree=\d)/);
  const head = readSection(sections[0] ?? "", file);
  const end = text.indexOf("\nend of trees");
  if (end < 0) throw new ModelError("ModelLoadFailed", `${file} is cut short: it has no "end of trees"`);
  const trees = sections.slice(1).map((section, index) => {
    const [fields = ""] = section.split(/\r?\nend of trees/);
    return readTextTree(readSection(fields, `${file}: tree ${index}`), `${file}: tree ${index}`);
  });
  return makeModel(
    {
      objective: head.get("objective") ?? "",
      features: integer(head, "max_feature_idx", file) + 1,
      classes: integer(head, "num_class", file),
      perIteration: integer(head, "num_tree_per_iteration", file),
      average: head.has("average_output"),
      trees,
    },
    file,
    options,
  );
}

/** Reads a model from the JSON of `dump_model`. Throws `ModelError` naming the place. */
export function readLightgbmJson(document: DocumentValue, file: string, options: LightgbmOptions): TableModel {
  const root = new Place(document, file);
  return makeModel(
    {
      objective: root.at("objective").isHere ? root.at("objective").text() : "",
      features: root.at("max_feature_idx").number() + 1,
      classes: root.at("num_class").number(),
      perIteration: root.at("num_tree_per_iteration").number(),
      average: root.at("average_output").value === true,
      trees: root
        .at("tree_info")
        .list()
        .map((tree) => readJsonTree(tree.at("tree_structure"))),
    },
    file,
    options,
  );
}

type Section = ReadonlyMap<string, string>;

function readSection(text: string, where: string): Section {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const equals = line.indexOf("=");
    if (equals > 0) fields.set(line.slice(0, equals), line.slice(equals + 1));
    else if (line.trim() !== "") fields.set(line.trim(), "");
  }
  if (fields.size === 0) throw new ModelError("ModelLoadFailed", `${where} is empty`);
  return fields;
}

function integer(section: Section, name: string, where: string): number {
  const value = Number(section.get(name));
  if (!Number.isSafeInteger(value) || value < 0)
    throw new ModelError("ModelLoadFailed", `${where}: ${name} must be a whole number`);
  return value;
}

/** `count` numbers; `undefined`: as many as there are. */
function numbers(section: Section, name: string, [where, count]: readonly [string, number | undefined]): number[] {
  const text = section.get(name) ?? "";
  const values = text.trim() === "" ? [] : text.trim().split(/\s+/).map(Number);
  if (values.some(Number.isNaN)) throw new ModelError("ModelLoadFailed", `${where}: ${name} must hold numbers only`);
  if (count !== undefined && values.length !== count)
    throw new ModelError("ModelLoadFailed", `${where}: ${name} has ${values.length} numbers instead of ${count}`);
  return values;
}

function readTextTree(section: Section, where: string): TreeNode[] {
  const leaves = integer(section, "num_leaves", where);
  const inner = leaves - 1;
  const leafValues = numbers(section, "leaf_value", [where, leaves]);
  const linear = section.get("is_linear") === "1" ? readLinear(section, where, leaves) : undefined;
  const ends = leafValues.map((leaf, index): TreeNode => {
    const own = linear?.[index];
    return own === undefined ? { leaf } : { leaf, linear: own };
  });
  if (leaves <= 1) return ends;
  const [feature, threshold, decision, left, right] = [
    "split_feature",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
  ].map((name) => numbers(section, name, [where, inner]));
  const boundaries = numbers(section, "cat_boundaries", [where, undefined]);
  const bits = numbers(section, "cat_threshold", [where, undefined]);
  // Inner nodes first, then the leaves; a negative child is a leaf's complement.
  const child = (value: number | undefined): number => (value === undefined ? -1 : value < 0 ? inner + ~value : value);
  const nodes = Array.from({ length: inner }, (_, index): TreeNode => {
    const type = decision?.[index] ?? 0;
    const split = threshold?.[index] ?? 0;
    return {
      feature: feature?.[index] ?? -1,
      left: child(left?.[index]),
      right: child(right?.[index]),
      ...(type & 1
        ? {
            // NaN is in no category.
            ...{ defaultLeft: false, missing: "nan" as const },
            split: { categories: bitsOf(bits, boundaries[split], boundaries[split + 1]), setSide: "left" as const },
          }
        : { defaultLeft: (type & 2) !== 0, missing: MISSING[(type >> 2) & 3] ?? "none", split }),
    };
  });
  return [...nodes, ...ends];
}

function bitsOf(words: readonly number[], from = 0, to = 0): number[] {
  const categories: number[] = [];
  for (let word = from; word < Math.min(to, words.length); word++) {
    for (let bit = 0; bit < 32; bit++) {
      if ((((words[word] ?? 0) >>> bit) & 1) === 1) categories.push((word - from) * 32 + bit);
    }
  }
  return categories;
}

function readLinear(section: Section, where: string, leaves: number) {
  const constants = numbers(section, "leaf_const", [where, leaves]);
  const counts = numbers(section, "num_features", [where, leaves]);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const features = numbers(section, "leaf_features", [where, total]);
  const coefficients = numbers(section, "leaf_coeff", [where, total]);
  let at = 0;
  return counts.map((count, index) => {
    const range = [at, at + count] as const;
    at += count;
    return {
      constant: constants[index] ?? 0,
      features: features.slice(...range),
      coefficients: coefficients.slice(...range),
    };
  });
}

function readJsonTree(root: Place): TreeNode[] {
  const nodes: TreeNode[] = [];
  // A stack instead of recursion: a tree may be a chain of thousands.
  const open: { readonly place: Place; readonly index: number }[] = [{ place: root, index: 0 }];
  let next = 1;
  for (let item = open.pop(); item !== undefined; item = open.pop()) {
    const { place, index } = item;
    if (!place.at("split_feature").isHere) {
      if (place.at("leaf_coeff").isHere)
        throw new ModelError(
          "UnsupportedFormat",
          `${place.path}: linear leaves are read from the text form only (save_model)`,
        );
      nodes[index] = { leaf: place.at("leaf_value").number() };
      continue;
    }
    const left = next++;
    const right = next++;
    nodes[index] = { feature: place.at("split_feature").number(), left, right, ...readJsonSplit(place) };
    open.push({ place: place.at("left_child"), index: left }, { place: place.at("right_child"), index: right });
  }
  return nodes;
}

function readJsonSplit(place: Place) {
  const threshold = place.at("threshold");
  if (place.at("decision_type").text() === "==") {
    const categories =
      typeof threshold.value === "number" ? [threshold.value] : threshold.text().split("||").map(Number);
    return { defaultLeft: false, missing: "nan" as const, split: { categories, setSide: "left" as const } };
  }
  const missing = { None: "none", Zero: "zero", NaN: "nan" } as const;
  const word = place.at("missing_type").text();
  if (word !== "None" && word !== "Zero" && word !== "NaN") throw place.wrong(`has missing_type ${word}`);
  return {
    defaultLeft: place.at("default_left").value === true,
    missing: missing[word],
    split: threshold.number(),
  };
}

function makeModel(ensemble: Ensemble, file: string, { raw }: LightgbmOptions): TableModel {
  const { features, perIteration, average, trees } = ensemble;
  const width = Math.max(1, perIteration);
  if (trees.length % width !== 0)
    throw new ModelError(
      "ModelLoadFailed",
      `${file}: ${trees.length} trees are no whole number of iterations of ${width}`,
    );
  const transform = raw ? undefined : transformOf(ensemble, file);
  const forest = new Forest(trees, features, { strict: false, single: false });
  const iterations = trees.length / width;
  return {
    platform: "lightgbm",
    features,
    datatype: "FP64",
    outputs: [{ name: "predict", datatype: "FP64", width: width === 1 ? 0 : width }],
    predict(rows, count) {
      const sums = new Float64Array(count * width);
      for (let row = 0; row < count; row++) {
        const into = sums.subarray(row * width, (row + 1) * width);
        for (let tree = 0; tree < forest.trees; tree++) {
          into[tree % width] = (into[tree % width] ?? 0) + forest.value(tree, rows, row * features);
        }
        if (average && !raw) for (let index = 0; index < width; index++) into[index] = (into[index] ?? 0) / iterations;
        transform?.(into);
      }
      return [sums];
    },
  };
}

type Transform = (sums: Float64Array) => void;

const each =
  (change: (sum: number) => number): Transform =>
  (sums) => {
    for (let index = 0; index < sums.length; index++) sums[index] = change(sums[index] ?? 0);
  };

/** What the objective makes of a row's sums: `binary sigmoid:1` and the like. Absent (a custom one): nothing. */
function transformOf({ objective, average }: Ensemble, file: string): Transform | undefined {
  const [name = "", ...options] = objective.trim().split(/\s+/);
  const option = (key: string): number =>
    Number(options.find((each) => each.startsWith(`${key}:`))?.slice(key.length + 1) ?? 1);
  switch (name) {
    case "binary":
    case "multiclassova":
      return sigmoid(option("sigmoid"));
    case "cross_entropy":
    case "xentropy":
      return sigmoid(1);
    case "cross_entropy_lambda":
    case "xentlambda":
      return each((sum) => Math.log1p(Math.exp(sum)));
    case "multiclass":
      // Also of a random forest, whose averages are sums like any other.
      return softmax;
    case "poisson":
    case "gamma":
    case "tweedie":
      return each(Math.exp);
    case "regression":
      return options.includes("sqrt") ? each((sum) => Math.sign(sum) * sum * sum) : undefined;
    case "":
    case "custom":
    case "regression_l1":
    case "huber":
    case "fair":
    case "quantile":
    case "mape":
    case "lambdarank":
    case "rank_xendcg":
      return undefined;
    default:
      throw new ModelError(
        "UnsupportedFormat",
        `${file}: objective ${name} is not known${average ? " (random forest)" : ""}`,
      );
  }
}

const sigmoid = (steepness: number): Transform => each((sum) => 1 / (1 + Math.exp(-steepness * sum)));

const softmax: Transform = (sums) => {
  const greatest = sums.reduce((max, sum) => Math.max(max, sum), Number.NEGATIVE_INFINITY);
  let total = 0;
  for (let index = 0; index < sums.length; index++) {
    const power = Math.exp((sums[index] ?? 0) - greatest);
    sums[index] = power;
    total += power;
  }
  for (let index = 0; index < sums.length; index++) sums[index] = (sums[index] ?? 0) / total;
};
