import type { GateSpec } from "./kind.js";

/** What is wrong with a gate; empty when nothing is. */
export function faultOfGate(gate: Readonly<Partial<Record<keyof GateSpec, unknown>>>): string {
  const { min, max } = gate;
  if (min === undefined && max === undefined) return "has neither min nor max";
  if (typeof min === "number" && typeof max === "number" && min > max)
    return `has a min (${min}) above its max (${max}): nothing passes it`;
  const isShare = gate.source !== "Prometheus" && gate.metric === "SuccessRate";
  if (isShare && [min, max].some((bound) => typeof bound === "number" && (bound < 0 || bound > 1)))
    return "is about SuccessRate, which is a share between 0 and 1";
  if (gate.source === "Prometheus") {
    if (gate.prometheus === undefined) return "has source Prometheus, but no prometheus.address and prometheus.query";
    return gate.metric === undefined && gate.minRequests === undefined
      ? ""
      : "has source Prometheus: metric and minRequests do not go with it";
  }
  if (gate.prometheus !== undefined) return `has source ${String(gate.source)}: prometheus does not go with it`;
  return gate.metric === undefined ? `has source ${String(gate.source)}, but no metric` : "";
}
