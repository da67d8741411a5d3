import type { InformerSet } from "../../../kernel/control/index.js";
import type { Node, Pod } from "../../../kernel/kinds/index.js";
import { namedNodes, nodeObstacle } from "./node-filters.js";
import { priorityOf } from "./priority.js";
import { finalObstacle, type NodeView, type Obstacle, type Snapshot } from "./snapshot.js";
import { changeOf, topologyCheck } from "./topology-filters.js";
import type { VolumePlan } from "./volume-binding.js";
import { volumeCheck } from "./volume-filters.js";

/** What keeps a pod from nodes. */
export interface Fit {
  /** Why it can run nowhere, whatever a node is like. */
  readonly everywhere?: string;
  /** Why a node cannot take it; `undefined` when it can. */
  readonly on: (view: NodeView) => Obstacle | undefined;
  /** The same, if the pods on that node were these. */
  readonly among: (view: NodeView, pods: readonly Pod[]) => Obstacle | undefined;
  /** What is to be done about the pod's volumes before it goes to a node. */
  readonly plan: (node: Node) => VolumePlan | undefined;
}

/** Everything that keeps a pod from nodes, in upstream's order, with room left for those to whom it is promised. */
export function fitOf(pod: Pod, snapshot: Snapshot, informers: InformerSet): Fit {
  const named = namedNodes(pod);
  const nowhere = (everywhere: string): Fit => {
    const refuse = () => finalObstacle(everywhere);
    return { everywhere, on: refuse, among: refuse, plan: () => undefined };
  };
  if (named?.size === 0) return nowhere("pod affinity terms conflict");
  const volumes = volumeCheck(pod, snapshot, informers);
  if ("everywhere" in volumes) return nowhere(volumes.everywhere);
  const topology = topologyCheck(pod, snapshot);
  const check = (view: NodeView, pods: readonly Pod[]): Obstacle | undefined => {
    const change = changeOf(view, pods);
    const changed = { node: view.node, pods };
    return nodeObstacle(pod, changed) ?? volumes.on(changed, change) ?? topology(changed, change);
  };
  const among = (view: NodeView, pods: readonly Pod[]): Obstacle | undefined => {
    const expected = expectedOn(view.node.metadata.name, pod, snapshot);
    // With those who are still to come, and without them: they may be what it wants to be near to.
    return (expected.length === 0 ? undefined : check(view, [...pods, ...expected])) ?? check(view, pods);
  };
  return {
    on(view) {
      if (named?.has(view.node.metadata.name) === false)
        return finalObstacle("node(s) didn't satisfy plugin(s) [NodeAffinity]");
      return among(view, view.pods);
    },
    among,
    plan: volumes.plan,
  };
}

/** Pods that are at least as important and have been promised the node. */
function expectedOn(node: string, pod: Pod, { nominated }: Snapshot): readonly Pod[] {
  return (nominated.get(node) ?? []).filter(
    (other) => other.metadata.uid !== pod.metadata.uid && priorityOf(other) >= priorityOf(pod),
  );
}
