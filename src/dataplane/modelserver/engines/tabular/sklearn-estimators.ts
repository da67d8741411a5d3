/** scikit-learn's predictors. */
import { ModelError } from "../../failures.js";
import type { Place } from "./document.js";
import { Forest, type TreeNode } from "./forest.js";
import type { Estimator } from "./sklearn.js";

/** Reads the last step of a pipeline. Throws `ModelError` naming the place. */
export function readEstimator(place: Place): Estimator {
  const type = place.at("type").text();
  const read = Object.hasOwn(READERS, type) ? READERS[type] : undefined;
  if (read === undefined)
    throw new ModelError("UnsupportedFormat", `${place.path}: the estimator ${type} is not supported`);
  return read(place);
}

/** The exporter writes every estimator as one of these. */
const READERS: Readonly<Record<string, (place: Place) => Estimator>> = {
  linear: readLinear,
  forest: readForest,
  boosting: readBoosting,
  network: readNetwork,
  gaussian_nb: readGaussian,
  kmeans: readCentres,
};

function readClasses(place: Place): Pick<Estimator, "classes"> {
  const classes = place.at("classes");
  if (!classes.isHere) return {};
  return { classes: classes.list().map(({ value }) => (typeof value === "string" ? value : Number(value))) };
}

type Link = (scores: Float64Array) => void;

const sigmoid = (score: number): number => 1 / (1 + Math.exp(-score));

/** What turns scores into probabilities or predictions; one score of a binary classifier becomes two numbers. */
function readLink(place: Place): { readonly link: Link; readonly binary: boolean } {
  const name = place.isHere ? place.text() : "identity";
  switch (name) {
    case "identity":
      return { link: () => undefined, binary: false };
    case "exp":
      return { link: (scores) => scores.set(scores.map(Math.exp)), binary: false };
    case "softmax":
      return { link: softmax, binary: false };
    case "ovr":
      return { link: oneVersusRest, binary: false };
    case "sigmoid":
      return { link: (scores) => setPair(scores, sigmoid(scores[1] ?? 0)), binary: true };
    // A binary multinomial model's score stands for both classes, with either sign.
    case "binary_softmax":
      return { link: (scores) => setPair(scores, sigmoid(2 * (scores[1] ?? 0))), binary: true };
    case "score":
      return { link: () => undefined, binary: true };
    default:
      throw place.wrong("is not a link that is known");
  }
}

function setPair(scores: Float64Array, positive: number): void {
  scores[0] = 1 - positive;
  scores[1] = positive;
}

const softmax: Link = (scores) => {
  const greatest = scores.reduce((max, score) => Math.max(max, score), Number.NEGATIVE_INFINITY);
  let sum = 0;
  for (let index = 0; index < scores.length; index++) {
    const power = Math.exp((scores[index] ?? 0) - greatest);
    scores[index] = power;
    sum += power;
  }
  for (let index = 0; index < scores.length; index++) scores[index] = (scores[index] ?? 0) / sum;
};

const oneVersusRest: Link = (scores) => {
  let sum = 0;
  for (let index = 0; index < scores.length; index++) {
    const one = sigmoid(scores[index] ?? 0);
    scores[index] = one;
    sum += one;
  }
  for (let index = 0; index < scores.length; index++) scores[index] = (scores[index] ?? 0) / sum;
};

function readLinear(place: Place): Estimator {
  const coefficients = place.at("coefficients").matrix();
  const intercepts = place.at("intercepts").numbers();
  const features = coefficients[0]?.length ?? 0;
  if (coefficients.some((row) => row.length !== features) || intercepts.length !== coefficients.length)
    throw place.wrong("has coefficients and intercepts that do not fit each other");
  const { link, binary } = readLink(place.at("link"));
  const width = binary ? 2 : coefficients.length;
  const probabilities = place.at("probabilities").value === true;
  return {
    ...{ features, width, takesMissing: false, hasProbabilities: probabilities },
    ...readClasses(place),
    decide(row, into) {
      for (let output = 0; output < coefficients.length; output++) {
        let sum = intercepts[output] ?? 0;
        for (let feature = 0; feature < features; feature++)
          sum += (row[feature] ?? 0) * (coefficients[output]?.[feature] ?? 0);
        into[binary ? 1 : output] = sum;
      }
      link(into);
    },
    // A binary score decides by its sign; probabilities of 0.5 are on the first class' side.
    ...(binary ? { choose: (decided) => ((decided[1] ?? 0) > (probabilities ? 0.5 : 0) ? 1 : 0) } : {}),
  };
}

interface TreeSource {
  readonly forest: Forest;
  /** Values of the leaves; a leaf's number in the forest is its index here. */
  readonly values: readonly ArrayLike<number>[];
  readonly takesMissing: boolean;
  /** Features are compared as 32-bit floats, as scikit-learn's trees do. */
  readonly single: boolean;
}

function readTrees(place: Place, features: number): TreeSource {
  const values: ArrayLike<number>[] = [];
  const trees = place
    .at("trees")
    .list()
    .map((tree) => readTree(tree, values));
  return {
    forest: new Forest(trees, features, { strict: false, single: false }),
    values,
    takesMissing: place.at("missing").value === true,
    single: place.at("single").value !== false,
  };
}

function readTree(place: Place, values: ArrayLike<number>[]): TreeNode[] {
  const [left, right, feature, threshold] = ["left", "right", "feature", "threshold"].map((name) =>
    place.at(name).numbers(),
  );
  const missingLeft = place.at("missing_left").isHere ? place.at("missing_left").numbers() : [];
  const leaves = place.at("value").matrix();
  return Array.from(left ?? [], (child, node): TreeNode => {
    if (child === -1) {
      values.push(leaves[node] ?? []);
      return { leaf: values.length - 1 };
    }
    return {
      feature: feature?.[node] ?? -1,
      left: child,
      right: right?.[node] ?? -1,
      defaultLeft: (missingLeft[node] ?? 0) !== 0,
      missing: "nan",
      split: threshold?.[node] ?? Number.NaN,
    };
  });
}

function readForest(place: Place): Estimator {
  const features = place.at("features").number();
  const width = place.at("width").number();
  const { forest, values, takesMissing, single } = readTrees(place, features);
  const classes = readClasses(place);
  return {
    ...{ features, width, takesMissing, hasProbabilities: classes.classes !== undefined },
    ...classes,
    decide(row, into) {
      const given = single ? row.map(Math.fround) : row;
      for (let tree = 0; tree < forest.trees; tree++) {
        const value = values[forest.value(tree, given, 0)] ?? [];
        for (let index = 0; index < width; index++) into[index] = (into[index] ?? 0) + (value[index] ?? 0);
      }
      for (let index = 0; index < width; index++) into[index] = (into[index] ?? 0) / forest.trees;
    },
  };
}

/** Gradient boosting: a start and a sum of trees for each score. */
function readBoosting(place: Place): Estimator {
  const features = place.at("features").number();
  const start = place.at("start").numbers();
  const rate = place.at("rate").number();
  const scores = start.length;
  const { forest, values, takesMissing, single } = readTrees(place, features);
  const { link, binary } = readLink(place.at("link"));
  const classes = readClasses(place);
  return {
    ...{ features, width: binary ? 2 : scores, takesMissing, hasProbabilities: classes.classes !== undefined },
    ...classes,
    decide(row, into) {
      const given = single ? row.map(Math.fround) : row;
      for (let score = 0; score < scores; score++) into[binary ? 1 : score] = start[score] ?? 0;
      for (let tree = 0; tree < forest.trees; tree++) {
        const score = binary ? 1 : tree % scores;
        const value = values[forest.value(tree, given, 0)]?.[0] ?? 0;
        into[score] = (into[score] ?? 0) + rate * value;
      }
      link(into);
    },
  };
}

const ACTIVATIONS: Readonly<Record<string, (value: number) => number>> = {
  identity: (value) => value,
  relu: (value) => Math.max(0, value),
  tanh: Math.tanh,
  logistic: sigmoid,
};

function readNetwork(place: Place): Estimator {
  const name = place.at("activation").text();
  const activation = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (activation === undefined) throw place.at("activation").wrong("is not an activation that is known");
  const layers = place
    .at("layers")
    .list()
    .map((layer) => ({ weights: layer.at("weights").matrix(), biases: layer.at("biases").numbers() }));
  const { link, binary } = readLink(place.at("link"));
  const last = layers.at(-1)?.biases.length ?? 0;
  const classes = readClasses(place);
  return {
    features: layers[0]?.weights.length ?? 0,
    ...{ width: binary ? 2 : last, takesMissing: false, hasProbabilities: classes.classes !== undefined },
    ...classes,
    decide(row, into) {
      let current = row;
      for (const [index, { weights, biases }] of layers.entries()) {
        const inputs = current;
        current = Float64Array.from({ length: biases.length }, (_, output) => {
          let sum = biases[output] ?? 0;
          for (let input = 0; input < inputs.length; input++)
            sum += (inputs[input] ?? 0) * (weights[input]?.[output] ?? 0);
          return index === layers.length - 1 ? sum : activation(sum);
        });
      }
      into.set(current, binary ? 1 : 0);
      link(into);
    },
  };
}

function readGaussian(place: Place): Estimator {
  const means = place.at("means").matrix();
  const variances = place.at("variances").matrix();
  const priors = place.at("priors").numbers();
  const features = means[0]?.length ?? 0;
  return {
    ...{ features, width: means.length, takesMissing: false, hasProbabilities: true },
    ...readClasses(place),
    decide(row, into) {
      for (let group = 0; group < means.length; group++) {
        let sum = Math.log(priors[group] ?? 0);
        for (let feature = 0; feature < features; feature++) {
          const variance = variances[group]?.[feature] ?? 1;
          const distance = (row[feature] ?? 0) - (means[group]?.[feature] ?? 0);
          sum -= 0.5 * (Math.log(2 * Math.PI * variance) + (distance * distance) / variance);
        }
        into[group] = sum;
      }
      softmax(into);
    },
  };
}

function readCentres(place: Place): Estimator {
  const centres = place.at("centres").matrix();
  const features = centres[0]?.length ?? 0;
  return {
    ...{ features, width: 1, takesMissing: false, isLabel: true },
    decide(row, into) {
      let best = 0;
      let least = Number.POSITIVE_INFINITY;
      for (let group = 0; group < centres.length; group++) {
        let distance = 0;
        for (let feature = 0; feature < features; feature++)
          distance += ((row[feature] ?? 0) - (centres[group]?.[feature] ?? 0)) ** 2;
        if (distance < least) {
          least = distance;
          best = group;
        }
      }
      into[0] = best;
    },
  };
}
