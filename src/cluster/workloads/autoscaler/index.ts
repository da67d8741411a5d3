/**
 * The size of workloads by their load. In: HorizontalPodAutoscalers, the scale of their targets, metrics.k8s.io and
 * custom.metrics.k8s.io, external.metrics.k8s.io, pods. Out: sizes, statuses, events, decisions in the ledger. May use:
 * kernel client, control, kinds; stores/ledger.
 */
export { type AutoscalerOptions, autoscalerController } from "./autoscaler.controller.js";
