import { quantityToNumber, tryParseQuantity } from "../../kernel/kinds/index.js";
import { asNumber, asObject, isObject } from "../../kernel/schema/index.js";
import type { HeadPlan, HeadSignals, PlannedBackend } from "./head-weights.js";
import type { Cluster, HeadIngress, HyperMLService } from "./kinds.js";
import { frontsOf, isServed } from "./served-kinds.js";

type Weighting = HeadIngress["spec"]["weighting"];

/** What a backend's weight follows, as a number of which more is better, and in words. */
export interface Measure {
  readonly value: number;
  readonly words: string;
}

/** What backends are measured by. */
interface Surroundings {
  readonly backends: HeadPlan["backends"];
  readonly hyper: HyperMLService | undefined;
  readonly clusters: ReadonlyMap<string, Cluster>;
  readonly signals: HeadSignals;
}

const DEFAULT_MIN_PERCENT = 10;

/** The measure of each backend that has one, by its name. */
export function measuresOf(head: HeadIngress, around: Surroundings): ReadonlyMap<string, Measure> {
  const { by = "Fixed", resource = "cpu" } = head.spec.weighting ?? {};
  const measures = new Map<string, Measure>();
  if (by === "Fixed") return measures;
  for (const backend of around.backends) {
    const measure =
      by === "Latency"
        ? latencyOf(backend, around.signals)
        : by === "FreeCapacity"
          ? freeCapacityOf(around.clusters.get(backend.cluster ?? ""), resource)
          : readyReplicasOf(head, backend, around.hyper);
    if (measure !== undefined) measures.set(backend.name, measure);
  }
  return measures;
}

function latencyOf(backend: PlannedBackend, { latencyMs }: HeadSignals): Measure | undefined {
  const milliseconds = latencyMs.get(backend.name);
  if (milliseconds === undefined) return undefined;
  return { value: 1 / Math.max(milliseconds, 0.1), words: `it takes ${milliseconds.toFixed(1)} ms` };
}

/** What a cluster has left of a resource, by its own summary. */
function freeCapacityOf(cluster: Cluster | undefined, resource: string): Measure | undefined {
  const summary = cluster?.status?.resourceSummary;
  const amount = (field: "allocatable" | "allocated" | "allocating"): number | undefined => {
    const text = summary?.[field]?.[resource];
    const quantity = text === undefined ? undefined : tryParseQuantity(String(text));
    return quantity === undefined ? undefined : quantityToNumber(quantity);
  };
  const allocatable = amount("allocatable");
  if (allocatable === undefined) return undefined;
  const free = Math.max(0, allocatable - (amount("allocated") ?? 0) - (amount("allocating") ?? 0));
  return { value: free, words: `its cluster has ${Math.round(free * 1000) / 1000} of ${resource} free` };
}

/** Ready replicas of the model in a backend's cluster, all releases together. */
function readyReplicasOf(
  head: HeadIngress,
  backend: PlannedBackend,
  hyper: HyperMLService | undefined,
): Measure | undefined {
  const wanted = head.spec.hyperMLServiceRef?.service;
  const rows = (hyper?.status?.aggregatedStatus ?? []).filter(
    ({ cluster, resource }) =>
      cluster === backend.cluster && isServed(resource.kind) && (wanted === undefined || resource.name === wanted),
  );
  const [row] = frontsOf(rows, ({ resource }) => resource.kind);
  const copies = asObject(asObject(row?.status?.["modelStatus"])["copies"]);
  const total = asNumber(copies["totalCopies"]);
  if (total !== undefined) return replicas(total - (asNumber(copies["failedCopies"]) ?? 0));
  const releases: unknown = row?.status?.["releases"];
  if (!Array.isArray(releases)) return undefined;
  let ready = 0;
  for (const release of releases) {
    const count: unknown = isObject(release) ? release["readyReplicas"] : undefined;
    if (typeof count === "number" && count > 0) ready += count;
  }
  return replicas(ready);
}

const replicas = (ready: number): Measure => ({
  value: ready,
  words: `it has ${ready} ready ${ready === 1 ? "replica" : "replicas"}`,
});

/** Backends with the weights that follow from their measures: the best counts whole, the others in proportion; who was not measured counts as the mean. */
export function weighted(
  backends: readonly PlannedBackend[],
  weighting: Weighting,
  measures: ReadonlyMap<string, Measure>,
): readonly PlannedBackend[] {
  const by = weighting?.by ?? "Fixed";
  if (by === "Fixed") return backends;
  const offered = backends.filter(({ weightGiven }) => weightGiven > 0);
  const values = offered.flatMap(({ name }) => measures.get(name)?.value ?? []);
  const best = Math.max(...values);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length === 0 || !(best > 0)) return backends;
  const least = (weighting?.minPercent ?? DEFAULT_MIN_PERCENT) / 100;
  return backends.map((backend) => {
    if (backend.weightGiven === 0) return backend;
    const measure = measures.get(backend.name);
    // A tenth of a percent: finer differences are noise, and each would be a new table.
    const factor = Math.round(Math.max((measure?.value ?? mean) / best, least) * 1000) / 1000;
    if (factor === 1) return backend;
    const words = measure?.words ?? "it was not measured and counts as the mean";
    return {
      ...backend,
      weightGiven: Math.round(backend.weightGiven * factor * 1000) / 1000,
      ...(backend.reason === ""
        ? { reason: `By${by}`, message: `it counts ${Math.round(factor * 1000) / 10} % of the best one: ${words}` }
        : {}),
    };
  });
}
