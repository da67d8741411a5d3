/**
 * Schemas, once for each kind. In: shapes written with the builder `s`, or OpenAPI v3 documents. Out: the static type
 * (`Infer`), validation worded as Kubernetes words it, defaulting, pruning, suggestions; reading and copying JSON. May use: errors, JSON types.
 */
export type {
  ConditionValue,
  EmbeddedResource,
  Fields,
  Infer,
  NumberBounds,
  ObjectOf,
  Presence,
  SizeBounds,
  StringBounds,
} from "./builder.js";
export { Field, s } from "./builder.js";
export { applyDefaults, dropNulls, hasDefaults } from "./defaults.js";
export { readDefinitions } from "./definitions.unsafe.js";
export { cloneJson, cloneObject, equalJson, isObject, parseJson, setMember, toJson, toJsonObject } from "./json.js";
export { JsonPath, showJson } from "./json-path.js";
export { compilePattern } from "./pattern.js";
export { knownNames, prune } from "./prune.js";
export { asList, asNumber, asObject, asObjects, asString } from "./read.js";
export { didYouMean } from "./suggest.js";
export type { Schema } from "./types.js";
export { isComposite, quoteValue, validateSchema, validateValue } from "./validate.js";
