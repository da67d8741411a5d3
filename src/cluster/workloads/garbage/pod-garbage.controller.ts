import type { ControllerSpec, ReconcileContext } from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import {
  isOfKind,
  type KubeObject,
  type Node,
  NodeKind,
  type Pod,
  PodKind,
  withCondition,
} from "../../../kernel/kinds/index.js";

const name = "pod-garbage-collector";
const nodeIndex = "pod-garbage/node";
/** A node that is away for less than this may just be registering again. */
const quarantineMs = 40_000;

/** Ends pods whose node is no more: no agent is left that could. */
export function podGarbageCollector(): ControllerSpec<Node> {
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
          const isThere = node === "" || informers.informer(NodeKind).get({ namespace: "", name: node }) !== undefined;
          return isThere ? [] : [{ namespace: "", name: node }];
        },
      },
    ],
    async reconcile(key, node, context) {
      const { cluster, clock } = context;
      const pods = cluster.informers.informer(PodKind);
      pods.addIndex(nodeIndex, (pod) => (nodeOf(pod) === "" ? [] : [nodeOf(pod)]));
      const left = pods.byIndex(nodeIndex, key.name);
      if (node !== undefined || left.length === 0) {
        missingSince.delete(key.name);
        return undefined;
      }
      const since = missingSince.get(key.name) ?? clock.monotonicMs();
      missingSince.set(key.name, since);
      const waitMs = since + quarantineMs - clock.monotonicMs();
      if (waitMs > 0) return { requeueAfterMs: waitMs };
      // The informer may be behind; the server is not.
      if ((await cluster.client.resource(NodeKind).find(key.name)) !== undefined) return undefined;
      for (const pod of left) await end(pod, context);
      missingSince.delete(key.name);
      return undefined;
    },
  };
}

/** Name of the node that a pod is bound to; empty for others, and for what is no pod. */
function nodeOf(pod: KubeObject): string {
  return isOfKind(pod, PodKind) ? (pod.spec.nodeName ?? "") : "";
}

async function end(pod: Pod, { cluster, clock, log }: ReconcileContext<Node>): Promise<void> {
  const pods = cluster.client.resource(PodKind);
  const { namespace = "", uid } = pod.metadata;
  const phase = pod.status?.phase;
  log.info("pod of a node that is no more is ended", { pod: `${namespace}/${pod.metadata.name}` });
  try {
    if (phase !== "Succeeded" && phase !== "Failed") {
      const condition = {
        type: "DisruptionTarget",
        status: "True",
        reason: "DeletionByPodGC",
        message: "PodGC: node no longer exists",
      };
      const conditions = withCondition(pod.status?.conditions, condition, clock.now());
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
