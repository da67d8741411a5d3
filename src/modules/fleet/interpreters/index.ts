/**
 * What the hub knows of kinds: replicas and what each needs, health, status, dependencies, what a member may decide itself. Objects in,
 * answers out; pure. Known are the kinds of Kubernetes and of machine learning; others are interpreted by customizations. May use: kinds, control.
 */

export { customizationAdmission } from "./admission.js";
export { ResourceInterpreterCustomizationKind } from "./customization-kind.js";
export { podSpecPaths, textsOf } from "./pods.js";
export { asManifest, WORK_ID, withoutIrrelevant } from "./prune.js";
export { builtInInterpreter, InterpreterRegistry } from "./registry.js";
export type * from "./types.js";
