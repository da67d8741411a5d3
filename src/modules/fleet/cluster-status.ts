import type { ClusterAccess, ControllerSpec, ReconcileContext } from "../../kernel/control/index.js";
import { syncStatus } from "../../kernel/control/index.js";
import { isAlreadyExists, messageOf } from "../../kernel/errors/index.js";
import {
  findCondition,
  isConditionTrue,
  type Json,
  NamespaceKind,
  NodeKind,
  withCondition,
} from "../../kernel/kinds/index.js";
import { isObject } from "../../kernel/schema/index.js";
import { deadline } from "./deadline.js";
import { type Cluster, ClusterKind, type ClusterStatus, type ConditionDraft, WorkKind } from "./kinds.js";
import { CLUSTER_FINALIZER, finalizeCluster } from "./leaving.js";
import { executionSpaceOf } from "./names.js";

const NAME = "cluster-status-controller";
/** A frozen member is called not ready after two failed looks: at most 3 + 2 + 0.5 + 2 seconds. */
const INTERVAL_MS = 3000;
const CONFIRM_MS = 500;
const TIMEOUT_MS = 2000;
const FAILURES_UNTIL_NOT_READY = 2;
const DISCOVERY_MS = 300_000;

/** What the looks at one member found so far. */
interface Memory {
  failures: number;
  discoveredMs: number;
  version: string | undefined;
  enablements: NonNullable<ClusterStatus["apiEnablements"]> | undefined;
  /** The member whose nodes are followed, and whether they are known: an empty list before that would be a lie. */
  nodesOf: ClusterAccess | undefined;
  hasNodes: boolean;
}

type Look = { readonly isReady: true } | { readonly isReady: false; readonly reason: string; readonly message: string };

/** Looks at each member every few seconds and says in its Cluster object how it is. Also gives it its namespace in the hub. */
export function clusterStatusController(
  members: (cluster: string) => ClusterAccess | undefined,
): ControllerSpec<Cluster> {
  const memories = new Map<string, Memory>();
  return {
    name: NAME,
    kind: ClusterKind,
    // A look may wait for its time limit; a dead member must not keep the others from being looked at.
    concurrency: 64,
    finalizer: CLUSTER_FINALIZER,
    finalize: (cluster, context) => {
      const { name } = cluster.metadata;
      const silence = async (): Promise<string> => {
        const look = await lookAt(name, members(name), context);
        return look.isReady ? "" : look.message;
      };
      return finalizeCluster(cluster, silence, context);
    },
    // Only so that Works are known: what is left of a cluster is looked after by time.
    watches: [{ kind: WorkKind, keys: () => [] }],
    async reconcile(key, cluster, context) {
      if (cluster === undefined) {
        memories.delete(key.name);
        return undefined;
      }
      const memory = memories.get(key.name) ?? {
        failures: 0,
        discoveredMs: Number.NEGATIVE_INFINITY,
        version: undefined,
        enablements: undefined,
        nodesOf: undefined,
        hasNodes: false,
      };
      memories.set(key.name, memory);
      await ensureSpace(key.name, context);
      const member = members(key.name);
      const look = await lookAt(key.name, member, context);
      memory.failures = look.isReady ? 0 : memory.failures + 1;
      const isFirst = findCondition(cluster.status?.conditions, "Ready") === undefined;
      if (!look.isReady && memory.failures < FAILURES_UNTIL_NOT_READY && !isFirst)
        return { requeueAfterMs: CONFIRM_MS };
      if (look.isReady && member !== undefined) {
        followNodes(member, memory, context);
        await discover(member, memory, context);
      }
      await report(cluster, member, look, { memory, context });
      return { requeueAfterMs: INTERVAL_MS };
    },
  };
}

async function ensureSpace(cluster: string, context: ReconcileContext<Cluster>): Promise<void> {
  const name = executionSpaceOf(cluster);
  const namespaces = context.cluster.informers.informer(NamespaceKind);
  if (namespaces.get({ namespace: "", name }) !== undefined) return;
  try {
    await context.cluster.client
      .resource(NamespaceKind)
      .create({ apiVersion: "v1", kind: "Namespace", metadata: { name }, spec: {} }, { fieldManager: NAME });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

async function lookAt(
  name: string,
  member: ClusterAccess | undefined,
  context: ReconcileContext<Cluster>,
): Promise<Look> {
  if (member === undefined)
    return { isReady: false, reason: "ClusterNotConnected", message: `no connection to cluster ${name} is configured` };
  const limit = deadline(context.clock, context.signal, TIMEOUT_MS);
  try {
    const answer = member.client.transport.request({ method: "GET", path: "/readyz", signal: limit.signal });
    const response = await Promise.race([answer, rejectionOf(limit.signal)]);
    const pieces: Uint8Array[] = [];
    for await (const piece of response.body) if (pieces.length < 16) pieces.push(piece);
    if (response.status === 200) return { isReady: true };
    const text = Buffer.concat(pieces).toString("utf8").trim().slice(0, 200);
    return {
      isReady: false,
      reason: "ClusterNotReady",
      message: `/readyz answered ${response.status}${text === "" ? "" : `: ${text}`}`,
    };
  } catch (error) {
    if (context.signal.aborted) throw error;
    return { isReady: false, reason: "ClusterNotReachable", message: messageOf(error) };
  } finally {
    limit.done();
  }
}

function rejectionOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Version and kinds, now and then: they change seldom and cost a request a group. */
async function discover(member: ClusterAccess, memory: Memory, context: ReconcileContext<Cluster>): Promise<void> {
  const nowMs = context.clock.monotonicMs();
  if (nowMs - memory.discoveredMs < DISCOVERY_MS) return;
  const limit = deadline(context.clock, context.signal, TIMEOUT_MS * 5);
  try {
    const get = (path: string): Promise<Json> => member.client.json("GET", path, undefined, { signal: limit.signal });
    const version = await get("/version");
    memory.version = isObject(version) && typeof version["gitVersion"] === "string" ? version["gitVersion"] : undefined;
    const groupVersions = ["v1", ...groupVersionsIn(await get("/apis"))];
    const enablements: NonNullable<ClusterStatus["apiEnablements"]> = [];
    for (const groupVersion of groupVersions) {
      const resources = resourcesIn(await get(groupVersion === "v1" ? "/api/v1" : `/apis/${groupVersion}`));
      if (resources.length > 0) enablements.push({ groupVersion, resources });
    }
    memory.enablements = enablements.sort((a, b) => (a.groupVersion < b.groupVersion ? -1 : 1));
    memory.discoveredMs = nowMs;
  } catch (error) {
    context.log.debug("member's kinds cannot be read", { cluster: member.name, err: error });
  } finally {
    limit.done();
  }
}

function groupVersionsIn(list: Json): string[] {
  const groups = isObject(list) && Array.isArray(list["groups"]) ? list["groups"] : [];
  return groups.flatMap((group) => {
    const versions = isObject(group) && Array.isArray(group["versions"]) ? group["versions"] : [];
    return versions.flatMap((version) =>
      isObject(version) && typeof version["groupVersion"] === "string" ? [version["groupVersion"]] : [],
    );
  });
}

function resourcesIn(list: Json): { name: string; kind: string }[] {
  const resources = isObject(list) && Array.isArray(list["resources"]) ? list["resources"] : [];
  return resources.flatMap((resource) => {
    if (!isObject(resource)) return [];
    const { name, kind } = resource;
    return typeof name === "string" && typeof kind === "string" && !name.includes("/") ? [{ name, kind }] : [];
  });
}

async function report(
  cluster: Cluster,
  member: ClusterAccess | undefined,
  look: Look,
  { memory, context }: { memory: Memory; context: ReconcileContext<Cluster> },
): Promise<void> {
  const draft: ConditionDraft = look.isReady
    ? {
        type: "Ready",
        status: "True",
        reason: "ClusterReady",
        message: "cluster is healthy and ready to accept workloads",
      }
    : { type: "Ready", status: "False", reason: look.reason, message: look.message };
  const conditions = withCondition(
    cluster.status?.conditions,
    { ...draft, observedGeneration: cluster.metadata.generation ?? 0 },
    context.clock.now(),
  );
  const status: ClusterStatus = {
    ...cluster.status,
    conditions,
    ...(memory.version === undefined ? {} : { kubernetesVersion: memory.version }),
    ...(memory.enablements === undefined ? {} : { apiEnablements: memory.enablements }),
    ...(look.isReady && member !== undefined && memory.hasNodes ? nodeSummaryOf(member) : {}),
  };
  const before = findCondition(cluster.status?.conditions, "Ready")?.status;
  if (before !== undefined && before !== draft.status) {
    context.events.record(cluster, look.isReady ? "Normal" : "Warning", draft.reason, draft.message);
  }
  await syncStatus(context.cluster.client.resource(ClusterKind), cluster, status, NAME);
}

function followNodes(member: ClusterAccess, memory: Memory, context: ReconcileContext<Cluster>): void {
  if (memory.nodesOf === member) return;
  memory.nodesOf = member;
  memory.hasNodes = false;
  const nodes = member.informers.informer(NodeKind);
  nodes.synced(context.signal).then(
    () => {
      memory.hasNodes = true;
      context.enqueue({ namespace: "", name: member.name });
    },
    // Only at the end.
    () => {},
  );
}

function nodeSummaryOf(member: ClusterAccess): Pick<ClusterStatus, "nodeSummary"> {
  const nodes = member.informers.informer(NodeKind).list();
  const ready = nodes.filter((node) => isConditionTrue(node.status?.conditions, "Ready"));
  return { nodeSummary: { totalNum: nodes.length, readyNum: ready.length } };
}
