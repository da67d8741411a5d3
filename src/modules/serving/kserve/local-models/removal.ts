/** Taking models away from nodes: a job for each that nobody wants and nobody reads any more. */
import type { ClusterAccess, InformerSet } from "../../../../kernel/control/types.js";
import { messageOf } from "../../../../kernel/errors/index.js";
import type { Job, KubeObject, Node, PersistentVolume, Pod } from "../../../../kernel/kinds/index.js";
import { JobKind, PersistentVolumeKind, PodKind } from "../../../../kernel/kinds/index.js";
import { asObject, asString, parseJson } from "../../../../kernel/schema/index.js";
import type { LocalModelNode } from "../storage-kinds.js";
import { removeJob } from "./children.js";
import {
  JOBS_NAMESPACE,
  jobName,
  KEY_LABEL,
  LEAVING,
  LOCAL_MODELS,
  modelKey,
  nodeMark,
  volumeName,
  WORK_LABEL,
} from "./names.js";
import { applied, ensureRemovalVolume } from "./volumes.js";
import { homeOf } from "./world.js";

/** Where a model's volume is: the namespace of its jobs, and the group of the node. */
export interface Brought {
  readonly home: string;
  readonly group: string;
}

interface OnNode {
  readonly node: Node;
  readonly owner: KubeObject;
  readonly context: { readonly cluster: ClusterAccess };
}

const hasSucceeded = ({ status }: Job): boolean => (status?.succeeded ?? 0) > 0;
const hasEnded = (job: Job): boolean =>
  hasSucceeded(job) ||
  job.status?.conditions?.some(({ type, status }) => type === "Failed" && status === "True") === true;

/** What is being taken away from a node, by key; of another node that had its name, nothing. */
export function leavingOn(object: LocalModelNode, nodeUid: string): Map<string, Brought> {
  const { annotations, ownerReferences = [] } = object.metadata;
  if (!ownerReferences.some(({ uid }) => uid === nodeUid)) return new Map();
  const said = asObject(parseJson(annotations?.[LEAVING] ?? "{}"));
  return new Map(
    Object.entries(said).map(([key, value]) => {
      const { home, group } = asObject(value);
      return [key, { home: asString(home), group: asString(group) }];
    }),
  );
}

/** What was brought to a node or is being taken away from it, as its LocalModelNode says: nobody else writes that. */
export function broughtTo(before: LocalModelNode | undefined, nodeUid: string): Map<string, Brought> {
  if (before?.metadata.ownerReferences?.some(({ uid }) => uid === nodeUid) !== true) return new Map();
  const named = before.spec.localModels.map(
    ({ sourceModelUri, namespace, nodeGroup }) =>
      [modelKey(sourceModelUri, namespace), { home: homeOf({ namespace }), group: nodeGroup ?? "" }] as const,
  );
  return new Map([...leavingOn(before, nodeUid), ...named]);
}

/** Takes away what is leaving; returns what is still there, each with what it waits for. */
export async function removeAll(leaving: ReadonlyMap<string, Brought>, on: OnNode): Promise<Map<string, string>> {
  const left = new Map<string, string>();
  for (const [key, brought] of leaving) {
    try {
      const waits = await removeOne(key, brought, on);
      if (waits !== undefined) left.set(key, `${brought.home}/${key}${waits}`);
    } catch (error) {
      left.set(key, `${brought.home}/${key} (${messageOf(error)})`);
    }
  }
  return left;
}

/** The job that takes a model away from a node, if there is one. */
export function removalOf(key: string, node: Node, informers: InformerSet): Job | undefined {
  const name = jobName("remove", key, nodeMark(node.metadata.uid));
  return informers.informer(JobKind).get({ namespace: JOBS_NAMESPACE, name });
}

/** What was being removed and is wanted again is begun anew when that is over. Returns whether it is. */
export async function isRemovalOver(key: string, { node, context }: OnNode): Promise<boolean> {
  const removal = removalOf(key, node, context.cluster.informers);
  if (removal === undefined) return true;
  if (hasEnded(removal)) await drop(removal, context);
  return false;
}

/** Resolves with `undefined` when it is gone, or with what is waited for, in words. */
async function removeOne(key: string, { home, group }: Brought, on: OnNode): Promise<string | undefined> {
  const { node, owner, context } = on;
  const { client, informers } = context.cluster;
  const name = jobName("fetch", key, nodeMark(node.metadata.uid));
  const fetch = informers.informer(JobKind).get({ namespace: home, name });
  // Its pods go first: they may still write.
  if (fetch !== undefined) {
    if (fetch.metadata.deletionTimestamp === undefined) await drop(fetch, context);
    return "";
  }
  const volume = informers.informer(PersistentVolumeKind).get({ namespace: "", name: volumeName(key, group, home) });
  // Nothing was brought.
  if (volume === undefined) return undefined;
  const removal = removalOf(key, node, informers);
  if (removal === undefined) {
    const reader = readersOf(key, node, informers)[0];
    if (reader !== undefined) return ` (pod ${reader.metadata.namespace ?? ""}/${reader.metadata.name} reads it)`;
    const claim = await ensureRemovalVolume(volume, { key, group, context });
    const manifest = applied(removeJob({ key, claim }, { node, namespace: JOBS_NAMESPACE, owner }));
    const options = { fieldManager: LOCAL_MODELS, force: true, namespace: JOBS_NAMESPACE };
    await client.resource(JobKind).apply(manifest, options);
    return "";
  }
  // One that failed is made again.
  if (hasEnded(removal)) await drop(removal, context);
  return hasSucceeded(removal) ? undefined : "";
}

async function drop({ metadata }: Job, { cluster }: OnNode["context"]): Promise<void> {
  const { name, namespace = "" } = metadata;
  await cluster.client.resource(JobKind).delete(name, { namespace, propagationPolicy: "Background" });
}

const VOLUMES = "local-model-volumes";
const CLAIMS = "local-model-claims";

/**
 * The pods on a node that read or write a model: those whose claims its volumes are bound to. Volumes are the cluster's, so nobody else's labels and names count.
 */
function readersOf(key: string, node: Node, informers: InformerSet): Pod[] {
  const volumes = informers.informer(PersistentVolumeKind);
  volumes.addIndex(VOLUMES, ({ metadata }: PersistentVolume) => {
    const label = metadata.labels?.[KEY_LABEL];
    return label === undefined ? [] : [label];
  });
  const pods = informers.informer(PodKind);
  pods.addIndex(CLAIMS, ({ metadata, spec }) =>
    (spec.volumes ?? []).flatMap(({ persistentVolumeClaim: claim }) =>
      claim === undefined ? [] : [`${metadata.namespace ?? ""}/${claim.claimName}`],
    ),
  );
  const isRemoval = ({ metadata }: Pod): boolean =>
    metadata.namespace === JOBS_NAMESPACE && metadata.labels?.[WORK_LABEL] === "remove";
  return volumes
    .byIndex(VOLUMES, key)
    .flatMap(({ spec: { claimRef } }) => pods.byIndex(CLAIMS, `${claimRef?.namespace ?? ""}/${claimRef?.name ?? ""}`))
    .filter(
      (pod) =>
        pod.spec.nodeName === node.metadata.name &&
        pod.status?.phase !== "Succeeded" &&
        pod.status?.phase !== "Failed" &&
        !isRemoval(pod),
    );
}
