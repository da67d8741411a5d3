import type { ReconcileContext } from "../../../kernel/control/index.js";
import { syncStatus } from "../../../kernel/control/index.js";
import { findCondition, LeaseKind, ServiceAccountKind, withCondition } from "../../../kernel/kinds/index.js";
import { type Cluster, ClusterKind } from "../kinds.js";
import { CLUSTER_SPACE, CREDENTIAL_ENDS, ENROLLED } from "./names.js";

const NAME = "cluster-status-controller";
/** As karmada-agent has it, where a lease does not say. */
const DEFAULT_SECONDS = 40;
/** Until then an account that is missing is on its way. */
const ENROLLING_MS = 10_000;
/** Past the end of a lease, so that one that is renewed at the last moment counts. */
const SLACK_MS = 100;

/** What a lease tells of its holder. */
export interface Heartbeat {
  /** Empty: the agent is there; otherwise why not. */
  readonly silence: string;
  /** When to look again at the latest. */
  readonly lookAgainMs: number;
}

/** Follows the Leases of pull members. Clocks need not agree: it counts from when it saw a renewal, as candidates of an election do. */
export class LeaseWatch {
  readonly #seen = new Map<string, { readonly renewal: string; readonly atMs: number }>();

  look(cluster: string, context: ReconcileContext<Cluster>): Heartbeat {
    const lease = context.cluster.informers.informer(LeaseKind).get({ namespace: CLUSTER_SPACE, name: cluster });
    const renewal = lease?.spec?.renewTime;
    if (renewal === undefined) return { silence: "its agent has not been heard of yet", lookAgainMs: 60_000 };
    const nowMs = context.clock.monotonicMs();
    const before = this.#seen.get(cluster);
    const seen = before?.renewal === renewal ? before : { renewal, atMs: nowMs };
    this.#seen.set(cluster, seen);
    const leftMs = seen.atMs + (lease?.spec?.leaseDurationSeconds ?? DEFAULT_SECONDS) * 1000 - nowMs;
    return leftMs > 0
      ? { silence: "", lookAgainMs: leftMs + SLACK_MS }
      : { silence: `its agent was last heard of at ${renewal}`, lookAgainMs: 60_000 };
  }

  forget(cluster: string): void {
    this.#seen.delete(cluster);
  }
}

/** Says of a pull member whose agent is silent that nobody knows how it is; while it speaks, the agent says how it is. */
export async function reportSilence(
  cluster: Cluster,
  { silence }: Heartbeat,
  context: ReconcileContext<Cluster>,
): Promise<void> {
  if (silence === "") return;
  const before = findCondition(cluster.status?.conditions, "Ready");
  const cause = await causeOf(cluster, context);
  if (before?.status === "Unknown" && (cause === undefined || before.reason === cause.reason)) return;
  const draft = {
    type: "Ready",
    status: "Unknown" as const,
    ...(cause ?? (before === undefined ? NEVER : STOPPED)),
    observedGeneration: cluster.metadata.generation ?? 0,
  };
  const conditions = withCondition(cluster.status?.conditions, draft, context.clock.now());
  if (before !== undefined) context.events.record(cluster, "Warning", draft.reason, `${draft.message} (${silence})`);
  await syncStatus(context.cluster.client.resource(ClusterKind), cluster, { ...cluster.status, conditions }, NAME);
}

interface Cause {
  readonly reason: string;
  readonly message: string;
}

/** Karmada's words. */
const STOPPED: Cause = {
  reason: "ClusterStatusUnknown",
  message: "Cluster status controller stopped posting cluster status.",
};
const NEVER: Cause = {
  reason: "ClusterStatusNeverUpdated",
  message: "Cluster status controller never posted cluster status.",
};

/** Why an agent cannot speak, where the hub can know. */
async function causeOf(cluster: Cluster, context: ReconcileContext<Cluster>): Promise<Cause | undefined> {
  const { name, annotations } = cluster.metadata;
  const account = annotations?.[ENROLLED];
  if (account === undefined) return undefined;
  const again = `\`argosy clusters token create ${name}\`, then register it again`;
  const accounts = context.cluster.client.resource(ServiceAccountKind);
  const isThere = await accounts.find(account, { namespace: CLUSTER_SPACE, signal: context.signal }).then(
    (found) => found !== undefined,
    // Who may not look does not know.
    () => true,
  );
  // It is made right after the Cluster.
  const ageMs = context.clock.now() - Date.parse(cluster.metadata.creationTimestamp);
  if (!isThere && ageMs < ENROLLING_MS) return undefined;
  if (!isThere) return { reason: "CredentialRevoked", message: `the credential of its agent was revoked: ${again}` };
  const lease = context.cluster.informers.informer(LeaseKind).get({ namespace: CLUSTER_SPACE, name });
  const ends = lease?.metadata.annotations?.[CREDENTIAL_ENDS];
  return ends !== undefined && Date.parse(ends) <= context.clock.now()
    ? { reason: "CredentialExpired", message: `the credential of its agent ended at ${ends}: ${again}` }
    : undefined;
}
