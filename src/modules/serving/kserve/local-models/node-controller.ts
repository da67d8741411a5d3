/** One LocalModelNode for each node that should have models: jobs that bring them and take them away, and what became of it. */
import { syncStatus } from "../../../../kernel/control/index.js";
import type {
  ClusterAccess,
  ControllerSpec,
  InformerSet,
  Key,
  ReconcileContext,
  ReconcileResult,
} from "../../../../kernel/control/types.js";
import { messageOf } from "../../../../kernel/errors/index.js";
import type { Job, Node } from "../../../../kernel/kinds/index.js";
import { JobKind, NodeKind, ownerReferenceTo, PodKind, withCondition } from "../../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, equalJson, toJson, toJsonObject } from "../../../../kernel/schema/index.js";
import { diagnosePods, type Fault, wordsOf } from "../../diagnosis.js";
import { trustIn } from "../../store-trust.js";
import { findCredentials } from "../credentials.js";
import { kserveRunsIn } from "../stand-back.js";
import { storageContainerFor } from "../storage-containers.js";
import {
  ClusterStorageContainerKind,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  type LocalModelNode,
  LocalModelNodeGroupKind,
  LocalModelNodeKind,
} from "../storage-kinds.js";
import { fetchJob } from "./children.js";
import {
  KEY_LABEL,
  LEAVING,
  LOCAL_MODELS,
  NODE_LABEL,
  nodeMark,
  presenceLabel,
  statusName,
  WORK_LABEL,
} from "./names.js";
import { modelsOfNode, type PlacedModel } from "./plan.js";
import { type Brought, broughtTo, isRemovalOver, removeAll } from "./removal.js";
import { applied, ensureVolume } from "./volumes.js";
import { hasOtherPlaces, homeOf, isNodeReady, jobsOf, planIn, podsOfJob } from "./world.js";

type ModelState = "ModelDownloadPending" | "ModelDownloading" | "ModelDownloaded" | "ModelDownloadError";
type Context = ReconcileContext<LocalModelNode>;

/** How long after a failure a download is tried again. */
const AGAIN_MS = 60_000;
const UNSETTLED_MS = 2_000;

interface Found {
  readonly state: ModelState;
  readonly message?: string;
}

/** The controller of one cluster. */
export function localModelNodeController(cluster: ClusterAccess): ControllerSpec<LocalModelNode> {
  const all = (_object: unknown, informers: InformerSet): Key[] =>
    informers
      .informer(NodeKind)
      .list()
      .map(({ metadata }) => ({ namespace: "", name: metadata.name }));
  const byMark = (mark: string | undefined, informers: InformerSet): Key[] =>
    mark === undefined
      ? []
      : informers
          .informer(NodeKind)
          .list()
          .filter(({ metadata }) => nodeMark(metadata.uid) === mark)
          .map(({ metadata }) => ({ namespace: "", name: metadata.name }));
  return {
    name: LOCAL_MODELS,
    kind: LocalModelNodeKind,
    watches: [
      { kind: LocalModelCacheKind, keys: all, concerns: hasNewSpec },
      { kind: LocalModelNamespaceCacheKind, keys: all, concerns: hasNewSpec },
      {
        kind: LocalModelNodeGroupKind,
        keys: all,
        concerns: (now, old) => hasNewSpec(now, old) || hasOtherPlaces(now, old),
      },
      {
        kind: NodeKind,
        keys: ({ metadata }) => [{ namespace: "", name: metadata.name }],
        // Not each of their heartbeats.
        concerns: (now, old) =>
          !equalJson(toJson(now.metadata.labels ?? {}), toJson(old.metadata.labels ?? {})) ||
          saysReady(now) !== saysReady(old),
      },
      { kind: JobKind, keys: ({ metadata }, informers) => byMark(metadata.labels?.[NODE_LABEL], informers) },
      { kind: PodKind, keys: ({ metadata }, informers) => byMark(metadata.labels?.[NODE_LABEL], informers) },
    ],
    async reconcile({ name }, object, context) {
      if (kserveRunsIn(cluster)) return;
      return reconcileNode(name, object, context);
    },
  };
}

const hasNewSpec = (
  now: { metadata: LocalModelNode["metadata"] },
  old: { metadata: LocalModelNode["metadata"] },
): boolean =>
  now.metadata.generation !== old.metadata.generation ||
  now.metadata.deletionTimestamp !== old.metadata.deletionTimestamp;

const saysReady = (node: object): boolean =>
  asObjects(asObject(toJsonObject(node)["status"])["conditions"]).some(
    ({ type, status }) => type === "Ready" && status === "True",
  );

async function reconcileNode(
  name: string,
  before: LocalModelNode | undefined,
  context: Context,
): Promise<ReconcileResult | undefined> {
  const { client, informers } = context.cluster;
  const nodes = client.resource(LocalModelNodeKind);
  const node = informers.informer(NodeKind).get({ namespace: "", name });
  if (node === undefined) {
    if (before !== undefined) await nodes.delete(name, { preconditions: { uid: before.metadata.uid } });
    return undefined;
  }
  const placed = modelsOfNode(planIn(informers), name);
  if (placed.length === 0 && before === undefined) return undefined;
  const leaving = broughtTo(before, node.metadata.uid);
  for (const { model } of placed) leaving.delete(model.key);
  const apply = (): Promise<LocalModelNode> =>
    nodes.apply(
      {
        metadata: {
          name,
          ...(leaving.size === 0 ? {} : { annotations: { [LEAVING]: leavingText(leaving) } }),
          ownerReferences: [toJson(ownerReferenceTo(node))],
        },
        spec: { localModels: placed.map(entryOf) },
      },
      { fieldManager: LOCAL_MODELS, force: true },
    );
  // What is leaving is written down before anything of it goes, and until nothing of it is left.
  let owner = await apply();
  const found = new Map<string, Found>();
  for (const one of placed) {
    const state = await bring(one, { node, owner, context }).catch(
      (error: unknown): Found => ({ state: "ModelDownloadError", message: messageOf(error) }),
    );
    found.set(statusName(one.model.name, one.model.namespace), stillFailed(state, one, before));
  }
  await labelNode(node, placed, { found, context });
  const left = await removeAll(leaving, { node, owner, context });
  const hasGone = left.size < leaving.size;
  for (const key of leaving.keys()) if (!left.has(key)) leaving.delete(key);
  if (placed.length === 0 && left.size === 0) {
    await nodes.delete(name, { preconditions: { uid: owner.metadata.uid } });
    return undefined;
  }
  if (hasGone) owner = await apply();
  await writeStatus(owner, found, { leaving: [...left.values()], context });
  const isSettled = left.size === 0 && [...found.values()].every(({ state }) => state === "ModelDownloaded");
  return isSettled ? {} : { requeueAfterMs: UNSETTLED_MS };
}

const leavingText = (leaving: ReadonlyMap<string, Brought>): string =>
  JSON.stringify(Object.fromEntries([...leaving].map(([key, brought]) => [key, { ...brought }])));

function entryOf({ model, group }: PlacedModel) {
  return {
    sourceModelUri: model.uri,
    modelName: model.name,
    ...(model.namespace === undefined ? {} : { namespace: model.namespace }),
    nodeGroup: group.name,
    serviceAccountName: model.account,
    ...(model.storage === undefined ? {} : { storage: model.storage }),
  };
}

interface OnNode {
  readonly node: Node;
  readonly owner: LocalModelNode;
  readonly context: Context;
}

/** What failed the last time is failed, and by that, until it is there or fails by something else: its next try alone is no news. */
function stillFailed(found: Found, { model }: PlacedModel, before: LocalModelNode | undefined): Found {
  if (found.state !== "ModelDownloadPending" && found.state !== "ModelDownloading") return found;
  const name = statusName(model.name, model.namespace);
  const isSame = before?.spec.localModels?.some(
    ({ modelName, namespace, sourceModelUri }) =>
      statusName(modelName, namespace) === name && sourceModelUri === model.uri,
  );
  if (isSame !== true || before?.status?.modelStatus?.[name] !== "ModelDownloadError") return found;
  const lines = before.status.conditions?.find(({ type }) => type === "Ready")?.message?.split("\n") ?? [];
  const line = lines.find((one) => one.startsWith(`${name}: `));
  return line === undefined ? found : { state: "ModelDownloadError", message: line.slice(name.length + 2) };
}

/** Makes the job that brings a model, and looks how far it is. */
async function bring(placed: PlacedModel, on: OnNode): Promise<Found> {
  const { node, owner, context } = on;
  const { model, group } = placed;
  const { client, informers, name: cluster } = context.cluster;
  const mark = nodeMark(node.metadata.uid);
  const namespace = homeOf(model);
  const job = jobsOf(mark, informers).find(
    ({ metadata }) =>
      metadata.labels?.[KEY_LABEL] === model.key &&
      metadata.labels[WORK_LABEL] === "fetch" &&
      metadata.namespace === namespace,
  );
  // What is being taken away must be gone before it comes back.
  if (!(await isRemovalOver(model.key, on))) return { state: "ModelDownloadPending" };
  if (job !== undefined) return stateOf(job, on);
  if (!isNodeReady(node))
    return { state: "ModelDownloadPending", message: `cluster ${cluster}: node ${node.metadata.name} is not ready` };
  const found = await findCredentials(
    { namespace, key: asString(model.storage?.["key"]), account: model.account, uris: [model.uri] },
    { context },
  );
  if ("reason" in found) return failed(found);
  const trust = await trustIn(namespace, model.caBundle, context.cluster);
  if (trust !== undefined && "reason" in trust) return failed(trust);
  const known = informers.informer(ClusterStorageContainerKind).list();
  const chosen = storageContainerFor(model.uri, known, { named: "", workload: "localModelDownloadJob" });
  if (chosen !== undefined && "reason" in chosen) return failed(chosen);
  await ensureVolume(
    { key: model.key, namespace, group: group.group, isReadOnly: false },
    { context, isOurs: model.namespace === undefined },
  );
  const access = {
    cacheHostPath: undefined,
    credentials: found.credentials,
    trust,
    ...(chosen === undefined ? {} : { containers: { [model.uri]: chosen } }),
  };
  const manifest = fetchJob(placed, { node, namespace, owner, access });
  await client.resource(JobKind).apply(applied(manifest), { fieldManager: LOCAL_MODELS, force: true, namespace });
  return { state: "ModelDownloadPending" };
}

const failed = ({ reason, message }: Fault): Found => ({
  state: "ModelDownloadError",
  message: `${reason}: ${message}`,
});

async function stateOf(job: Job, { context }: OnNode): Promise<Found> {
  const { client, informers, name: cluster } = context.cluster;
  const condition = (type: string) => job.status?.conditions?.find((one) => one.type === type && one.status === "True");
  if ((job.status?.succeeded ?? 0) > 0 || condition("Complete") !== undefined) return { state: "ModelDownloaded" };
  const pods = podsOfJob(job, informers);
  const failure = failureOf(cluster, pods);
  const end = condition("Failed");
  if (end === undefined) {
    // The job tries more than once, with pauses between.
    if (failure !== undefined) return { state: "ModelDownloadError", message: failure };
    const isRunning = pods.some(({ status }) => status?.phase === "Running");
    const fault = diagnosePods(cluster, pods, undefined);
    return {
      state: isRunning ? "ModelDownloading" : "ModelDownloadPending",
      ...(fault === undefined ? {} : { message: wordsOf(fault) }),
    };
  }
  const sinceMs = context.clock.now() - Date.parse(end.lastTransitionTime ?? "");
  if (!(sinceMs < AGAIN_MS)) {
    const { name, namespace = "" } = job.metadata;
    await client.resource(JobKind).delete(name, { namespace, propagationPolicy: "Background" });
  }
  return { state: "ModelDownloadError", message: failure ?? `cluster ${cluster}: ${end.message ?? "the job failed"}` };
}

/** The last words of the newest pod that ended badly; `undefined` where none did. */
function failureOf(cluster: string, pods: ReturnType<typeof podsOfJob>): string | undefined {
  const ended = pods
    .flatMap((pod) => (pod.status?.containerStatuses ?? []).map(({ state }) => ({ pod, end: state?.terminated })))
    .filter(({ end }) => end !== undefined && end.exitCode !== 0)
    .sort((a, b) => ((a.end?.finishedAt ?? "") < (b.end?.finishedAt ?? "") ? 1 : -1))[0];
  if (ended === undefined) return undefined;
  const { namespace = "", name } = ended.pod.metadata;
  const words = (ended.end?.message ?? "").trim().split("\n").at(-1) ?? "";
  const said = words.replace(/^(model-server: )?ModelDownloadFailed: /, "");
  return `cluster ${cluster}, pod ${namespace}/${name}: ${said === "" ? `exit code ${ended.end?.exitCode ?? ""}` : said}`;
}

/** Pods that are served from a model go to nodes with its label. */
async function labelNode(
  node: Node,
  placed: readonly PlacedModel[],
  { found, context }: { readonly found: ReadonlyMap<string, Found>; readonly context: Context },
): Promise<void> {
  const here = placed
    .filter(({ model }) => found.get(statusName(model.name, model.namespace))?.state === "ModelDownloaded")
    .map(({ model }) => presenceLabel(model.key));
  const before = Object.keys(node.metadata.labels ?? {}).filter((label) =>
    /^localmodel\.serving\.argosy\.dev\/[0-9a-f]{16}$/.test(label),
  );
  if (equalJson([...before].sort(), [...here].sort())) return;
  await context.cluster.client
    .resource(NodeKind)
    .apply(
      { metadata: { name: node.metadata.name, labels: Object.fromEntries(here.map((label) => [label, "true"])) } },
      { fieldManager: LOCAL_MODELS, force: true },
    );
}

async function writeStatus(
  object: LocalModelNode,
  found: ReadonlyMap<string, Found>,
  { leaving, context }: { readonly leaving: readonly string[]; readonly context: Context },
): Promise<void> {
  const waiting = [...found].filter(([, { state }]) => state !== "ModelDownloaded");
  const messages = [
    ...waiting.map(([name, { state, message }]) => `${name}: ${message ?? state}`),
    ...(leaving.length === 0 ? [] : [`being removed: ${leaving.join(", ")}`]),
  ];
  const isFailed = waiting.some(([, { state }]) => state === "ModelDownloadError");
  const conditions = withCondition(
    object.status?.conditions,
    {
      type: "Ready",
      status: messages.length === 0 ? "True" : "False",
      reason: messages.length === 0 ? "AllThere" : isFailed ? "DownloadFailed" : "Underway",
      message: messages.length === 0 ? `${found.size} models are there` : messages.join("\n"),
      observedGeneration: object.metadata.generation ?? 0,
    },
    context.clock.now(),
  );
  const modelStatus = Object.fromEntries([...found].map(([name, { state }]) => [name, state]));
  await syncStatus(
    context.cluster.client.resource(LocalModelNodeKind),
    object,
    { modelStatus, conditions },
    LOCAL_MODELS,
  );
}
