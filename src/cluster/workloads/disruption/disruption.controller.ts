import {
  type ControllerSpec,
  type InformerSet,
  type Key,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../../kernel/control/index.js";
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
import { asObject, isObject } from "../../../kernel/schema/index.js";
import { goSelector } from "../shared/go-selector.js";
import { resolveIntOrPercent } from "../shared/intstr.js";
import { isReady } from "../shared/pods.js";

const name = "disruption-controller";
/** An eviction whose pod is still there after this long did not happen. */
const evictionMs = 120_000;
/** A controller that nobody knows may become known. */
const retryMs = 60_000;

type Context = ReconcileContext<PodDisruptionBudget>;
type Status = NonNullable<PodDisruptionBudget["status"]>;

/** Keeps the status of PodDisruptionBudgets: how many of their pods are healthy, and how many may go. */
export function disruptionController(): ControllerSpec<PodDisruptionBudget> {
  return {
    name,
    eventSource: "controllermanager",
    kind: PodDisruptionBudgetKind,
    watches: [
      { kind: PodKind, keys: (pod, informers) => budgetsOf(pod.metadata, informers) },
      // How many pods there should be is asked of these: they have to be known before anything is counted, and they may be scaled.
      ...[ReplicaSetKind, StatefulSetKind, ReplicationControllerKind, DeploymentKind].map((kind) => ({
        kind,
        keys: (owner: KubeObject, informers: InformerSet) => budgetsOf(templateOf(owner), informers),
        concerns: (now: KubeObject, old: KubeObject) => now.metadata.generation !== old.metadata.generation,
      })),
    ],
    async reconcile(_key, budget, context) {
      return budget === undefined || isDeleting(budget) ? undefined : reconcileBudget(budget, context);
    },
  };
}

/** The budgets that count pods with these labels. */
function budgetsOf(
  { namespace = "", labels }: Pick<KubeObject["metadata"], "namespace" | "labels">,
  informers: InformerSet,
): Key[] {
  return informers
    .informer(PodDisruptionBudgetKind)
    .list(namespace)
    .filter((budget) => labelSelectorMatches(budget.spec.selector, labels))
    .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name }));
}

/** Where the pods of a workload are, and their labels. */
function templateOf({ metadata, ...rest }: KubeObject): Pick<KubeObject["metadata"], "namespace" | "labels"> {
  const spec = "spec" in rest && isObject(rest.spec) ? rest.spec : {};
  const labels = asObject(asObject(asObject(spec["template"])["metadata"])["labels"]);
  const texts = Object.entries(labels).flatMap(([key, value]) => (typeof value === "string" ? [[key, value]] : []));
  return {
    ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
    labels: Object.fromEntries(texts),
  };
}

async function reconcileBudget(budget: PodDisruptionBudget, context: Context): Promise<ReconcileResult | undefined> {
  const { cluster, clock, events } = context;
  const pods = cluster.informers
    .informer(PodKind)
    .list(budget.metadata.namespace ?? "")
    .filter((pod) => labelSelectorMatches(budget.spec.selector, pod.metadata.labels));
  if (pods.length === 0) events.record(budget, "Normal", "NoPods", "No matching pods found");
  const resource = cluster.client.resource(PodDisruptionBudgetKind);
  const wanted = await demand(budget, pods, context);
  if (wanted.failure !== undefined) {
    const message = `Failed to calculate the number of expected pods: ${wanted.failure}`;
    events.record(budget, "Warning", "CalculateExpectedPodCountFailed", message);
    await syncStatus(resource, budget, failedStatus(budget, wanted.failure, clock.now()), name);
    return { requeueAfterMs: retryMs };
  }
  if (wanted.isPartlyUnmanaged === true) {
    const message = `Pods selected by this PodDisruptionBudget (selector: ${goSelector(budget.spec.selector)}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.`;
    events.record(budget, "Warning", "UnmanagedPods", message);
  }
  const disrupted = stillDisrupted(budget, pods, context);
  await syncStatus(resource, budget, statusOf(budget, { pods, disrupted, wanted }, clock.now()), name);
  const ends = [...disrupted.values()].map((time) => Date.parse(time) + evictionMs - clock.now());
  return ends.length === 0 ? undefined : { requeueAfterMs: Math.max(0, Math.min(...ends)) };
}

/** Evictions that were granted and whose pods are not yet seen to go. */
function stillDisrupted(
  budget: PodDisruptionBudget,
  pods: readonly Pod[],
  { clock, events }: Context,
): ReadonlyMap<string, string> {
  const still = new Map<string, string>();
  const given = budget.status?.disruptedPods ?? {};
  for (const pod of pods) {
    const time = given[pod.metadata.name];
    if (time === undefined || isDeleting(pod)) continue;
    const { namespace = "", name: budgetName } = budget.metadata;
    if (Date.parse(time) + evictionMs > clock.now()) still.set(pod.metadata.name, time);
    else
      events.record(
        pod,
        "Warning",
        "NotDeleted",
        `Pod was expected by PDB ${namespace}/${budgetName} to be deleted but it wasn't`,
      );
  }
  return still;
}

type Said = Readonly<Record<"status" | "reason" | "message", string>>;

function conditionsOf(budget: PodDisruptionBudget, said: Said, nowMs: number): NonNullable<Status["conditions"]> {
  const observed = budget.metadata.generation;
  const generation = observed === undefined ? {} : { observedGeneration: observed };
  return withCondition(budget.status?.conditions, { type: "DisruptionAllowed", ...said, ...generation }, nowMs);
}

/** Where it cannot be said how many there should be, nothing may go; what was counted before stands. */
function failedStatus(budget: PodDisruptionBudget, message: string, nowMs: number): Status {
  const before = budget.status ?? { currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };
  const said = { status: "False", reason: "SyncFailed", message };
  return { ...before, disruptionsAllowed: 0, conditions: conditionsOf(budget, said, nowMs) };
}

interface Sight {
  readonly pods: readonly Pod[];
  readonly disrupted: ReadonlyMap<string, string>;
  readonly wanted: Demand;
}

function statusOf(budget: PodDisruptionBudget, { pods, disrupted, wanted }: Sight, nowMs: number): Status {
  const healthy = pods.filter((pod) => isReady(pod) && !isDeleting(pod) && !disrupted.has(pod.metadata.name)).length;
  const allowed = wanted.expected === 0 ? 0 : Math.max(0, healthy - wanted.desired);
  const said: Said = {
    status: allowed > 0 ? "True" : "False",
    reason: allowed > 0 ? "SufficientPods" : "InsufficientPods",
    message: "",
  };
  const observed = budget.metadata.generation;
  return {
    conditions: conditionsOf(budget, said, nowMs),
    currentHealthy: healthy,
    desiredHealthy: wanted.desired,
    disruptionsAllowed: allowed,
    expectedPods: wanted.expected,
    ...(observed === undefined ? {} : { observedGeneration: observed }),
    ...(disrupted.size === 0 ? {} : { disruptedPods: Object.fromEntries(disrupted) }),
  };
}

interface Demand {
  readonly expected: number;
  readonly desired: number;
  readonly failure?: string;
  /** Some pods have no controller, and count for nothing. */
  readonly isPartlyUnmanaged?: boolean;
}

/** How many pods there should be, and how many of them must stay. */
async function demand({ spec }: PodDisruptionBudget, pods: readonly Pod[], context: Context): Promise<Demand> {
  const { minAvailable, maxUnavailable } = spec;
  if (typeof minAvailable === "number") return { expected: pods.length, desired: minAvailable };
  if (minAvailable === undefined && maxUnavailable === undefined) return { expected: pods.length, desired: 0 };
  const scaled = await expectedPods(pods, context);
  if (scaled.failure !== undefined) return { expected: 0, desired: 0, failure: scaled.failure };
  const expected = scaled.count;
  const isPartlyUnmanaged = pods.some((pod) => controllerOf(pod) === undefined);
  const desired =
    maxUnavailable === undefined
      ? resolveIntOrPercent(minAvailable, expected, "up")
      : Math.max(0, expected - resolveIntOrPercent(maxUnavailable, expected, "up"));
  return { expected, desired, isPartlyUnmanaged };
}

/** The sum of what the pods' controllers are scaled to, each counted once. */
async function expectedPods(pods: readonly Pod[], context: Context): Promise<{ count: number; failure?: string }> {
  const counts = new Map<string, number>();
  for (const pod of pods) {
    const owner = controllerOf(pod);
    if (owner === undefined || counts.has(owner.uid)) continue;
    const scale = await scaleOf(owner, pod.metadata.namespace ?? "", context);
    if (scale === undefined) return { count: 0, failure: `found no controllers for pod "${pod.metadata.name}"` };
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
