import { equalJson, parseJson, toJson } from "../../../kernel/schema/index.js";
import { karmadaJson } from "../karmada-json.js";
import { affinityMatches } from "../placement/affinity.js";
import { amounts } from "../placement/facts.js";
import { place } from "../placement/place.js";
import type { Promises } from "../placement/promises.js";
import type { Residents } from "../placement/residents.js";
import { placementSchema } from "../placement/schema.js";
import type { ClusterFacts, Demand, Placement, PlacementResult, Target, WorkloadSet } from "../placement/types.js";
import { BINDING, lostClustersOf } from "../policies/marks.js";
import { groupNamesOf, placeGroupsOf } from "./groups.js";
import type { BindingSpec, BindingStatus } from "./kinds.js";

/** As much of a binding as its placement depends on. */
export interface Bound {
  readonly spec: BindingSpec;
  readonly status?: BindingStatus;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Whether somebody, and who, must place a binding. */
export type Verdict =
  | { readonly isDue: false; readonly why: string }
  | { readonly isDue: true; readonly why: string; readonly isFresh: boolean };

const DEFAULT_SCHEDULER = "default-scheduler";

/** Whether Argosy's scheduler has anything to do with a binding. */
export function isOurs({ placement, schedulerName = "", suspension }: BindingSpec): boolean {
  return (
    placement !== undefined &&
    (schedulerName === "" || schedulerName === DEFAULT_SCHEDULER) &&
    suspension?.scheduling !== true
  );
}

/** Whether a binding must be placed, and why. What is divided stays where it is as long as nothing asks for a change. */
export function verdictOn(binding: Bound, clusters: ReadonlyMap<string, ClusterFacts>): Verdict {
  const { spec, status, annotations } = binding;
  const { placement = {}, replicas = 0, clusters: targets = [] } = spec;
  const due = (why: string, isFresh = false): Verdict => ({ isDue: true, why, isFresh });
  const triggered = Date.parse(spec.rescheduleTriggeredAt ?? "");
  const isAnswered = annotations[BINDING.rescheduled] === spec.rescheduleTriggeredAt;
  if (!isAnswered && triggered > (Date.parse(status?.lastScheduledTime ?? "") || 0))
    return due("it was asked for anew", true);
  const applied = annotations[BINDING.appliedPlacement];
  if (applied === undefined && targets.length === 0) return due("it has no place yet");
  if (applied === undefined || !isTextOf(applied, placement)) return due("placement changed");
  const isDivided = placement.replicaScheduling?.replicaSchedulingType === "Divided" && replicas > 0;
  if (!isDivided) return due("it goes wherever it fits");
  const held = targets.reduce((sum, target) => sum + (target.replicas ?? 0), 0);
  if (held !== replicas) return due(`${replicas} replicas are wanted, ${held} are placed`);
  for (const { name } of targets) {
    const cluster = clusters.get(name);
    if (cluster === undefined || cluster.isLeaving) return due(`cluster ${name} leaves`);
    if (!affinityMatches(affinityInUse(placement, status), cluster))
      return due(`cluster ${name} is not meant any more`);
  }
  return { isDue: false, why: "as before" };
}

function affinityInUse(placement: Placement, status: BindingStatus | undefined): Placement["clusterAffinity"] {
  return termInUse(placement, status) ?? placement.clusterAffinity;
}

/** Which of the ordered affinities is in use, by what was noted or else the first; `undefined` where there are none. */
export function termInUse(
  { clusterAffinities: terms = [] }: Placement,
  status: BindingStatus | undefined,
): (typeof terms)[number] | undefined {
  return terms.find(({ affinityName }) => affinityName === status?.schedulerObservingAffinityName) ?? terms[0];
}

/** Whether a binding keeps which placement it was decided by: also where nothing fits, but not where the decision failed. */
export const isNoted = (result: PlacementResult): boolean => result.isPlaced || result.reason === "NoClusterFit";

/** Places a binding. The same input gives the same answer. */
export function decide(binding: Bound, clusters: readonly ClusterFacts[], isFresh: boolean): PlacementResult {
  const { spec, status, annotations } = binding;
  const { resource, replicaRequirements, replicas = 0, components = [] } = spec;
  const lost = lostClustersOf(annotations);
  const { together, apart } = placeGroupsOf(spec);
  const demand: Demand = {
    apiVersion: resource.apiVersion,
    kind: resource.kind,
    uid: resource.uid ?? "",
    replicas: replicas > 0 ? replicas : undefined,
    requests: amounts(replicaRequirements?.resourceRequest),
    assigned: (spec.clusters ?? []).map((target) => ({ name: target.name, replicas: target.replicas })),
    evicting: new Set((spec.gracefulEvictionTasks ?? []).map(({ fromCluster }) => fromCluster)),
    isFresh,
    ...(components.length === 0 ? {} : { set: setOf(components) }),
    ...(together === undefined ? {} : { together }),
    ...(apart === undefined ? {} : { apart }),
    ...(lost.length === 0 ? {} : { distrusted: new Set(lost) }),
  };
  const placement = spec.placement ?? {};
  const first = place(demand, placement, clusters, status?.schedulerObservingAffinityName);
  // A cluster that failed is better than none.
  const isLastResort = !first.isPlaced && lost.length > 0;
  const { distrusted: _distrusted, ...trusting } = demand;
  const result = isLastResort ? place(trusting, placement, clusters, status?.schedulerObservingAffinityName) : first;
  // A workload that is scaled to nothing needs no cluster; one that asks for nothing is not told from an object without replicas.
  const isIdle = result.isPlaced && replicas === 0 && replicaRequirements !== undefined;
  return isIdle
    ? { ...result, targets: [], trace: { ...result.trace, rule: "no replicas are wanted, so no cluster is" } }
    : result;
}

/** Lets decisions after this one know of it: of the room that it gave away, until its clusters show it as used, and of the company that it gives. */
export function takeNote(
  { promises, residents }: { readonly promises: Promises; readonly residents: Residents },
  { spec, status }: Bound,
  result: PlacementResult,
): void {
  if (result.isPlaced)
    residents.settle(
      spec.resource.uid ?? "",
      groupNamesOf(spec),
      result.targets.map(({ name }) => name),
    );
  const { resource, replicas = 0, replicaRequirements, clusters = [], components = [] } = spec;
  const { uid = "" } = resource;
  if (!result.isPlaced || uid === "") return;
  if (components.length > 0) {
    const whole = ({ name }: { readonly name: string }): Target => ({ name, replicas: 1 });
    promises.promise(uid, setOf(components).requests, clusters.map(whole), result.targets.map(whole));
  }
  if (replicas === 0) return;
  const before = clusters.map((target) => ({ name: target.name, replicas: target.replicas }));
  promises.promise(uid, amounts(replicaRequirements?.resourceRequest), before, result.targets);
  promises.hear(uid, status?.aggregatedStatus ?? []);
}

/** The same, where a decision could not be written: the object has what its binding says. */
export function takeBack(parts: Parameters<typeof takeNote>[0], bound: Bound, result: PlacementResult): void {
  if (!result.isPlaced) return;
  const targets = (bound.spec.clusters ?? []).map((target) => ({ name: target.name, replicas: target.replicas }));
  takeNote(parts, bound, { ...result, targets });
}

/** All components of a workload as one. */
export function setOf(components: NonNullable<BindingSpec["components"]>): WorkloadSet {
  const parts = components.map(({ replicas, replicaRequirements }) => ({
    replicas,
    requests: amounts(replicaRequirements?.resourceRequest),
  }));
  const requests = new Map<string, bigint>();
  for (const part of parts)
    for (const [name, milli] of part.requests)
      requests.set(name, (requests.get(name) ?? 0n) + milli * BigInt(part.replicas));
  return { pods: parts.reduce((sum, { replicas }) => sum + replicas, 0), requests, parts };
}

/** Targets as a binding has them. */
export function targetsOf(
  targets: readonly Target[],
  components: BindingSpec["components"] = [],
): NonNullable<BindingSpec["clusters"]> {
  const parts = components.map(({ name, replicas }) => ({ name, replicas }));
  return targets.map(({ name, replicas }) => ({
    name,
    ...(replicas === undefined ? {} : { replicas }),
    ...(parts.length === 0 ? {} : { components: parts }),
  }));
}

/** Texts of placements, which are shared and never changed. */
const texts = new WeakMap<Placement, string>();

/** The placement as the annotation of a binding keeps it: members in the order of the schema. */
export function placementText(placement: Placement): string {
  const known = texts.get(placement);
  if (known !== undefined) return known;
  const text = karmadaJson(toJson(placement), placementSchema.schema);
  texts.set(placement, text);
  return text;
}

function isTextOf(text: string, placement: Placement): boolean {
  return text === placementText(placement) || equalJson(parseJson(text), placement);
}
