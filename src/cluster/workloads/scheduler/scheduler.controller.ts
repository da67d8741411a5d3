import type {
  ControllerSpec,
  InformerSet,
  Key,
  ReconcileContext,
  ReconcileResult,
} from "../../../kernel/control/index.js";
import { isConflict, isNotFound } from "../../../kernel/errors/index.js";
import {
  findCondition,
  formatQuantity,
  isDeleting,
  type KubeObject,
  NamespaceKind,
  type Node,
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodDisruptionBudgetKind,
  PodKind,
  StorageClassKind,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { toJson } from "../../../kernel/schema/index.js";
import type { Candidate, Ledger } from "../../../stores/ledger/types.js";
import { isTerminal } from "../shared/pods.js";
import { Attention } from "./attention.js";
import { type Fit, fitOf } from "./fit.js";
import { type Assessment, findPreemption, type Preemption } from "./preemption.js";
import { priorityOf } from "./priority.js";
import { refusalText } from "./refusal.js";
import { podRequests } from "./requests.js";
import { scoreNodes } from "./scores.js";
import { siblingKinds, siblingsOf } from "./siblings.js";
import type { NodeView, Snapshot } from "./snapshot.js";
import { progressOf, reserve, type VolumePlan } from "./volume-binding.js";

const name = "default-scheduler";
const nodeIndex = "node";
const pendingIndex = "pending";
/** Looked at again after this long even if nothing seems to have changed, as upstream. */
const retryMs = 300_000;

/** How long volumes may take, as upstream. */
const volumesMs = 600_000;
/** The longest message of an event. */
const maxNote = 1024;

/** What the scheduler needs besides the API. */
export interface SchedulerOptions {
  readonly ledger: Ledger;
  readonly clusterName: string;
}

/** Whether the pod waits for us. */
function isPending(pod: Pod): boolean {
  return (
    (pod.spec.nodeName ?? "") === "" &&
    (pod.spec.schedulerName ?? name) === name &&
    !isTerminal(pod) &&
    !isDeleting(pod)
  );
}

function addIndexes(informers: InformerSet): void {
  const pods = informers.informer(PodKind);
  pods.addIndex(nodeIndex, (pod) => (pod.spec.nodeName !== undefined && !isTerminal(pod) ? [pod.spec.nodeName] : []));
  pods.addIndex(pendingIndex, (pod) => (isPending(pod) ? ["yes"] : []));
}

/** Everyone who waits, the most important first, then who waits longest. */
function pendingPods(informers: InformerSet): readonly Pod[] {
  addIndexes(informers);
  return informers
    .informer(PodKind)
    .byIndex(pendingIndex, "yes")
    .toSorted(
      (a, b) => priorityOf(b) - priorityOf(a) || (a.metadata.creationTimestamp < b.metadata.creationTimestamp ? -1 : 1),
    );
}

/** Gives pods their nodes: filters, scores, binds, and writes down why. */
export function schedulerController(options: SchedulerOptions): ControllerSpec<Pod> {
  const attention = new Attention(pendingPods);
  const scheduler = new Scheduler(options, attention);
  const wakeAll = (_object: KubeObject, informers: InformerSet): readonly Key[] => attention.wakeAll(informers);
  return {
    name,
    kind: PodKind,
    // One at a time: each decision must see the one before.
    concurrency: 1,
    watches: [
      { kind: NodeKind, keys: (node, informers) => attention.afterNode(node, informers) },
      { kind: NamespaceKind, keys: () => [] },
      { kind: PodDisruptionBudgetKind, keys: () => [] },
      { kind: PersistentVolumeClaimKind, keys: wakeAll },
      { kind: PersistentVolumeKind, keys: wakeAll },
      { kind: StorageClassKind, keys: wakeAll },
      ...siblingKinds.map((kind) => ({ kind, keys: () => [] })),
      { kind: PodKind, keys: (pod, informers) => attention.afterPod(pod, informers) },
    ],
    async reconcile(_key, pod, context) {
      return pod === undefined ? undefined : scheduler.schedule(pod, context);
    },
  };
}

/** How something is said of a pod: in its status, with the node that is promised to it. */
interface Saying {
  readonly context: ReconcileContext<Pod>;
  /** Absent: it fits nowhere. */
  readonly reason?: "SchedulerError" | "Unschedulable";
  readonly nominated?: string;
}

/** A pod for which a place is kept. */
interface Assumed {
  readonly pod: Pod;
  readonly node: string;
  /** It is bound when this is done. */
  readonly waiting?: { readonly plan: VolumePlan; readonly untilMs: number };
}

/** A pod that stays where it is: nowhere. */
interface Refusal {
  readonly pod: Pod;
  readonly snapshot: Snapshot;
  readonly assessed: readonly Assessment[];
  readonly fit: Fit;
}

class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #attention: Attention;
  /** Pods that were bound and that the informer does not show bound yet, or that wait for their volumes, with their nodes. */
  readonly #assumed = new Map<string, Assumed>();

  constructor(options: SchedulerOptions, attention: Attention) {
    this.#options = options;
    this.#attention = attention;
  }

  async schedule(pod: Pod, context: ReconcileContext<Pod>): Promise<ReconcileResult | undefined> {
    if (!isPending(pod)) return undefined;
    const assumed = this.#assumed.get(pod.metadata.uid);
    if (assumed !== undefined) return this.#afterVolumes(pod, assumed, context);
    const gates = (pod.spec.schedulingGates ?? []).map((gate) => gate.name);
    if (gates.length > 0) {
      this.#noteRefusal(pod, `waiting for scheduling gates: [${gates.join(" ")}]`, []);
      return undefined;
    }
    if (!this.#attention.isDue(pod, context.clock.monotonicMs(), retryMs)) return { requeueAfterMs: retryMs };
    const { informers } = context.cluster;
    const snapshot = this.#snapshot(context);
    const fit = fitOf(pod, snapshot, informers);
    const assessed = snapshot.nodes.map((view): Assessment => ({ view, obstacle: fit.on(view) }));
    const fitting = assessed.filter(({ obstacle }) => obstacle === undefined).map(({ view }) => view);
    if (fitting.length === 0) return this.#refuse({ pod, snapshot, assessed, fit }, context);
    // Where room was made for it, it goes if it can.
    const promised = fitting.filter(({ node }) => node.metadata.name === pod.status?.nominatedNodeName);
    const candidates = promised.length > 0 ? promised : fitting;
    const siblings = siblingsOf(pod, informers);
    const query = { pod, candidates, snapshot, ...(siblings === undefined ? {} : { siblings }) };
    const scored = scoreNodes(query).map((score, index) => ({
      ...score,
      node: candidates[index]?.node.metadata.name ?? "",
    }));
    const top = Math.max(...scored.map(({ total }) => total));
    const equals = scored.filter(({ total }) => total === top);
    const chosen = equals[context.random.int(equals.length)]?.node ?? "";
    this.#note(pod, chosen, scored, assessed);
    const target = candidates.find(({ node }) => node.metadata.name === chosen);
    const plan = target === undefined ? undefined : fit.plan(target.node);
    if (plan !== undefined) return this.#awaitVolumes(pod, { node: chosen, plan }, context);
    await this.#bind(pod, chosen, context);
    return undefined;
  }

  /** Keeps the place while the pod's volumes are bound to it or made for it. */
  async #awaitVolumes(
    pod: Pod,
    { node, plan }: { readonly node: string; readonly plan: VolumePlan },
    context: ReconcileContext<Pod>,
  ): Promise<ReconcileResult> {
    const { uid } = pod.metadata;
    const untilMs = context.clock.monotonicMs() + volumesMs;
    this.#assumed.set(uid, { pod, node, waiting: { plan, untilMs } });
    try {
      await reserve(plan, node, context.cluster.client, name);
    } catch (error) {
      this.#release(uid, context);
      throw error;
    }
    return { requeueAfterMs: volumesMs };
  }

  /** Binds a pod whose volumes are there. */
  async #afterVolumes(
    pod: Pod,
    { node, waiting }: Assumed,
    context: ReconcileContext<Pod>,
  ): Promise<ReconcileResult | undefined> {
    if (waiting === undefined) return undefined;
    const progress = progressOf(waiting.plan, context.cluster.informers);
    const leftMs = waiting.untilMs - context.clock.monotonicMs();
    if (progress === "waiting" && leftMs > 0) return { requeueAfterMs: leftMs };
    if (progress === "bound") {
      await this.#bind(pod, node, context);
      return undefined;
    }
    this.#release(pod.metadata.uid, context);
    const fault = progress === "waiting" ? "context deadline exceeded" : progress.fault;
    const message = `running PreBind plugin "VolumeBinding": binding volumes: ${fault}`;
    return this.#say(pod, message, { context, reason: "SchedulerError" });
  }

  /** The room that was kept for a pod is free again. */
  #release(uid: string, context: ReconcileContext<Pod>): void {
    this.#assumed.delete(uid);
    for (const key of this.#attention.wakeAll(context.cluster.informers)) context.enqueue(key);
  }

  #snapshot({ cluster }: ReconcileContext<Pod>): Snapshot {
    addIndexes(cluster.informers);
    const pods = cluster.informers.informer(PodKind);
    const namespaces = cluster.informers.informer(NamespaceKind);
    for (const [uid, { pod }] of this.#assumed) {
      const seen = pods.get({ namespace: pod.metadata.namespace ?? "", name: pod.metadata.name });
      if (seen?.metadata.uid !== uid || seen.spec.nodeName !== undefined) this.#assumed.delete(uid);
    }
    const assumedOn = (node: string): readonly Pod[] =>
      [...this.#assumed.values()].filter((entry) => entry.node === node).map(({ pod }) => pod);
    const view = (node: Node): NodeView => ({
      node,
      pods: [...pods.byIndex(nodeIndex, node.metadata.name), ...assumedOn(node.metadata.name)],
    });
    const nominated = new Map<string, Pod[]>();
    for (const pod of pods.byIndex(pendingIndex, "yes")) {
      const node = pod.status?.nominatedNodeName ?? "";
      if (node !== "" && !this.#assumed.has(pod.metadata.uid))
        nominated.set(node, [...(nominated.get(node) ?? []), pod]);
    }
    const nodes = cluster.informers.informer(NodeKind).list();
    return {
      nodes: nodes.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)).map(view),
      nominated,
      namespaceLabels: (namespace) => namespaces.get({ namespace: "", name: namespace })?.metadata.labels,
    };
  }

  async #bind(pod: Pod, node: string, context: ReconcileContext<Pod>): Promise<boolean> {
    const { cluster, events } = context;
    const { namespace = "", name: podName, uid } = pod.metadata;
    this.#assumed.set(uid, { pod, node });
    const binding = {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name: podName, namespace, uid },
      target: { apiVersion: "v1", kind: "Node", name: node },
    };
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(podName)}/binding`;
    try {
      await cluster.client.json("POST", path, binding);
    } catch (error) {
      this.#release(uid, context);
      // Bound by someone else, or gone: its event tells.
      if (isConflict(error) || isNotFound(error)) return false;
      throw error;
    }
    this.#attention.forget(uid);
    const message = `Successfully assigned ${namespace}/${podName} to ${node}`;
    events.report({ about: pod, type: "Normal", reason: "Scheduled", action: "Binding", message });
    return true;
  }

  /** Asks lesser pods to leave. They get their time to end; the pod is looked at again when they are gone. */
  async #makeRoom(pod: Pod, { node, victims }: Preemption, context: ReconcileContext<Pod>): Promise<void> {
    const pods = context.cluster.client.resource(PodKind);
    for (const victim of victims) {
      const { namespace = "", name: victimName, uid } = victim.metadata;
      const message = `${pod.spec.schedulerName ?? name}: preempting to accommodate a higher priority pod`;
      const said = { type: "DisruptionTarget", status: "True", reason: "PreemptionByScheduler", message };
      const conditions = withCondition(victim.status?.conditions, said, context.clock.now());
      try {
        await pods.updateStatus({ ...victim, status: { ...victim.status, conditions } }, { fieldManager: name });
      } catch (error) {
        if (isNotFound(error)) continue;
        throw error;
      }
      await pods.delete(victimName, { namespace, preconditions: { uid } });
      const told = `Preempted by pod ${pod.metadata.uid} on node ${node}`;
      const about = { about: victim, related: pod, type: "Normal", reason: "Preempted", action: "Preempting" } as const;
      context.events.report({ ...about, message: told });
    }
    await this.#breakPromises(pod, node, context);
    if (victims.length === 0) return;
    this.#options.ledger.record({
      ...this.#decisionOn(pod),
      topic: "preemption",
      rule: "where the fewest budgets are broken, then the least important and the fewest pods go, the youngest first",
      outcome: `room is made on ${node}`,
      winners: [{ name: pod.metadata.name, reason: `priority ${priorityOf(pod)}`, score: priorityOf(pod) }],
      losers: victims.map((victim) => ({
        name: victim.metadata.name,
        reason: `priority ${priorityOf(victim)}`,
        score: priorityOf(victim),
      })),
    });
  }

  /** Says why the pod stays, after it was tried to make room for it. */
  async #refuse({ pod, snapshot, assessed, fit }: Refusal, context: ReconcileContext<Pod>): Promise<ReconcileResult> {
    const { length } = snapshot.nodes;
    if (length === 0) return this.#say(pod, "no nodes available to schedule pods", { context });
    const obstacles = assessed.flatMap(({ obstacle }) => obstacle ?? []);
    const head =
      fit.everywhere === undefined
        ? refusalText(length, obstacles)
        : `0/${length} nodes are available: ${fit.everywhere}.`;
    const budgets = context.cluster.informers.informer(PodDisruptionBudgetKind).list();
    const outcome = findPreemption({ pod, fit, assessed, budgets });
    if ("preemption" in outcome) await this.#makeRoom(pod, outcome.preemption, context);
    const message = "message" in outcome ? `${head} ${outcome.message}` : head;
    this.#noteRefusal(pod, message, assessed);
    const promised = "isPromiseKept" in outcome ? pod.status?.nominatedNodeName : undefined;
    const nominated = "preemption" in outcome ? outcome.preemption.node : promised;
    return this.#say(pod, message, { context, ...(nominated === undefined ? {} : { nominated }) });
  }

  /** Writes down what keeps the pod from each node. */
  #noteRefusal(pod: Pod, message: string, assessed: readonly Assessment[]): void {
    const losers = assessed.map(({ view, obstacle }) => loserOf(view, obstacle?.reasons ?? []));
    this.#options.ledger.record({ ...this.#decisionOn(pod), outcome: `not placed: ${message}`, winners: [], losers });
  }

  /** Says in the pod's status and an event that it is not placed. */
  async #say(
    pod: Pod,
    message: string,
    { context, nominated, reason = "Unschedulable" }: Saying,
  ): Promise<ReconcileResult> {
    const note = message.length > maxNote ? `${message.slice(0, maxNote - 4)} ...` : message;
    const told = { about: pod, type: "Warning", reason: "FailedScheduling", action: "Scheduling" } as const;
    context.events.report({ ...told, message: note });
    const before = findCondition(pod.status?.conditions, "PodScheduled");
    const isSaid = before?.status === "False" && before.message === message && before.reason === reason;
    if (isSaid && pod.status?.nominatedNodeName === nominated) return { requeueAfterMs: retryMs };
    const said = { type: "PodScheduled", status: "False", reason, message };
    const conditions = withCondition(pod.status?.conditions, said, context.clock.now());
    await this.#writeStatus(
      pod,
      { ...pod.status, conditions },
      { context, ...(nominated === undefined ? {} : { nominated }) },
    );
    return { requeueAfterMs: retryMs };
  }

  async #writeStatus(pod: Pod, status: NonNullable<Pod["status"]>, { context, nominated }: Saying): Promise<void> {
    const { nominatedNodeName: _before, ...rest } = status;
    const nomination = nominated === undefined ? {} : { nominatedNodeName: nominated };
    try {
      await context.cluster.client
        .resource(PodKind)
        .updateStatus({ ...pod, status: { ...rest, ...nomination } }, { fieldManager: name });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** Lesser pods that were promised the node look for another place. */
  async #breakPromises(pod: Pod, node: string, context: ReconcileContext<Pod>): Promise<void> {
    const pending = context.cluster.informers.informer(PodKind).byIndex(pendingIndex, "yes");
    for (const other of pending.filter(({ status }) => status?.nominatedNodeName === node)) {
      if (priorityOf(other) >= priorityOf(pod)) continue;
      await this.#writeStatus(other, other.status ?? {}, { context });
    }
  }

  #note(
    pod: Pod,
    chosen: string,
    scored: readonly { readonly node: string; readonly total: number; readonly reason: string }[],
    assessed: readonly Assessment[],
  ): void {
    const candidate = ({ node, total, reason }: (typeof scored)[number]): Candidate => ({
      name: node,
      reason,
      score: total,
    });
    const unfit = assessed.flatMap(({ view, obstacle }) =>
      obstacle === undefined ? [] : [loserOf(view, obstacle.reasons)],
    );
    this.#options.ledger.record({
      ...this.#decisionOn(pod),
      outcome: `placed on ${chosen}`,
      winners: scored.filter(({ node }) => node === chosen).map(candidate),
      losers: [...scored.filter(({ node }) => node !== chosen).map(candidate), ...unfit],
    });
  }

  #decisionOn(pod: Pod) {
    const requests = Object.fromEntries(
      [...podRequests(pod)].map(([resource, nanos]) => [
        resource,
        formatQuantity({ nanos, format: resource === "cpu" ? "DecimalSI" : "BinarySI" }),
      ]),
    );
    const { nodeSelector, affinity, tolerations, topologySpreadConstraints } = pod.spec;
    return {
      cluster: this.#options.clusterName,
      about: { apiVersion: "v1", kind: "Pod", namespace: pod.metadata.namespace ?? "", name: pod.metadata.name },
      topic: "placement",
      rule: "of the nodes that can take the pod, the one with the most points for free resources, balance, preferences and spread; ties by lot",
      inputs: { requests, wishes: toJson({ nodeSelector, affinity, tolerations, topologySpreadConstraints }) },
    };
  }
}

function loserOf({ node }: NodeView, reasons: readonly string[]): Candidate {
  return { name: node.metadata.name, reason: reasons.join(", ") };
}
