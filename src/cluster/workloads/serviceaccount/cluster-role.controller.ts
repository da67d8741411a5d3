import type { ControllerSpec } from "../../../kernel/control/index.js";
import { type ClusterRole, ClusterRoleKind, isOfKind, labelSelectorMatches } from "../../../kernel/kinds/index.js";

/** Gathers into ClusterRoles with an aggregationRule the rules of the roles that it selects. */
export function clusterRoleAggregation(): ControllerSpec<ClusterRole> {
  return {
    name: "clusterrole-aggregation-controller",
    kind: ClusterRoleKind,
    watches: [
      {
        kind: ClusterRoleKind,
        // Roles are few and seldom change: every gathering role looks again.
        keys: (_role, informers) =>
          informers
            .informer(ClusterRoleKind)
            .list()
            .filter((role) => role.aggregationRule !== undefined)
            .map((role) => ({ namespace: "", name: role.metadata.name })),
      },
    ],
    async reconcile(_key, role, { cluster, informer }) {
      const selectors = role?.aggregationRule?.clusterRoleSelectors ?? [];
      if (role === undefined || selectors.length === 0) return;
      const gathered = informer
        .list()
        .filter((other) => isOfKind(other, ClusterRoleKind) && other.metadata.uid !== role.metadata.uid)
        .filter((other) => selectors.some((selector) => labelSelectorMatches(selector, other.metadata.labels)))
        .toSorted((left, right) => (left.metadata.name < right.metadata.name ? -1 : 1))
        .flatMap((other) => other.rules ?? []);
      const distinct = [...new Map(gathered.map((rule) => [JSON.stringify(rule), rule])).values()];
      if (JSON.stringify(distinct) === JSON.stringify(role.rules ?? [])) return;
      await cluster.client
        .resource(ClusterRoleKind)
        .update({ ...role, rules: distinct }, { fieldManager: "clusterrole-aggregation-controller" });
    },
  };
}
