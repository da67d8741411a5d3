/** Taking models away from nodes: a job for each that nobody wants and nobody reads any more. */
import type { ClusterAccess, InformerSet } from "../../../../kernel/control/types.js";
import { messageOf } from "../../../../kernel/errors/index.js";
import type { Job, KubeObject, Node, Pod } from "../../../../kernel/kinds/index.js";
import { JobKind, PersistentVolumeClaimKind, PodKind } from "../../../../kernel/kinds/index.js";
import { removeJob } from "./children.js";
import { jobName, KEY_LABEL, LOCAL_MODELS, nodeMark, WORK_LABEL } from "./names.js";
import { applied } from "./volumes.js";
import { jobsOf } from "./world.js";

interface OnNode {
  readonly node: Node;
  readonly owner: KubeObject;
  readonly context: { readonly cluster: ClusterAccess };
}

const keyIn = ({ metadata }: Job): string => metadata.labels?.[KEY_LABEL] ?? "";
const workIn = ({ metadata }: Job): string => metadata.labels?.[WORK_LABEL] ?? "";
/** How a model that is being taken away is told. */
export const leavingName = (namespace: string | undefined, key: string): string => `${namespace ?? ""}/${key}`;
const hasSucceeded = ({ status }: Job): boolean => (status?.succeeded ?? 0) > 0;
const hasEnded = (job: Job): boolean =>
  hasSucceeded(job) ||
  job.status?.conditions?.some(({ type, status }) => type === "Failed" && status === "True") === true;

/**
 * Takes away what is not wanted any more; returns what is still there, as `namespace/key`. `wanted` says in which namespace a model's jobs are: those that look
 * like them elsewhere are somebody else's.
 */
export async function removeOthers(wanted: ReadonlyMap<string, string>, on: OnNode): Promise<string[]> {
  const { node, context } = on;
  const mark = nodeMark(node.metadata.uid);
  const jobs = jobsOf(mark, context.cluster.informers);
  const leaving: string[] = [];
  for (const fetch of jobs) {
    const key = keyIn(fetch);
    if (workIn(fetch) !== "fetch" || wanted.has(key) || fetch.metadata.name !== jobName("fetch", key, mark)) continue;
    try {
      if (!(await isRemoved(fetch, jobs, on))) leaving.push(leavingName(fetch.metadata.namespace, key));
    } catch (error) {
      // A namespace that takes no job is no reason to leave the others alone.
      leaving.push(`${leavingName(fetch.metadata.namespace, key)} (${messageOf(error)})`);
    }
  }
  // What was being removed and is wanted again is begun anew when that is over.
  const isAgain = (job: Job): boolean => wanted.get(keyIn(job)) === job.metadata.namespace;
  for (const removal of jobs.filter((job) => workIn(job) === "remove" && isAgain(job) && hasEnded(job)))
    for (const job of jobs.filter((one) => isAgain(one) && keyIn(one) === keyIn(removal))) await drop(job, on);
  return leaving;
}

async function isRemoved(fetch: Job, jobs: readonly Job[], on: OnNode): Promise<boolean> {
  const { node, owner, context } = on;
  const key = keyIn(fetch);
  if (isMounted(key, node, context.cluster.informers)) return false;
  const { namespace = "" } = fetch.metadata;
  const volumes = fetch.spec.template.spec?.volumes ?? [];
  const claim = volumes.find(({ name }) => name === "local-models")?.persistentVolumeClaim?.claimName ?? "";
  if (!claim.startsWith(`localmodel-${key}-`)) return true;
  const removal = jobs.find(
    (job) => workIn(job) === "remove" && keyIn(job) === key && job.metadata.namespace === namespace,
  );
  if (removal === undefined) {
    const manifest = applied(removeJob({ key, claim }, { node, namespace, owner }));
    const options = { fieldManager: LOCAL_MODELS, force: true, namespace };
    await context.cluster.client.resource(JobKind).apply(manifest, options);
    return false;
  }
  if (hasSucceeded(removal)) await drop(fetch, on);
  // One that failed is made again.
  if (hasEnded(removal)) await drop(removal, on);
  return hasSucceeded(removal);
}

async function drop({ metadata }: Job, { context }: OnNode): Promise<void> {
  const { name, namespace = "" } = metadata;
  await context.cluster.client.resource(JobKind).delete(name, { namespace, propagationPolicy: "Background" });
}

/** Whether a server on the node reads a model. */
function isMounted(key: string, node: Node, informers: InformerSet): boolean {
  const claims = new Set(
    informers
      .informer(PersistentVolumeClaimKind)
      .list()
      .filter(({ metadata }) => metadata.labels?.[KEY_LABEL] === key)
      .map(({ metadata }) => `${metadata.namespace ?? ""}/${metadata.name}`),
  );
  const isReader = ({ metadata, spec, status }: Pod): boolean =>
    spec.nodeName === node.metadata.name &&
    metadata.labels?.[WORK_LABEL] === undefined &&
    status?.phase !== "Succeeded" &&
    status?.phase !== "Failed" &&
    spec.volumes?.some(({ persistentVolumeClaim: claim }) =>
      claims.has(`${metadata.namespace ?? ""}/${claim?.claimName ?? ""}`),
    ) === true;
  return informers.informer(PodKind).list().some(isReader);
}
