/** What became of each LocalModelCache and LocalModelNamespaceCache, and of the groups of nodes. */
import { syncStatus } from "../../../../kernel/control/index.js";
import type {
  ClusterAccess,
  ControllerSpec,
  InformerSet,
  Key,
  ReconcileContext,
} from "../../../../kernel/control/types.js";
import type { Kind, Node } from "../../../../kernel/kinds/index.js";
import {
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  withCondition,
} from "../../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../../kernel/schema/index.js";
import { InferenceServiceKind } from "../inference-service-kind.js";
import { kserveRunsIn } from "../stand-back.js";
import {
  type LocalModelCache,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  type LocalModelNodeGroup,
  LocalModelNodeGroupKind,
  LocalModelNodeKind,
} from "../storage-kinds.js";
import { KEY_LABEL, statusName } from "./names.js";
import { type LocalPlan, planFaults, planModels, refusedSpace, type WantedModel, wantedOf } from "./plan.js";
import { leavingOn } from "./removal.js";
import {
  cachesFor,
  cachesIn,
  groupsFor,
  hasOtherPlaces,
  isNodeReady,
  planIn,
  stateOn,
  usersOf,
  usersOfGroup,
} from "./world.js";

const FINALIZER = "serving.argosy.dev/local-model";
const WAIT_MS = 1_000;

type Status = NonNullable<LocalModelCache["status"]>;
type NodeState = NonNullable<Status["nodeStatus"]>[string];
type Context = ReconcileContext<LocalModelCache>;

const STATES: Readonly<Record<string, NodeState>> = {
  ModelDownloadPending: "NodeDownloadPending",
  ModelDownloading: "NodeDownloading",
  ModelDownloaded: "NodeDownloaded",
  ModelDownloadError: "NodeDownloadError",
};

const allOf =
  (kind: Kind<LocalModelCache>) =>
  (_object: unknown, informers: InformerSet): Key[] =>
    informers
      .informer(kind)
      .list()
      .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name }));

/** The controller of one of the two kinds. */
export function localModelCacheController(
  cluster: ClusterAccess,
  kind: Kind<LocalModelCache>,
): ControllerSpec<LocalModelCache> {
  const all = allOf(kind);
  const name = kind.kind === "LocalModelCache" ? "local-model-caches" : "local-model-namespace-caches";
  return {
    name,
    kind,
    finalizer: FINALIZER,
    watches: [
      { kind: LocalModelNodeKind, keys: all },
      {
        kind: LocalModelNodeGroupKind,
        keys: all,
        concerns: (now, old) => isOther(now, old) || hasOtherPlaces(now, old),
      },
      {
        kind: kind.kind === "LocalModelCache" ? LocalModelNamespaceCacheKind : LocalModelCacheKind,
        keys: all,
        concerns: isOther,
      },
      {
        kind: InferenceServiceKind,
        keys: (service, informers) => cachesFor(service, kind, informers),
        concerns: isOther,
      },
    ],
    async reconcile(_key, cache, context) {
      if (cache === undefined || cache.metadata.deletionTimestamp !== undefined || kserveRunsIn(cluster)) return;
      await report(cache, { kind, name, context });
    },
    async finalize(cache, context) {
      if (kserveRunsIn(cluster)) return "done";
      return (await release(cache, context)) ? "done" : { requeueAfterMs: WAIT_MS };
    },
  };
}

const isOther = (
  now: { metadata: LocalModelCache["metadata"] },
  old: { metadata: LocalModelCache["metadata"] },
): boolean =>
  now.metadata.generation !== old.metadata.generation ||
  now.metadata.deletionTimestamp !== old.metadata.deletionTimestamp ||
  JSON.stringify(now.metadata.annotations) !== JSON.stringify(old.metadata.annotations);

async function report(
  cache: LocalModelCache,
  { kind, name, context }: { readonly kind: Kind<LocalModelCache>; readonly name: string; readonly context: Context },
): Promise<void> {
  const { informers } = context.cluster;
  const plan = planIn(informers);
  const model = wantedOf(cache);
  const nodes = nodesFor(model, plan);
  const nodeStatus: Record<string, NodeState> = {};
  for (const node of nodes) {
    const state = stateOn(node.metadata.name, model, informers);
    nodeStatus[node.metadata.name] =
      state !== "ModelDownloaded" && !isNodeReady(node) ? "NodeNotReady" : (STATES[state] ?? "NodeDownloadPending");
  }
  const count = (wanted: NodeState): number => Object.values(nodeStatus).filter((state) => state === wanted).length;
  const copies = { available: count("NodeDownloaded"), total: nodes.length, failed: count("NodeDownloadError") };
  const observedGeneration = cache.metadata.generation ?? 0;
  const conditions = [readiness(model, { plan, copies, nodes, informers }), sizeGranted(model, plan)].reduce(
    (known, condition) => withCondition(known, { ...condition, observedGeneration }, context.clock.now()),
    cache.status?.conditions ?? [],
  );
  const inferenceServices = usersOf(model, plan, context);
  const status: Status = { nodeStatus, copies, inferenceServices, conditions };
  await syncStatus(context.cluster.client.resource(kind), cache, status, name);
}

/** The nodes that a model is for. */
const nodesFor = ({ key, groups }: WantedModel, plan: LocalPlan): Node[] => {
  const placed = groups
    .flatMap((name) => plan.groups.get(name) ?? [])
    .filter(({ fault, places }) => fault === undefined && places.has(key));
  const nodes = placed.flatMap((group) => group.nodes);
  return [...new Map(nodes.map((node) => [node.metadata.name, node])).values()];
};

interface Said {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

/** Whether it has the space that it asks for; one that grows may keep what it had. */
function sizeGranted(model: WantedModel, plan: LocalPlan): Said {
  const refused = refusedSpace(plan, model);
  return refused === undefined
    ? { type: "SizeGranted", status: "True", reason: "Granted", message: "" }
    : { type: "SizeGranted", status: "False", ...refused };
}

function readiness(
  model: WantedModel,
  {
    plan,
    copies,
    nodes,
    informers,
  }: {
    readonly plan: LocalPlan;
    readonly copies: { readonly available: number; readonly total: number; readonly failed: number };
    readonly nodes: readonly Node[];
    readonly informers: InformerSet;
  },
): Said {
  const [fault] = planFaults(plan, model);
  if (fault !== undefined) return { type: "Ready", status: "False", ...fault };
  const { available, total, failed } = copies;
  if (available === total)
    return { type: "Ready", status: "True", reason: "Downloaded", message: `all ${total} nodes have it` };
  const told = nodes.flatMap(({ metadata }) => {
    const on = informers.informer(LocalModelNodeKind).get({ namespace: "", name: metadata.name });
    const all = on?.status?.conditions?.find(({ type }) => type === "Ready")?.message?.split("\n") ?? [];
    const own = `${statusName(model.name, model.namespace)}: `;
    return all.filter((line) => line.startsWith(own)).map((line) => `node ${metadata.name}: ${line.slice(own.length)}`);
  });
  return {
    type: "Ready",
    status: "False",
    reason: failed > 0 ? "DownloadFailed" : "Downloading",
    message: `${available} of ${total} nodes have it${told.length === 0 ? "" : `; ${told.join("; ")}`}`,
  };
}

/** Waits until no node works on it, and removes its volumes; files of nodes that are not ready stay there. Labels may be copied, names of volumes are ours. */
async function release(cache: LocalModelCache, { cluster }: Context): Promise<boolean> {
  const { client, informers } = cluster;
  const model = wantedOf(cache);
  const others = planIn(informers).models.some(({ key }) => key === model.key);
  if (others) return true;
  const busy = informers
    .informer(LocalModelNodeKind)
    .list()
    .some((object) => {
      const { metadata, spec, status } = object;
      const node = informers.informer(NodeKind).get({ namespace: "", name: metadata.name });
      if (node === undefined || !isNodeReady(node)) return false;
      const named = spec.localModels.some(
        ({ modelName, namespace }) => modelName === model.name && namespace === model.namespace,
      );
      return (
        named ||
        leavingOn(object, node.metadata.uid).has(model.key) ||
        status?.modelStatus?.[statusName(model.name, model.namespace)] !== undefined
      );
    });
  if (busy) return false;
  const labelSelector = `${KEY_LABEL}=${model.key}`;
  const isOurs = ({ metadata }: { metadata: { name: string } }): boolean =>
    metadata.name.startsWith(`localmodel-${model.key}-`);
  const { items: claims } = await client.resource(PersistentVolumeClaimKind).list({ labelSelector });
  for (const { metadata } of claims.filter(isOurs))
    await client.resource(PersistentVolumeClaimKind).delete(metadata.name, { namespace: metadata.namespace ?? "" });
  const { items: volumes } = await client.resource(PersistentVolumeKind).list({ labelSelector });
  for (const { metadata } of volumes.filter(isOurs)) await client.resource(PersistentVolumeKind).delete(metadata.name);
  return true;
}

const labelsOf = ({ metadata }: { metadata: LocalModelCache["metadata"] }) => toJson(metadata.labels ?? {});

/** The controller of groups: how much of their space is given away, and who is served from their nodes. */
export function localModelGroupController(cluster: ClusterAccess): ControllerSpec<LocalModelNodeGroup> {
  const all = (_object: unknown, informers: InformerSet): Key[] =>
    informers
      .informer(LocalModelNodeGroupKind)
      .list()
      .map(({ metadata }) => ({ namespace: "", name: metadata.name }));
  return {
    name: "local-model-groups",
    kind: LocalModelNodeGroupKind,
    watches: [
      { kind: LocalModelCacheKind, keys: all, concerns: isOther },
      { kind: LocalModelNamespaceCacheKind, keys: all, concerns: isOther },
      { kind: NodeKind, keys: all, concerns: (now, old) => !equalJson(labelsOf(now), labelsOf(old)) },
      { kind: InferenceServiceKind, keys: groupsFor, concerns: isOther },
    ],
    async reconcile(_key, group, { cluster: { client, informers }, clock }) {
      if (group === undefined || group.metadata.deletionTimestamp !== undefined || kserveRunsIn(cluster)) return;
      const plan = planModels(cachesIn(informers), [group], informers.informer(NodeKind).list());
      const planned = plan.groups.get(group.metadata.name);
      if (planned === undefined) return;
      const { fault, usedBytes, limitBytes, nodes } = planned;
      const places = Object.fromEntries([...planned.places].map(([key, bytes]) => [key, String(bytes)]));
      const conditions = withCondition(
        group.status?.conditions,
        {
          type: "Ready",
          status: fault === undefined ? "True" : "False",
          reason: fault === undefined ? "Usable" : "UnsupportedVolume",
          message: fault ?? `${nodes.length} nodes`,
          observedGeneration: group.metadata.generation ?? 0,
        },
        clock.now(),
      );
      await syncStatus(
        client.resource(LocalModelNodeGroupKind),
        group,
        {
          ...{ used: String(usedBytes), available: String(Math.max(0, limitBytes - usedBytes)), places },
          inferenceServices: usersOfGroup(group.metadata.name, { informers }),
          conditions,
        },
        "local-model-groups",
      );
    },
  };
}
