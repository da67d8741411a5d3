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
import { fitOf } from "./fit.js";
import { type Assessment, findPreemption, type Preemption } from "./preemption.js";
import { priorityOf } from "./priority.js";
import { refusalText } from "./refusal.js";
import { podRequests } from "./requests.js";
import { scoreNodes } from "./scores.js";
import type { NodeView, Snapshot } from "./snapshot.js";
import { volumeCheck } from "./volume-filters.js";

const name = "default-scheduler";
const nodeIndex = "node";
const pendingIndex = "pending";
/** Looked at again after this long even if nothing seems to have changed, as upstream. */
const retryMs = 300_000;

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
function pendingKeys(informers: InformerSet): readonly Key[] {
  addIndexes(informers);
  return informers
    .informer(PodKind)
    .byIndex(pendingIndex, "yes")
    .toSorted(
      (a, b) => priorityOf(b) - priorityOf(a) || (a.metadata.creationTimestamp < b.metadata.creationTimestamp ? -1 : 1),
    )
    .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name }));
}

/** A pod that ended or went leaves room for those that wait. */
function keysAfterPod(object: KubeObject, informers: InformerSet): readonly Key[] {
  const { namespace = "", name: podName } = object.metadata;
  const now = informers.informer(PodKind).get({ namespace, name: podName });
  return now === undefined || isTerminal(now) ? pendingKeys(informers) : [];
}

/** Gives pods their nodes: filters, scores, binds, and writes down why. */
export function schedulerController(options: SchedulerOptions): ControllerSpec<Pod> {
  const scheduler = new Scheduler(options);
  return {
    name,
    kind: PodKind,
    // One at a time: each decision must see the one before.
    concurrency: 1,
    watches: [
      { kind: NodeKind, keys: (_node, informers) => pendingKeys(informers) },
      { kind: NamespaceKind, keys: () => [] },
      { kind: PodDisruptionBudgetKind, keys: () => [] },
      { kind: PersistentVolumeClaimKind, keys: (_claim, informers) => pendingKeys(informers) },
      { kind: PersistentVolumeKind, keys: (_volume, informers) => pendingKeys(informers) },
      { kind: StorageClassKind, keys: (_class, informers) => pendingKeys(informers) },
      { kind: PodKind, keys: keysAfterPod },
    ],
    async reconcile(_key, pod, context) {
      return pod === undefined ? undefined : scheduler.schedule(pod, context);
    },
  };
}

/** A pod that stays where it is: nowhere. */
interface Refusal {
  readonly pod: Pod;
  readonly snapshot: Snapshot;
  readonly assessed: readonly Assessment[];
  /** What keeps it from all nodes. */
  readonly why: string | undefined;
}

class Scheduler {
  readonly #options: SchedulerOptions;
  /** Pods that were bound and that the informer does not show bound yet, with their nodes. */
  readonly #assumed = new Map<string, { readonly pod: Pod; readonly node: string }>();

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  async schedule(pod: Pod, context: ReconcileContext<Pod>): Promise<ReconcileResult | undefined> {
    if (!isPending(pod) || this.#assumed.has(pod.metadata.uid)) return undefined;
    const gates = (pod.spec.schedulingGates ?? []).map((gate) => gate.name);
    if (gates.length > 0) {
      this.#noteRefusal(pod, `waiting for scheduling gates: [${gates.join(" ")}]`, []);
      return undefined;
    }
    const snapshot = this.#snapshot(context);
    const volumes = volumeCheck(pod, context.cluster.informers);
    const obstacleOn = fitOf(pod, snapshot, volumes);
    const why = volumes.everywhere;
    const assessed = snapshot.nodes.map((view): Assessment => {
      const obstacle = why === undefined ? obstacleOn(view) : { reasons: [why], isFinal: true };
      return { view, obstacle };
    });
    const fitting = assessed.filter(({ obstacle }) => obstacle === undefined).map(({ view }) => view);
    if (fitting.length === 0) return this.#refuse({ pod, snapshot, assessed, why }, context);
    // Where room was made for it, it goes if it can.
    const promised = fitting.filter(({ node }) => node.metadata.name === pod.status?.nominatedNodeName);
    const feasible = promised.length > 0 ? promised : fitting;
    const scored = scoreNodes(pod, feasible, snapshot).map((score, index) => ({
      ...score,
      node: feasible[index]?.node.metadata.name ?? "",
    }));
    const top = Math.max(...scored.map(({ total }) => total));
    const equals = scored.filter(({ total }) => total === top);
    const chosen = equals[context.random.int(equals.length)]?.node ?? "";
    if (await this.#bind(pod, chosen, context)) this.#note(pod, chosen, scored, assessed);
    return undefined;
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
    const nodes = cluster.informers
      .informer(NodeKind)
      .list()
      .filter((node) => !isDeleting(node));
    return {
      nodes: nodes.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)).map(view),
      nominated,
      namespaceLabels: (namespace) => namespaces.get({ namespace: "", name: namespace })?.metadata.labels,
    };
  }

  async #bind(pod: Pod, node: string, { cluster, events }: ReconcileContext<Pod>): Promise<boolean> {
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
      this.#assumed.delete(uid);
      // Bound by someone else, or gone: its event tells.
      if (isConflict(error) || isNotFound(error)) return false;
      throw error;
    }
    events.record(pod, "Normal", "Scheduled", `Successfully assigned ${namespace}/${podName} to ${node}`);
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
      context.events.record(victim, "Normal", "Preempted", `Preempted by pod ${pod.metadata.uid} on node ${node}`);
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
  async #refuse({ pod, snapshot, assessed, why }: Refusal, context: ReconcileContext<Pod>): Promise<ReconcileResult> {
    const obstacles = assessed.flatMap(({ obstacle }) => (obstacle === undefined ? [] : [obstacle]));
    const head =
      why === undefined ? refusalText(assessed.length, obstacles) : `0/${assessed.length} nodes are available: ${why}.`;
    if (assessed.length === 0 && why === undefined)
      return this.#say(pod, "no nodes available to schedule pods", { context, nominated: undefined });
    const budgets = context.cluster.informers.informer(PodDisruptionBudgetKind).list();
    const outcome = findPreemption({ pod, snapshot, assessed, budgets });
    if ("preemption" in outcome) await this.#makeRoom(pod, outcome.preemption, context);
    const message = "message" in outcome ? `${head} ${outcome.message}` : head;
    this.#noteRefusal(pod, message, assessed);
    const promised = "isUnderWay" in outcome ? pod.status?.nominatedNodeName : undefined;
    const nominated = "preemption" in outcome ? outcome.preemption.node : promised;
    return this.#say(pod, message, { context, nominated });
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
    { context, nominated }: { readonly context: ReconcileContext<Pod>; readonly nominated: string | undefined },
  ): Promise<ReconcileResult> {
    const before = findCondition(pod.status?.conditions, "PodScheduled");
    const isSaid = before?.status === "False" && before.message === message;
    if (isSaid && pod.status?.nominatedNodeName === nominated) return { requeueAfterMs: retryMs };
    if (!isSaid) context.events.record(pod, "Warning", "FailedScheduling", message);
    const said = { type: "PodScheduled", status: "False", reason: "Unschedulable", message };
    const conditions = withCondition(pod.status?.conditions, said, context.clock.now());
    await this.#writeStatus(pod, { ...pod.status, conditions }, { context, nominated });
    return { requeueAfterMs: retryMs };
  }

  async #writeStatus(
    pod: Pod,
    status: NonNullable<Pod["status"]>,
    { context, nominated }: { readonly context: ReconcileContext<Pod>; readonly nominated: string | undefined },
  ): Promise<void> {
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
      await this.#writeStatus(other, other.status ?? {}, { context, nominated: undefined });
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
