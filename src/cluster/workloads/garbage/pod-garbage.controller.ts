import type { ControllerSpec, ReconcileContext } from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import {
  isConditionTrue,
  isDeleting,
  isOfKind,
  type KubeObject,
  type Node,
  NodeKind,
  type Pod,
  PodKind,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { isTerminal } from "../shared/pods.js";

const name = "pod-garbage-collector";
const nodeIndex = "pod-garbage/node";
/** A node that is away for less than this may just be registering again. */
const quarantineMs = 40_000;

/** Says that a node will not come back as it was: what hangs there may be given up. */
const outOfService = "node.kubernetes.io/out-of-service";
const terminalIndex = "pod-garbage/terminal";
/** Stands for all pods that have ended. */
const ended = "";
/** As many pods that have ended are kept, as upstream. */
const keptPods = 12_500;

/** Ends pods whose node is no more, or out of service: no agent is left that could. Removes the oldest of those that have ended when there are very many. */
export function podGarbageCollector({ threshold = keptPods } = {}): ControllerSpec<Node> {
  /** Node name → when it was first seen to be missing (monotonic). */
  const missingSince = new Map<string, number>();
  return {
    name,
    kind: NodeKind,
    watches: [
      {
        kind: PodKind,
        keys: (pod, informers) => {
          const node = nodeOf(pod);
          const found = informers.informer(NodeKind).get({ namespace: "", name: node });
          const isOfInterest = node !== "" && (found === undefined || (isDeleting(pod) && isOutOfService(found)));
          return [
            ...(isOfInterest ? [{ namespace: "", name: node }] : []),
            ...(isOfKind(pod, PodKind) && isTerminal(pod) ? [{ namespace: "", name: ended }] : []),
          ];
        },
      },
    ],
    async reconcile(key, node, context) {
      const { cluster, clock } = context;
      const pods = cluster.informers.informer(PodKind);
      if (key.name === ended) return endTooMany(threshold, context);
      pods.addIndex(nodeIndex, (pod) => (nodeOf(pod) === "" ? [] : [nodeOf(pod)]));
      const left = pods.byIndex(nodeIndex, key.name);
      if (node !== undefined || left.length === 0) {
        missingSince.delete(key.name);
        return giveUp(node, left, context);
      }
      const since = missingSince.get(key.name) ?? clock.monotonicMs();
      missingSince.set(key.name, since);
      const waitMs = since + quarantineMs - clock.monotonicMs();
      if (waitMs > 0) return { requeueAfterMs: waitMs };
      // The informer may be behind; the server is not.
      if ((await cluster.client.resource(NodeKind).find(key.name)) !== undefined) return undefined;
      for (const pod of left) await end(pod, context, "PodGC: node no longer exists");
      missingSince.delete(key.name);
      return undefined;
    },
  };
}

/** Name of the node that a pod is bound to; empty for others, and for what is no pod. */
function nodeOf(pod: KubeObject): string {
  return isOfKind(pod, PodKind) ? (pod.spec.nodeName ?? "") : "";
}

/** Whether somebody said so of a node that does not answer. */
function isOutOfService({ spec, status }: Node): boolean {
  return spec.taints?.some(({ key }) => key === outOfService) === true && !isConditionTrue(status?.conditions, "Ready");
}

/** Pods that hang on a node out of service. */
async function giveUp(
  node: Node | undefined,
  pods: readonly Pod[],
  context: ReconcileContext<Node>,
): Promise<undefined> {
  if (node === undefined || !isOutOfService(node)) return undefined;
  for (const pod of pods.filter((one) => isDeleting(one))) await end(pod, context);
  return undefined;
}

async function endTooMany(threshold: number, context: ReconcileContext<Node>): Promise<undefined> {
  const pods = context.cluster.informers.informer(PodKind);
  pods.addIndex(terminalIndex, (pod) => (isTerminal(pod) ? ["yes"] : []));
  for (const pod of tooMany(pods.byIndex(terminalIndex, "yes"), threshold)) await end(pod, context);
  return undefined;
}

/** Those above the limit: evicted ones first, then the oldest. */
function tooMany(pods: readonly Pod[], limit: number): readonly Pod[] {
  if (pods.length <= limit) return [];
  const rank = ({ metadata, status }: Pod): string =>
    `${status?.phase === "Failed" && status.reason === "Evicted" ? 0 : 1}${metadata.creationTimestamp}${metadata.name}`;
  return pods.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1)).slice(0, pods.length - limit);
}

/** Removes a pod; one that has not ended yet has failed. `why`: that is said in its status before. */
async function end(pod: Pod, { cluster, clock, log }: ReconcileContext<Node>, why?: string): Promise<void> {
  const pods = cluster.client.resource(PodKind);
  const { namespace = "", uid } = pod.metadata;
  const phase = pod.status?.phase;
  log.info("pod is ended for good", { pod: `${namespace}/${pod.metadata.name}` });
  try {
    if (phase !== "Succeeded" && phase !== "Failed") {
      const said = { type: "DisruptionTarget", status: "True", reason: "DeletionByPodGC" };
      const before = pod.status?.conditions;
      const conditions =
        why === undefined ? (before ?? []) : withCondition(before, { ...said, message: why }, clock.now());
      await pods.updateStatus(
        { ...pod, status: { ...pod.status, phase: "Failed", conditions } },
        { fieldManager: name },
      );
    }
    await pods.delete(pod.metadata.name, { namespace, gracePeriodSeconds: 0, preconditions: { uid } });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
