import type { GateSpec } from "./kind.js";

/** What is wrong with a gate; empty when nothing is. */
export function faultOfGate(gate: Readonly<Partial<Record<keyof GateSpec, unknown>>>): string {
  if (gate.min === undefined && gate.max === undefined) return "has neither min nor max";
  if (gate.source === "Prometheus") {
    if (gate.prometheus === undefined) return "has source Prometheus, but no prometheus.address and prometheus.query";
    return gate.metric === undefined && gate.minRequests === undefined
      ? ""
      : "has source Prometheus: metric and minRequests do not go with it";
  }
  if (gate.prometheus !== undefined) return `has source ${String(gate.source)}: prometheus does not go with it`;
  return gate.metric === undefined ? `has source ${String(gate.source)}, but no metric` : "";
}
