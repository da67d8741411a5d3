/** scikit-learn's transformers that change a row without looking at others. */
import { ModelError } from "../../failures.js";
import type { Place } from "./document.js";
import type { RowTransform } from "./sklearn.js";

/** Reads one step of a pipeline that is not the last. Throws `ModelError` naming the place. */
export function readTransform(place: Place): RowTransform {
  const type = place.at("type").text();
  switch (type) {
    case "StandardScaler":
    case "MinMaxScaler":
    case "MaxAbsScaler":
    case "RobustScaler":
      return readAffine(place);
    case "SimpleImputer":
      return readImputer(place);
    case "Normalizer":
      return readNormalizer(place);
    case "PCA":
      return readPca(place);
    case "PolynomialFeatures":
      return readPolynomial(place);
    case "passthrough": {
      const features = place.at("features").number();
      return { features, width: features, takesMissing: true, apply: (row) => row };
    }
    default:
      throw new ModelError("UnsupportedFormat", `${place.path}: the transformer ${type} is not supported`);
  }
}

/** (x - offset) / scale, as StandardScaler, or x * factor + shift, as MinMaxScaler computes it. */
function readAffine(place: Place): RowTransform {
  const list = (name: string, size: number, otherwise: number): Float64Array => {
    if (!place.at(name).isHere) return new Float64Array(size).fill(otherwise);
    const values = Float64Array.from(place.at(name).numbers());
    if (values.length !== size) throw place.at(name).wrong(`must have ${size} numbers`);
    return values;
  };
  const features = place.at("features").number();
  const [offset, divisor, factor, shift] = [
    list("offset", features, 0),
    list("divisor", features, 1),
    list("factor", features, 1),
    list("shift", features, 0),
  ];
  const clip = place.at("clip").isHere ? place.at("clip").numbers() : undefined;
  return {
    features,
    width: features,
    takesMissing: true,
    apply: (row) =>
      row.map((value, index) => {
        const scaled =
          ((value - (offset[index] ?? 0)) / (divisor[index] ?? 1)) * (factor[index] ?? 1) + (shift[index] ?? 0);
        return clip === undefined ? scaled : Math.min(Math.max(scaled, clip[0] ?? scaled), clip[1] ?? scaled);
      }),
  };
}

function readImputer(place: Place): RowTransform {
  const fill = Float64Array.from(place.at("statistics").numbers());
  // A feature without any value in training is left out by scikit-learn: the exporter refuses that.
  const missing = place.at("missing_values").isHere ? place.at("missing_values").number() : Number.NaN;
  return {
    features: fill.length,
    width: fill.length,
    takesMissing: true,
    apply: (row) =>
      row.map((value, index) => (Object.is(value, missing) || value === missing ? (fill[index] ?? 0) : value)),
  };
}

function readNormalizer(place: Place): RowTransform {
  const features = place.at("features").number();
  const norm = place.at("norm").text();
  if (norm !== "l1" && norm !== "l2" && norm !== "max") throw place.at("norm").wrong("must be l1, l2 or max");
  return {
    features,
    width: features,
    takesMissing: false,
    apply(row) {
      const size =
        norm === "l2"
          ? Math.sqrt(row.reduce((sum, value) => sum + value * value, 0))
          : norm === "l1"
            ? row.reduce((sum, value) => sum + Math.abs(value), 0)
            : row.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      return size === 0 ? row : row.map((value) => value / size);
    },
  };
}

function readPca(place: Place): RowTransform {
  const components = place.at("components").matrix();
  const mean = Float64Array.from(place.at("mean").numbers());
  const scale = place.at("scale").isHere ? place.at("scale").numbers() : undefined;
  return {
    features: mean.length,
    width: components.length,
    takesMissing: false,
    apply: (row) =>
      Float64Array.from(components, (component, index) => {
        let sum = 0;
        for (let feature = 0; feature < row.length; feature++)
          sum += ((row[feature] ?? 0) - (mean[feature] ?? 0)) * (component[feature] ?? 0);
        return scale === undefined ? sum : sum / (scale[index] ?? 1);
      }),
  };
}

function readPolynomial(place: Place): RowTransform {
  const powers = place.at("powers").matrix();
  const features = place.at("features").number();
  return {
    features,
    width: powers.length,
    takesMissing: false,
    apply: (row) =>
      Float64Array.from(powers, (exponents) => {
        let product = 1;
        for (let feature = 0; feature < features; feature++) {
          for (let times = exponents[feature] ?? 0; times > 0; times--) product *= row[feature] ?? 0;
        }
        return product;
      }),
  };
}
