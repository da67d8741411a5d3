import type { ReconcileContext } from "../../../kernel/control/index.js";
import { isDeleting, type JsonObject } from "../../../kernel/kinds/index.js";
import { asString } from "../../../kernel/schema/index.js";
import { coordinatesOf, groupedByCluster, type PlannedObject, type Plans, planParts } from "../hyper-plan.js";
import type { RolloutFacts } from "../hyper-status.js";
import { manifestOf } from "../hyper-works.js";
import type { HyperMLService, Work } from "../kinds.js";
import { clusterOfSpace } from "../names.js";
import { type ClusterAssignment, type HyperRollout, HyperRolloutKind } from "./kind.js";
import { type StepShare, triedRelease, withCanary } from "./release-steps.js";
import type { RevisionRef, RevisionStore } from "./revisions.js";

type Context = ReconcileContext<HyperMLService>;

/** The objects of a revision by cluster. */
type ClusterPlans = ReadonlyMap<string, readonly PlannedObject[]>;

/** A release that is tried in shadow. */
export interface TriedRelease {
  /** Name of the MLService. */
  readonly service: string;
  readonly release: string;
  readonly percent: number;
}

/** What one cluster is given. */
export interface ClusterTarget {
  readonly cluster: string;
  /** Empty: it is held as it is. */
  readonly revision: string;
  readonly canaryPercent?: number | undefined;
  /** During a step in shadow: which releases get copies of which share of the requests. */
  readonly shadows?: readonly TriedRelease[];
  readonly objects: readonly PlannedObject[];
}

/** What all clusters are given. */
export interface Targets {
  readonly clusters: readonly ClusterTarget[];
  /** What is wrong with the spec; nothing is changed then. */
  readonly faults: readonly string[];
  readonly rollout: HyperRollout | undefined;
}

/** The HyperRollout that governs a HyperMLService: of several the oldest. */
export function rolloutOf(namespace: string, name: string, all: readonly HyperRollout[]): HyperRollout | undefined {
  const [first] = all
    .filter(
      (one) => one.metadata.namespace === namespace && one.spec.hyperMLServiceRef.name === name && !isDeleting(one),
    )
    .sort((a, b) => (ageOf(a) < ageOf(b) ? -1 : 1));
  return first;
}

function ageOf({ metadata }: HyperRollout): string {
  return `${metadata.creationTimestamp ?? ""} ${metadata.name}`;
}

/**
 * What each cluster is to be given: without a HyperRollout the spec; with one, what its status assigns to the cluster, and as long as it
 * assigns nothing, what it has.
 */
export async function targetsOf(
  object: HyperMLService,
  works: readonly Work[],
  tools: {
    readonly revisions: RevisionStore;
    readonly plans: Plans;
    readonly latest: RevisionRef;
    readonly context: Context;
  },
): Promise<Targets> {
  const { revisions, latest, context } = tools;
  const { namespace = "", name } = object.metadata;
  const rollout = rolloutOf(namespace, name, context.cluster.informers.informer(HyperRolloutKind).list(namespace));
  const { objects, faults } = tools.plans.of(object);
  const told = faults.map(({ field, message }) => `${field}: ${message}`);
  const names = [...new Set(object.spec.workloads.flatMap(({ clusters }) => clusters))];
  if (rollout === undefined) {
    const fromSpec = groupedByCluster(objects, ({ cluster }) => cluster);
    const clusters = names.sort().map((cluster) => ({
      cluster,
      revision: latest.name,
      objects: fromSpec.get(cluster) ?? [],
    }));
    return { clusters, faults: told, rollout };
  }
  const assigned = new Map((rollout.status?.clusters ?? []).map((one) => [one.cluster, one]));
  const held = groupedByCluster(
    works.filter((work) => !isDeleting(work)),
    clusterOf,
  );
  const everywhere = [...new Set([...names, ...assigned.keys(), ...held.keys()])].sort();
  const plans = new Map<string, Promise<ClusterPlans | undefined>>();
  const planOf = (revision: string): Promise<ClusterPlans | undefined> => {
    const known = plans.get(revision);
    if (known !== undefined) return known;
    const plan = revisions
      .load(object, revision, context)
      .then((workloads) =>
        workloads === undefined
          ? undefined
          : groupedByCluster(planParts({ metadata: object.metadata, workloads }).objects, ({ cluster }) => cluster),
      );
    plans.set(revision, plan);
    return plan;
  };
  const clusters: ClusterTarget[] = [];
  for (const cluster of everywhere) {
    const target = await assignedTo(assigned.get(cluster), planOf);
    clusters.push(target ?? { cluster, revision: "", objects: (held.get(cluster) ?? []).map(heldObject) });
  }
  return { clusters, faults: told, rollout };
}

async function assignedTo(
  assignment: ClusterAssignment | undefined,
  planOf: (revision: string) => Promise<ClusterPlans | undefined>,
): Promise<ClusterTarget | undefined> {
  if (assignment === undefined) return undefined;
  const { cluster, revision, from, canaryPercent, shadowPercent } = assignment;
  const plan = await planOf(revision);
  if (plan === undefined) return undefined;
  const objects = plan.get(cluster) ?? [];
  if (from === undefined) return { cluster, revision, objects };
  const before = (await planOf(from))?.get(cluster) ?? [];
  if (canaryPercent !== undefined)
    return { cluster, revision, canaryPercent, objects: betweenOf(before, objects, { canaryPercent }) };
  if (shadowPercent === undefined) return { cluster, revision, objects };
  const shadows = objects.flatMap((one): TriedRelease[] => {
    const old = before.find(({ workName }) => workName === one.workName);
    const release =
      one.kind !== "MLService" || old === undefined ? undefined : triedRelease(old.manifest, one.manifest);
    return release === undefined ? [] : [{ service: one.name, release, percent: shadowPercent }];
  });
  return { cluster, revision, shadows, objects: betweenOf(before, objects, { shadowPercent }) };
}

/** The objects of a step: the new ones, with canaries in their MLServices, and what the old release still needs. */
function betweenOf(
  before: readonly PlannedObject[],
  after: readonly PlannedObject[],
  share: StepShare,
): readonly PlannedObject[] {
  const olds = new Map(before.map((one) => [one.workName, one]));
  const news = after.map((one) => {
    const old = olds.get(one.workName);
    olds.delete(one.workName);
    if (one.kind !== "MLService" || old === undefined) return one;
    const outcome = withCanary(old.manifest, one.manifest, share);
    return "manifest" in outcome ? { ...one, manifest: outcome.manifest } : one;
  });
  return [...news, ...[...olds.values()].filter((one) => one.kind !== "MLService")];
}

/** Whether a step between two revisions changes anything in a cluster: some MLService has a new default release there. */
export function hasCanary(before: readonly PlannedObject[], after: readonly PlannedObject[]): boolean {
  return after.some((one) => {
    const old = before.find((other) => other.workName === one.workName);
    return one.kind === "MLService" && old !== undefined && triedRelease(old.manifest, one.manifest) !== undefined;
  });
}

/** What a cluster has, as if it were planned. */
function heldObject(work: Work): PlannedObject {
  const manifest: JsonObject = manifestOf(work) ?? {};
  return {
    cluster: clusterOf(work),
    apiVersion: asString(manifest["apiVersion"]),
    ...coordinatesOf(manifest),
    rank: 0,
    workName: work.metadata.name,
    manifest,
  };
}

function clusterOf(work: Work): string {
  return clusterOfSpace(work.metadata.namespace ?? "") ?? "";
}

/** What a rollout means for the conditions of what it rolls out. */
export function factsOf({ rollout, clusters: targets }: Targets, latest: RevisionRef): RolloutFacts | undefined {
  if (rollout === undefined) return undefined;
  const { phase = "Waiting", message = "", clusters = [] } = rollout.status ?? {};
  const updating = clusters.filter(({ state }) => state === "Updating").map(({ cluster }) => cluster);
  const behind = targets
    .filter(
      ({ revision, canaryPercent, shadows }) =>
        revision !== latest.name || canaryPercent !== undefined || shadows !== undefined,
    )
    .map(({ cluster }) => cluster);
  return { name: rollout.metadata.name, phase, message, behind, updating: new Set(updating) };
}
