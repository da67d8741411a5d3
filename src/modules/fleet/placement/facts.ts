import { type Quantity, tryParseQuantity } from "../../../kernel/kinds/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { Cluster } from "../kinds.js";
import type { ClusterCapacity, ClusterFacts, NodeGrade } from "./types.js";

/** What a Cluster object says of itself, as placement sees it. */
export function factsOf(cluster: Cluster): ClusterFacts {
  const { spec, status, metadata } = cluster;
  const zones = spec?.zones ?? (spec?.zone === undefined || spec.zone === "" ? [] : [spec.zone]);
  const complete = status?.conditions?.find(({ type }) => type === "CompleteAPIEnablements");
  return {
    name: metadata.name,
    labels: metadata.labels ?? {},
    provider: spec?.provider ?? "",
    region: spec?.region ?? "",
    zones,
    taints: (spec?.taints ?? []).map(({ key, value, effect }) => ({
      key,
      effect,
      ...(value === undefined ? {} : { value }),
    })),
    kinds: new Set(
      (status?.apiEnablements ?? []).flatMap(({ groupVersion, resources = [] }) =>
        resources.map(({ kind }) => `${groupVersion}/${kind}`),
      ),
    ),
    knowsAllKinds: complete === undefined || complete.status === "True",
    isLeaving: metadata.deletionTimestamp !== undefined,
    capacity: capacityOf(cluster),
  };
}

function capacityOf({ spec, status }: Cluster): ClusterCapacity | undefined {
  const summary: unknown = status?.resourceSummary;
  if (!isObject(summary)) return undefined;
  const [allocatable, allocated, allocating] = ["allocatable", "allocated", "allocating"].map((part) =>
    amounts(summary[part]),
  );
  const free = new Map<string, bigint>();
  const used = new Map(allocated);
  for (const [name, milli] of allocating ?? []) used.set(name, (used.get(name) ?? 0n) + milli);
  for (const [name, milli] of allocatable ?? []) {
    const left = milli - (used.get(name) ?? 0n);
    free.set(name, left < 0n ? 0n : left);
  }
  const counts = Array.isArray(summary["allocatableModelings"]) ? summary["allocatableModelings"] : [];
  const grades = counts.flatMap((entry: unknown): NodeGrade[] => {
    if (!isObject(entry)) return [];
    const model = spec?.resourceModels?.find(({ grade }) => grade === entry["grade"]);
    if (model === undefined) return [];
    return [
      {
        leastFree: new Map(model.ranges.map(({ name, min }) => [name, milliOf(tryParseQuantity(min))])),
        nodes: typeof entry["count"] === "number" ? entry["count"] : 0,
      },
    ];
  });
  return { free, grades, used };
}

/** Milli-units by resource. */
export function amounts(value: unknown): Map<string, bigint> {
  const found = new Map<string, bigint>();
  for (const [name, amount] of isObject(value) ? Object.entries(value) : []) {
    if (typeof amount === "string" || typeof amount === "number") found.set(name, milliIn(amount));
  }
  return found;
}

/** Amounts by their text: what workloads ask for repeats itself. */
const known = new Map<string | number, bigint>();
const MOST_KNOWN = 1000;

function milliIn(amount: string | number): bigint {
  const before = known.get(amount);
  if (before !== undefined) return before;
  if (known.size >= MOST_KNOWN) known.clear();
  const milli = milliOf(tryParseQuantity(amount));
  known.set(amount, milli);
  return milli;
}

const milliOf = (quantity: Quantity | undefined): bigint => (quantity === undefined ? 0n : quantity.nanos / 1_000_000n);
