import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ApiClient } from "../../../kernel/client/index.js";
import { isAlreadyExists } from "../../../kernel/errors/index.js";
import {
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
} from "../../../kernel/kinds/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { NodeError } from "../errors.js";

/** The class whose claims nodes fill with folders of their own. */
export const localStorageClass = "local";
/** Marks volumes that Argosy's nodes made, with the node. */
const provisionedBy = "pv.kubernetes.io/provisioned-by";
const provisioner = "argosy.dev/local";

export interface LocalClaimsOptions {
  readonly client: ApiClient;
  readonly nodeName: string;
  /** Folder of this node's volumes. */
  readonly folder: string;
  readonly log: Logger;
}

/** Where a claim's data lie. */
export interface ClaimFolder {
  readonly path: string;
  /** It is the volume's own: `fsGroup` may change what is in it. */
  readonly isOwned: boolean;
  /** Pods may only read it: no access mode of the volume lets them write. */
  readonly isLocked: boolean;
}

/** Persistent volumes that are folders of this node: made for the first pod that uses a claim here, kept as long as the claim. */
export class LocalClaims {
  readonly #options: LocalClaimsOptions;

  constructor(options: LocalClaimsOptions) {
    this.#options = options;
  }

  /** The folder behind a claim, made and bound when this is its first use. Throws `FailedMount`. */
  async folderOf(pod: Pod, claimName: string): Promise<ClaimFolder> {
    const { client, nodeName } = this.#options;
    const namespace = pod.metadata.namespace ?? "default";
    const claim = await client.resource(PersistentVolumeClaimKind).find(claimName, { namespace });
    if (claim === undefined) throw new NodeError("FailedMount", `persistentvolumeclaim "${claimName}" not found`);
    if (claim.spec.volumeMode === "Block")
      throw new NodeError("FailedMount", `claim "${claimName}" asks for a block device; this node has folders only`);
    const bound = claim.spec.volumeName ?? "";
    const volume = bound === "" ? await this.#provision(claim) : await this.#volume(bound, claimName);
    const hostNames = nodesOf(volume);
    if (hostNames !== undefined && !hostNames.includes(nodeName)) {
      throw new NodeError(
        "FailedMount",
        `volume "${volume.metadata.name}" of claim "${claimName}" lies on node "${hostNames.join('", "')}", not on "${nodeName}"`,
      );
    }
    const path = volume.spec.local?.path ?? volume.spec.hostPath?.path;
    if (path === undefined)
      throw new NodeError(
        "FailedMount",
        `volume "${volume.metadata.name}" is neither local nor hostPath: this node cannot mount it`,
      );
    if (!existsSync(path)) mkdirSync(path, { recursive: true, mode: 0o777 });
    const modes = volume.spec.accessModes ?? [];
    const isOurs = volume.metadata.annotations?.[provisionedBy] === provisioner;
    const isLocked = !isOurs && modes.length > 0 && modes.every((mode) => mode === "ReadOnlyMany");
    return { path, isOwned: volume.spec.local !== undefined, isLocked };
  }

  /** Removes volumes of this node whose claim is gone, as their reclaim policy says. */
  async reclaim(): Promise<void> {
    const { client, nodeName, log } = this.#options;
    const volumes = await client.resource(PersistentVolumeKind).list();
    const ours = volumes.items.filter(
      (volume) => volume.metadata.annotations?.[provisionedBy] === provisioner && nodesOf(volume)?.[0] === nodeName,
    );
    for (const volume of ours) {
      const ref = volume.spec.claimRef;
      if (ref?.name === undefined || volume.spec.persistentVolumeReclaimPolicy === "Retain") continue;
      const claim = await client
        .resource(PersistentVolumeClaimKind)
        .find(ref.name, { namespace: ref.namespace ?? "default" });
      if (claim !== undefined && claim.metadata.uid === ref.uid) continue;
      log.info("removing the volume of a claim that is gone", { volume: volume.metadata.name });
      rmSync(volume.spec.local?.path ?? join(this.#options.folder, volume.metadata.name), {
        recursive: true,
        force: true,
      });
      await client.resource(PersistentVolumeKind).delete(volume.metadata.name);
    }
  }

  async #volume(name: string, claimName: string): Promise<PersistentVolume> {
    const volume = await this.#options.client.resource(PersistentVolumeKind).find(name);
    if (volume === undefined) throw new NodeError("FailedMount", `volume "${name}" of claim "${claimName}" not found`);
    return volume;
  }

  async #provision(claim: PersistentVolumeClaim): Promise<PersistentVolume> {
    const { client, nodeName, folder } = this.#options;
    const className = claim.spec.storageClassName ?? localStorageClass;
    const { name, namespace = "default", uid } = claim.metadata;
    if (className !== localStorageClass) {
      throw new NodeError(
        "FailedMount",
        `claim "${name}" is not bound, and only storage class "${localStorageClass}" is made by nodes (it asks for "${className}")`,
      );
    }
    const volumeName = `pvc-${uid}`;
    const path = join(folder, volumeName);
    mkdirSync(path, { recursive: true, mode: 0o777 });
    const volume = await createOrGet(client, {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: volumeName, annotations: { [provisionedBy]: provisioner } },
      spec: {
        capacity: { storage: claim.spec.resources?.requests?.["storage"] ?? "1Gi" },
        accessModes: claim.spec.accessModes ?? ["ReadWriteOnce"],
        persistentVolumeReclaimPolicy: "Delete",
        storageClassName: className,
        volumeMode: "Filesystem",
        claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace, name, uid },
        local: { path },
        nodeAffinity: {
          required: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [nodeName] }] },
            ],
          },
        },
      },
    });
    await this.#bind(claim, volume);
    return volume;
  }

  async #bind(claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<void> {
    const { client } = this.#options;
    const { name, namespace = "default" } = claim.metadata;
    const patch = {
      metadata: {
        annotations: { "pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes" },
      },
      spec: { volumeName: volume.metadata.name },
    };
    const claims = client.resource(PersistentVolumeClaimKind);
    await claims.patch(name, "merge", patch, { namespace });
    const status = { phase: "Bound", accessModes: volume.spec.accessModes ?? [], capacity: { ...capacityOf(volume) } };
    await claims.patch(name, "merge", { status }, { namespace, subresource: "status" });
    await client
      .resource(PersistentVolumeKind)
      .patch(volume.metadata.name, "merge", { status: { phase: "Bound" } }, { subresource: "status" });
  }
}

function capacityOf(volume: PersistentVolume): Record<string, string> {
  return Object.fromEntries(Object.entries(volume.spec.capacity ?? {}).map(([key, value]) => [key, String(value)]));
}

function nodesOf(volume: PersistentVolume): readonly string[] | undefined {
  const terms = volume.spec.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  const match = terms
    .flatMap((term) => term.matchExpressions ?? [])
    .find((each) => each.key === "kubernetes.io/hostname");
  return match?.values;
}

type VolumeDraft = Parameters<ReturnType<typeof volumesOf>["create"]>[0];
const volumesOf = (client: ApiClient) => client.resource(PersistentVolumeKind);

async function createOrGet(
  client: ApiClient,
  draft: VolumeDraft & { metadata: { name: string } },
): Promise<PersistentVolume> {
  try {
    return await volumesOf(client).create(draft);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    return volumesOf(client).get(draft.metadata.name);
  }
}
