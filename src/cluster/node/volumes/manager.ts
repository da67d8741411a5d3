import { createHash } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { join, normalize } from "node:path";
import type { ApiClient } from "../../../kernel/client/index.js";
import type { Clock, Timer } from "../../../kernel/clock/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { type Container, PersistentVolumeClaimKind, type Pod, type Volume } from "../../../kernel/kinds/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { NodeError } from "../errors.js";
import { expandVariables } from "../pods/env.js";
import { folderBytes } from "../runtime/disk.js";
import { isWithin } from "../runtime/mount-table.js";
import type { ContainerMount } from "../runtime/types.js";
import { prepareHostPath } from "./host-path.js";
import { LocalClaims } from "./local-claims.js";
import { giveToGroup } from "./ownership.js";
import { writePayload } from "./payload.js";
import { type BoundToken, type ProjectionContext, projectVolume, referencesOf } from "./projections.js";
import { ObjectSources } from "./sources.js";

export interface VolumeManagerOptions {
  readonly client: ApiClient;
  /** May make persistent volumes and bind claims, which a node's own identity may not. */
  readonly provisioner: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeName: string;
  readonly dataDir: string;
  readonly hiddenPaths: readonly string[];
  /** Folders below the hidden ones that pods may mount. */
  readonly sharedPaths: readonly string[];
  readonly allocatable: { readonly cpuMillis: number; readonly memoryBytes: number };
}

/** What volumes of one pod are made with. */
export interface VolumeContext {
  readonly pod: Pod;
  readonly podFolder: string;
  readonly podIp: string;
  readonly hostIp: string;
}

interface PodVolumes {
  readonly folders: Map<string, string>;
  readonly tokens: Map<string, BoundToken>;
  /** Claims whose files belong to the pod's group by now. */
  readonly given: Set<string>;
  /** Claims that nobody writes to. */
  readonly locked: Set<string>;
  readonly stop: AbortController;
  timer: Timer | undefined;
  isFollowed: boolean;
}

const watchRetryMs = 5_000;
const reclaimMs = 60_000;

/** Makes, updates and removes the volumes of the pods of one node. */
export class VolumeManager {
  readonly sources: ObjectSources;
  readonly #options: VolumeManagerOptions;
  readonly #claims: LocalClaims;
  readonly #memoryFolder: string;
  readonly #pods = new Map<string, PodVolumes>();
  #reclaimTimer: Timer | undefined;
  #closed = false;

  constructor(options: VolumeManagerOptions) {
    this.#options = options;
    this.sources = new ObjectSources(options.client);
    this.#claims = new LocalClaims({
      ...options,
      client: options.provisioner,
      folder: join(options.dataDir, "volumes"),
    });
    const hash = createHash("sha256").update(options.dataDir).digest("hex").slice(0, 8);
    this.#memoryFolder = `/dev/shm/argosy-${hash}`;
  }

  /** Makes all volumes of a pod; the same again does no harm. Throws `FailedMount` for the first that cannot be made. */
  async prepare(context: VolumeContext): Promise<void> {
    const { uid } = context.pod.metadata;
    const known = this.#pods.get(uid) ?? newPodVolumes();
    this.#pods.set(uid, known);
    let renewAtMs = Number.POSITIVE_INFINITY;
    for (const volume of context.pod.spec.volumes ?? []) {
      const made = await this.#make(volume, context, known);
      known.folders.set(volume.name, made.folder);
      renewAtMs = Math.min(renewAtMs, made.renewAtMs ?? Number.POSITIVE_INFINITY);
    }
    this.#keepFresh(context, known, renewAtMs);
  }

  /** The mounts of a container. */
  mountsOf(pod: Pod, container: Container, env: ReadonlyMap<string, string>): ContainerMount[] {
    const known = this.#pods.get(pod.metadata.uid);
    return (container.volumeMounts ?? []).map((mount) => {
      const folder = known?.folders.get(mount.name);
      if (folder === undefined)
        throw new NodeError(
          "CreateContainerConfigError",
          `volume "${mount.name}" of container "${container.name}" is not there`,
        );
      const inner = mount.subPathExpr === undefined ? (mount.subPath ?? "") : expandVariables(mount.subPathExpr, env);
      const volume = pod.spec.volumes?.find((each) => each.name === mount.name);
      const isLocked = known?.locked.has(volume?.persistentVolumeClaim?.claimName ?? "") === true;
      const readOnly = mount.readOnly === true || isLocked || isReadOnlyVolume(volume);
      return {
        containerPath: mount.mountPath,
        hostPath: inner === "" ? folder : subPath(folder, inner),
        readOnly,
        ...(isRecursive(mount) ? { recursiveReadOnly: true } : {}),
        ...(mount.mountPropagation === "HostToContainer" ? { isFollowing: true } : {}),
      };
    });
  }

  /** Bytes that a volume of the pod takes; `undefined`: it cannot be told. */
  async diskUse(uid: string, volume: string): Promise<number | undefined> {
    const folder = this.#pods.get(uid)?.folders.get(volume);
    return folder === undefined ? undefined : folderBytes(folder);
  }

  /** Forgets a pod's volumes; what lies in the pod's folder goes with it. */
  remove(uid: string): void {
    const known = this.#pods.get(uid);
    known?.stop.abort();
    known?.timer?.cancel();
    this.#pods.delete(uid);
    rmSync(join(this.#memoryFolder, uid), { recursive: true, force: true });
  }

  /** Removes memory volumes of pods that are not here any more, and volumes whose claims are gone. */
  async cleanUp(podUids: ReadonlySet<string>): Promise<void> {
    for (const uid of existsSync(this.#memoryFolder) ? readdirSync(this.#memoryFolder) : []) {
      if (!podUids.has(uid)) rmSync(join(this.#memoryFolder, uid), { recursive: true, force: true });
    }
    this.#scheduleReclaim();
    await this.#claims.reclaim();
  }

  close(): void {
    this.#reclaimTimer?.cancel();
    this.#closed = true;
    for (const known of this.#pods.values()) {
      known.stop.abort();
      known.timer?.cancel();
    }
  }

  /** Claims go without this node being told (it may not watch them), so it looks now and then. */
  #scheduleReclaim(): void {
    if (this.#closed) return;
    this.#reclaimTimer = this.#options.clock.setTimer(reclaimMs, () => {
      this.#claims
        .reclaim()
        .catch((error: unknown) => this.#options.log.debug("old volumes could not be removed", { err: error }))
        .finally(() => this.#scheduleReclaim());
    });
  }

  async #make(
    volume: Volume,
    context: VolumeContext,
    known: PodVolumes,
  ): Promise<{ folder: string; renewAtMs?: number }> {
    const folder = join(context.podFolder, "volumes", volume.name);
    const { pod } = context;
    if (volume.emptyDir !== undefined) return { folder: this.#emptyDir(volume, context, folder) };
    if (volume.hostPath !== undefined) {
      return { folder: prepareHostPath(volume.hostPath.path, volume.hostPath.type ?? "", this.#options) };
    }
    if (volume.persistentVolumeClaim !== undefined) {
      const { claimName, readOnly } = volume.persistentVolumeClaim;
      return { folder: await this.#claimFolder(pod, claimName, { readOnly: readOnly === true, known }) };
    }
    if (volume.ephemeral !== undefined) {
      const claimName = await this.#ephemeral(volume, pod);
      return { folder: await this.#claimFolder(pod, claimName, { readOnly: false, known }) };
    }
    const projection = await projectVolume(volume, this.#projectionContext(context, known));
    if (projection === undefined) {
      const type = Object.keys(volume).find((key) => key !== "name") ?? "unknown";
      throw new NodeError("FailedMount", `volume "${volume.name}" is of type ${type}, which this node cannot mount`);
    }
    const stamp = new Date(this.#options.clock.now()).toISOString().replaceAll(/[:.]/g, "_");
    await writePayload(folder, withGroup(projection.files, pod), stamp, this.#owner(pod));
    return { folder, ...(projection.renewAtMs === undefined ? {} : { renewAtMs: projection.renewAtMs }) };
  }

  #projectionContext(context: VolumeContext, { tokens }: PodVolumes): ProjectionContext {
    const { client, clock, allocatable } = this.#options;
    return { ...context, client, allocatable, sources: this.sources, nowMs: clock.now(), tokens };
  }

  #emptyDir(volume: Volume, context: VolumeContext, folder: string): string {
    const inMemory = volume.emptyDir?.medium === "Memory" && existsSync("/dev/shm");
    const place = inMemory ? join(this.#memoryFolder, context.pod.metadata.uid, volume.name) : folder;
    mkdirSync(place, { recursive: true });
    chmodSync(place, 0o777);
    const group = context.pod.spec.securityContext?.fsGroup;
    if (group !== undefined && process.getuid?.() === 0) {
      chownSync(place, 0, group);
      chmodSync(place, 0o2777);
    }
    return place;
  }

  /** The folder behind a claim, given to the pod's group the first time. */
  async #claimFolder(
    pod: Pod,
    claimName: string,
    { readOnly, known }: { readonly readOnly: boolean; readonly known: PodVolumes },
  ): Promise<string> {
    const { path, isOwned, isLocked } = await this.#claims.folderOf(pod, claimName);
    if (isLocked) known.locked.add(claimName);
    const { fsGroup, fsGroupChangePolicy } = pod.spec.securityContext ?? {};
    if (fsGroup !== undefined && isOwned && !readOnly && !isLocked && !known.given.has(claimName)) {
      await giveToGroup(path, fsGroup, fsGroupChangePolicy);
      known.given.add(claimName);
    }
    return path;
  }

  /** A claim of the pod's own (KEP-1698): made when it is not there, owned by the pod. */
  async #ephemeral(volume: Volume, pod: Pod): Promise<string> {
    const template = volume.ephemeral?.volumeClaimTemplate;
    const claims = this.#options.provisioner.resource(PersistentVolumeClaimKind);
    const { name, uid, namespace = "default" } = pod.metadata;
    const claimName = `${name}-${volume.name}`;
    const present = await claims.find(claimName, { namespace });
    if (present === undefined && template?.spec !== undefined) {
      const owner = { apiVersion: "v1", kind: "Pod", name, uid, controller: true, blockOwnerDeletion: true };
      await claims.create({
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        metadata: { name: claimName, namespace, ownerReferences: [owner], labels: template.metadata?.labels ?? {} },
        spec: template.spec,
      });
    } else if (present !== undefined && !present.metadata.ownerReferences?.some((each) => each.uid === uid)) {
      throw new NodeError("FailedMount", `claim "${claimName}" exists and does not belong to this pod`);
    }
    return claimName;
  }

  #owner(pod: Pod): { uid?: number; gid?: number } {
    const group = pod.spec.securityContext?.fsGroup;
    return group === undefined || process.getuid?.() !== 0 ? {} : { uid: 0, gid: group };
  }

  /** Renews tokens in time, and looks again when a configMap or secret of a volume changes. */
  #keepFresh(context: VolumeContext, known: PodVolumes, renewAtMs: number): void {
    const { clock } = this.#options;
    known.timer?.cancel();
    known.timer = undefined;
    if (renewAtMs < Number.POSITIVE_INFINITY) {
      // Timers of a day and more would overflow.
      const delayMs = Math.min(renewAtMs - clock.now(), 2 ** 31 - 1);
      known.timer = clock.setTimer(Math.max(1000, delayMs), () => this.#refresh(context, known));
    }
    if (known.isFollowed) return;
    known.isFollowed = true;
    for (const reference of (context.pod.spec.volumes ?? []).flatMap(referencesOf)) {
      void this.#follow(context, known, reference);
    }
  }

  async #follow(
    context: VolumeContext,
    known: PodVolumes,
    reference: { kind: "configmap" | "secret"; name: string },
  ): Promise<void> {
    const { signal } = known.stop;
    const namespace = context.pod.metadata.namespace ?? "default";
    while (!signal.aborted) {
      try {
        const key = { namespace, name: reference.name };
        await this.sources.watch(reference.kind, key, { signal, changed: () => this.#refresh(context, known) });
      } catch (error) {
        this.#options.log.debug("watching a volume's source ended", { ...reference, cause: messageOf(error) });
      }
      await this.#options.clock.sleep(watchRetryMs, signal).catch(() => undefined);
    }
  }

  #refresh(context: VolumeContext, known: PodVolumes): void {
    if (known.stop.signal.aborted) return;
    this.prepare(context).catch((error: unknown) => {
      this.#options.log.warn("volumes could not be brought up to date", { pod: context.pod.metadata.name, err: error });
      known.timer ??= this.#options.clock.setTimer(30_000, () => this.#refresh(context, known));
    });
  }
}

function newPodVolumes(): PodVolumes {
  return {
    folders: new Map(),
    tokens: new Map(),
    given: new Set(),
    locked: new Set(),
    stop: new AbortController(),
    timer: undefined,
    isFollowed: false,
  };
}

/** `recursiveReadOnly`, which the types of Kubernetes 1.30 have as text. */
function isRecursive({ recursiveReadOnly }: { readonly recursiveReadOnly?: string }): boolean {
  return recursiveReadOnly === "Enabled" || recursiveReadOnly === "IfPossible";
}

function isReadOnlyVolume(volume: Volume | undefined): boolean {
  if (volume === undefined) return false;
  if (volume.persistentVolumeClaim?.readOnly === true) return true;
  return [volume.configMap, volume.secret, volume.projected, volume.downwardAPI].some((each) => each !== undefined);
}

/** Files that a group other than root's has to read. */
function withGroup<T extends { readonly mode: number }>(files: readonly T[], pod: Pod): T[] {
  const group = pod.spec.securityContext?.fsGroup;
  return files.map((file) => (group === undefined ? file : { ...file, mode: file.mode | 0o440 }));
}

/** A path inside a volume, made as a folder when it is missing. Links that lead out are refused. */
function subPath(folder: string, inner: string): string {
  if (inner.startsWith("/") || normalize(inner).startsWith("..")) {
    throw new NodeError("CreateContainerConfigError", `subPath "${inner}" must be relative and stay inside its volume`);
  }
  const path = join(folder, inner);
  if (!existsSync(path)) mkdirSync(path, { recursive: true, mode: 0o777 });
  const real = realpathSync(path);
  const base = realpathSync(folder);
  if (!isWithin(real, base))
    throw new NodeError("CreateContainerConfigError", `subPath "${inner}" leads out of its volume`);
  return real;
}
