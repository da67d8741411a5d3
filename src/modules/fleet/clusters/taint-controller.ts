import type { ControllerSpec } from "../../../kernel/control/index.js";
import { isDeleting } from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { type Cluster, ClusterKind } from "../kinds.js";
import { factsOf } from "../placement/facts.js";
import { ClusterTaintPolicyKind } from "../policies/kinds.js";
import { taintsFor } from "./taints.js";

const NAME = "cluster-taint-controller";

/** Keeps the taints of clusters as their conditions and the policies about them say. */
export function taintController(): ControllerSpec<Cluster> {
  return {
    name: NAME,
    kind: ClusterKind,
    concurrency: 4,
    watches: [
      {
        kind: ClusterTaintPolicyKind,
        keys: (_policy, informers) =>
          informers
            .informer(ClusterKind)
            .list()
            .map(({ metadata: { name } }) => ({ namespace: "", name })),
      },
    ],
    async reconcile(_key, cluster, context) {
      if (cluster === undefined || isDeleting(cluster)) return;
      const policies = context.cluster.informers.informer(ClusterTaintPolicyKind);
      await policies.synced(context.signal);
      const now = `${new Date(context.clock.now()).toISOString().slice(0, 19)}Z`;
      const before = cluster.spec?.taints ?? [];
      const taints = taintsFor(cluster, factsOf(cluster), policies.list(), now);
      if (equalJson(before, taints)) return;
      const { name, resourceVersion } = cluster.metadata;
      const change = { metadata: { resourceVersion: resourceVersion ?? "" }, spec: { taints: toJson(taints) } };
      const clusters = context.cluster.client.resource(ClusterKind);
      await clusters.patch(name, "merge", change, { fieldManager: NAME });
      const list = taints.map(({ key, value = "", effect }) => `${key}${value === "" ? "" : `=${value}`}:${effect}`);
      context.events.record(cluster, "Normal", "TaintClusterSucceed", `taints are now: ${list.join(", ") || "none"}`);
    },
  };
}
