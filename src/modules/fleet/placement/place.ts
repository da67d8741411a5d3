import { affinityMatches, untoleratedTaint } from "./affinity.js";
import { roomFor, roomLeft } from "./capacity.js";
import { type Candidate, divide } from "./divide.js";
import { setsFor, setsLeft } from "./sets.js";
import { selectSpread } from "./spread.js";
import type { ClusterAffinity, ClusterFacts, Demand, Placement, PlacementResult, PlacementTrace } from "./types.js";

type Rejection = PlacementTrace["rejected"][number];

const LOCALITY_SCORE = 100;

/**
 * Decides where an object goes: filters, scores, spread, division; ordered affinities are tried one after the other, from
 * `startAffinity` on. The same input gives the same answer.
 */
export function place(
  demand: Demand,
  placement: Placement,
  clusters: readonly ClusterFacts[],
  startAffinity?: string,
): PlacementResult {
  const terms = placement.clusterAffinities;
  if (terms === undefined || terms.length === 0) return attempt(demand, placement, clusters, placement.clusterAffinity);
  const start = Math.max(
    0,
    terms.findIndex(({ affinityName }) => affinityName === startAffinity),
  );
  let first: PlacementResult | undefined;
  for (const term of terms.slice(start)) {
    const result = attempt(demand, placement, clusters, term);
    const named = { ...result, trace: { ...result.trace, affinity: term.affinityName } };
    if (result.isPlaced) return named;
    // Where all fail, the one that was wanted most says why.
    first ??= named;
  }
  return first ?? attempt(demand, placement, clusters, undefined);
}

/** Lists of clusters in order; most decisions are made about the same list, which nobody changes. */
const ordered = new WeakMap<readonly ClusterFacts[], readonly ClusterFacts[]>();

function byName(clusters: readonly ClusterFacts[]): readonly ClusterFacts[] {
  const known = ordered.get(clusters);
  if (known !== undefined) return known;
  const made = [...clusters].sort((a, b) => (a.name < b.name ? -1 : 1));
  ordered.set(clusters, made);
  return made;
}

function attempt(
  demand: Demand,
  placement: Placement,
  clusters: readonly ClusterFacts[],
  affinity: ClusterAffinity | undefined,
): PlacementResult {
  const rejected: Rejection[] = [];
  const candidates: Candidate[] = [];
  const assigned = new Set(demand.assigned.map(({ name }) => name));
  const needs = { kind: `${demand.apiVersion}/${demand.kind}`, affinity, assigned };
  for (const cluster of byName(clusters)) {
    if (cluster.isLeaving) continue;
    const rejection = filter(demand, placement, cluster, needs) ?? company(demand, cluster, clusters);
    if (rejection !== undefined) {
      rejected.push(rejection);
      continue;
    }
    const { room, left } = roomIn(cluster, demand);
    candidates.push({ cluster, score: assigned.has(cluster.name) ? LOCALITY_SCORE : 0, room, left });
  }
  let feasible: PlacementTrace["feasible"] | undefined;
  const trace = (rule: string): PlacementTrace => ({
    affinity: undefined,
    rejected,
    // Most decisions come to what was decided before, and are told to nobody.
    get feasible() {
      feasible ??= candidates.map(({ cluster, score, room, left }) => ({
        cluster: cluster.name,
        score,
        room,
        promised: room - left,
      }));
      return feasible;
    },
    rule,
  });
  if (candidates.length === 0)
    return {
      isPlaced: false,
      reason: "NoClusterFit",
      message: fitMessage(clusters.length, rejected),
      trace: trace("filters"),
    };
  const spread = selectSpread(candidates, placement, demand);
  if ("fault" in spread)
    return {
      isPlaced: false,
      reason: "SchedulerError",
      message: `failed to select clusters: ${spread.fault}`,
      trace: trace("spread constraints"),
    };
  const division = divide(demand, spread.selected, placement.replicaScheduling);
  if ("fault" in division)
    return {
      isPlaced: false,
      reason: "SchedulerError",
      message: `failed to assign replicas: ${division.fault}`,
      trace: trace(division.rule),
    };
  return { isPlaced: true, targets: division.targets, trace: trace(division.rule) };
}

/** Whether it is kept away by workloads that it goes together with, or apart from. */
function company(
  { uid, together, apart, assigned }: Demand,
  cluster: ClusterFacts,
  clusters: readonly ClusterFacts[],
): Rejection | undefined {
  if (together === undefined && apart === undefined) return undefined;
  const refuse = (plugin: string, reason: string): Rejection => ({ cluster: cluster.name, plugin, reason });
  if (assigned.some(({ name }) => name === cluster.name)) return undefined;
  const has = (each: ClusterFacts, group: string): boolean => each.residents?.has(group, uid) === true;
  if (apart !== undefined && has(cluster, apart))
    return refuse("WorkloadAntiAffinity", "had a workload of the same anti-affinity group");
  const isLonely = together === undefined || has(cluster, together) || !clusters.some((each) => has(each, together));
  return isLonely ? undefined : refuse("WorkloadAffinity", "did not have a workload of the same affinity group");
}

function roomIn(cluster: ClusterFacts, demand: Demand): Pick<Candidate, "room" | "left"> {
  const { set, requests, uid } = demand;
  const except = demand.isFresh ? uid : "";
  if (set !== undefined) return { room: setsFor(cluster, set), left: setsLeft(cluster, set, except) };
  const room = roomFor(cluster, requests);
  return { room, left: roomLeft(cluster, requests, except, room) };
}

/** Whether it goes to one cluster alone. */
function isForOne({ spreadConstraints = [] }: Placement): boolean {
  return spreadConstraints.some(
    ({ spreadByField, spreadByLabel, maxGroups }) =>
      maxGroups === 1 && spreadByLabel === undefined && (spreadByField ?? "cluster") === "cluster",
  );
}

/** What is the same for all clusters of a decision. */
interface Needs {
  /** API version and kind. */
  readonly kind: string;
  readonly affinity: ClusterAffinity | undefined;
  readonly assigned: ReadonlySet<string>;
}

/** The first reason why a cluster cannot take the object. What runs there already may stay behind a taint or an incomplete list of kinds. */
function filter(
  demand: Demand,
  placement: Placement,
  cluster: ClusterFacts,
  { kind, affinity, assigned }: Needs,
): Rejection | undefined {
  const refuse = (plugin: string, reason: string): Rejection => ({ cluster: cluster.name, plugin, reason });
  const isHere = assigned.has(cluster.name);
  const isServed = cluster.kinds.has(kind) || (isHere && !cluster.knowsAllKinds);
  if (!isServed) return refuse("APIEnablement", "did not have the API resource");
  const taint = isHere ? undefined : untoleratedTaint(cluster, placement.clusterTolerations ?? []);
  if (taint !== undefined) {
    const value = taint.value === undefined || taint.value === "" ? "" : `=${taint.value}`;
    return refuse("TaintToleration", `had untolerated taint {${taint.key}${value}:${taint.effect}}`);
  }
  if (!affinityMatches(affinity, cluster))
    return refuse("ClusterAffinity", "did not match the placement cluster affinity constraint");
  const missing = placement.spreadConstraints?.find(({ spreadByField, spreadByLabel }) =>
    spreadByLabel !== undefined
      ? cluster.labels[spreadByLabel] === undefined
      : (spreadByField === "provider" && cluster.provider === "") ||
        (spreadByField === "region" && cluster.region === "") ||
        (spreadByField === "zone" && cluster.zones.length === 0),
  );
  if (missing !== undefined) {
    const what = missing.spreadByLabel === undefined ? missing.spreadByField : `label ${missing.spreadByLabel}`;
    return refuse("SpreadConstraint", `did not have ${what} property`);
  }
  if (demand.evicting.has(cluster.name)) return refuse("ClusterEviction", "is in the process of eviction");
  if (!isHere && demand.distrusted?.has(cluster.name) === true)
    return refuse("FailBack", "failed, and has not been well for long enough since");
  if (!isHere && demand.set !== undefined && isForOne(placement) && setsLeft(cluster, demand.set, demand.uid) < 1)
    return refuse("Capacity", "did not have room for all components together");
  return undefined;
}

/** As upstream words it: reasons with how many clusters each kept out, in the order of the words. */
function fitMessage(total: number, rejected: readonly Rejection[]): string {
  const counts = new Map<string, number>();
  for (const { reason } of rejected) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const parts = [...counts].map(([reason, count]) => `${count} cluster(s) ${reason}`).sort();
  return total === 0
    ? "0/0 clusters are available: no cluster exists."
    : `0/${total} clusters are available: ${parts.join(", ")}.`;
}
