import {
  addQuantities,
  compareQuantities,
  formatQuantity,
  isConditionTrue,
  type Node,
  type Pod,
  parseQuantity,
  type Quantity,
  tryParseQuantity,
} from "../../../kernel/kinds/index.js";
import type { ClusterSpec, ClusterStatus } from "../kinds.js";

type Amounts = Map<string, Quantity>;
type Models = NonNullable<ClusterSpec["resourceModels"]>;
/** What a Cluster says of its nodes and pods. */
export type Summary = Pick<ClusterStatus, "nodeSummary" | "resourceSummary">;

/** What a member's nodes offer and its pods use; `pods` absent: not known yet. */
export function summaryOf(nodes: readonly Node[], pods: readonly Pod[] | undefined, models: Models): Summary {
  const allocatable: Amounts = new Map();
  for (const node of nodes) addAll(allocatable, amountsOf(node.status?.allocatable));
  const nodeSummary = {
    totalNum: nodes.length,
    readyNum: nodes.filter((node) => isConditionTrue(node.status?.conditions, "Ready")).length,
  };
  const offered = shown(allocatable);
  if (pods === undefined) return { nodeSummary, resourceSummary: hasAny(offered) ? { allocatable: offered } : {} };
  const used = usedByNode(pods);
  const allocated: Amounts = new Map();
  for (const amounts of used.values()) addAll(allocated, amounts);
  const allocating: Amounts = new Map();
  for (const pod of pods) if (!isPlaced(pod) && !isOver(pod)) addAll(allocating, requestsOf(pod));
  const [waiting, running] = [shown(asked(allocating)), shown(asked(allocated))];
  const modelings = modelingsOf(nodes, used, models);
  return {
    nodeSummary,
    resourceSummary: {
      ...(hasAny(offered) ? { allocatable: offered } : {}),
      ...(hasAny(waiting) ? { allocating: waiting } : {}),
      ...(hasAny(running) ? { allocated: running } : {}),
      ...(modelings.length === 0 ? {} : { allocatableModelings: modelings }),
    },
  };
}

function usedByNode(pods: readonly Pod[]): Map<string, Amounts> {
  const used = new Map<string, Amounts>();
  for (const pod of pods) {
    const node = pod.spec.nodeName ?? "";
    if (node === "" || isOver(pod)) continue;
    const amounts = used.get(node) ?? new Map<string, Quantity>();
    used.set(node, amounts);
    addAll(amounts, requestsOf(pod));
  }
  return used;
}

/** How many nodes of each class have room: a node is of the class that all that it has free reaches. */
function modelingsOf(
  nodes: readonly Node[],
  used: ReadonlyMap<string, Amounts>,
  models: Models,
): { grade: number; count: number }[] {
  const counts = models.map(({ grade }) => ({ grade, count: 0 }));
  const names = new Set(models.flatMap(({ ranges }) => ranges.map(({ name }) => name)));
  for (const node of nodes) {
    const free = amountsOf(node.status?.allocatable);
    for (const [name, amount] of used.get(node.metadata.name) ?? []) {
      const total = free.get(name);
      if (total !== undefined) free.set(name, { ...total, nanos: total.nanos - amount.nanos });
    }
    const pods = free.get("pods");
    if (pods === undefined || pods.nanos <= 0n) continue;
    const place = Math.min(...[...names].map((name) => placeOf(name, free.get(name) ?? zero, models)));
    const entry = counts[place];
    if (entry !== undefined) entry.count += 1;
  }
  return counts;
}

/** The last class whose least amount of a resource is reached; -1 where none is. */
function placeOf(name: string, amount: Quantity, models: Models): number {
  return models.findLastIndex(({ ranges }) => {
    const min = ranges.find((range) => range.name === name)?.min;
    return min !== undefined && compareQuantities(tryParseQuantity(min) ?? zero, amount) <= 0;
  });
}

const zero = parseQuantity("0");
const onePod = parseQuantity("1");

function isPlaced(pod: Pod): boolean {
  return (pod.spec.nodeName ?? "") !== "";
}

function isOver(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** What a pod asks for: its containers together, or its largest init container; with its overhead, and itself as one pod. */
function requestsOf(pod: Pod): Amounts {
  const sum: Amounts = new Map();
  for (const container of pod.spec.containers) addAll(sum, amountsOf(container.resources?.requests));
  for (const container of pod.spec.initContainers ?? []) {
    const own = amountsOf(container.resources?.requests);
    if (container.restartPolicy === "Always") addAll(sum, own);
    else
      for (const [name, amount] of own) if (compareQuantities(sum.get(name) ?? zero, amount) < 0) sum.set(name, amount);
  }
  addAll(sum, amountsOf(pod.spec.overhead));
  addAll(sum, new Map([["pods", onePod]]));
  return sum;
}

function amountsOf(list: Readonly<Record<string, string | number>> | undefined): Amounts {
  const amounts: Amounts = new Map();
  for (const [name, value] of Object.entries(list ?? {})) {
    const amount = tryParseQuantity(value);
    if (amount !== undefined) amounts.set(name, amount);
  }
  return amounts;
}

function addAll(to: Amounts, amounts: Amounts): void {
  for (const [name, amount] of amounts) to.set(name, addQuantities(to.get(name) ?? zero, amount));
}

/** Without what nobody asks for. */
function asked(amounts: Amounts): Amounts {
  return new Map([...amounts].filter(([, { nanos }]) => nanos > 0n));
}

function hasAny(list: Record<string, string>): boolean {
  return Object.keys(list).length > 0;
}

function shown(amounts: Amounts): Record<string, string> {
  return Object.fromEntries(
    [...amounts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, amount]) => [name, formatQuantity(amount)]),
  );
}
