/**
 * Serving: MLService and MLServiceRuntime made true with Deployments, Services and Ingresses. In: those objects, pods' states,
 * and a probe through the cluster's ingress. Out: children, addresses, a status that says Ready only of what answered, and
 * decisions in the ledger. May use: the kernel, the ledger.
 */

export { prometheusQuery } from "./autoscaling/index.js";
export { WEIGHTS_ANNOTATION } from "./children.js";
export type { MLService } from "./kinds.js";
export { MLServiceKind, MLServiceRuntimeKind } from "./kinds.js";
export { createServingModule } from "./module.js";
export type { ProbeResult } from "./probe.js";
export { createHttpProbe } from "./probe.js";
