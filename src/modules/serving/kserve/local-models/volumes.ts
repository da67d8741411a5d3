/** Volumes and claims of local models, in a cluster. */
import type { ClusterAccess } from "../../../../kernel/control/types.js";
import type { PersistentVolume } from "../../../../kernel/kinds/index.js";
import { NamespaceKind, PersistentVolumeClaimKind, PersistentVolumeKind } from "../../../../kernel/kinds/index.js";
import { asObject, asString } from "../../../../kernel/schema/index.js";
import { claimOf, removalClaimOf, removalVolumeOf, volumeOf } from "./children.js";
import { JOBS_NAMESPACE, LOCAL_MODELS, removalVolumeName } from "./names.js";

/** The volume and the claim of a model in a namespace. */
export async function ensureVolume(
  volume: Parameters<typeof volumeOf>[0],
  { context, isOurs }: { readonly context: { readonly cluster: ClusterAccess }; readonly isOurs: boolean },
): Promise<void> {
  const { client, informers } = context.cluster;
  const options = { fieldManager: LOCAL_MODELS, force: true };
  if (isOurs && informers.informer(NamespaceKind).get({ namespace: "", name: volume.namespace }) === undefined)
    await client.resource(NamespaceKind).apply({ metadata: { name: volume.namespace } }, options);
  const manifest = applied(claimOf(volume));
  const key = { namespace: volume.namespace, name: manifest.metadata.name };
  const known = informers.informer(PersistentVolumeKind).get({ namespace: "", name: key.name });
  if (known === undefined) await client.resource(PersistentVolumeKind).apply(applied(volumeOf(volume)), options);
  else if (known.status?.phase === "Released")
    // Its claim went with an earlier namespace of that name.
    await client
      .resource(PersistentVolumeKind)
      .patch(key.name, "merge", { spec: { claimRef: { uid: null, resourceVersion: null } } });
  if (informers.informer(PersistentVolumeClaimKind).get(key) === undefined)
    await client.resource(PersistentVolumeClaimKind).apply(manifest, { ...options, namespace: volume.namespace });
}

/**
 * The claim in the jobs' namespace by which a model's folder is removed: who mounts that folder cannot, and the claim of the model's own namespace may be gone
 * with it. Returns its name.
 */
export async function ensureRemovalVolume(
  volume: PersistentVolume,
  about: { readonly key: string; readonly group: string; readonly context: { readonly cluster: ClusterAccess } },
): Promise<string> {
  const { key, group, context } = about;
  const { client, informers } = context.cluster;
  const name = removalVolumeName(key, group);
  const options = { fieldManager: LOCAL_MODELS, force: true };
  if (informers.informer(NamespaceKind).get({ namespace: "", name: JOBS_NAMESPACE }) === undefined)
    await client.resource(NamespaceKind).apply({ metadata: { name: JOBS_NAMESPACE } }, options);
  if (informers.informer(PersistentVolumeKind).get({ namespace: "", name }) === undefined)
    await client.resource(PersistentVolumeKind).apply(applied(removalVolumeOf(volume, { key, name })), options);
  const own = { ...options, namespace: JOBS_NAMESPACE };
  if (informers.informer(PersistentVolumeClaimKind).get({ namespace: JOBS_NAMESPACE, name }) === undefined)
    await client.resource(PersistentVolumeClaimKind).apply(applied(removalClaimOf(volume, { key, name })), own);
  return name;
}

/** A manifest as what is applied. */
export function applied(
  manifest: ReturnType<typeof volumeOf>,
): { metadata: { name: string } } & ReturnType<typeof volumeOf> {
  const metadata = asObject(manifest["metadata"]);
  return { ...manifest, metadata: { ...metadata, name: asString(metadata["name"]) } };
}
