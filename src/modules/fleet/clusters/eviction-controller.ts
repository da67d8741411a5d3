import type {
  ClusterAccess,
  ControllerSpec,
  ReconcileContext,
  ReconcileResult,
} from "../../../kernel/control/index.js";
import {
  isDeleting,
  type JsonObject,
  type KindDefinition,
  type KubeObject,
  timeOf,
} from "../../../kernel/kinds/index.js";
import { asObject, asObjects, toJson } from "../../../kernel/schema/index.js";
import type { Ledger } from "../../../stores/ledger/index.js";
import { type Bound, decide } from "../bindings/decide.js";
import { ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "../bindings/kinds.js";
import { isMoreThanStatus } from "../changes.js";
import { jsonOf } from "../json.unsafe.js";
import { type Cluster, ClusterKind } from "../kinds.js";
import type { ClusterBook } from "../placement/cluster-book.js";
import type { ClusterFacts } from "../placement/types.js";
import { lostClustersOf } from "../policies/marks.js";
import { type EvictionPlan, planEviction } from "./eviction.js";
import { type FailBackPlan, lostNote, planFailBack } from "./fail-back.js";
import { brakeOn, isAway } from "./stability.js";

type Context = ReconcileContext<ResourceBinding>;

const HERE = "clusters-here";
const LEFT = "clusters-left";

/** What evictions are made with. */
export interface EvictionParts {
  readonly ledger: Ledger;
  readonly book: ClusterBook;
}

/**
 * Sends objects away from clusters that do not want them any more, ends what was begun, and brings objects back to clusters that failed and are well
 * again. One controller for each kind of binding.
 */
export function evictionControllers(parts: EvictionParts): ControllerSpec<ResourceBinding>[] {
  return [
    evictionController(ResourceBindingKind, "binding-eviction", parts),
    evictionController(ClusterResourceBindingKind, "cluster-binding-eviction", parts),
  ];
}

function evictionController(
  kind: KindDefinition<ResourceBinding>,
  name: string,
  parts: EvictionParts,
): ControllerSpec<ResourceBinding> {
  return {
    name,
    kind,
    // An eviction ends when its replacement is healthy.
    concerns: (now, old) => (now.spec.gracefulEvictionTasks ?? []).length > 0 || isMoreThanStatus(now, old),
    isIdle: (binding) =>
      clustersLeft(binding).length === 0 && clustersHere(binding).every((each) => keepsAll(parts.book, each)),
    concurrency: 4,
    watches: [
      {
        kind: ClusterKind,
        keys: (cluster, informers) => {
          const bindings = informers.informer(kind);
          bindings.addIndex(HERE, clustersHere);
          bindings.addIndex(LEFT, clustersLeft);
          const { name: about } = cluster.metadata;
          // Whom it wants is of interest where it sends anything away; its figures change all the time.
          return [...(sendsAway(cluster) ? bindings.byIndex(HERE, about) : []), ...bindings.byIndex(LEFT, about)].map(
            ({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name }),
          );
        },
      },
    ],
    reconcile: async (_key, binding, context) =>
      binding === undefined || isDeleting(binding)
        ? undefined
        : attend(binding, { ...parts, kind, manager: name }, context),
  };
}

/** Where a binding's object is. */
function clustersHere({ spec }: ResourceBinding): string[] {
  return (spec.clusters ?? []).map((target) => target.name);
}

/** Where it is leaving, or was until they failed. */
function clustersLeft({ spec, metadata }: ResourceBinding): string[] {
  const leaving = (spec.gracefulEvictionTasks ?? []).map(({ fromCluster }) => fromCluster);
  return [...new Set([...leaving, ...lostClustersOf(metadata.annotations)])];
}

/** Whether a cluster is known, and sends nothing away. */
function keepsAll({ byName }: ClusterBook, name: string): boolean {
  return byName.get(name)?.taints.every(({ effect }) => effect !== "NoExecute") === true;
}

function sendsAway(object: KubeObject): boolean {
  const { taints } = asObject(jsonOf(object)["spec"]);
  return asObjects(taints).some(({ effect }) => effect === "NoExecute");
}

interface Parts extends EvictionParts {
  readonly kind: KindDefinition<ResourceBinding>;
  readonly manager: string;
}

async function attend(binding: ResourceBinding, parts: Parts, context: Context): Promise<ReconcileResult | undefined> {
  const clusters = context.cluster.informers.informer(ClusterKind);
  await clusters.synced(context.signal);
  await parts.book.synced(context.signal);
  const nowMs = context.clock.now();
  const clusterOf = (name: string): Cluster | undefined => clusters.get({ namespace: "", name });
  const plan = planEviction(binding, {
    cluster: clusterOf,
    isFeasible: (leaving) => isFeasible(binding, parts.book.list, leaving),
    brake: () => brakeOn(clusters.list()),
    nowMs,
  });
  const back = planFailBack(binding, {
    cluster: clusterOf,
    wouldGoTo: (name) => wouldGoTo(binding, parts.book.list, name),
    nowMs,
  });
  if (plan.isChanged || back.trusted.length > 0) await write(binding, { plan, back, clusterOf }, { parts, context });
  for (const { cluster, why } of plan.held)
    context.events.record(
      binding,
      "Warning",
      "EvictionHeldBack",
      `cluster ${cluster} does not want it, but it stays there: ${why}`,
    );
  const waits = [plan.againMs, back.againMs].filter((ms) => ms !== undefined);
  return waits.length === 0 ? undefined : { requeueAfterMs: Math.max(Math.min(...waits), 100) };
}

function boundOf({ spec, status, metadata }: ResourceBinding): Bound {
  return { spec, annotations: metadata.annotations ?? {}, ...(status === undefined ? {} : { status }) };
}

/** Whether all of an object has a place without some clusters, by the scheduler's own rules. */
export function isFeasible(
  binding: ResourceBinding,
  clusters: readonly ClusterFacts[],
  leaving: ReadonlySet<string>,
): boolean {
  const bound = boundOf(binding);
  const staying = (bound.spec.clusters ?? []).filter(({ name }) => !leaving.has(name));
  const others = clusters.filter(({ name }) => !leaving.has(name));
  const result = decide({ ...bound, spec: { ...bound.spec, clusters: staying } }, others, false);
  return result.isPlaced && (result.targets.length > 0 || (bound.spec.replicas ?? 0) === 0);
}

function wouldGoTo(binding: ResourceBinding, clusters: readonly ClusterFacts[], name: string): boolean {
  const result = decide({ ...boundOf(binding), annotations: {} }, clusters, true);
  return result.isPlaced && result.targets.some((target) => target.name === name);
}

interface Plans {
  readonly plan: EvictionPlan;
  readonly back: FailBackPlan;
  readonly clusterOf: (name: string) => Cluster | undefined;
}

async function write(
  binding: ResourceBinding,
  { plan, back, clusterOf }: Plans,
  { parts, context }: { readonly parts: Parts; readonly context: Context },
): Promise<void> {
  const { name, namespace, resourceVersion } = binding.metadata;
  const failed = plan.evicted.filter((each) => {
    const cluster = clusterOf(each);
    return cluster !== undefined && isAway(cluster);
  });
  const lost = [...back.kept, ...failed].filter((each) => !plan.restored.includes(each));
  const last = Date.parse(binding.status?.lastScheduledTime ?? "") || 0;
  const change: JsonObject = {
    metadata: {
      resourceVersion: resourceVersion ?? "",
      ...(lost.length === 0 && lostClustersOf(binding.metadata.annotations).length === 0
        ? {}
        : { annotations: toJson(lostNote(lost)) }),
    },
    spec: {
      ...(plan.isChanged
        ? {
            clusters: plan.clusters.length === 0 ? null : toJson(plan.clusters),
            gracefulEvictionTasks: plan.tasks.length === 0 ? null : toJson(plan.tasks),
          }
        : {}),
      // Times are told in seconds: later than the last placement, whenever in that second it was.
      ...(back.due.length === 0 ? {} : { rescheduleTriggeredAt: timeOf(Math.max(context.clock.now(), last + 1000)) }),
    },
  };
  await context.cluster.client.resource(parts.kind).patch(name, "merge", change, {
    fieldManager: parts.manager,
    ...(namespace === undefined ? {} : { namespace }),
  });
  tell(binding, plan, back, context);
  if (plan.evicted.length > 0) record(binding, plan, context.cluster, parts.ledger);
}

function tell(binding: ResourceBinding, plan: EvictionPlan, back: FailBackPlan, { events }: Context): void {
  const say = (reason: string, message: string): void => events.record(binding, "Normal", reason, message);
  for (const cluster of plan.evicted)
    say("EvictWorkloadFromClusterSucceed", `it does not tolerate the taints of cluster ${cluster} and is sent away`);
  for (const cluster of plan.finished) say("EvictWorkloadFromClusterSucceed", `it has left cluster ${cluster}`);
  for (const cluster of plan.restored)
    say("EvictionCancelled", `cluster ${cluster} wants it again, and it found no other place: it stays there`);
  for (const cluster of back.due)
    say("FailBack", `cluster ${cluster} has been well for long enough since it failed: it gets its share again`);
}

function record({ spec }: ResourceBinding, plan: EvictionPlan, hub: ClusterAccess, ledger: Ledger): void {
  const { apiVersion, kind, name, namespace } = spec.resource;
  ledger.record({
    cluster: hub.name,
    about: { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) },
    topic: "placement",
    rule: "eviction by taints",
    inputs: { tolerations: toJson(spec.placement?.clusterTolerations ?? []) },
    outcome: `leaves ${plan.evicted.join(", ")}`,
    winners: plan.clusters.map((target) => ({ name: target.name, reason: "its taints are tolerated" })),
    losers: plan.evicted.map((each) => ({ name: each, reason: "a NoExecute taint of it is not tolerated" })),
  });
}
