import {
  type Node,
  type NodeSelectorTerm,
  type Pod,
  type Requirement,
  requirementHolds,
  type SelectorOperator,
  type Taint,
  type Toleration,
} from "../../../kernel/kinds/index.js";
import { allocatable, podRequests, sumAmounts } from "./requests.js";
import { finalObstacle, type NodeView, type Obstacle } from "./snapshot.js";

const operators: ReadonlyMap<string, SelectorOperator> = new Map([
  ["In", "In"],
  ["NotIn", "NotIn"],
  ["Exists", "Exists"],
  ["DoesNotExist", "DoesNotExist"],
  ["Gt", "Gt"],
  ["Lt", "Lt"],
]);

type Expressions = NonNullable<NodeSelectorTerm["matchExpressions"]>;

function holdAll(expressions: Expressions, labels: Readonly<Record<string, string>>): boolean {
  return expressions.every(({ key, operator, values = [] }) => {
    const known = operators.get(operator);
    const requirement: Requirement | undefined = known && { key, operator: known, values };
    return requirement !== undefined && requirementHolds(requirement, labels);
  });
}

/** Whether a node is one that a node selector term means; an empty term means none. */
export function nodeTermMatches(term: NodeSelectorTerm, node: Node): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length + matchFields.length === 0) return false;
  return (
    holdAll(matchExpressions, node.metadata.labels ?? {}) &&
    holdAll(matchFields, { "metadata.name": node.metadata.name })
  );
}

/** nodeSelector and required node affinity. */
export function matchesNodeAffinity(pod: Pod, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  if (!Object.entries(pod.spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value)) return false;
  const terms = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  return terms === undefined || terms.some((term) => nodeTermMatches(term, node));
}

/** Whether a toleration is for a taint. */
export function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect !== undefined && toleration.effect !== "" && toleration.effect !== taint.effect) return false;
  const key = toleration.key ?? "";
  if (key !== "" && key !== taint.key) return false;
  if (toleration.operator === "Exists") return true;
  return key !== "" && (toleration.value ?? "") === (taint.value ?? "");
}

/** First taint of these effects that the pod does not tolerate. */
export function untolerated(pod: Pod, node: Node, effects: readonly string[]): Taint | undefined {
  const tolerations = pod.spec.tolerations ?? [];
  return (node.spec.taints ?? []).find(
    (taint) => effects.includes(taint.effect) && !tolerations.some((toleration) => tolerates(toleration, taint)),
  );
}

/** A cordoned node, unless the pod bears that. */
function isClosed(pod: Pod, node: Node): boolean {
  const taint = { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" };
  return node.spec.unschedulable === true && !(pod.spec.tolerations ?? []).some((one) => tolerates(one, taint));
}

/** The names of the only nodes that a pod's affinity leaves by `metadata.name`, as daemons' does; `undefined`: all. */
export function namedNodes(pod: Pod): ReadonlySet<string> | undefined {
  const terms = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  if (terms === undefined) return undefined;
  const names = new Set<string>();
  for (const { matchFields = [] } of terms) {
    const lists = matchFields.flatMap(({ key, operator, values = [] }) =>
      key === "metadata.name" && operator === "In" ? [values] : [],
    );
    // Of a term that names none, every node may do.
    if (lists.length === 0) return undefined;
    const [first = [], ...rest] = lists;
    for (const name of first) if (rest.every((list) => list.includes(name))) names.add(name);
  }
  return names;
}

function hostPorts(pod: Pod): readonly string[] {
  const containers = [
    ...pod.spec.containers,
    ...(pod.spec.initContainers ?? []).filter((container) => container.restartPolicy === "Always"),
  ];
  return containers.flatMap((container) =>
    (container.ports ?? []).flatMap((port) =>
      port.hostPort === undefined || port.hostPort === 0
        ? []
        : [`${port.protocol ?? "TCP"}/${port.hostIP ?? "0.0.0.0"}/${port.hostPort}`],
    ),
  );
}

function portsCollide(a: string, b: string): boolean {
  const [protocolA, addressA, portA] = a.split("/");
  const [protocolB, addressB, portB] = b.split("/");
  return (
    protocolA === protocolB &&
    portA === portB &&
    (addressA === addressB || addressA === "0.0.0.0" || addressB === "0.0.0.0")
  );
}

/** What of the node's resources is too little for the pod, in upstream's words. */
function shortages(pod: Pod, { node, pods }: NodeView): Obstacle | undefined {
  const has = allocatable(node);
  const tooMany = BigInt(pods.length + 1) * 1_000_000_000n > (has.get("pods") ?? 0n) ? ["Too many pods"] : [];
  const wanted = [...podRequests(pod)].filter(([, amount]) => amount > 0n);
  const used = wanted.length === 0 ? new Map<string, bigint>() : sumAmounts(pods.map(podRequests));
  const short = wanted.filter(([name, amount]) => amount > (has.get(name) ?? 0n) - (used.get(name) ?? 0n));
  if (tooMany.length + short.length === 0) return undefined;
  return {
    reasons: [...tooMany, ...short.map(([name]) => `Insufficient ${name}`)],
    // The node would be too small for the pod if it were empty.
    isFinal: short.some(([name, amount]) => amount > (has.get(name) ?? 0n)),
  };
}

/** Why a pod cannot run on a node, looking at this node alone; `undefined` when it can. Checks in upstream's order; the first that fails speaks. */
export function nodeObstacle(pod: Pod, view: NodeView): Obstacle | undefined {
  const { node } = view;
  if (isClosed(pod, node)) return finalObstacle("node(s) were unschedulable");
  if (untolerated(pod, node, ["NoSchedule", "NoExecute"]) !== undefined)
    return finalObstacle("node(s) had untolerated taint(s)");
  if (!matchesNodeAffinity(pod, node)) return finalObstacle("node(s) didn't match Pod's node affinity/selector");
  const wanted = hostPorts(pod);
  const taken = wanted.length === 0 ? [] : view.pods.flatMap(hostPorts);
  if (wanted.some((port) => taken.some((other) => portsCollide(port, other))))
    return { reasons: ["node(s) didn't have free ports for the requested pod ports"], isFinal: false };
  return shortages(pod, view);
}
