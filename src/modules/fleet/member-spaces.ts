import type { ReconcileContext } from "../../kernel/control/index.js";
import { isAlreadyExists, isForbidden } from "../../kernel/errors/index.js";
import { isDeleting, NamespaceKind } from "../../kernel/kinds/index.js";
import type { PlannedObject } from "./hyper-plan.js";
import { asManifest } from "./interpreters/index.js";
import { type HyperMLService, WorkKind } from "./kinds.js";
import { EXECUTION_FINALIZER, executionSpaceOf, KARMADA } from "./names.js";
import { workNameOf } from "./policies/marks.js";

const MANAGER = "hypermlservice-controller";
const HELD_BACK = "namespace.karmada.io/skip-auto-propagation";

/**
 * On a real Karmada: sends the namespace that an object lives in to its member, where nobody else does: Karmada sends those of the hub, a manifest may be
 * one. It is nobody's: what others put into it would go with it, so that it stays. Argosy's own engine makes namespaces as it applies.
 */
export async function sendSpace(
  { cluster, namespace: space }: PlannedObject,
  planned: readonly PlannedObject[],
  { cluster: hub }: ReconcileContext<HyperMLService>,
): Promise<void> {
  if (space === "" || planned.some(({ kind, name }) => kind === "Namespace" && name === space)) return;
  const namespace = executionSpaceOf(cluster);
  const name = workNameOf("Namespace", "", space);
  if (hub.informers.informer(WorkKind).get({ namespace, name }) !== undefined) return;
  if (await isSent(space, hub.client)) return;
  const marks = { [KARMADA.workName]: name, [KARMADA.workNamespace]: namespace };
  const metadata = { name: space, labels: { [KARMADA.managed]: "true" }, annotations: marks };
  try {
    await hub.client.resource(WorkKind).create(
      {
        apiVersion: `${WorkKind.group}/${WorkKind.version}`,
        kind: WorkKind.kind,
        metadata: { name, namespace, finalizers: [EXECUTION_FINALIZER] },
        spec: {
          preserveResourcesOnDeletion: true,
          workload: { manifests: [{ apiVersion: "v1", kind: "Namespace", ...asManifest({ metadata }, "") }] },
        },
      },
      { namespace, fieldManager: MANAGER },
    );
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

/** Whether Karmada sends this namespace of the hub to all members. Who may not look leaves it to Karmada. */
async function isSent(space: string, client: ReconcileContext<HyperMLService>["cluster"]["client"]): Promise<boolean> {
  try {
    const found = await client.resource(NamespaceKind).find(space);
    return found !== undefined && !isDeleting(found) && found.metadata.labels?.[HELD_BACK]?.toLowerCase() !== "true";
  } catch (error) {
    if (isForbidden(error)) return true;
    throw error;
  }
}
