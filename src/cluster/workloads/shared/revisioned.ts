import type { Clock } from "../../../kernel/clock/index.js";
import { type ClusterAccess, type ReconcileResult, syncStatus } from "../../../kernel/control/index.js";
import {
  type ControllerRevision,
  isDeleting,
  type Kind,
  type LabelSelector,
  type Pod,
  type PodTemplateSpec,
  type Resource,
} from "../../../kernel/kinds/index.js";
import { nextAvailabilityMs } from "./pods.js";
import { ensureRevision, revisionLabel, trimRevisions } from "./revisions.js";

const defaultHistory = 10;

/** What StatefulSets and DaemonSets have in common. */
type RevisionedOwner = Resource<
  {
    readonly template: PodTemplateSpec;
    readonly selector: LabelSelector;
    readonly minReadySeconds?: number;
    readonly revisionHistoryLimit?: number;
  },
  object
>;

/** How things stand after a look. */
export interface Report<Owner extends RevisionedOwner> {
  readonly status: NonNullable<Owner["status"]>;
  readonly pods: readonly Pod[];
  /** Names of revisions that pods or the status still speak of. */
  readonly inUse: readonly string[];
}

/** One look at an owner whose pods are made from recorded templates. */
export interface RevisionedLook<Owner extends RevisionedOwner> {
  readonly owner: Owner;
  readonly kind: Kind<Owner>;
  readonly fieldManager: string;
  /** Absent: that of the pods. */
  readonly hashLabel?: string;
  readonly cluster: ClusterAccess;
  readonly clock: Clock;
  /** Makes it true; not called while the owner is being deleted. What it throws is thrown after the report. Returns when to look again. */
  act(update: ControllerRevision): Promise<number | undefined>;
  report(update: ControllerRevision): Promise<Report<Owner>>;
}

/** Records the present template, acts, reports, and forgets old revisions. */
export async function reconcileRevisioned<Owner extends RevisionedOwner>(
  look: RevisionedLook<Owner>,
): Promise<ReconcileResult | undefined> {
  const { owner, kind, cluster, clock, fieldManager } = look;
  const { template, minReadySeconds = 0, revisionHistoryLimit = defaultHistory } = owner.spec;
  const history = { owner, template, hashLabel: look.hashLabel ?? revisionLabel, cluster, fieldManager };
  const update = await ensureRevision(history);
  let failure: { readonly error: unknown } | undefined;
  let waitMs: number | undefined;
  if (!isDeleting(owner)) {
    try {
      waitMs = await look.act(update);
    } catch (error) {
      failure = { error };
    }
  }
  const { status, pods, inUse } = await look.report(update);
  await syncStatus(cluster.client.resource(kind), owner, status, fieldManager);
  await trimRevisions({
    ...history,
    limit: revisionHistoryLimit,
    inUse: new Set([update.metadata.name, ...inUse]),
  });
  if (failure !== undefined) throw failure.error;
  const waits = [waitMs, nextAvailabilityMs(pods, minReadySeconds, clock.now())].filter((ms) => ms !== undefined);
  return waits.length === 0 ? undefined : { requeueAfterMs: Math.min(...waits) };
}
