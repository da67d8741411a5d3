/**
 * Resource kinds: what objects are, the native kinds of Kubernetes as types and coordinates, and the small languages in
 * their fields (selectors, quantities, conditions). In: text and objects. Out: typed values. May use: errors, schema.
 */
export * from "./conditions.js";
export { toCrd } from "./crd.js";
export * from "./define.js";
export { defineKind, type KindOptions } from "./define-kind.js";
/** @public scripts/kinds-reference.mjs renders docs/kinds.md with it. */
export { renderKindReference, undescribedFields } from "./document.js";
export { Faults } from "./faults.js";
export * from "./metadata.js";
export * from "./names.js";
export * from "./native.js";
export * from "./object.js";
export * from "./quantity.js";
export * from "./selectors.js";
