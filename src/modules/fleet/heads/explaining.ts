import type { Decision } from "../../../stores/ledger/index.js";
import type { HeadPlan } from "../head-weights.js";
import type { HeadBackendStatus, HeadIngress } from "../kinds.js";

/** Why the backends of a HeadIngress have the weights that they have. */
export function weightDecision(
  cluster: string,
  { apiVersion, kind, metadata }: HeadIngress,
  plan: HeadPlan,
  backends: readonly HeadBackendStatus[],
): Omit<Decision, "time"> {
  const candidate = (backend: HeadBackendStatus) => ({
    name: backend.name,
    score: backend.weightEffective,
    reason: backend.message ?? `ready and answering: weight ${backend.weight} as asked`,
  });
  return {
    cluster,
    about: {
      apiVersion,
      kind,
      name: metadata.name,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
    },
    topic: "weight",
    rule: "a backend gets the weight that was asked for if its model is delivered, ready and answers the gateway's checks; otherwise 0",
    inputs: {
      asked: Object.fromEntries(backends.map((backend) => [backend.name, backend.weight])),
      given: Object.fromEntries(plan.backends.map((backend) => [backend.name, backend.weightGiven])),
      urls: Object.fromEntries(backends.map((backend) => [backend.name, backend.url])),
    },
    outcome:
      backends.length === 0
        ? "no backend"
        : backends.map((backend) => `${backend.name} ${backend.weightEffective}`).join(", "),
    winners: backends.filter((backend) => backend.weightEffective > 0).map(candidate),
    losers: backends.filter((backend) => backend.weightEffective === 0).map(candidate),
  };
}
