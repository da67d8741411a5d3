import type { ApplyObject } from "../../kernel/client/index.js";
import {
  type ControllerSpec,
  type InformerSet,
  type Key,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../kernel/control/index.js";
import { isNotFound, messageOf } from "../../kernel/errors/index.js";
import { type Condition, findCondition, isDeleting, type KubeObject, withCondition } from "../../kernel/kinds/index.js";
import { equalJson, toJsonObject } from "../../kernel/schema/index.js";
import { checkedCondition, isChecked, type ManifestChecker } from "./hyper-admission.js";
import {
  coordinatesOf,
  describeUnknownCluster,
  type PlannedObject,
  planHyperMLService,
  qualified,
} from "./hyper-plan.js";
import { hyperStatusOf, type ObjectState } from "./hyper-status.js";
import { deliveryOf, manifestOf, workFor } from "./hyper-works.js";
import { ClusterKind, HeadIngressKind, type HyperMLService, HyperMLServiceKind, type Work, WorkKind } from "./kinds.js";
import { Drains, type Leaving, leavingOf } from "./leaving.js";
import { ARGOSY, clusterOfSpace, HYPER_FINALIZER } from "./names.js";

const NAME = "hypermlservice-controller";
const OWNER_INDEX = "hypermlservice-uid";
/** Works are watched; this is for what no event tells of (a namespace that is still to come). */
const RETRY_MS = 1000;

type Context = ReconcileContext<HyperMLService>;

/** Turns each HyperMLService into Works, one for a cluster and manifest, in order; and their states into its status. */
export function hyperMLServiceController(checker: ManifestChecker): ControllerSpec<HyperMLService> {
  const tools: Tools = { checker, drains: new Drains() };
  return {
    name: NAME,
    kind: HyperMLServiceKind,
    concurrency: 4,
    finalizer: HYPER_FINALIZER,
    watches: [
      { kind: WorkKind, keys: ownerOfWork },
      { kind: ClusterKind, keys: (cluster, informers) => usersOfCluster(cluster.metadata.name, informers) },
      { kind: HeadIngressKind, keys: leftBehind },
    ],
    reconcile: async (_key, object, context) => (object === undefined ? undefined : reconcile(object, tools, context)),
    finalize,
  };
}

/** The HyperMLService of a HeadIngress, while a cluster leaves it: only then does it matter where requests go. */
function leftBehind(head: KubeObject, informers: InformerSet): readonly Key[] {
  const namespace = head.metadata.namespace ?? "";
  const known = informers.informer(HeadIngressKind).get({ namespace, name: head.metadata.name });
  const name = known?.spec.hyperMLServiceRef?.name;
  if (name === undefined) return [];
  const hyper = informers.informer(HyperMLServiceKind).get({ namespace, name });
  return hyper?.status?.leaving === undefined ? [] : [{ namespace, name }];
}

function ownerOfWork(work: KubeObject): readonly Key[] {
  const annotations = work.metadata.annotations ?? {};
  const name = annotations[ARGOSY.ownerName];
  return name === undefined ? [] : [{ namespace: annotations[ARGOSY.ownerNamespace] ?? "", name }];
}

function usersOfCluster(cluster: string, informers: InformerSet): readonly Key[] {
  const users = informers
    .informer(HyperMLServiceKind)
    .list()
    .filter((object) => object.spec.workloads.some((workload) => workload.clusters.includes(cluster)));
  return users.map((object) => ({ namespace: object.metadata.namespace ?? "", name: object.metadata.name }));
}

function worksOf(object: HyperMLService, context: Context): readonly Work[] {
  const informer = context.cluster.informers.informer(WorkKind);
  informer.addIndex(OWNER_INDEX, (work) => [work.metadata.labels?.[ARGOSY.ownerUid] ?? ""]);
  return informer.byIndex(OWNER_INDEX, object.metadata.uid);
}

interface Tools {
  readonly checker: ManifestChecker;
  readonly drains: Drains;
}

async function reconcile(
  object: HyperMLService,
  { checker, drains }: Tools,
  context: Context,
): Promise<ReconcileResult | undefined> {
  const plan = planHyperMLService(object);
  const { states, leaving } =
    plan.faults.length === 0 ? await carryOut(object, plan.objects, drains, context) : { states: [], leaving: [] };
  const seen = hyperStatusOf(object, states, plan.faults, context.clock.now());
  recordTransition(object, seen, context);
  const status = {
    ...seen,
    ...(leaving.length === 0 ? {} : { leaving }),
    ...(await checkedConditions(object, seen.conditions, checker, context)),
  };
  await syncStatus(context.cluster.client.resource(HyperMLServiceKind), object, status, NAME);
  const isWaiting = leaving.length > 0 || states.some((state) => state.reason === "DeliveryFailed");
  return isWaiting ? { requeueAfterMs: RETRY_MS } : undefined;
}

/** Delivers what is planned; removes what is no longer, from a cluster that leaves only when it gets no more requests. */
async function carryOut(
  object: HyperMLService,
  objects: readonly PlannedObject[],
  drains: Drains,
  context: Context,
): Promise<{ readonly states: ObjectState[]; readonly leaving: Leaving[] }> {
  const works = worksOf(object, context);
  const delivery = new Delivery(object, works, context);
  const clusters = [...new Set(objects.map((planned) => planned.cluster))];
  const states: ObjectState[] = [];
  for (const cluster of clusters) {
    states.push(...(await delivery.deliver(objects.filter((planned) => planned.cluster === cluster))));
  }
  const staying = clusters.filter((cluster) => !delivery.leaving.has(cluster));
  const wanted = new Set(
    objects
      .filter((planned) => staying.includes(planned.cluster))
      .map((planned) => workKey(planned.cluster, planned.workName)),
  );
  const clusterOf = (work: Work): string => clusterOfSpace(work.metadata.namespace ?? "") ?? "";
  const left = works.filter((work) => !wanted.has(workKey(clusterOf(work), work.metadata.name)));
  const leaving = [...new Set(left.map(clusterOf))].filter((cluster) => !staying.includes(cluster)).sort();
  const pending = drains.pending(object, leaving, context);
  await deleteInOrder(
    left.filter((work) => !pending.includes(clusterOf(work))),
    context,
  );
  return { states, leaving: leavingOf(left, leaving, pending) };
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

function recordTransition(object: HyperMLService, status: ReturnType<typeof hyperStatusOf>, context: Context): void {
  const before = findCondition(object.status?.conditions, "FullyApplied");
  const now = findCondition(status.conditions, "FullyApplied");
  if (now === undefined || now.reason === "Progressing") return;
  const isTold = before?.reason === now.reason && (now.reason !== "InvalidSpec" || before.message === now.message);
  if (isTold) return;
  context.events.record(object, now.status === "True" ? "Normal" : "Warning", now.reason, now.message);
}

function workKey(cluster: string, name: string): string {
  return `${cluster}/${name}`;
}

/** Brings one HyperMLService's objects into the hub's Works. */
class Delivery {
  readonly #owner: HyperMLService;
  readonly #context: Context;
  readonly #existing: ReadonlyMap<string, Work>;
  readonly #clusters: readonly string[];
  /** Clusters that are being removed: nothing is delivered there. */
  readonly leaving: ReadonlySet<string>;

  constructor(owner: HyperMLService, works: readonly Work[], context: Context) {
    this.#owner = owner;
    this.#context = context;
    this.#existing = new Map(
      works.map((work) => [workKey(clusterOfSpace(work.metadata.namespace ?? "") ?? "", work.metadata.name), work]),
    );
    const clusters = context.cluster.informers.informer(ClusterKind).list();
    this.#clusters = clusters.map((cluster) => cluster.metadata.name);
    this.leaving = new Set(clusters.filter(isDeleting).map((cluster) => cluster.metadata.name));
  }

  /** All objects of one cluster, each rank once the ranks before it are applied. The states are in the order of `objects`. */
  async deliver(objects: readonly PlannedObject[]): Promise<ObjectState[]> {
    const states = new Map<PlannedObject, ObjectState>();
    let waitsFor: PlannedObject | undefined;
    for (const rank of [...new Set(objects.map((object) => object.rank))].sort((a, b) => a - b)) {
      const group = objects.filter((object) => object.rank === rank);
      const gate = waitsFor;
      for (const object of group) {
        const state = this.#obstacleOf(object) ?? (await this.#deliverOne(object, gate));
        states.set(object, state);
        if (!state.isApplied) waitsFor ??= object;
      }
    }
    return objects.flatMap((object) => states.get(object) ?? []);
  }

  #obstacleOf(object: PlannedObject): ObjectState | undefined {
    const { cluster, workName } = object;
    if (this.leaving.has(cluster)) {
      const message = `cluster ${cluster} is being removed`;
      const existing = this.#existing.get(workKey(cluster, workName));
      return this.#state(object, existing, { isApplied: false, reason: "ClusterLeaving", message });
    }
    if (this.#clusters.includes(cluster)) return undefined;
    const message = describeUnknownCluster(cluster, this.#clusters);
    return this.#state(object, undefined, { isApplied: false, reason: "ClusterUnknown", message });
  }

  async #deliverOne(object: PlannedObject, waitsFor: PlannedObject | undefined): Promise<ObjectState> {
    const existing = this.#existing.get(workKey(object.cluster, object.workName));
    const fault = await this.#namespaceFault(object);
    if (fault !== undefined)
      return this.#state(object, existing, { isApplied: false, reason: "NamespaceMissing", message: fault });
    if (existing?.metadata.deletionTimestamp !== undefined) {
      return this.#state(object, existing, {
        isApplied: false,
        reason: "Pending",
        message: "waits for its earlier form to be removed",
      });
    }
    const desired = workFor(this.#owner, object, existing);
    const isCurrent =
      existing !== undefined &&
      equalJson(manifestOf(existing), desired.spec.workload?.manifests?.[0]) &&
      existing.metadata.finalizers?.includes(desired.metadata.finalizers?.[0] ?? "") === true;
    if (isCurrent) return this.#state(object, existing, deliveryOf(existing));
    if (waitsFor !== undefined) {
      const message = `waits for ${waitsFor.kind} ${qualified(waitsFor)} to be applied first`;
      return this.#state(object, existing, { isApplied: false, reason: "WaitingForOrder", message });
    }
    try {
      const { namespace, labels, annotations, finalizers } = desired.metadata;
      const metadata = { namespace, labels, annotations, finalizers };
      const written = await this.#context.cluster.client
        .resource(WorkKind)
        .apply(toApply(object.workName, metadata, desired.spec), {
          fieldManager: NAME,
          force: true,
          ...(namespace === undefined ? {} : { namespace }),
        });
      return this.#state(object, written, deliveryOf(written));
    } catch (error) {
      const message = isNotFound(error)
        ? `the hub has no namespace for cluster ${object.cluster} yet`
        : `cannot write its Work: ${messageOf(error)}`;
      return this.#state(object, existing, { isApplied: false, reason: "DeliveryFailed", message });
    }
  }

  /** Kinds that the hub knows are checked here; of others the member tells. */
  async #namespaceFault(object: PlannedObject): Promise<string | undefined> {
    if (object.namespace !== "") return undefined;
    const kind = await this.#context.cluster.client.findKind(object.apiVersion, object.kind);
    return kind?.namespaced === true ? `metadata.namespace is required for ${object.kind}` : undefined;
  }

  #state(
    object: PlannedObject,
    work: Work | undefined,
    delivery: Pick<ObjectState, "isApplied" | "reason" | "message">,
  ): ObjectState {
    return { object, work, isApplied: delivery.isApplied, reason: delivery.reason, message: delivery.message };
  }
}

function toApply(name: string, metadata: object, spec: object): ApplyObject {
  return { metadata: { ...toJsonObject(metadata), name }, spec: toJsonObject(spec) };
}

/** Rank of what a Work carries; see `PlannedObject.rank`. Only the order matters here: services first, namespaces last. */
function deletionRank(work: Work): number {
  const kind = manifestOf(work)?.["kind"];
  return kind === "Namespace"
    ? 0
    : kind === "CustomResourceDefinition"
      ? 1
      : kind === "MLServiceRuntime"
        ? 3
        : kind === "Secret" || kind === "ConfigMap"
          ? 2
          : 4;
}

/** Deletes Works in the reverse order of delivery, cluster by cluster; a rank is begun when the one before it is gone. */
async function deleteInOrder(works: readonly Work[], context: Context): Promise<void> {
  const highest = new Map<string, number>();
  for (const work of works) {
    const space = work.metadata.namespace ?? "";
    highest.set(space, Math.max(highest.get(space) ?? 0, deletionRank(work)));
  }
  for (const work of works) {
    const { namespace = "", name, uid, deletionTimestamp } = work.metadata;
    if (deletionTimestamp !== undefined || deletionRank(work) < (highest.get(namespace) ?? 0)) continue;
    await context.cluster.client.resource(WorkKind).delete(name, { namespace, preconditions: { uid } });
  }
}

async function finalize(object: HyperMLService, context: Context): Promise<"done" | ReconcileResult> {
  const works = worksOf(object, context);
  const abandoned = new Set(
    (object.metadata.annotations?.[ARGOSY.abandonClusters] ?? "").split(",").map((name) => name.trim()),
  );
  for (const work of works) {
    const { namespace = "", name, annotations } = work.metadata;
    if (!abandoned.has(clusterOfSpace(namespace) ?? "") || annotations?.[ARGOSY.abandon] === "true") continue;
    await context.cluster.client
      .resource(WorkKind)
      .patch(
        name,
        "merge",
        { metadata: { annotations: { [ARGOSY.abandon]: "true" } } },
        { namespace, fieldManager: NAME },
      );
  }
  await deleteInOrder(works, context);
  const left = worksOf(object, context);
  if (left.length === 0) return "done";
  const draft = {
    type: "FullyApplied",
    status: "False" as const,
    reason: "Deleting",
    message: describeAwaited(left, context),
    observedGeneration: object.metadata.generation ?? 0,
  };
  const status = { ...object.status, conditions: withCondition(object.status?.conditions, draft, context.clock.now()) };
  await syncStatus(context.cluster.client.resource(HyperMLServiceKind), object, status, NAME);
  return { requeueAfterMs: RETRY_MS * 5 };
}

/** `waits for edge (not ready: …): MLService demo/digits; cloud: Secret demo/s3`. */
function describeAwaited(works: readonly Work[], context: Context): string {
  const clusters = context.cluster.informers.informer(ClusterKind);
  const byCluster = new Map<string, string[]>();
  for (const work of [...works].sort((a, b) => deletionRank(b) - deletionRank(a))) {
    const cluster = clusterOfSpace(work.metadata.namespace ?? "") ?? "";
    const object = coordinatesOf(manifestOf(work));
    byCluster.set(cluster, [...(byCluster.get(cluster) ?? []), `${object.kind} ${qualified(object)}`]);
  }
  const parts = [...byCluster].map(([cluster, names]) => {
    const ready = findCondition(clusters.get({ namespace: "", name: cluster })?.status?.conditions, "Ready");
    const why = ready?.status === "False" ? ` (not ready: ${ready.message})` : "";
    return `${cluster}${why}: ${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}`;
  });
  return `deletion waits for ${parts.join("; ")}. A cluster that will not come back can be given up with the annotation ${ARGOSY.abandonClusters}=NAME; its objects stay there`;
}
