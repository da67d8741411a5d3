/**
 * Scaling by requests: how many pods each Deployment labelled for it has, down to none. In: the gateway's counts (or a
 * Prometheus), annotations, pods. Out: replicas, HorizontalPodAutoscalers, decisions in the ledger. May use: the kernel, the ledger, the gateway's driver.
 */

export { autoscalerController } from "./controller.js";
export { parseDurationMs } from "./duration.js";
export { handOver } from "./hand-over.js";
export type { LoadSource } from "./load.js";
export { AUTOSCALER, SCALING } from "./names.js";
export { type MetricQuery, prometheusQuery } from "./prometheus.js";
export { readSettings } from "./settings.js";
export { standingOf } from "./standing.js";
