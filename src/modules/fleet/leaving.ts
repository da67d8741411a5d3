import type { ReconcileContext, ReconcileResult } from "../../kernel/control/index.js";
import { syncStatus } from "../../kernel/control/index.js";
import { isDeleting, withCondition } from "../../kernel/kinds/index.js";
import { manifestOf } from "./hyper-works.js";
import {
  type Cluster,
  ClusterKind,
  HeadIngressKind,
  type HyperMLService,
  type HyperMLServiceStatus,
  type Work,
  WorkKind,
} from "./kinds.js";
import { ARGOSY, clusterOfSpace, executionSpaceOf } from "./names.js";
import { frontsOf, isServed, urlIn } from "./served-kinds.js";

/** Finalizer of Cluster, Karmada's name: requests first, then its objects, then the Cluster. */
export const CLUSTER_FINALIZER = "karmada.io/cluster-controller";
/** What it was called before. */
const OLD_CLUSTER_FINALIZER = "argosy.dev/cluster-removal";

const NAME = "cluster-status-controller";
/** How long objects wait at most for their HeadIngresses to send nothing there any more. */
const DRAIN_MS = 30_000;
const POLL_MS = 500;

/** One entry of a HyperMLService's `status.leaving`. */
export type Leaving = NonNullable<HyperMLServiceStatus["leaving"]>[number];

/** Knows since when clusters leave HyperMLServices, so that one that cannot be drained is not waited for for ever. */
export class Drains {
  readonly #sinceMs = new Map<string, number>();

  /** Those of the leaving clusters that may still be sent requests for the HyperMLService. */
  pending(object: HyperMLService, clusters: readonly string[], context: ReconcileContext<HyperMLService>): string[] {
    const prefix = `${object.metadata.uid}/`;
    for (const key of this.#sinceMs.keys()) {
      if (key.startsWith(prefix) && !clusters.includes(key.slice(prefix.length))) this.#sinceMs.delete(key);
    }
    const nowMs = context.clock.monotonicMs();
    return clusters.filter((cluster) => {
      const key = `${prefix}${cluster}`;
      const sinceMs = this.#sinceMs.get(key) ?? nowMs;
      this.#sinceMs.set(key, sinceMs);
      return nowMs - sinceMs < DRAIN_MS && getsRequests(object, cluster, context);
    });
  }
}

/** A HeadIngress writes its status after the gateway was told: a backend that is draining there, or not there, gets nothing new. */
function getsRequests(object: HyperMLService, cluster: string, context: ReconcileContext<HyperMLService>): boolean {
  const heads = context.cluster.informers.informer(HeadIngressKind).list(object.metadata.namespace);
  return heads
    .filter((head) => head.spec.hyperMLServiceRef?.name === object.metadata.name && !isDeleting(head))
    .flatMap((head) => head.status?.backends ?? [])
    .some((backend) => backend.cluster === cluster && backend.reason !== "Draining");
}

/** What the status says of clusters whose objects of this HyperMLService are on their way out: `pending` get requests still, `silent` do not answer. */
export function leavingOf(
  works: readonly Work[],
  clusters: readonly string[],
  { pending, silent }: { readonly pending: readonly string[]; readonly silent: ReadonlyMap<string, string> },
): Leaving[] {
  return clusters.map((cluster) => {
    const own = works.filter((work) => clusterOfSpace(work.metadata.namespace ?? "") === cluster);
    const served = own.filter((work) => isServed(manifestOf(work)?.["kind"]));
    const [service] = frontsOf(served, (work) => manifestOf(work)?.["kind"]);
    const url = urlIn(service?.status?.manifestStatuses?.[0]?.status);
    const why = silent.get(cluster);
    const message = pending.includes(cluster)
      ? "its objects stay until it gets no more requests"
      : `objects still to be removed from it${why === undefined ? "" : ` when it answers (${why})`}: ${own.length}`;
    return { cluster, message, ...(url === undefined ? {} : { url }) };
  });
}

/** Takes the finalizer of earlier versions off a Cluster. */
export async function dropOldFinalizer({ metadata }: Cluster, context: ReconcileContext<Cluster>): Promise<void> {
  const { name, finalizers = [], resourceVersion } = metadata;
  if (!finalizers.includes(OLD_CLUSTER_FINALIZER)) return;
  const kept = finalizers.filter((finalizer) => finalizer !== OLD_CLUSTER_FINALIZER);
  const change = { metadata: { finalizers: kept, resourceVersion: resourceVersion ?? "" } };
  await context.cluster.client.resource(ClusterKind).patch(name, "merge", change);
}

/** Holds a Cluster that is being deleted until nothing of ours is left in it; says what is waited for. `silence` is why the member does not answer; empty when it does. */
export async function finalizeCluster(
  cluster: Cluster,
  silence: () => Promise<string>,
  context: ReconcileContext<Cluster>,
): Promise<"done" | ReconcileResult> {
  const space = executionSpaceOf(cluster.metadata.name);
  const works = context.cluster.informers.informer(WorkKind).list(space);
  if (works.length === 0) return "done";
  const why = await silence();
  const isAbandoned = cluster.metadata.annotations?.[ARGOSY.abandon] === "true";
  const client = context.cluster.client.resource(WorkKind);
  for (const work of works) {
    const { name, uid, annotations, labels } = work.metadata;
    // As Karmada has it, what its policies put into a member that does not answer stays there when the member leaves.
    const isGivenUp = isAbandoned || (why !== "" && labels?.[ARGOSY.ownerUid] === undefined);
    if (isGivenUp && annotations?.[ARGOSY.abandon] !== "true") {
      const patch = { metadata: { annotations: { [ARGOSY.abandon]: "true" } } };
      await client.patch(name, "merge", patch, { namespace: space });
    }
    // Those of HyperMLServices are deleted by their controller, when they get no more requests.
    if (labels?.[ARGOSY.ownerUid] === undefined && !isDeleting(work))
      await client.delete(name, { namespace: space, preconditions: { uid } });
  }
  const wayOut =
    why === ""
      ? ""
      : `; the member does not answer (${why}): the annotation ${ARGOSY.abandon}=true gives them up, they stay there`;
  const draft = {
    type: "Leaving",
    status: "True" as const,
    reason: "ObjectsLeft",
    message: `it gets no more requests; objects still to be removed from it: ${works.length}${wayOut}`,
    observedGeneration: cluster.metadata.generation ?? 0,
  };
  const conditions = withCondition(cluster.status?.conditions, draft, context.clock.now());
  await syncStatus(context.cluster.client.resource(ClusterKind), cluster, { ...cluster.status, conditions }, NAME);
  return { requeueAfterMs: POLL_MS };
}
