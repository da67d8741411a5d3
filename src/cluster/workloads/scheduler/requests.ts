import { type Node, type Pod, parseQuantity, tryParseQuantity } from "../../../kernel/kinds/index.js";
import { podLevelRequests } from "../shared/pods.js";

/** Amounts of resources by name, in billionths. */
export type Amounts = ReadonlyMap<string, bigint>;

type ResourceList = Readonly<Record<string, string>>;

function amountsOf(list: ResourceList | undefined): Map<string, bigint> {
  return new Map(Object.entries(list ?? {}).map(([name, text]) => [name, tryParseQuantity(text)?.nanos ?? 0n]));
}

function plus(a: Amounts, b: Amounts): Map<string, bigint> {
  const sum = new Map(a);
  for (const [name, amount] of b) sum.set(name, (sum.get(name) ?? 0n) + amount);
  return sum;
}

function larger(a: Amounts, b: Amounts): Map<string, bigint> {
  const max = new Map(a);
  for (const [name, amount] of b) if (amount > (max.get(name) ?? 0n)) max.set(name, amount);
  return max;
}

type Containers = NonNullable<Pod["spec"]["containers"]>;

/** What pods that ask for nothing are taken to use when nodes are compared, as upstream. */
const assumedCpu = parseQuantity("100m").nanos;
const assumedMemory = parseQuantity("200Mi").nanos;

function requestsOf(container: Containers[number], isScored: boolean): Map<string, bigint> {
  const amounts = amountsOf(container.resources?.requests);
  if (!isScored) return amounts;
  if (!amounts.has("cpu")) amounts.set("cpu", assumedCpu);
  if (!amounts.has("memory")) amounts.set("memory", assumedMemory);
  return amounts;
}

function compute(pod: Pod, isScored: boolean): Amounts {
  let running = new Map<string, bigint>();
  for (const container of pod.spec.containers) running = plus(running, requestsOf(container, isScored));
  let sidecars = new Map<string, bigint>();
  let starting = new Map<string, bigint>();
  for (const container of pod.spec.initContainers ?? []) {
    const own = requestsOf(container, isScored);
    if (container.restartPolicy === "Always") {
      sidecars = plus(sidecars, own);
      starting = larger(starting, sidecars);
    } else starting = larger(starting, plus(sidecars, own));
  }
  const together = larger(plus(running, sidecars), starting);
  // What is asked for the pod as a whole goes before what its containers ask for.
  for (const [name, amount] of amountsOf(podLevelRequests(pod))) together.set(name, amount);
  return plus(together, amountsOf(pod.spec.overhead));
}

// Objects of informers do not change, so what was computed of one stays true as long as it lives.
const exact = new WeakMap<Pod, Amounts>();
const scored = new WeakMap<Pod, Amounts>();

/** What a pod reserves: its containers and sidecars together, or its hungriest moment of starting, whichever is more. */
export function podRequests(pod: Pod): Amounts {
  const known = exact.get(pod) ?? compute(pod, false);
  exact.set(pod, known);
  return known;
}

/** As `podRequests`, with upstream's assumptions for containers that ask for nothing; for scores only. */
export function scoredRequests(pod: Pod): Amounts {
  const known = scored.get(pod) ?? compute(pod, true);
  scored.set(pod, known);
  return known;
}

/** What a node has to give. */
export function allocatable(node: Node): Amounts {
  return amountsOf(node.status?.allocatable ?? node.status?.capacity);
}

/** Sum of amounts. */
export function sumAmounts(all: readonly Amounts[]): Amounts {
  return all.reduce((sum: Amounts, amounts) => plus(sum, amounts), new Map<string, bigint>());
}
