/** Volumes and claims of local models, in a cluster. */
import type { ClusterAccess } from "../../../../kernel/control/types.js";
import { NamespaceKind, PersistentVolumeClaimKind, PersistentVolumeKind } from "../../../../kernel/kinds/index.js";
import { asObject, asString } from "../../../../kernel/schema/index.js";
import { claimOf, volumeOf } from "./children.js";
import { LOCAL_MODELS } from "./names.js";

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
  if (informers.informer(PersistentVolumeKind).get({ namespace: "", name: key.name }) === undefined)
    await client.resource(PersistentVolumeKind).apply(applied(volumeOf(volume)), options);
  if (informers.informer(PersistentVolumeClaimKind).get(key) === undefined)
    await client.resource(PersistentVolumeClaimKind).apply(manifest, { ...options, namespace: volume.namespace });
}

/** A manifest as what is applied. */
export function applied(
  manifest: ReturnType<typeof volumeOf>,
): { metadata: { name: string } } & ReturnType<typeof volumeOf> {
  const metadata = asObject(manifest["metadata"]);
  return { ...manifest, metadata: { ...metadata, name: asString(metadata["name"]) } };
}
