import type { ControllerSpec } from "../../../kernel/control/index.js";
import { isDeleting, type KubeObject } from "../../../kernel/kinds/index.js";
import { asObject, asObjects } from "../../../kernel/schema/index.js";
import { jsonOf } from "../json.unsafe.js";
import { type Cluster, ClusterKind } from "../kinds.js";
import { brakeOn, FAILED_AT, failureNote, isAway } from "./stability.js";

const NAME = "cluster-stability";

/** `isAway` of an object that is known to be a Cluster. */
function isGone(object: KubeObject): boolean {
  const conditions = asObjects(asObject(jsonOf(object)["status"])["conditions"]);
  const ready = conditions.find(({ type }) => type === "Ready")?.["status"];
  return ready !== undefined && ready !== "True";
}

/** Notes when clusters fail, and says of those that are away when too many are for anything to be moved. */
export function stabilityController(): ControllerSpec<Cluster> {
  return {
    name: NAME,
    kind: ClusterKind,
    watches: [
      {
        kind: ClusterKind,
        concerns: (now, old) => isDeleting(now) !== isDeleting(old) || isGone(now) !== isGone(old),
        keys: (_changed, informers) =>
          informers
            .informer(ClusterKind)
            .list()
            .filter(isAway)
            .map(({ metadata: { name } }) => ({ namespace: "", name })),
      },
    ],
    async reconcile(_key, cluster, context) {
      if (cluster === undefined) return;
      const note = failureNote(cluster);
      const { name, resourceVersion } = cluster.metadata;
      const change = { metadata: { resourceVersion: resourceVersion ?? "", annotations: { [FAILED_AT]: note ?? "" } } };
      if (note !== undefined)
        await context.cluster.client.resource(ClusterKind).patch(name, "merge", change, { fieldManager: NAME });
      const why = isAway(cluster) ? brakeOn(context.informer.list()) : undefined;
      if (why !== undefined) context.events.record(cluster, "Warning", "EvictionStopped", why);
    },
  };
}
