import type { ControllerSpec, ReconcileContext, ReconcileResult } from "../../../kernel/control/index.js";
import {
  ControllerRevisionKind,
  type DaemonSet,
  DaemonSetKind,
  type DaemonSetStatus,
  isDeleting,
  NodeKind,
  type Pod,
  PodKind,
} from "../../../kernel/kinds/index.js";
import { slowStart } from "../shared/batches.js";
import { claimPods } from "../shared/claim.js";
import { createOwnedPod } from "../shared/create.js";
import { deleteOwnedPod } from "../shared/delete.js";
import { isAvailable, isReady, isTerminal, podFromTemplate } from "../shared/pods.js";
import { reconcileRevisioned } from "../shared/revisioned.js";
import { revisionLabel } from "../shared/revisions.js";
import { orphanWatch } from "../shared/wake.js";
import { FailureBackoff } from "./failure-backoff.js";
import { nodeOfPod, placementOn, podSpecFor } from "./placement.js";
import { type NodeState, planNodes, planUpdate, type Steps } from "./plan.js";

const fieldManager = "daemonset-controller";
const generationAnnotation = "deprecated.daemonset.template.generation";
/** Creations of one look, as upstream. */
const maxBurst = 250;

type Context = ReconcileContext<DaemonSet>;

/** Keeps one pod of a DaemonSet on each node that is meant. */
export function daemonSetController(): ControllerSpec<DaemonSet> {
  const backoff = new FailureBackoff();
  return {
    name: fieldManager,
    kind: DaemonSetKind,
    owns: [PodKind, ControllerRevisionKind],
    watches: [
      orphanWatch(PodKind, DaemonSetKind, (set) => set.spec.selector),
      {
        kind: NodeKind,
        keys: (_node, informers) =>
          informers
            .informer(DaemonSetKind)
            .list()
            .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name })),
      },
    ],
    async reconcile(_key, set, context) {
      return set === undefined ? undefined : reconcileSet(set, backoff, context);
    },
  };
}

async function survey(set: DaemonSet, { cluster }: Context): Promise<readonly NodeState[]> {
  const byNode = new Map<string, Pod[]>();
  const claim = { owner: set, kind: DaemonSetKind, selector: set.spec.selector, fieldManager };
  for (const pod of await claimPods(claim, cluster)) {
    if (isDeleting(pod) && isTerminal(pod)) continue;
    const node = nodeOfPod(pod) ?? "";
    byNode.set(node, [...(byNode.get(node) ?? []), pod]);
  }
  const nodes = cluster.informers.informer(NodeKind).list();
  const known = new Set(nodes.map((node) => node.metadata.name));
  const states = nodes.map(
    (node): NodeState => ({
      name: node.metadata.name,
      ...placementOn(set, node),
      pods: (byNode.get(node.metadata.name) ?? []).toSorted((a, b) =>
        a.metadata.creationTimestamp < b.metadata.creationTimestamp ? -1 : 1,
      ),
    }),
  );
  const stray = [...byNode].filter(([node]) => !known.has(node)).flatMap(([, pods]) => pods);
  return [...states, { name: "", shouldRun: false, mayStay: false, pods: stray }];
}

function reconcileSet(set: DaemonSet, backoff: FailureBackoff, context: Context): Promise<ReconcileResult | undefined> {
  const { cluster, clock } = context;
  const hashOf = ({ metadata }: { metadata: { name: string; labels?: Record<string, string> } }): string =>
    metadata.labels?.[revisionLabel] ?? metadata.name;
  return reconcileRevisioned({
    owner: set,
    kind: DaemonSetKind,
    fieldManager,
    cluster,
    clock,
    async act(update) {
      const hash = hashOf(update);
      const look = async () => ({ set, states: await survey(set, context), hash, nowMs: clock.now() });
      const waitMs = await carryOut(planNodes(await look()), { set, hash, backoff }, context);
      await carryOut(planUpdate(await look()), { set, hash, backoff }, context);
      return waitMs;
    },
    async report(update) {
      const states = await survey(set, context);
      const pods = states.flatMap((state) => state.pods);
      const status = statusOf(set, states, hashOf(update), clock.now());
      const inUse = pods.map((pod) => `${set.metadata.name}-${pod.metadata.labels?.[revisionLabel] ?? ""}`);
      return { status, pods, inUse };
    },
  });
}

interface Means {
  readonly set: DaemonSet;
  readonly hash: string;
  readonly backoff: FailureBackoff;
}

/** Returns when a pod that failed may be replaced, if one waits. */
async function carryOut(
  { create, remove, ended }: Steps,
  { set, hash, backoff }: Means,
  context: Context,
): Promise<number | undefined> {
  const { error } = await slowStart(Math.min(create.length, maxBurst), (index) => {
    const generation = set.metadata.annotations?.[generationAnnotation];
    const draft = podFromTemplate(set.spec.template, set, {
      labels: {
        [revisionLabel]: hash,
        // Deprecated, and still there for who selects by it.
        ...(generation === undefined ? {} : { "pod-template-generation": generation }),
      },
      spec: podSpecFor(set, create[index] ?? ""),
    });
    return createOwnedPod(set, draft, context, fieldManager);
  });
  for (const pod of remove) await deleteOwnedPod(set, pod, context);
  let waitMs: number | undefined;
  for (const { pod, node } of ended) {
    const heldMs = pod.status?.phase === "Failed" ? backoff.take(set, node, context.clock.monotonicMs()) : 0;
    if (heldMs > 0) waitMs = Math.min(waitMs ?? heldMs, heldMs);
    else await replaceEnded(set, pod, node, context);
  }
  if (error !== undefined) throw error;
  return waitMs;
}

async function replaceEnded(set: DaemonSet, pod: Pod, node: string, context: Context): Promise<void> {
  const name = `${pod.metadata.namespace ?? ""}/${pod.metadata.name}`;
  if (pod.status?.phase === "Failed") {
    const message = `Found failed daemon pod ${name} on node ${node}, will try to kill it`;
    context.events.record(set, "Warning", "FailedDaemonPod", message);
  } else {
    const message = `Found succeeded daemon pod ${name} on node ${node}, will try to delete it`;
    context.events.record(set, "Normal", "SucceededDaemonPod", message);
  }
  await deleteOwnedPod(set, pod, context);
}

function statusOf(set: DaemonSet, states: readonly NodeState[], hash: string, nowMs: number): DaemonSetStatus {
  const wanted = states.filter((state) => state.shouldRun);
  // The oldest pod of a node speaks for it, while an update puts a second one beside it.
  const count = (holds: (pod: Pod) => boolean): number =>
    wanted.filter(({ pods: [oldest] }) => oldest !== undefined && holds(oldest)).length;
  const available = count((pod) => isAvailable(pod, set.spec.minReadySeconds ?? 0, nowMs));
  const updated = count((pod) => pod.metadata.labels?.[revisionLabel] === hash);
  const unavailable = wanted.length - available;
  return {
    desiredNumberScheduled: wanted.length,
    currentNumberScheduled: count(() => true),
    numberMisscheduled: states.filter(({ name, shouldRun, pods }) => name !== "" && !shouldRun && pods.length > 0)
      .length,
    numberReady: count(isReady),
    // Zeros are left out, as Go leaves them out.
    ...(updated > 0 ? { updatedNumberScheduled: updated } : {}),
    ...(available > 0 ? { numberAvailable: available } : {}),
    ...(unavailable > 0 ? { numberUnavailable: unavailable } : {}),
    ...(set.metadata.generation === undefined ? {} : { observedGeneration: set.metadata.generation }),
  };
}
