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
  PodKind,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { toJson } from "../../../kernel/schema/index.js";
import type { Candidate, Ledger } from "../../../stores/ledger/types.js";
import { isTerminal } from "../shared/pods.js";
import { nodeObstacles } from "./node-filters.js";
import { findPreemption, type Preemption, priorityOf } from "./preemption.js";
import { podRequests } from "./requests.js";
import { scoreNodes } from "./scores.js";
import type { NodeView, Snapshot } from "./snapshot.js";
import { topologyChecks } from "./topology-filters.js";
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
      { kind: PersistentVolumeClaimKind, keys: (_claim, informers) => pendingKeys(informers) },
      { kind: PersistentVolumeKind, keys: (_volume, informers) => pendingKeys(informers) },
      { kind: PodKind, keys: keysAfterPod },
    ],
    async reconcile(_key, pod, context) {
      return pod === undefined ? undefined : scheduler.schedule(pod, context);
    },
  };
}

interface Assessment {
  readonly view: NodeView;
  readonly obstacles: readonly string[];
}

/** A pod that stays where it is: nowhere. */
interface Refusal {
  readonly pod: Pod;
  readonly message: string;
  readonly assessed: readonly Assessment[];
  /** Where room is being made for it. */
  readonly nominated?: string | undefined;
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
    if ((pod.spec.schedulingGates ?? []).length > 0) return undefined;
    const snapshot = this.#snapshot(context);
    const check = topologyChecks(pod, snapshot);
    const volumes = volumeCheck(pod, context.cluster.informers);
    if (volumes.everywhere !== undefined)
      return this.#refuse(
        { pod, message: `0/${snapshot.nodes.length} nodes are available: ${volumes.everywhere}.`, assessed: [] },
        context,
      );
    const assessed = snapshot.nodes.map((view): Assessment => {
      const obstacles = nodeObstacles(pod, view);
      const reason = obstacles.length === 0 ? (volumes.on(view.node) ?? check(view)) : undefined;
      return { view, obstacles: reason === undefined ? obstacles : [reason] };
    });
    const feasible = assessed.filter(({ obstacles }) => obstacles.length === 0).map(({ view }) => view);
    if (feasible.length === 0) {
      const preemption = findPreemption(pod, snapshot, (node) => volumes.on(node) === undefined);
      if (preemption !== undefined) await this.#makeRoom(pod, preemption, context);
      return this.#refuse({ pod, message: describeRefusal(assessed), assessed, nominated: preemption?.node }, context);
    }
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
    const nodes = cluster.informers
      .informer(NodeKind)
      .list()
      .filter((node) => !isDeleting(node));
    return {
      nodes: nodes.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)).map(view),
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
      const message = `${name}: preempting to accommodate a higher priority pod`;
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
    if (victims.length === 0) return;
    this.#options.ledger.record({
      ...this.#decisionOn(pod),
      topic: "preemption",
      rule: "where it costs the least important, then the fewest pods",
      outcome: `room is made on ${node}`,
      winners: [{ name: pod.metadata.name, reason: `priority ${priorityOf(pod)}`, score: priorityOf(pod) }],
      losers: victims.map((victim) => ({
        name: victim.metadata.name,
        reason: `priority ${priorityOf(victim)}`,
        score: priorityOf(victim),
      })),
    });
  }

  async #refuse(refusal: Refusal, context: ReconcileContext<Pod>): Promise<ReconcileResult> {
    const { pod, message, assessed, nominated } = refusal;
    const losers = assessed.map(
      ({ view, obstacles }): Candidate => ({ name: view.node.metadata.name, reason: obstacles.join(", ") }),
    );
    this.#options.ledger.record({ ...this.#decisionOn(pod), outcome: `not placed: ${message}`, winners: [], losers });
    const before = findCondition(pod.status?.conditions, "PodScheduled");
    const isSaid = before?.status === "False" && before.message === message;
    if (isSaid && pod.status?.nominatedNodeName === nominated) return { requeueAfterMs: retryMs };
    if (!isSaid) context.events.record(pod, "Warning", "FailedScheduling", message);
    const said = { type: "PodScheduled", status: "False", reason: "Unschedulable", message };
    const conditions = withCondition(pod.status?.conditions, said, context.clock.now());
    const { nominatedNodeName: _before, ...status } = pod.status ?? {};
    const nomination = nominated === undefined ? {} : { nominatedNodeName: nominated };
    try {
      await context.cluster.client
        .resource(PodKind)
        .updateStatus({ ...pod, status: { ...status, ...nomination, conditions } }, { fieldManager: name });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return { requeueAfterMs: retryMs };
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
    const unfit = assessed
      .filter(({ obstacles }) => obstacles.length > 0)
      .map(({ view, obstacles }): Candidate => ({ name: view.node.metadata.name, reason: obstacles.join(", ") }));
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

/** `0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.`, as kubectl users know it. */
function describeRefusal(assessed: readonly Assessment[]): string {
  if (assessed.length === 0) return "no nodes available to schedule pods";
  const counts = new Map<string, number>();
  for (const { obstacles } of assessed)
    for (const reason of obstacles) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const parts = [...counts].map(([reason, count]) => `${count} ${reason}`).toSorted();
  return `0/${assessed.length} nodes are available: ${parts.join(", ")}.`;
}
