import type { ClusterAccess } from "../../../kernel/control/index.js";
import { isDeleting } from "../../../kernel/kinds/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import { amounts } from "../placement/facts.js";
import { isBegun, type Promises } from "../placement/promises.js";
import type { Target } from "../placement/types.js";
import { setOf } from "./decide.js";
import { ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "./kinds.js";

/**
 * Promises again, after a start, the room that bindings were given and that their members do not show as taken: whoever decided it may have been
 * killed a moment later. What is promised so ends as other promises do, counted from now.
 */
export async function recallPromises(hub: ClusterAccess, promises: Promises, signal: AbortSignal): Promise<void> {
  for (const kind of [ResourceBindingKind, ClusterResourceBindingKind]) {
    const informer = hub.informers.informer(kind);
    await informer.synced(signal);
    for (const binding of informer.list()) if (!isDeleting(binding)) recall(binding, promises);
  }
}

function recall({ spec, status }: ResourceBinding, promises: Promises): void {
  const { resource, replicas = 0, replicaRequirements, clusters = [], components = [] } = spec;
  const { uid = "" } = resource;
  if (uid === "" || clusters.length === 0 || (replicas === 0 && components.length === 0)) return;
  const heard = status?.aggregatedStatus ?? [];
  const statuses = new Map(heard.map(({ clusterName, status: told }) => [clusterName, told]));
  const isSet = components.length > 0;
  const after = clusters.map((target): Target => ({ name: target.name, replicas: isSet ? 1 : (target.replicas ?? 0) }));
  const before = after.map(({ name, replicas: wanted = 0 }) => ({
    name,
    replicas: Math.min(wanted, replicasIn(statuses.get(name)) ?? (isBegun(statuses.get(name)) ? wanted : 0)),
  }));
  const requests = isSet ? setOf(components).requests : amounts(replicaRequirements?.resourceRequest);
  promises.promise(uid, requests, before, after);
  promises.hear(uid, heard);
}

/** How many replicas a status says there are, whatever becomes of them; undefined where it does not count them. */
function replicasIn(status: unknown): number | undefined {
  if (!isObject(status)) return undefined;
  const counts = [status["replicas"], status["active"], status["succeeded"]].filter(
    (count) => typeof count === "number",
  );
  return counts.length === 0 ? undefined : counts.reduce((sum, count) => sum + count, 0);
}
