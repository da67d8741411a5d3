import type { ControllerSpec, ReconcileContext } from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import {
  findCondition,
  isDeleting,
  LeaseKind,
  type Node,
  NodeKind,
  type NodeStatus,
  type Pod,
  PodKind,
  type Taint,
  timeOf,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { tolerates } from "../scheduler/node-filters.js";
import { isReady, isTerminal } from "../shared/pods.js";

const name = "node-lifecycle-controller";
const leaseNamespace = "kube-node-lease";
/** Reason of a Ready condition that we, not the node's agent, set to False. */
const lostReason = "NodeLost";
const nodeIndex = "any-pod-on-node";
/** A node that was not heard of for this long is taken for lost, as upstream. */
const graceMs = 50_000;
/** Silence is looked at twice: after the whole program stood still (SIGSTOP, a stalled host) the node must get a chance to speak first. */
const confirmMs = 5_000;

const conditionTypes = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] as const;
const prefix = "node.kubernetes.io/";
const ownKeys = new Set(
  [
    "not-ready",
    "unreachable",
    "memory-pressure",
    "disk-pressure",
    "pid-pressure",
    "network-unavailable",
    "unschedulable",
  ].map((key) => prefix + key),
);
/** On a node: for how many seconds its agent may keep what it read, by the number of nodes. */
const ttlKey = "node.alpha.kubernetes.io/ttl";
const ttlSteps = [
  [100, 0],
  [500, 15],
  [1000, 30],
  [2000, 60],
] as const;
const longestTtl = 300;

type Context = ReconcileContext<Node>;

/** What was last heard of a node, by our own clock: the machines' clocks need not agree. */
interface Heard {
  readonly sign: string;
  readonly atMs: number;
  readonly suspectSinceMs?: number;
}

/** Notices nodes that fell silent, taints nodes by their conditions, and moves pods off nodes that they do not tolerate. */
export function nodeLifecycleController(): ControllerSpec<Node> {
  const heard = new Map<string, Heard>();
  return {
    name,
    eventSource: "node-controller",
    kind: NodeKind,
    watches: [
      {
        kind: LeaseKind,
        keys: ({ metadata }) => (metadata.namespace === leaseNamespace ? [{ namespace: "", name: metadata.name }] : []),
      },
      { kind: PodKind, keys: () => [] },
    ],
    async reconcile(key, node, context) {
      if (node === undefined) {
        // What is left of it is the pod garbage collector's.
        heard.delete(key.name);
        return undefined;
      }
      const silence = listen(node, heard, context);
      const current = silence.isLost ? await markUnknown(node, context) : node;
      const tainted = await taint(await annotate(current, context), context);
      if (readiness(tainted) === "Unknown") await distrustPods(tainted, context);
      if (readiness(tainted) === "True") await trustPods(tainted, context);
      const evictMs = await evict(tainted, context);
      return { requeueAfterMs: Math.max(1, Math.min(silence.nextMs, evictMs ?? Number.POSITIVE_INFINITY)) };
    },
  };
}

function readiness(node: Node): string {
  return findCondition(node.status?.conditions, "Ready")?.status ?? "Unknown";
}

/** Takes note of signs of life; says whether the node is lost and when to listen again. */
function listen(
  node: Node,
  heard: Map<string, Heard>,
  { cluster, clock }: Context,
): { readonly isLost: boolean; readonly nextMs: number } {
  const nodeName = node.metadata.name;
  const lease = cluster.informers.informer(LeaseKind).get({ namespace: leaseNamespace, name: nodeName });
  const sign = `${lease?.spec.renewTime ?? ""} ${findCondition(node.status?.conditions, "Ready")?.lastHeartbeatTime ?? ""}`;
  const nowMs = clock.monotonicMs();
  const before = heard.get(nodeName);
  if (before?.sign !== sign) {
    heard.set(nodeName, { sign, atMs: nowMs });
    return { isLost: false, nextMs: graceMs };
  }
  const leftMs = before.atMs + graceMs - nowMs;
  if (leftMs > 0) return { isLost: false, nextMs: leftMs };
  const suspectSinceMs = before.suspectSinceMs ?? nowMs;
  heard.set(nodeName, { ...before, suspectSinceMs });
  const isLost = nowMs - suspectSinceMs >= confirmMs;
  return { isLost, nextMs: isLost ? graceMs : confirmMs };
}

async function markUnknown(node: Node, { cluster, clock, events }: Context): Promise<Node> {
  let conditions: NonNullable<NodeStatus["conditions"]> = node.status?.conditions ?? [];
  for (const type of conditionTypes) {
    const before = findCondition(conditions, type);
    if (before?.status === "Unknown") continue;
    const said =
      before === undefined
        ? { reason: "NodeStatusNeverUpdated", message: "Kubelet never posted node status." }
        : { reason: "NodeStatusUnknown", message: "Kubelet stopped posting node status." };
    conditions = withCondition(conditions, { ...before, type, status: "Unknown", ...said }, clock.now());
  }
  if (conditions === node.status?.conditions) return node;
  events.record(node, "Normal", "NodeNotReady", `Node ${node.metadata.name} status is now: NodeNotReady`);
  return cluster.client
    .resource(NodeKind)
    .updateStatus({ ...node, status: { ...node.status, conditions } }, { fieldManager: name });
}

async function annotate(node: Node, { cluster }: Context): Promise<Node> {
  const count = cluster.informers.informer(NodeKind).list().length;
  const ttl = String(ttlSteps.find(([nodes]) => count <= nodes)?.[1] ?? longestTtl);
  if (node.metadata.annotations?.[ttlKey] === ttl) return node;
  const patch = { metadata: { annotations: { [ttlKey]: ttl } } };
  return cluster.client.resource(NodeKind).patch(node.metadata.name, "merge", patch, { fieldManager: name });
}

/** The taints that a node's conditions call for; times of those that it has stay. */
function wantedTaints(node: Node, nowMs: number): readonly Taint[] {
  const status = (type: string): string | undefined => findCondition(node.status?.conditions, type)?.status;
  const ready = status("Ready");
  const wanted: Taint[] = [];
  const add = (key: string, effect: string): void => {
    const known = node.spec.taints?.find((taint) => taint.key === prefix + key && taint.effect === effect);
    wanted.push(known ?? { key: prefix + key, effect, timeAdded: timeOf(nowMs) });
  };
  // A node that never spoke is not judged before it is taken for lost.
  const key = ready === "Unknown" ? "unreachable" : "not-ready";
  const isUnfit = ready !== undefined && ready !== "True";
  if (isUnfit) add(key, "NoSchedule");
  for (const [type, pressure] of [
    ["MemoryPressure", "memory-pressure"],
    ["DiskPressure", "disk-pressure"],
    ["NetworkUnavailable", "network-unavailable"],
    ["PIDPressure", "pid-pressure"],
  ] as const) {
    if (status(type) === "True") add(pressure, "NoSchedule");
  }
  if (node.spec.unschedulable === true) add("unschedulable", "NoSchedule");
  if (isUnfit) add(key, "NoExecute");
  return wanted;
}

async function taint(node: Node, { cluster, clock }: Context): Promise<Node> {
  const present = node.spec.taints ?? [];
  const wanted = wantedTaints(node, clock.now());
  // What stays keeps its place.
  const kept = present.filter((one) => !ownKeys.has(one.key) || wanted.includes(one));
  const taints = [...kept, ...wanted.filter((one) => !kept.includes(one))];
  const order = (list: readonly Taint[]) =>
    toJson(list.toSorted((a, b) => `${a.key}${a.effect}`.localeCompare(`${b.key}${b.effect}`)));
  if (equalJson(order(taints), order(present))) return node;
  const patch = {
    metadata: { resourceVersion: node.metadata.resourceVersion },
    spec: { taints: taints.map((one) => ({ ...one })) },
  };
  return cluster.client.resource(NodeKind).patch(node.metadata.name, "merge", patch, { fieldManager: name });
}

function podsOn(nodeName: string, { cluster }: Context): readonly Pod[] {
  const pods = cluster.informers.informer(PodKind);
  pods.addIndex(nodeIndex, (pod) => (pod.spec.nodeName === undefined ? [] : [pod.spec.nodeName]));
  return pods.byIndex(nodeIndex, nodeName);
}

async function sayReady(
  pod: Pod,
  said: { readonly status: string; readonly reason?: string; readonly message?: string },
  { cluster, clock }: Context,
): Promise<void> {
  const conditions = withCondition(pod.status?.conditions, { type: "Ready", ...said }, clock.now());
  try {
    await cluster.client
      .resource(PodKind)
      .updateStatus({ ...pod, status: { ...pod.status, conditions } }, { fieldManager: name });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** Services must not send requests to pods that nobody vouches for. */
async function distrustPods(node: Node, context: Context): Promise<void> {
  for (const pod of podsOn(node.metadata.name, context).filter(isReady)) {
    context.events.record(pod, "Warning", "NodeNotReady", "Node is not ready");
    await sayReady(
      pod,
      { status: "False", reason: lostReason, message: `node ${node.metadata.name} stopped reporting` },
      context,
    );
  }
}

/** The node is back, and its agent may find that nothing changed and say nothing: what was taken back is given again. */
async function trustPods(node: Node, context: Context): Promise<void> {
  for (const pod of podsOn(node.metadata.name, context)) {
    const { conditions } = pod.status ?? {};
    if (findCondition(conditions, "Ready")?.reason !== lostReason || isTerminal(pod)) continue;
    await sayReady(pod, { status: findCondition(conditions, "ContainersReady")?.status ?? "True" }, context);
  }
}

/** Deletes pods that do not, or no longer, tolerate the node's NoExecute taints. Returns when the next one's time is up. */
async function evict(node: Node, context: Context): Promise<number | undefined> {
  const taints = (node.spec.taints ?? []).filter(({ effect }) => effect === "NoExecute");
  if (taints.length === 0) return undefined;
  const nowMs = context.clock.now();
  let nextMs: number | undefined;
  for (const pod of podsOn(node.metadata.name, context)) {
    if (isDeleting(pod) || isTerminal(pod)) continue;
    const waitMs = Math.min(...taints.map((one) => patienceMs(pod, one, nowMs)));
    if (waitMs > 0) {
      if (Number.isFinite(waitMs)) nextMs = Math.min(nextMs ?? waitMs, waitMs);
      continue;
    }
    const { namespace = "", name: podName } = pod.metadata;
    context.events.record(pod, "Normal", "TaintManagerEviction", `Marking for deletion Pod ${namespace}/${podName}`);
    await evictPod(pod, context);
  }
  return nextMs;
}

/** Says in the pod why it goes, and asks it to. */
async function evictPod(pod: Pod, { cluster, clock }: Context): Promise<void> {
  const { namespace = "", name: podName, uid } = pod.metadata;
  const pods = cluster.client.resource(PodKind);
  const said = {
    type: "DisruptionTarget",
    status: "True",
    reason: "DeletionByTaintManager",
    message: "Taint manager: deleting due to NoExecute taint",
  };
  const conditions = withCondition(pod.status?.conditions, said, clock.now());
  try {
    await pods.updateStatus({ ...pod, status: { ...pod.status, conditions } }, { fieldManager: name });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  await pods.delete(podName, { namespace, preconditions: { uid } });
}

/** How much longer a pod bears a taint: for ever, a while, or not at all. */
function patienceMs(pod: Pod, taint: Taint, nowMs: number): number {
  const matching = (pod.spec.tolerations ?? []).filter((toleration) => tolerates(toleration, taint));
  if (matching.length === 0) return 0;
  const limits = matching.flatMap(({ tolerationSeconds }) =>
    tolerationSeconds === undefined ? [] : [tolerationSeconds],
  );
  if (limits.length === 0) return Number.POSITIVE_INFINITY;
  const sinceMs = taint.timeAdded === undefined ? nowMs : Date.parse(taint.timeAdded);
  return Math.max(0, sinceMs + Math.max(0, Math.min(...limits)) * 1000 - nowMs);
}
