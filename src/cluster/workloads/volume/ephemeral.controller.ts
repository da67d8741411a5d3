import type { ControllerSpec, ReconcileContext } from "../../../kernel/control/index.js";
import { isAlreadyExists } from "../../../kernel/errors/index.js";
import {
  controllerOf,
  isDeleting,
  isOfKind,
  ownerReferenceTo,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
} from "../../../kernel/kinds/index.js";
import { isTerminal } from "../shared/pods.js";

const fieldManager = "ephemeral-volume-controller";

/** Makes the claims of pods' generic ephemeral volumes; they go with their pods. */
export function ephemeralVolumes(): ControllerSpec<Pod> {
  return {
    name: fieldManager,
    kind: PodKind,
    owns: [PersistentVolumeClaimKind],
    async reconcile(_key, pod, context) {
      if (pod === undefined || !isOfKind(pod, PodKind) || isDeleting(pod) || isTerminal(pod)) return;
      for (const { name, ephemeral } of pod.spec.volumes ?? [])
        if (ephemeral?.volumeClaimTemplate !== undefined)
          await ensureClaim(pod, { volume: name, template: ephemeral.volumeClaimTemplate }, context);
    },
  };
}

type Template = NonNullable<
  NonNullable<NonNullable<Pod["spec"]["volumes"]>[number]["ephemeral"]>["volumeClaimTemplate"]
>;

async function ensureClaim(
  pod: Pod,
  { volume, template }: { readonly volume: string; readonly template: Template },
  { cluster, events }: ReconcileContext<Pod>,
): Promise<void> {
  const { namespace = "", name: podName, uid } = pod.metadata;
  const name = `${podName}-${volume}`;
  const found = cluster.informers.informer(PersistentVolumeClaimKind).get({ namespace, name });
  if (found !== undefined) {
    const message = `PVC ${namespace}/${name} was not created for pod ${namespace}/${podName} (pod is not owner)`;
    if (controllerOf(found)?.uid !== uid) events.record(pod, "Warning", "EphemeralVolumeFailed", message);
    return;
  }
  const { labels = {}, annotations = {} } = template.metadata ?? {};
  const metadata = { name, namespace, labels, annotations, ownerReferences: [ownerReferenceTo(pod)] };
  const claim = { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata, spec: { ...template.spec } };
  try {
    await cluster.client.resource(PersistentVolumeClaimKind).create(claim, { namespace, fieldManager });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}
