import {
  type Container,
  type NodeSelectorTerm,
  type Pod,
  parseQuantity,
  quantityToMillis,
  quantityToNumber,
  requirementHolds,
  type SelectorOperator,
} from "../../../kernel/kinds/index.js";
import type { NodeCapacity } from "../machine.js";

/** Why a node turns a pod away that somebody gave it past the scheduler: kubelet's reason and words. */
export interface Rejection {
  readonly reason: string;
  readonly message: string;
}

/** A node as it decides what to take. */
export interface NodeView {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly capacity: NodeCapacity;
  /** Pods that it has taken and that are not over. */
  readonly taken: readonly Pod[];
}

/** What a pod asks of its node beyond what the scheduler has seen to; `undefined`: it is taken. */
export function rejectionOf(pod: Pod, view: NodeView): Rejection | undefined {
  if (!matchesNode(pod, view))
    return {
      reason: "NodeAffinity",
      message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    };
  return shortage(pod, view);
}

/** Whether a pod names nodes at all: only then the node's labels matter. */
export function namesNodes(pod: Pod): boolean {
  return Object.keys(pod.spec.nodeSelector ?? {}).length > 0 || termsOf(pod) !== undefined;
}

function termsOf({ spec }: Pod): readonly NodeSelectorTerm[] | undefined {
  return spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
}

function matchesNode(pod: Pod, { name, labels }: NodeView): boolean {
  if (!Object.entries(pod.spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value)) return false;
  const terms = termsOf(pod);
  return (
    terms === undefined ||
    terms.some(({ matchExpressions = [], matchFields = [] }) => {
      if (matchExpressions.length + matchFields.length === 0) return false;
      return holds(matchExpressions, labels) && holds(matchFields, { "metadata.name": name });
    })
  );
}

const operators: readonly SelectorOperator[] = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];

type Expressions = NonNullable<NodeSelectorTerm["matchExpressions"]>;

function holds(expressions: Expressions, labels: Readonly<Record<string, string>>): boolean {
  return expressions.every(({ key, operator, values = [] }) => {
    const known = operators.find((each) => each === operator);
    return known !== undefined && requirementHolds({ key, operator: known, values }, labels);
  });
}

interface Amounts {
  readonly cpu: number;
  readonly memory: number;
}

function shortage(pod: Pod, { capacity, taken }: NodeView): Rejection | undefined {
  if (taken.length + 1 > capacity.pods) return outOf("pods", 1, taken.length, capacity.pods);
  const asked = requestsOf(pod);
  const used = taken.map(requestsOf).reduce(plus, none);
  const limits: Amounts = { cpu: capacity.cpuMillis, memory: capacity.memoryBytes };
  const short = (["cpu", "memory"] as const).find((name) => asked[name] > 0 && used[name] + asked[name] > limits[name]);
  return short === undefined ? undefined : outOf(short, asked[short], used[short], limits[short]);
}

function outOf(name: string, requested: number, used: number, capacity: number): Rejection {
  const message = `Node didn't have enough resource: ${name}, requested: ${requested}, used: ${used}, capacity: ${capacity}`;
  return { reason: `OutOf${name}`, message };
}

const none: Amounts = { cpu: 0, memory: 0 };
const plus = (a: Amounts, b: Amounts): Amounts => ({ cpu: a.cpu + b.cpu, memory: a.memory + b.memory });
const larger = (a: Amounts, b: Amounts): Amounts => ({
  cpu: Math.max(a.cpu, b.cpu),
  memory: Math.max(a.memory, b.memory),
});

type ResourceList = Readonly<Record<string, string | number>>;

function amountsOf(list: ResourceList | undefined): Amounts {
  const { cpu = "0", memory = "0" } = list ?? {};
  return {
    cpu: quantityToMillis(parseQuantity(String(cpu))),
    memory: quantityToNumber(parseQuantity(String(memory))),
  };
}

/** What runs together, or what comes before it if that is more; with the overhead of its runtime. */
function requestsOf({ spec }: Pod): Amounts {
  const own = (container: Container): Amounts => amountsOf(container.resources?.requests);
  let sidecars = none;
  let starting = none;
  for (const container of spec.initContainers ?? []) {
    const together = plus(sidecars, own(container));
    if (container.restartPolicy === "Always") sidecars = together;
    starting = larger(starting, together);
  }
  const running = spec.containers.map(own).reduce(plus, sidecars);
  return plus(larger(running, starting), amountsOf(spec.overhead));
}
