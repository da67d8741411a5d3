import { type ReconcileContext, type ReconcileResult, syncStatus } from "../../kernel/control/index.js";
import { type Condition, findCondition, isDeleting, timeOf, withCondition } from "../../kernel/kinds/index.js";
import type { Ledger } from "../../stores/ledger/index.js";
import { deletingConditions } from "./hyper-conditions.js";
import { coordinatesOf, qualified } from "./hyper-plan.js";
import { manifestOf } from "./hyper-works.js";
import { ClusterKind, type HyperMLService, HyperMLServiceKind, type Work, WorkKind } from "./kinds.js";
import { ARGOSY, clusterOfSpace } from "./names.js";

const NAME = "hypermlservice-controller";
/** Works are watched; this is for what no event tells of: time. */
const LOOK_MS = 5000;
/** How long a deletion waits for a cluster that does not answer before it leaves a tombstone there. */
const PATIENCE_MS = 30_000;

type Context = ReconcileContext<HyperMLService>;

/**
 * Since when clusters do not answer a deletion, by this process' own clock: the API server's, which writes the times in objects, may
 * be minutes off. Begun anew when the process starts.
 */
export class Silences {
  readonly #sinceMs = new Map<string, number>();

  /** Clusters with Works that have not answered for as long as the deletion has patience, and why. */
  outlasting(object: HyperMLService, works: readonly Work[], context: Context): ReadonlyMap<string, string> {
    const clusters = context.cluster.informers.informer(ClusterKind);
    const nowMs = context.clock.monotonicMs();
    const silent = new Map<string, string>();
    const awaited = new Set(works.filter((work) => !isTombstone(work)).map(clusterOf));
    for (const name of awaited) {
      const key = `${object.metadata.uid}/${name}`;
      const ready = findCondition(clusters.get({ namespace: "", name })?.status?.conditions, "Ready");
      if (ready === undefined || ready.status === "True") {
        this.#sinceMs.delete(key);
        continue;
      }
      const sinceMs = this.#sinceMs.get(key) ?? nowMs;
      this.#sinceMs.set(key, sinceMs);
      if (nowMs - sinceMs >= PATIENCE_MS) silent.set(name, ready.message);
    }
    return silent;
  }

  /** A deletion has come to its end. */
  forget(object: HyperMLService): void {
    const prefix = `${object.metadata.uid}/`;
    for (const key of this.#sinceMs.keys()) {
      if (key.startsWith(prefix)) this.#sinceMs.delete(key);
    }
  }
}

/** Rank of what a Work carries; see `PlannedObject.rank`. Only the order matters here: services first, namespaces last. */
function deletionRank(work: Work): number {
  const kind = manifestOf(work)?.["kind"];
  if (kind === "Namespace") return 0;
  if (kind === "CustomResourceDefinition") return 1;
  if (kind === "Secret" || kind === "ConfigMap") return 2;
  return kind === "MLServiceRuntime" ? 3 : 4;
}

/** Deletes Works in the reverse order of delivery, cluster by cluster; a rank is begun when the one before it is gone. */
export async function deleteInOrder(works: readonly Work[], context: Context): Promise<void> {
  const highest = new Map<string, number>();
  for (const work of works) {
    const space = work.metadata.namespace ?? "";
    highest.set(space, Math.max(highest.get(space) ?? 0, deletionRank(work)));
  }
  for (const work of works) {
    if (deletionRank(work) >= (highest.get(work.metadata.namespace ?? "") ?? 0)) await deleteWork(work, context);
  }
}

async function deleteWork(work: Work, context: Context): Promise<void> {
  const { namespace = "", name, uid } = work.metadata;
  if (isDeleting(work)) return;
  await context.cluster.client.resource(WorkKind).delete(name, { namespace, preconditions: { uid } });
}

/**
 * One step of removing a HyperMLService whose deletion was asked for: its objects go from the members, services first. A cluster that
 * does not answer for 30 s is no longer waited for: its Works stay behind as tombstones, marked for deletion, and are carried out
 * when it answers again. `works` says which are left.
 */
export async function removeHyper(
  object: HyperMLService,
  works: () => readonly Work[],
  tools: { readonly ledger: Ledger; readonly silences: Silences; readonly context: Context },
): Promise<"done" | ReconcileResult> {
  const { context, silences, ledger } = tools;
  const abandoned = new Set(
    (object.metadata.annotations?.[ARGOSY.abandonClusters] ?? "").split(",").map((name) => name.trim()),
  );
  const all = works();
  for (const work of all) {
    if (abandoned.has(clusterOf(work))) await mark(work, ARGOSY.abandon, "true", context);
  }
  for (const [cluster, why] of silences.outlasting(object, all, context)) {
    const own = all.filter(
      (work) => clusterOf(work) === cluster && work.metadata.annotations?.[ARGOSY.abandon] !== "true",
    );
    await entomb(object, own, { cluster, why, ledger, context });
  }
  const awaited = all.filter((work) => !isTombstone(work));
  await deleteInOrder(awaited, context);
  const left = works().filter((work) => !isTombstone(work));
  if (left.length === 0) return "done";
  let conditions: Condition[] = object.status?.conditions ?? [];
  for (const draft of deletingConditions(describeAwaited(left, context))) {
    const observedGeneration = object.metadata.generation ?? 0;
    conditions = withCondition(conditions, { ...draft, observedGeneration }, context.clock.now());
  }
  const status = { ...object.status, conditions };
  await syncStatus(context.cluster.client.resource(HyperMLServiceKind), object, status, NAME);
  return { requeueAfterMs: LOOK_MS };
}

/** Whether a Work only stands for a removal that its cluster has still to carry out. */
function isTombstone(work: Work): boolean {
  return isDeleting(work) && work.metadata.annotations?.[ARGOSY.tombstone] !== undefined;
}

async function entomb(
  object: HyperMLService,
  works: readonly Work[],
  {
    cluster,
    why,
    ledger,
    context,
  }: {
    readonly cluster: string;
    readonly why: string;
    readonly ledger: Ledger;
    readonly context: Context;
  },
): Promise<void> {
  if (works.length === 0) return;
  for (const work of works) {
    await mark(work, ARGOSY.tombstone, timeOf(context.clock.now()), context);
    await deleteWork(work, context);
  }
  const outcome = `cluster ${cluster} is not waited for; ${works.length} objects are removed there when it answers again`;
  context.events.record(object, "Warning", "ClusterReleased", `${outcome} (${why})`);
  const { apiVersion, kind, metadata } = object;
  ledger.record({
    cluster: context.cluster.name,
    about: { apiVersion, kind, namespace: metadata.namespace ?? "", name: metadata.name },
    topic: "deletion",
    rule: `a cluster that does not answer for ${PATIENCE_MS / 1000} s does not hold a deletion up: its Works stay as tombstones`,
    inputs: { cluster, why },
    outcome,
    winners: [],
    losers: works.map((work) => ({ name: `${cluster}/${describe(work)}`, reason: why })),
  });
}

async function mark(work: Work, annotation: string, value: string, context: Context): Promise<void> {
  const { namespace = "", name, annotations } = work.metadata;
  if (annotations?.[annotation] !== undefined) return;
  const patch = { metadata: { annotations: { [annotation]: value } } };
  await context.cluster.client.resource(WorkKind).patch(name, "merge", patch, { namespace, fieldManager: NAME });
}

/** `waits for edge (not ready: …): MLService demo/digits; cloud: Secret demo/s3`. */
function describeAwaited(works: readonly Work[], context: Context): string {
  const clusters = context.cluster.informers.informer(ClusterKind);
  const byCluster = new Map<string, string[]>();
  for (const work of [...works].sort((a, b) => deletionRank(b) - deletionRank(a))) {
    const cluster = clusterOf(work);
    byCluster.set(cluster, [...(byCluster.get(cluster) ?? []), describe(work)]);
  }
  const parts = [...byCluster].map(([cluster, names]) => {
    const ready = findCondition(clusters.get({ namespace: "", name: cluster })?.status?.conditions, "Ready");
    const why = ready?.status === "False" ? ` (not ready: ${ready.message})` : "";
    return `${cluster}${why}: ${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}`;
  });
  return `deletion waits for ${parts.join("; ")}. A cluster that does not answer is released after ${PATIENCE_MS / 1000} s and cleaned when it answers again; the annotation ${ARGOSY.abandonClusters}=NAME gives it up at once, its objects stay there`;
}

function describe(work: Work): string {
  const object = coordinatesOf(manifestOf(work));
  return `${object.kind} ${qualified(object)}`;
}

function clusterOf(work: Work): string {
  return clusterOfSpace(work.metadata.namespace ?? "") ?? "";
}
