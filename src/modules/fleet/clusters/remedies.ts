import type { ControllerSpec } from "../../../kernel/control/index.js";
import { findCondition, isDeleting } from "../../../kernel/kinds/index.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { type Cluster, ClusterKind } from "../kinds.js";
import { type Remedy, RemedyKind } from "./remedy-kind.js";

const NAME = "remedy-controller";

/** What remedies ask for about a cluster, each action once. */
export function actionsFor(cluster: Cluster, remedies: readonly Remedy[]): string[] {
  const actions = remedies
    .filter((remedy) => !isDeleting(remedy) && isMeant(cluster, remedy))
    .flatMap(({ spec }) => spec.actions ?? []);
  return [...new Set(actions)].sort();
}

function isMeant({ metadata, status }: Cluster, { spec }: Remedy): boolean {
  const { clusterAffinity, decisionMatches = [] } = spec;
  if (clusterAffinity !== undefined && clusterAffinity.clusterNames?.includes(metadata.name) !== true) return false;
  if (decisionMatches.length === 0) return true;
  return decisionMatches.some(({ clusterConditionMatch: match }) => {
    if (match === undefined) return false;
    const found = findCondition(status?.conditions, match.conditionType);
    return found !== undefined && (found.status === match.conditionStatus) === (match.operator === "Equal");
  });
}

/** Keeps `status.remedyActions` of clusters as Remedies say; HeadIngresses send no requests to those with TrafficControl. */
export function remedyController(): ControllerSpec<Cluster> {
  return {
    name: NAME,
    kind: ClusterKind,
    watches: [
      {
        kind: RemedyKind,
        keys: (_remedy, informers) =>
          informers
            .informer(ClusterKind)
            .list()
            .map(({ metadata: { name } }) => ({ namespace: "", name })),
      },
    ],
    async reconcile(_key, cluster, context) {
      if (cluster === undefined || isDeleting(cluster)) return;
      const remedies = context.cluster.informers.informer(RemedyKind);
      await remedies.synced(context.signal);
      const actions = actionsFor(cluster, remedies.list());
      const before = cluster.status?.remedyActions ?? [];
      if (equalJson(actions, before)) return;
      const { name, resourceVersion } = cluster.metadata;
      const change = {
        metadata: { resourceVersion },
        status: { remedyActions: actions.length === 0 ? null : actions },
      };
      await context.cluster.client
        .resource(ClusterKind)
        .patch(name, "merge", change, { subresource: "status", fieldManager: NAME });
      const list = actions.length === 0 ? "none" : actions.join(", ");
      context.events.record(cluster, "Normal", "RemedyActionsChanged", `remedies ask for: ${list}`);
    },
  };
}
