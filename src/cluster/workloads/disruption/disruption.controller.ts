import { type ControllerSpec, type ReconcileContext, syncStatus } from "../../../kernel/control/index.js";
import {
  controllerOf,
  DeploymentKind,
  isDeleting,
  type KubeObject,
  labelSelectorMatches,
  type OwnerReference,
  type Pod,
  type PodDisruptionBudget,
  PodDisruptionBudgetKind,
  PodKind,
  parseApiVersion,
  ReplicaSetKind,
  ReplicationControllerKind,
  refersTo,
  StatefulSetKind,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { resolveIntOrPercent } from "../shared/intstr.js";
import { isReady, isTerminal } from "../shared/pods.js";

const name = "disruption-controller";
/** An eviction whose pod is still there after this long did not happen. */
const evictionMs = 120_000;

type Context = ReconcileContext<PodDisruptionBudget>;
type Status = NonNullable<PodDisruptionBudget["status"]>;

/** Keeps the status of PodDisruptionBudgets: how many of their pods are healthy, and how many may go. */
export function disruptionController(): ControllerSpec<PodDisruptionBudget> {
  return {
    name,
    kind: PodDisruptionBudgetKind,
    watches: [
      {
        kind: PodKind,
        keys: (pod, informers) =>
          informers
            .informer(PodDisruptionBudgetKind)
            .list(pod.metadata.namespace ?? "")
            .filter((budget) => labelSelectorMatches(budget.spec.selector, pod.metadata.labels))
            .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name })),
      },
    ],
    async reconcile(_key, budget, context) {
      if (budget === undefined || isDeleting(budget)) return undefined;
      const pods = context.cluster.informers
        .informer(PodKind)
        .list(budget.metadata.namespace ?? "")
        .filter((pod) => labelSelectorMatches(budget.spec.selector, pod.metadata.labels) && !isTerminal(pod));
      const disrupted = stillDisrupted(budget, pods, context.clock.now());
      const status = await statusOf(budget, { pods, disrupted, context });
      await syncStatus(context.cluster.client.resource(PodDisruptionBudgetKind), budget, status, name);
      return disrupted.size === 0 ? undefined : { requeueAfterMs: evictionMs };
    },
  };
}

/** Evictions that were granted and whose pods are not yet seen to go. */
function stillDisrupted(budget: PodDisruptionBudget, pods: readonly Pod[], nowMs: number): Map<string, string> {
  const present = new Set(pods.filter((pod) => !isDeleting(pod)).map(({ metadata }) => metadata.name));
  const given = Object.entries(budget.status?.disruptedPods ?? {});
  return new Map(given.filter(([pod, time]) => present.has(pod) && Date.parse(time) + evictionMs > nowMs));
}

async function statusOf(
  budget: PodDisruptionBudget,
  { pods, disrupted, context }: { pods: readonly Pod[]; disrupted: ReadonlyMap<string, string>; context: Context },
): Promise<Status> {
  const healthy = pods.filter((pod) => isReady(pod) && !isDeleting(pod) && !disrupted.has(pod.metadata.name)).length;
  const wanted = await demand(budget, pods, context);
  const allowed = wanted.expected === 0 ? 0 : Math.max(0, healthy - wanted.desired);
  const condition =
    wanted.failure === undefined
      ? {
          status: allowed > 0 ? "True" : "False",
          reason: allowed > 0 ? "SufficientPods" : "InsufficientPods",
          message: "",
        }
      : { status: "False", reason: "SyncFailed", message: wanted.failure };
  const observed = budget.metadata.generation;
  const conditions = withCondition(
    budget.status?.conditions,
    { type: "DisruptionAllowed", ...condition, ...(observed === undefined ? {} : { observedGeneration: observed }) },
    context.clock.now(),
  );
  return {
    conditions,
    currentHealthy: healthy,
    desiredHealthy: wanted.desired,
    disruptionsAllowed: wanted.failure === undefined ? allowed : 0,
    expectedPods: wanted.expected,
    ...(observed === undefined ? {} : { observedGeneration: observed }),
    ...(disrupted.size === 0 ? {} : { disruptedPods: Object.fromEntries(disrupted) }),
  };
}

/** How many pods there should be, and how many of them must stay. */
async function demand(
  { spec }: PodDisruptionBudget,
  pods: readonly Pod[],
  context: Context,
): Promise<{ expected: number; desired: number; failure?: string }> {
  const { minAvailable, maxUnavailable } = spec;
  if (typeof minAvailable === "number") return { expected: pods.length, desired: minAvailable };
  if (minAvailable === undefined && maxUnavailable === undefined) return { expected: pods.length, desired: 0 };
  const scaled = await expectedPods(pods, context);
  if (scaled.failure !== undefined) return { expected: 0, desired: 0, failure: scaled.failure };
  const expected = scaled.count;
  if (maxUnavailable === undefined) return { expected, desired: resolveIntOrPercent(minAvailable, expected, "up") };
  return { expected, desired: Math.max(0, expected - resolveIntOrPercent(maxUnavailable, expected, "up")) };
}

/** The sum of what the pods' controllers are scaled to, each counted once. */
async function expectedPods(pods: readonly Pod[], context: Context): Promise<{ count: number; failure?: string }> {
  const counts = new Map<string, number>();
  for (const pod of pods) {
    const owner = controllerOf(pod);
    const about = `${pod.metadata.namespace ?? ""}/${pod.metadata.name}`;
    if (owner === undefined) return { count: 0, failure: `found no controller ref for pod "${about}"` };
    if (counts.has(owner.uid)) continue;
    const scale = await scaleOf(owner, pod.metadata.namespace ?? "", context);
    if (scale === undefined) return { count: 0, failure: `found no controllers for pod "${about}"` };
    counts.set(scale.uid, scale.replicas);
    counts.set(owner.uid, counts.get(owner.uid) ?? 0);
  }
  return { count: [...counts.values()].reduce((sum, count) => sum + count, 0) };
}

interface Scale {
  readonly uid: string;
  readonly replicas: number;
}

async function scaleOf(owner: OwnerReference, namespace: string, context: Context): Promise<Scale | undefined> {
  const { informers, client } = context.cluster;
  const key = { namespace, name: owner.name };
  const of = (object: (KubeObject & { spec: { replicas?: number } }) | undefined): Scale | undefined =>
    object?.metadata.uid === owner.uid ? { uid: object.metadata.uid, replicas: object.spec.replicas ?? 1 } : undefined;
  if (refersTo(owner, StatefulSetKind)) return of(informers.informer(StatefulSetKind).get(key));
  if (refersTo(owner, ReplicationControllerKind)) return of(informers.informer(ReplicationControllerKind).get(key));
  if (refersTo(owner, ReplicaSetKind)) {
    const set = informers.informer(ReplicaSetKind).get(key);
    const above = set === undefined ? undefined : controllerOf(set);
    if (above === undefined || !refersTo(above, DeploymentKind)) return of(set);
    const deployment = informers.informer(DeploymentKind).get({ namespace, name: above.name });
    return deployment === undefined
      ? of(set)
      : { uid: deployment.metadata.uid, replicas: deployment.spec.replicas ?? 1 };
  }
  const kind = await client.findKind(owner.apiVersion, owner.kind);
  if (kind === undefined) return undefined;
  const { group, version } = parseApiVersion(owner.apiVersion);
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  try {
    const scale = await client.json("GET", `${root}/namespaces/${namespace}/${kind.plural}/${owner.name}/scale`);
    return { uid: owner.uid, replicas: replicasIn(scale) };
  } catch (error) {
    context.log.debug("owner of pods has no scale", { owner: `${owner.kind} ${owner.name}`, err: error });
    return undefined;
  }
}

function replicasIn(scale: unknown): number {
  if (typeof scale !== "object" || scale === null || !("spec" in scale)) return 0;
  const { spec } = scale;
  if (typeof spec !== "object" || spec === null || !("replicas" in spec)) return 0;
  return typeof spec.replicas === "number" ? spec.replicas : 0;
}
