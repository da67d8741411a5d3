/**
 * How an object differs from cluster to cluster. In: a manifest, a cluster, override policies. Out: the manifest for that cluster and which
 * rules made it. Pure. May use: kinds, placement (affinities), interpreters (where pods are).
 */

export { applyOverrides, describeApplied } from "./apply.js";
export { OverrideError } from "./errors.js";
export type { AppliedOverride, Overridden, OverridePolicyFacts } from "./types.js";
