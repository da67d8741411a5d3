import type { DaemonSet, Node, Pod, Toleration } from "../../../kernel/kinds/index.js";
import { matchesNodeAffinity, untolerated } from "../scheduler/node-filters.js";

const toleration = (key: string, effect: string): Toleration => ({
  key: `node.kubernetes.io/${key}`,
  operator: "Exists",
  effect,
});

/** What daemons bear, as upstream: they belong to a node whatever state it is in. */
function daemonTolerations(set: DaemonSet): readonly Toleration[] {
  return [
    toleration("not-ready", "NoExecute"),
    toleration("unreachable", "NoExecute"),
    toleration("disk-pressure", "NoSchedule"),
    toleration("memory-pressure", "NoSchedule"),
    toleration("pid-pressure", "NoSchedule"),
    toleration("unschedulable", "NoSchedule"),
    ...(set.spec.template.spec?.hostNetwork === true ? [toleration("network-unavailable", "NoSchedule")] : []),
  ];
}

/** The spec of the daemon's pod for one node: bound to it by a field term, so that the scheduler still checks what else must hold. */
export function podSpecFor(set: DaemonSet, node: string): Pod["spec"] {
  const { spec } = set.spec.template;
  const { affinity, tolerations = [] } = spec ?? {};
  const own = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [{}];
  const nodeSelectorTerms = own.map((term) => ({
    ...term,
    matchFields: [{ key: "metadata.name", operator: "In", values: [node] }],
  }));
  const requiredDuringSchedulingIgnoredDuringExecution = { nodeSelectorTerms };
  return {
    containers: [],
    ...spec,
    affinity: {
      ...affinity,
      nodeAffinity: { ...affinity?.nodeAffinity, requiredDuringSchedulingIgnoredDuringExecution },
    },
    tolerations: [...tolerations, ...daemonTolerations(set)],
  };
}

/** The node that a daemon's pod is for, also while it is not bound. */
export function nodeOfPod(pod: Pod): string | undefined {
  if (pod.spec.nodeName !== undefined) return pod.spec.nodeName;
  const terms =
    pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  return terms[0]?.matchFields?.find((field) => field.key === "metadata.name")?.values?.[0];
}

/** Whether the daemon belongs on a node, and whether one that is there may stay. */
export function placementOn(set: DaemonSet, node: Node): { readonly shouldRun: boolean; readonly mayStay: boolean } {
  const pod: Pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "", uid: "", resourceVersion: "", creationTimestamp: "" },
    spec: podSpecFor(set, node.metadata.name),
  };
  if (!matchesNodeAffinity(pod, node)) return { shouldRun: false, mayStay: false };
  if (untolerated(pod, node, ["NoSchedule", "NoExecute"]) === undefined) return { shouldRun: true, mayStay: true };
  return { shouldRun: false, mayStay: untolerated(pod, node, ["NoExecute"]) === undefined };
}
