import type { ReconcileContext } from "../../../kernel/control/index.js";
import { isNotFound, messageOf } from "../../../kernel/errors/index.js";
import { type KubeObject, type Pod, PodKind } from "../../../kernel/kinds/index.js";

/** Deletes a pod for its owner, and tells of it in an event of the owner; a refusal is told too and thrown on. */
export async function deleteOwnedPod(
  owner: KubeObject,
  pod: Pod,
  { cluster, events }: Pick<ReconcileContext<KubeObject>, "cluster" | "events">,
): Promise<void> {
  const { name, namespace = "", uid } = pod.metadata;
  try {
    await cluster.client.resource(PodKind).delete(name, { namespace, preconditions: { uid } });
    events.record(owner, "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
  } catch (error) {
    if (isNotFound(error)) return;
    events.record(owner, "Warning", "FailedDelete", `Error deleting: ${messageOf(error)}`);
    throw error;
  }
}
