import type { ClusterAccess, ControllerSpec, ReconcileContext, ReconcileResult } from "../../kernel/control/index.js";
import { syncStatus } from "../../kernel/control/index.js";
import { isAlreadyExists, isNotFound, messageOf } from "../../kernel/errors/index.js";
import { findCondition, LeaseKind, NamespaceKind, type Node, withCondition } from "../../kernel/kinds/index.js";
import { type Discovered, discoverKinds } from "./clusters/discovery.js";
import { MemberWatch } from "./clusters/member-watch.js";
import { type Summary, summaryOf } from "./clusters/summary.js";
import { deadline } from "./deadline.js";
import { type Cluster, ClusterKind, type ClusterStatus, type ConditionDraft, WorkKind } from "./kinds.js";
import { CLUSTER_FINALIZER, dropOldFinalizer, finalizeCluster } from "./leaving.js";
import { executionSpaceOf } from "./names.js";
import { LeaseWatch, reportSilence } from "./pull/lease-watch.js";

const NAME = "cluster-status-controller";
/** A frozen member is called not ready after two failed looks: at most 3 + 2 + 0.5 + 2 seconds. */
const INTERVAL_MS = 3000;
const CONFIRM_MS = 500;
const TIMEOUT_MS = 2000;
const FAILURES_UNTIL_NOT_READY = 2;
/** One that was not ready has to answer for so long, so that one that comes and goes is not taken for well. */
const RECOVERY_MS = 3000;
const RECOVERY_LOOK_MS = 1000;
/** How long a cluster that has just joined is given until its connection is there. */
const CONNECTING_MS = 3000;
const DISCOVERY_MS = 300_000;
/** Changes of nodes and pods are told together. */
const GATHER_MS = 300;

/** What the looks at one member found so far. */
interface Memory {
  failures: number;
  /** Since when it answers again; undefined while it does not. */
  goodSinceMs: number | undefined;
  readonly firstSeenMs: number;
  discoveredMs: number;
  discovered: Discovered | undefined;
  watch: MemberWatch | undefined;
  /** The last summary of nodes and pods, and what it was made of. */
  summary:
    | { readonly watch: MemberWatch; readonly changes: number; readonly models: string; readonly value: Summary }
    | undefined;
}

type Look = { readonly isReady: true } | { readonly isReady: false; readonly reason: string; readonly message: string };

/** Looks at each member every few seconds and says in its Cluster object how it is. Also gives it its namespace in the hub. */
export function clusterStatusController(
  members: (cluster: string) => ClusterAccess | undefined,
  /** Told of each cluster's nodes. */
  onNodes: (cluster: string, nodes: readonly Node[]) => void = () => {},
): ControllerSpec<Cluster> {
  const memories = new Memories();
  const leases = new LeaseWatch();
  return {
    name: NAME,
    kind: ClusterKind,
    // A look may wait for its time limit, and for a member's kinds after a start; hundreds of dead or distant members must not keep the others
    // from being looked at.
    concurrency: 512,
    finalizer: CLUSTER_FINALIZER,
    finalize: async (cluster, context) => {
      const { name } = cluster.metadata;
      const silence = async (): Promise<string> => {
        if (isPull(cluster)) return leases.look(name, context).silence;
        const look = await lookAt(members(name), context);
        const memory = memories.of(name, context);
        memory.failures = look.isReady ? 0 : memory.failures + 1;
        // One look that fails is no silence yet: on its word, objects stay in the member for good.
        const isDoubtful =
          memory.failures < FAILURES_UNTIL_NOT_READY &&
          findCondition(cluster.status?.conditions, "Ready")?.status === "True";
        return look.isReady || isDoubtful ? "" : look.message;
      };
      const done = await finalizeCluster(cluster, silence, context);
      if (done !== "done") return done;
      await dropOldFinalizer(cluster, context);
      await removeSpace(name, context);
      memories.forget(name);
      leases.forget(name);
      return done;
    },
    watches: [
      // Only so that Works are known: what is left of a cluster is looked after by time.
      { kind: WorkKind, keys: () => [] },
      { kind: LeaseKind, keys: ({ metadata: { name } }) => [{ namespace: "", name }] },
    ],
    async reconcile(key, cluster, context) {
      if (cluster === undefined) {
        memories.forget(key.name);
        leases.forget(key.name);
        return undefined;
      }
      await dropOldFinalizer(cluster, context);
      await ensureSpace(key.name, context);
      if (!isPull(cluster)) return observe(cluster, members(key.name), { memories, context, onNodes });
      memories.forget(key.name);
      const heartbeat = leases.look(key.name, context);
      await reportSilence(cluster, heartbeat, context);
      return { requeueAfterMs: heartbeat.lookAgainMs };
    },
  };
}

/** The same in a pull member, by its own agent: it says how the member is in its Cluster, and does nothing else in the hub. */
export function clusterReporter(members: (cluster: string) => ClusterAccess | undefined): ControllerSpec<Cluster> {
  const memories = new Memories();
  return {
    name: NAME,
    kind: ClusterKind,
    async reconcile(key, cluster, context) {
      const member = members(key.name);
      if (cluster === undefined || member === undefined || !isPull(cluster)) {
        memories.forget(key.name);
        return undefined;
      }
      return observe(cluster, member, { memories, context, isAgent: true });
    },
  };
}

function isPull({ spec }: Cluster): boolean {
  return spec?.syncMode === "Pull";
}

/** Looks at a member once, and says in its Cluster what came of it. */
async function observe(
  cluster: Cluster,
  member: ClusterAccess | undefined,
  tools: {
    readonly memories: Memories;
    readonly context: ReconcileContext<Cluster>;
    readonly isAgent?: boolean;
    readonly onNodes?: (cluster: string, nodes: readonly Node[]) => void;
  },
): Promise<ReconcileResult> {
  const { memories, context, isAgent = false, onNodes } = tools;
  const memory = memories.of(cluster.metadata.name, context);
  const look = await lookAt(member, context);
  const waitMs = damping(cluster, look, memory, context);
  if (waitMs > 0) return { requeueAfterMs: waitMs };
  if (look.isReady && member !== undefined) {
    follow(member, memory, context);
    if (memory.watch?.nodes !== undefined) onNodes?.(member.name, memory.watch.nodes);
    // That it is well again must not wait for its kinds, which are a request a group over a way that may lose some.
    const isBack = findCondition(cluster.status?.conditions, "Ready")?.status !== "True";
    if (isBack && (cluster.status?.apiEnablements ?? []).length > 0) {
      await report(cluster, look, { memory, context, isAgent });
      return { requeueAfterMs: CONFIRM_MS };
    }
    await discover(member, memory, context);
  }
  await report(cluster, look, { memory, context, isAgent });
  return { requeueAfterMs: INTERVAL_MS };
}

/** What is remembered of each member. */
class Memories {
  readonly #memories = new Map<string, Memory>();

  of(name: string, context: ReconcileContext<Cluster>): Memory {
    const memory = this.#memories.get(name) ?? {
      failures: 0,
      goodSinceMs: undefined,
      firstSeenMs: context.clock.monotonicMs(),
      discoveredMs: Number.NEGATIVE_INFINITY,
      discovered: undefined,
      watch: undefined,
      summary: undefined,
    };
    this.#memories.set(name, memory);
    return memory;
  }

  forget(name: string): void {
    this.#memories.get(name)?.watch?.close();
    this.#memories.delete(name);
  }
}

/** How long to look again before a change is told; 0: it is told now. */
function damping(cluster: Cluster, look: Look, memory: Memory, context: ReconcileContext<Cluster>): number {
  const nowMs = context.clock.monotonicMs();
  memory.failures = look.isReady ? 0 : memory.failures + 1;
  memory.goodSinceMs = look.isReady ? (memory.goodSinceMs ?? nowMs) : undefined;
  const told = findCondition(cluster.status?.conditions, "Ready")?.status;
  if (told === undefined) {
    const isConnecting = !look.isReady && look.reason === NOT_CONNECTED;
    return isConnecting && nowMs - memory.firstSeenMs < CONNECTING_MS ? CONFIRM_MS : 0;
  }
  if (!look.isReady) return told === "True" && memory.failures < FAILURES_UNTIL_NOT_READY ? CONFIRM_MS : 0;
  const isProven = memory.goodSinceMs !== undefined && nowMs - memory.goodSinceMs >= RECOVERY_MS;
  return told !== "True" && !isProven ? RECOVERY_LOOK_MS : 0;
}

async function ensureSpace(cluster: string, context: ReconcileContext<Cluster>): Promise<void> {
  const name = executionSpaceOf(cluster);
  const namespaces = context.cluster.informers.informer(NamespaceKind);
  if (namespaces.get({ namespace: "", name }) !== undefined) return;
  try {
    await context.cluster.client
      .resource(NamespaceKind)
      .create({ apiVersion: "v1", kind: "Namespace", metadata: { name }, spec: {} }, { fieldManager: NAME });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

async function removeSpace(cluster: string, context: ReconcileContext<Cluster>): Promise<void> {
  try {
    await context.cluster.client.resource(NamespaceKind).delete(executionSpaceOf(cluster));
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

const NOT_CONNECTED = "ClusterNotConnected";

async function lookAt(member: ClusterAccess | undefined, context: ReconcileContext<Cluster>): Promise<Look> {
  if (member === undefined)
    return {
      isReady: false,
      reason: NOT_CONNECTED,
      message: "no connection to the cluster is configured; see its events",
    };
  const limit = deadline(context.clock, context.signal, TIMEOUT_MS);
  try {
    const answer = member.client.transport.request({ method: "GET", path: "/readyz", signal: limit.signal });
    const response = await Promise.race([answer, rejectionOf(limit.signal)]);
    for await (const _piece of response.body);
    if (response.status === 200) return { isReady: true };
    context.log.debug("a member's health endpoint is not well", { status: response.status });
    if (response.status === 401) return { isReady: false, ...CREDENTIALS_REFUSED };
    return {
      isReady: false,
      reason: "ClusterNotReady",
      message: "cluster is reachable but health endpoint responded without ok",
    };
  } catch (error) {
    if (context.signal.aborted) throw error;
    context.log.debug("a member does not answer", { reason: messageOf(error) });
    const doubt = certificateFault(error);
    if (doubt !== undefined) return { isReady: false, reason: "CertificateRefused", message: doubt };
    return { isReady: false, reason: "ClusterNotReachable", message: "cluster is not reachable" };
  } finally {
    limit.done();
  }
}

const CREDENTIALS_REFUSED = {
  reason: "CredentialsRefused",
  message:
    "cluster refuses the hub's credentials (401 Unauthorized): they ended or were revoked; renew what spec.secretRef names",
};

/** What is wrong with the certificate that a member shows, in a sentence. */
function certificateFault(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code = "code" in cause && typeof cause.code === "string" ? cause.code : "";
    const fault = `the hub does not trust the certificate that the cluster shows (${cause.message})`;
    if (/^CERT_(NOT_YET_VALID|HAS_EXPIRED)$/.test(code))
      return `${fault}: compare the clocks of the hub and the cluster; if they agree, renew the certificate`;
    if (/CERT|SIGNATURE/.test(code)) return `${fault}: put its authority into caBundle of what spec.secretRef names`;
  }
  return undefined;
}

function rejectionOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Version and kinds, when definitions changed and now and then: they cost a request a group. */
async function discover(member: ClusterAccess, memory: Memory, context: ReconcileContext<Cluster>): Promise<void> {
  const nowMs = context.clock.monotonicMs();
  const { watch } = memory;
  if (nowMs - memory.discoveredMs < DISCOVERY_MS && watch?.hasNewKinds !== true) return;
  const limit = deadline(context.clock, context.signal, TIMEOUT_MS * 5);
  try {
    if (watch !== undefined) watch.hasNewKinds = false;
    memory.discovered = await discoverKinds(member, limit.signal);
    memory.discoveredMs = memory.discovered.isComplete ? nowMs : Number.NEGATIVE_INFINITY;
  } catch (error) {
    context.log.debug("member's kinds cannot be read", { cluster: member.name, err: error });
  } finally {
    limit.done();
  }
}

async function report(
  cluster: Cluster,
  look: Look,
  { memory, context, isAgent }: { memory: Memory; context: ReconcileContext<Cluster>; isAgent: boolean },
): Promise<void> {
  const ready: ConditionDraft = look.isReady
    ? {
        type: "Ready",
        status: "True",
        reason: "ClusterReady",
        message: "cluster is healthy and ready to accept workloads",
      }
    : { type: "Ready", status: "False", reason: look.reason, message: look.message };
  const { discovered } = memory;
  const drafts = [ready, ...(look.isReady && discovered !== undefined ? [enablementsOf(discovered)] : [])];
  const observedGeneration = cluster.metadata.generation ?? 0;
  const conditions = drafts.reduce(
    (list, draft) => withCondition(list, { ...draft, observedGeneration }, context.clock.now()),
    cluster.status?.conditions,
  );
  const summary = look.isReady ? summarize(cluster, memory) : undefined;
  const status: ClusterStatus = {
    ...cluster.status,
    ...(conditions === undefined ? {} : { conditions }),
    ...(discovered?.version === undefined ? {} : { kubernetesVersion: discovered.version }),
    ...(discovered === undefined ? {} : { apiEnablements: discovered.enablements }),
    ...summary,
  };
  const before = findCondition(cluster.status?.conditions, "Ready")?.status;
  // Events of a Cluster are in a namespace where a member's agent writes nothing.
  if (before !== undefined && before !== ready.status && !isAgent) {
    context.events.record(cluster, look.isReady ? "Normal" : "Warning", ready.reason, ready.message);
  }
  await syncStatus(context.cluster.client.resource(ClusterKind), cluster, status, NAME);
}

/** Nodes and pods summed up, anew only when they changed: a member may have very many. Undefined as long as they are not known. */
function summarize({ spec }: Cluster, memory: Memory): Summary | undefined {
  const { watch } = memory;
  const nodes = watch?.nodes;
  if (watch === undefined || nodes === undefined) return undefined;
  const { changes } = watch;
  const models = JSON.stringify(spec?.resourceModels ?? []);
  const known = memory.summary;
  if (known?.watch === watch && known.changes === changes && known.models === models) return known.value;
  const value = summaryOf(nodes, watch.pods, spec?.resourceModels ?? []);
  memory.summary = { watch, changes, models, value };
  return value;
}

function enablementsOf({ enablements, isComplete }: Discovered): ConditionDraft {
  const type = "CompleteAPIEnablements";
  if (isComplete)
    return { type, status: "True", reason: "Complete", message: "collected complete APIEnablements from the cluster" };
  const { length } = enablements;
  return length === 0
    ? { type, status: "False", reason: "Empty", message: "collected empty APIEnablements from the cluster" }
    : {
        type,
        status: "False",
        reason: "Partial",
        message: `might collect partial APIEnablements(${length}) from the cluster`,
      };
}

function follow(member: ClusterAccess, memory: Memory, context: ReconcileContext<Cluster>): void {
  if (memory.watch?.member === member) return;
  memory.watch?.close();
  memory.watch = new MemberWatch(member, context.signal, () =>
    context.enqueue({ namespace: "", name: member.name }, GATHER_MS),
  );
}
