import type { Pod } from "../../../kernel/kinds/index.js";
import { namedNodes, nodeObstacle } from "./node-filters.js";
import { priorityOf } from "./priority.js";
import { finalObstacle, type NodeView, type Obstacle, type Snapshot } from "./snapshot.js";
import { topologyChecks } from "./topology-filters.js";
import type { VolumeCheck } from "./volume-filters.js";

/** Why a node cannot take the pod; `undefined` when it can. */
export type Fit = (view: NodeView) => Obstacle | undefined;

/** Everything that keeps a pod from nodes, with the snapshot's pods where they are and those for whom room is being made. */
export function fitOf(pod: Pod, snapshot: Snapshot, volumes: VolumeCheck): Fit {
  const named = namedNodes(pod);
  const check = topologyChecks(pod, snapshot);
  return (view) => {
    const { name } = view.node.metadata;
    if (named !== undefined && !named.has(name))
      return finalObstacle("node(s) didn't satisfy plugin(s) [NodeAffinity]");
    const obstacle = nodeObstacle(pod, view) ?? volumes.on(view.node) ?? check(view);
    if (obstacle !== undefined) return obstacle;
    const expected = expectedOn(name, pod, snapshot);
    return expected.length === 0 ? undefined : obstacleAmong(pod, view, [...view.pods, ...expected], snapshot);
  };
}

/** Pods that are at least as important and have been promised the node. */
function expectedOn(node: string, pod: Pod, { nominated }: Snapshot): readonly Pod[] {
  return (nominated.get(node) ?? []).filter(
    (other) => other.metadata.uid !== pod.metadata.uid && priorityOf(other) >= priorityOf(pod),
  );
}

/** Why a node could not take the pod if its pods were these. */
export function obstacleAmong(
  pod: Pod,
  view: NodeView,
  pods: readonly Pod[],
  snapshot: Snapshot,
): Obstacle | undefined {
  const changed: NodeView = { node: view.node, pods };
  const nodes = snapshot.nodes.map((other) => (other === view ? changed : other));
  return nodeObstacle(pod, changed) ?? topologyChecks(pod, { ...snapshot, nodes })(changed);
}
