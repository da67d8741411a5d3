import type { KubeObject } from "../../../kernel/kinds/index.js";
import type { Ledger } from "../../../stores/ledger/index.js";
import { UNKNOWN_ROOM } from "../placement/capacity.js";
import type { PlacementResult } from "../placement/types.js";

type About = Pick<KubeObject, "apiVersion" | "kind"> & {
  readonly metadata: Pick<KubeObject["metadata"], "name" | "namespace">;
};

/** Writes down where something goes, and why there. */
export function recordDecision(
  ledger: Ledger,
  { hub, template, why }: { readonly hub: string; readonly template: About; readonly why: string },
  result: PlacementResult,
): void {
  const { apiVersion, kind, metadata } = template;
  const { trace } = result;
  const chosen = result.isPlaced ? result.targets : [];
  const feasible = new Map(trace.feasible.map((each) => [each.cluster, each]));
  const taken = new Set(chosen.map(({ name }) => name));
  const room = (name: string): string => {
    const known = feasible.get(name);
    if (known === undefined || known.room === UNKNOWN_ROOM) return "";
    return `, room for ${known.room}${known.promised === 0 ? "" : ` of which ${known.promised} are promised to others`}`;
  };
  ledger.record({
    cluster: hub,
    about: {
      apiVersion,
      kind,
      name: metadata.name,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
    },
    topic: "placement",
    rule: trace.rule,
    inputs: { why, ...(trace.affinity === undefined ? {} : { affinity: trace.affinity }) },
    outcome: result.isPlaced
      ? chosen.length === 0
        ? "nowhere"
        : chosen.map(({ name, replicas }) => (replicas === undefined ? name : `${name} ${replicas}`)).join(", ")
      : result.message,
    winners: chosen.map(({ name, replicas }) => ({
      name,
      reason: `${replicas === undefined ? "fits" : `${replicas} replicas`}${room(name)}`,
    })),
    losers: [
      ...trace.rejected.map(({ cluster, plugin, reason }) => ({ name: cluster, reason: `${plugin}: ${reason}` })),
      ...trace.feasible
        .filter(({ cluster }) => !taken.has(cluster))
        .map(({ cluster, score }) => ({ name: cluster, reason: `fits, but is not needed${room(cluster)}`, score })),
    ],
  });
}
