import {
  type ControllerSpec,
  type InformerSet,
  type Key,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../kernel/control/index.js";
import {
  type Condition,
  ControllerRevisionKind,
  findCondition,
  isDeleting,
  type JsonObject,
  type KubeObject,
  withCondition,
} from "../../kernel/kinds/index.js";
import { asObject, asObjects } from "../../kernel/schema/index.js";
import type { Ledger } from "../../stores/ledger/index.js";
import { checkedCondition, isChecked, type ManifestChecker } from "./hyper-admission.js";
import { deleteInOrder, removeHyper, Silences } from "./hyper-deletion.js";
import { Delivery, type DeliveryMemory, workKey } from "./hyper-delivery.js";
import { groupedByCluster, Plans } from "./hyper-plan.js";
import { memberStatusOf, triedGap, unreadinessOf } from "./hyper-readiness.js";
import { hyperStatusOf, type ObjectState } from "./hyper-status.js";
import { HeadChanges, trafficOf } from "./hyper-traffic.js";
import { jsonOf } from "./json.unsafe.js";
import { namedAsKarmada } from "./karmada-names.js";
import { ClusterKind, HeadIngressKind, type HyperMLService, HyperMLServiceKind, type Work, WorkKind } from "./kinds.js";
import { Drains, type Leaving, leavingOf } from "./leaving.js";
import { ARGOSY, clusterOfSpace, HYPER_FINALIZER } from "./names.js";
import { HyperRolloutKind } from "./rollout/kind.js";
import { type RevisionRef, RevisionStore } from "./rollout/revisions.js";
import { factsOf, rolloutOf, type Targets, targetsOf } from "./rollout/targets.js";
import { frontsOf, isServed } from "./served-kinds.js";

const NAME = "hypermlservice-controller";
const OWNER_INDEX = "hypermlservice-uid";
const CLUSTER_INDEX = "hypermlservice-cluster";
/** Works are watched; this is for what no event tells of (a namespace that is still to come). */
const RETRY_MS = 1000;
/** What Works of many clusters tell one after the other is written as one status: of more objects than this, once in so long for each. */
const MANY = 20;
const TELL_MS = 2;
const MAX_TELL_MS = 1000;
/** Revisions that are kept of a HyperMLService without HyperRollout. */
const HISTORY = 10;

type Context = ReconcileContext<HyperMLService>;

interface Tools {
  readonly checker: ManifestChecker;
  readonly ledger: Ledger;
  readonly drains: Drains;
  readonly silences: Silences;
  readonly revisions: RevisionStore;
  readonly plans: Plans;
  readonly delivered: DeliveryMemory;
  /** When the status of each was written last, by uid. */
  readonly told: Map<string, number>;
  readonly isKarmadas: boolean;
}

/** Turns each HyperMLService into Works, one for a cluster and manifest, in order; and their states into its status. */
export function hyperMLServiceController(options: {
  readonly checker: ManifestChecker;
  readonly ledger: Ledger;
  /** A real Karmada makes the Works true. */
  readonly isKarmadas: boolean;
}): ControllerSpec<HyperMLService> {
  const tools: Tools = {
    ...options,
    drains: new Drains(),
    silences: new Silences(),
    revisions: new RevisionStore(),
    plans: new Plans(),
    delivered: new WeakMap(),
    told: new Map(),
  };
  const heads = new HeadChanges();
  return {
    name: NAME,
    kind: HyperMLServiceKind,
    concurrency: 4,
    finalizer: HYPER_FINALIZER,
    watches: [
      { kind: WorkKind, keys: ownerOfWork },
      {
        kind: ClusterKind,
        keys: (cluster, informers) => usersOfCluster(cluster.metadata.name, informers),
        concerns: saysOther,
      },
      { kind: HeadIngressKind, keys: (head, informers) => heads.keys(head, informers) },
      { kind: HyperRolloutKind, keys: ruledBy },
      // Only so that they are known.
      { kind: ControllerRevisionKind, keys: () => [] },
    ],
    reconcile: async (_key, object, context) => (object === undefined ? undefined : reconcile(object, tools, context)),
    async finalize(object, context) {
      const { ledger, revisions, silences } = tools;
      const result = await removeHyper(object, () => worksOf(object, context), { ledger, silences, context });
      if (result !== "done") return result;
      tools.plans.forget(object.metadata.uid);
      tools.told.delete(object.metadata.uid);
      silences.forget(object);
      await revisions.forget(object, context);
      return result;
    },
  };
}

function ruledBy(rollout: KubeObject, informers: InformerSet): readonly Key[] {
  const { namespace = "", name } = rollout.metadata;
  const known = informers.informer(HyperRolloutKind).get({ namespace, name });
  const hypers = informers.informer(HyperMLServiceKind).list(namespace);
  // Of one that is gone nobody knows any more whom it ruled.
  const ruled =
    known === undefined ? hypers : hypers.filter(({ metadata }) => metadata.name === known.spec.hyperMLServiceRef.name);
  return ruled.map(({ metadata }) => ({ namespace, name: metadata.name }));
}

function ownerOfWork(work: KubeObject): readonly Key[] {
  const annotations = work.metadata.annotations ?? {};
  const name = annotations[ARGOSY.ownerName];
  return name === undefined ? [] : [{ namespace: annotations[ARGOSY.ownerNamespace] ?? "", name }];
}

function usersOfCluster(cluster: string, informers: InformerSet): readonly Key[] {
  const informer = informers.informer(HyperMLServiceKind);
  informer.addIndex(CLUSTER_INDEX, ({ spec }) => [...new Set(spec.workloads.flatMap(({ clusters }) => clusters))]);
  return informer
    .byIndex(CLUSTER_INDEX, cluster)
    .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name }));
}

/** Whether a Cluster says anything new of what a HyperMLService looks at: how it is, and that it leaves. */
function saysOther(now: KubeObject, old: KubeObject): boolean {
  const said = (cluster: KubeObject): unknown[] => {
    const conditions = asObjects(asObject(jsonOf(cluster)["status"])["conditions"]);
    const ready = conditions.find(({ type }) => type === "Ready");
    return [isDeleting(cluster), ready?.["status"], ready?.["message"]];
  };
  const before = said(old);
  return said(now).some((part, index) => part !== before[index]);
}

function worksOf(object: HyperMLService, context: Context): readonly Work[] {
  const informer = context.cluster.informers.informer(WorkKind);
  informer.addIndex(OWNER_INDEX, (work) => [work.metadata.labels?.[ARGOSY.ownerUid] ?? ""]);
  return informer.byIndex(OWNER_INDEX, object.metadata.uid);
}

/** One HyperMLService as a reconcile sees it. */
interface Scene {
  readonly object: HyperMLService;
  readonly works: readonly Work[];
  readonly latest: RevisionRef;
  readonly targets: Targets;
}

async function reconcile(object: HyperMLService, tools: Tools, context: Context): Promise<ReconcileResult | undefined> {
  const { revisions } = tools;
  const works = worksOf(object, context);
  const isFaulty = tools.plans.of(object).faults.length > 0;
  if (!isFaulty && (await isRuledUnseen(object, tools, context))) return { requeueAfterMs: RETRY_MS };
  const latest = isFaulty
    ? { name: object.status?.revision ?? "", number: 0 }
    : await revisions.ensure(object, context);
  const planned = await targetsOf(object, works, { revisions, plans: tools.plans, latest, context });
  const targets = tools.isKarmadas ? namedIn(planned, object, context) : planned;
  const scene: Scene = { object, works, latest, targets };
  const { states, leaving } =
    targets.faults.length === 0 ? await carryOut(scene, tools, context) : { states: [], leaving: [] };
  const isWaiting = leaving.length > 0 || states.some((state) => state.reason === "DeliveryFailed");
  await report(scene, { states, leaving }, tools, context);
  const used = new Set([latest.name, ...namesIn(targets)]);
  const limit = targets.rollout?.spec.revisionHistoryLimit ?? HISTORY;
  await revisions.prune(object, used, limit, context);
  return isWaiting ? { requeueAfterMs: RETRY_MS } : undefined;
}

/** The same with names of Works by which a real Karmada finds them again. */
function namedIn(targets: Targets, { metadata }: HyperMLService, context: Context): Targets {
  const works = context.cluster.informers.informer(WorkKind);
  const book = { owner: metadata.uid, standing: (namespace: string, name: string) => works.get({ namespace, name }) };
  const clusters = targets.clusters.map((target) => ({ ...target, objects: namedAsKarmada(target.objects, book) }));
  return { ...targets, clusters };
}

function namesIn({ clusters, rollout }: Targets): string[] {
  const { stable, target, clusters: assigned = [] } = rollout?.status ?? {};
  const refs = [stable?.name, target?.name, ...assigned.flatMap(({ revision, from }) => [revision, from])];
  return [...clusters.map(({ revision }) => revision), ...refs.flatMap((name) => name ?? [])];
}

/** Before a new revision is made: whether there is a HyperRollout that the informer does not know yet. It must come first. */
async function isRuledUnseen(object: HyperMLService, { revisions }: Tools, context: Context): Promise<boolean> {
  if (revisions.list(object, context).some(({ metadata }) => metadata.name === revisions.nameOf(object))) return false;
  const { namespace = "", name } = object.metadata;
  const known = context.cluster.informers.informer(HyperRolloutKind).list(namespace);
  if (rolloutOf(namespace, name, known) !== undefined) return false;
  const { items } = await context.cluster.client.resource(HyperRolloutKind).list({ namespace });
  return rolloutOf(namespace, name, items) !== undefined;
}

/** Delivers what is planned; removes what is no longer, from a cluster that leaves only when it gets no more requests. */
async function carryOut(
  { object, works, targets }: Scene,
  { drains, plans, delivered, isKarmadas }: Tools,
  context: Context,
): Promise<{ readonly states: ObjectState[]; readonly leaving: Leaving[] }> {
  const delivery = new Delivery(object, works, { context, delivered, isKarmadas });
  const states: ObjectState[] = [];
  for (const target of targets.clusters) states.push(...(await delivery.deliver(target.objects)));
  states.push(...heldBack({ object, targets, works }, plans));
  const staying = new Set(
    targets.clusters
      .filter(({ cluster, objects }) => objects.length > 0 && !delivery.leaving.has(cluster))
      .map(({ cluster }) => cluster),
  );
  const wanted = new Set(
    targets.clusters
      .filter(({ cluster }) => staying.has(cluster))
      .flatMap(({ cluster, objects }) => objects.map((planned) => workKey(cluster, planned.workName))),
  );
  const clusterOf = (work: Work): string => clusterOfSpace(work.metadata.namespace ?? "") ?? "";
  const left = works.filter((work) => !wanted.has(workKey(clusterOf(work), work.metadata.name)));
  const leaving = [...new Set(left.map(clusterOf))].filter((cluster) => !staying.has(cluster)).sort();
  const pending = drains.pending(object, leaving, context);
  await deleteInOrder(
    left.filter((work) => !pending.includes(clusterOf(work))),
    context,
  );
  return { states, leaving: leavingOf(left, leaving, { pending, silent: silentClusters(leaving, context) }) };
}

/** What the spec has for clusters that hold nothing yet and are to hold nothing yet. */
function heldBack(
  { object, targets, works }: Pick<Scene, "object" | "targets" | "works">,
  plans: Plans,
): ObjectState[] {
  const { rollout } = targets;
  if (rollout === undefined) return [];
  const held = new Set(
    targets.clusters
      .filter(({ revision, objects }) => revision === "" && objects.length === 0)
      .map(({ cluster }) => cluster),
  );
  if (held.size === 0) return [];
  const message = `HyperRollout ${rollout.metadata.name} has not come to this cluster yet`;
  const { objects } = plans.of(object);
  const isLeaving = (cluster: string): boolean =>
    works.some((work) => clusterOfSpace(work.metadata.namespace ?? "") === cluster);
  return objects
    .filter(({ cluster }) => held.has(cluster) && !isLeaving(cluster))
    .map((planned) => ({ object: planned, work: undefined, isApplied: false, reason: "Held", message }));
}

async function report(
  scene: Scene,
  { states, leaving }: { readonly states: readonly ObjectState[]; readonly leaving: Leaving[] },
  tools: Tools,
  context: Context,
): Promise<void> {
  const { object, targets, latest } = scene;
  const { uid, namespace = "", name, generation } = object.metadata;
  const nowMs = context.clock.monotonicMs();
  const gatherMs = states.length <= MANY ? 0 : Math.min(MAX_TELL_MS, states.length * TELL_MS);
  const waitMs = (tools.told.get(uid) ?? Number.NEGATIVE_INFINITY) + gatherMs - nowMs;
  if (waitMs > 0 && object.status?.observedGeneration === generation) {
    context.enqueue({ namespace, name }, waitMs);
    return;
  }
  const heads = context.cluster.informers
    .informer(HeadIngressKind)
    .list(namespace)
    .filter((head) => head.spec.hyperMLServiceRef?.name === name);
  const services = groupedByCluster(
    states.filter((state) => isServed(state.object.kind)),
    (state) => state.object.cluster,
  );
  const traffic = trafficOf(heads, (cluster, service) => serviceStatusIn(services.get(cluster) ?? [], service));
  const rollout = factsOf(targets, latest);
  const facts = {
    states,
    faults: targets.faults,
    leaving,
    heads,
    silent: silentClusters(
      states.map(({ object: { cluster } }) => cluster),
      context,
    ),
    traffic,
    rollout,
  };
  const seen = hyperStatusOf(object, facts, context.clock.now());
  recordTransition(object, seen.conditions, context);
  const stable = targets.rollout === undefined ? latest.name : targets.rollout.status?.stable?.name;
  const revision = stable ?? object.status?.revision;
  const status = {
    ...seen,
    ...(revision === undefined ? {} : { revision }),
    ...(targets.faults.length > 0 ? {} : { revisions: rowsOf(targets, states) }),
    ...(await checkedConditions(object, seen.conditions, tools.checker, context)),
  };
  const written = await syncStatus(context.cluster.client.resource(HyperMLServiceKind), object, status, NAME);
  if (written !== object) tools.told.set(uid, nowMs);
}

function serviceStatusIn(services: readonly ObjectState[], service: string | undefined): JsonObject | undefined {
  const named = services.filter(({ object }) => service === undefined || object.name === service);
  const [state] = frontsOf(named, ({ object }) => object.kind);
  return state === undefined ? undefined : memberStatusOf(state);
}

function rowsOf(targets: Targets, states: readonly ObjectState[]) {
  const groups = groupedByCluster(states, ({ object }) => object.cluster);
  return targets.clusters
    .filter(({ revision, objects }) => revision !== "" || objects.length > 0)
    .map(({ cluster, revision, canaryPercent, shadows }) => {
      const gaps = (groups.get(cluster) ?? []).flatMap((state) => {
        const tried = shadows?.find(({ service }) => service === state.object.name)?.release;
        const why = state.isApplied ? unreadinessOf(state) || triedGap(state, tried) : state.message;
        return why === "" ? [] : [`${state.object.kind} ${state.object.name}: ${why}`];
      });
      const [message] = gaps;
      return {
        cluster,
        revision,
        ready: gaps.length === 0,
        ...(canaryPercent === undefined ? {} : { canaryPercent }),
        ...(shadows === undefined ? {} : { shadows: [...shadows] }),
        ...(message === undefined ? {} : { message }),
      };
    });
}

/** Those of these clusters that do not answer, and why. */
function silentClusters(names: readonly string[], context: Context): ReadonlyMap<string, string> {
  const clusters = context.cluster.informers.informer(ClusterKind);
  return new Map(
    [...new Set(names)].flatMap((name): [string, string][] => {
      const ready = findCondition(clusters.get({ namespace: "", name })?.status?.conditions, "Ready");
      return ready === undefined || ready.status === "True" ? [] : [[name, ready.message]];
    }),
  );
}

/** What the hub says of the manifests, once for each generation. */
async function checkedConditions(
  object: HyperMLService,
  conditions: readonly Condition[] | undefined,
  checker: ManifestChecker,
  context: Context,
): Promise<{ readonly conditions?: Condition[] }> {
  if (isChecked(object)) return {};
  try {
    const { workloads } = object.spec;
    const findings = await checker.check(context.cluster, { metadata: object.metadata, workloads });
    const draft = { ...checkedCondition(findings), observedGeneration: object.metadata.generation ?? 0 };
    return { conditions: withCondition(conditions, draft, context.clock.now()) };
  } catch (error) {
    context.log.debug("manifests could not be checked in the hub", { err: error });
    return {};
  }
}

function recordTransition(
  object: HyperMLService,
  conditions: readonly Condition[] | undefined,
  context: Context,
): void {
  const before = findCondition(object.status?.conditions, "FullyApplied");
  const now = findCondition(conditions, "FullyApplied");
  if (now === undefined || now.reason === "Progressing" || now.reason.startsWith("Rollout")) return;
  const isTold = before?.reason === now.reason && (now.reason !== "InvalidSpec" || before.message === now.message);
  if (isTold) return;
  context.events.record(object, now.status === "True" ? "Normal" : "Warning", now.reason, now.message);
}
