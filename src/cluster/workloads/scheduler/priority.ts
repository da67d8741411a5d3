import type { Pod } from "../../../kernel/kinds/index.js";

/** A pod's priority; 0 unless its class says more. */
export function priorityOf(pod: Pod): number {
  return pod.spec.priority ?? 0;
}
