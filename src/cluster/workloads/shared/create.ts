import type { ReconcileContext } from "../../../kernel/control/index.js";
import { ApiError, messageOf } from "../../../kernel/errors/index.js";
import { type Draft, type KubeObject, type Pod, PodKind } from "../../../kernel/kinds/index.js";

/** Creates a pod for its owner, and tells of it in an event of the owner; a refusal is told too and thrown on. */
export async function createOwnedPod(
  owner: KubeObject,
  draft: Draft<Pod>,
  context: Pick<ReconcileContext<KubeObject>, "cluster" | "events">,
  fieldManager: string,
): Promise<void> {
  try {
    const pod = await context.cluster.client.resource(PodKind).create(draft, { fieldManager });
    context.events.record(owner, "Normal", "SuccessfulCreate", `Created pod: ${pod.metadata.name}`);
  } catch (error) {
    // Nothing can be made any more, and nobody needs to be told: the owner goes too.
    if (isNamespaceTerminating(error)) return;
    context.events.record(owner, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
    throw error;
  }
}

/** Whether a creation was refused because the namespace is on its way out. */
export function isNamespaceTerminating(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    error.status.details?.causes?.some(({ reason }) => reason === "NamespaceTerminating") === true
  );
}
