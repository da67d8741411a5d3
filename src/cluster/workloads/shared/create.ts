import type { ReconcileContext } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { type Draft, type KubeObject, type Pod, PodKind } from "../../../kernel/kinds/index.js";

/** Creates a pod for its owner, and tells of it in an event of the owner; a refusal is told too and thrown on. */
export async function createOwnedPod<T extends KubeObject>(
  owner: T,
  draft: Draft<Pod>,
  context: ReconcileContext<T>,
  fieldManager: string,
): Promise<void> {
  try {
    const pod = await context.cluster.client.resource(PodKind).create(draft, { fieldManager });
    context.events.record(owner, "Normal", "SuccessfulCreate", `Created pod: ${pod.metadata.name}`);
  } catch (error) {
    context.events.record(owner, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
    throw error;
  }
}
