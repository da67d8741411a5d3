import { UnavailableError } from "../../kernel/client/index.js";
import {
  addFinalizer,
  type ClusterAccess,
  type Informer,
  type Key,
  type ReconcileContext,
  removeFinalizer,
  syncStatus,
} from "../../kernel/control/index.js";
import { ArgosyError, messageOf } from "../../kernel/errors/index.js";
import {
  type Condition,
  findCondition,
  isDeleting,
  type JsonObject,
  type Kind,
  type KubeObject,
  timeOf,
  withCondition,
} from "../../kernel/kinds/index.js";
import { isObject, toJsonObject } from "../../kernel/schema/index.js";
import { deadline } from "./deadline.js";
import { healthOf } from "./health.js";
import { ClusterKind, type ConditionDraft, type Work, WorkKind, type WorkStatus } from "./kinds.js";
import {
  applyTarget,
  DELIVERY_MANAGER,
  findCurrent,
  foreignness,
  isAsWanted,
  isOurs,
  ManifestError,
  resolveTarget,
  type Target,
  withoutSecrets,
} from "./member-apply.js";
import { ARGOSY, EXECUTION_FINALIZER } from "./names.js";
import { describeRefusal } from "./refusal.js";

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 60_000;
/** How often a deletion is looked after that no event tells of. */
const DELETION_POLL_MS = 1000;

/** What an executor works with. */
export interface ExecutorOptions {
  readonly cluster: string;
  readonly member: ClusterAccess | undefined;
  readonly context: ReconcileContext<Work>;
  readonly timeoutMs: number;
  /** Watches a kind in the member from now on. */
  readonly follow: (kind: Kind) => { readonly informer: Informer<KubeObject>; readonly isSynced: boolean };
  readonly retry: (key: Key, delayMs: number) => void;
}

interface Attempt {
  readonly generation: number;
  readonly failures: number;
  readonly nextMs: number;
  /** The member's readiness at that time: a change of it is a reason to try at once. */
  readonly epoch: string;
}

type ManifestStatus = NonNullable<WorkStatus["manifestStatuses"]>[number];

interface Outcome {
  readonly target: Target | undefined;
  readonly object: KubeObject | undefined;
  readonly error: string | undefined;
  readonly isUnreachable: boolean;
}

/** Makes the Works of one member true, one key at a time. */
export class WorkExecutor {
  readonly #options: ExecutorOptions;
  readonly #attempts = new Map<string, Attempt>();

  constructor(options: ExecutorOptions) {
    this.#options = options;
  }

  /** Throws what should be tried again soon (a lost race in the hub); failures of the member end in the Work's status. */
  async execute(key: Key): Promise<void> {
    const { context } = this.#options;
    const work = context.informer.get(key);
    const text = `${key.namespace}/${key.name}`;
    if (work === undefined) {
      this.#attempts.delete(text);
      return;
    }
    const earlier = this.#attempts.get(text);
    const waitMs = earlier === undefined ? 0 : earlier.nextMs - context.clock.monotonicMs();
    const isSame = earlier?.generation === generationOf(work) && earlier.epoch === this.#epoch() && !isDeleting(work);
    if (isSame && waitMs > 0) {
      this.#options.retry(key, waitMs);
      return;
    }
    if (isDeleting(work)) await this.#remove(work, key);
    else await this.#deliver(work, key);
  }

  #epoch(): string {
    const cluster = this.#options.context.cluster.informers
      .informer(ClusterKind)
      .get({ namespace: "", name: this.#options.cluster });
    return findCondition(cluster?.status?.conditions, "Ready")?.lastTransitionTime ?? "";
  }

  async #deliver(work: Work, key: Key): Promise<void> {
    const { context } = this.#options;
    const held = await addFinalizer(
      context.cluster.client.resource(WorkKind),
      work,
      EXECUTION_FINALIZER,
      DELIVERY_MANAGER,
    );
    if (held.spec.suspendDispatching === true) {
      await this.#report(
        held,
        { type: "Dispatching", status: "False", reason: "SuspendDispatching", message: "dispatching is suspended" },
        {},
      );
      return;
    }
    const manifests = held.spec.workload?.manifests ?? [];
    const outcomes: Outcome[] = [];
    for (const manifest of manifests) outcomes.push(await this.#deliverOne(held, manifest));
    const failed = outcomes.filter((outcome) => outcome.error !== undefined);
    const statuses = outcomes.flatMap((outcome, ordinal) => manifestStatus(outcome, ordinal));
    if (failed.length === 0) {
      this.#attempts.delete(`${key.namespace}/${key.name}`);
      const message = "Manifest has been successfully applied";
      await this.#report(held, { type: "Applied", status: "True", reason: "AppliedSuccessful", message }, { statuses });
      return;
    }
    const nextMs = this.#planRetry(held, key);
    if (failed.every((outcome) => outcome.isUnreachable) && isAppliedNow(held)) return;
    const errors = failed.map((outcome) => outcome.error).join(", ");
    const message = `Failed to apply all manifests (${outcomes.length - failed.length}/${outcomes.length}): [${errors}]`;
    await this.#report(
      held,
      { type: "Applied", status: "False", reason: "AppliedFailed", message },
      {
        // Of a member that does not answer, the last that was heard stays.
        ...(failed.every((outcome) => outcome.isUnreachable) ? {} : { statuses }),
        nextRetryTime: timeOf(context.clock.now() + nextMs),
      },
    );
  }

  #planRetry(work: Work, key: Key): number {
    const { clock, random } = this.#options.context;
    const text = `${key.namespace}/${key.name}`;
    const generation = generationOf(work);
    const earlier = this.#attempts.get(text);
    const failures = earlier?.generation === generation ? earlier.failures + 1 : 1;
    const delayMs = Math.round(
      Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 10), LAST_RETRY_MS) * (0.9 + 0.2 * random.next()),
    );
    this.#attempts.set(text, { generation, failures, nextMs: clock.monotonicMs() + delayMs, epoch: this.#epoch() });
    this.#options.retry(key, delayMs);
    return delayMs;
  }

  async #deliverOne(work: Work, manifest: JsonObject): Promise<Outcome> {
    const { cluster, member, follow } = this.#options;
    const none = { target: undefined, object: undefined };
    // What stands in the member goes on standing when a change of it is refused, and is still reported.
    let standing: Pick<Outcome, "target" | "object"> = none;
    if (member === undefined)
      return { ...none, error: `cluster(${cluster}) not ready: it is not connected`, isUnreachable: true };
    try {
      return await this.#bounded(async (signal) => {
        const target = await resolveTarget(member, manifest);
        standing = { target, object: undefined };
        const current = await findCurrent(member, target, follow(target.kind), signal);
        const obstacle = current === undefined ? undefined : foreignness(current, target, keyOf(work), cluster);
        if (obstacle !== undefined) return { target, object: undefined, error: obstacle, isUnreachable: false };
        if (current !== undefined && isDeleting(current)) {
          return {
            target,
            object: current,
            error: `${target.kind.kind} ${target.name} is being deleted in cluster ${cluster}`,
            isUnreachable: false,
          };
        }
        standing = { target, object: current };
        const isTrue = current !== undefined && isAppliedNow(work) && isAsWanted(current, target);
        if (!isTrue && current !== undefined && isAppliedNow(work)) {
          this.#options.context.log.info("drift repaired", {
            cluster,
            kind: target.kind.kind,
            namespace: target.namespace,
            name: target.name,
          });
        }
        return {
          target,
          object: isTrue ? current : await applyTarget(member, target, signal),
          error: undefined,
          isUnreachable: false,
        };
      });
    } catch (error) {
      if (this.#options.context.signal.aborted) throw error;
      const isUnreachable = isSilence(error);
      const message = isUnreachable
        ? `cluster(${cluster}) not ready: ${messageOf(error)}`
        : describeRefusal(error, standing.target, cluster);
      return { ...standing, error: withoutSecrets(message, manifest), isUnreachable };
    }
  }

  /** One exchange with the member, with a time limit. */
  async #bounded<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { context, timeoutMs } = this.#options;
    const limit = deadline(context.clock, context.signal, timeoutMs);
    try {
      // A call that does not heed its signal must not hold the lane either.
      return await Promise.race([
        call(limit.signal),
        new Promise<never>((_resolve, reject) => {
          limit.signal.addEventListener("abort", () => reject(limit.signal.reason), { once: true });
        }),
      ]);
    } finally {
      limit.done();
    }
  }

  async #remove(work: Work, key: Key): Promise<void> {
    if (work.metadata.finalizers?.includes(EXECUTION_FINALIZER) !== true) return;
    const { context, cluster } = this.#options;
    const isKept =
      work.spec.preserveResourcesOnDeletion === true || work.metadata.annotations?.[ARGOSY.abandon] === "true";
    const isRegistered =
      context.cluster.informers.informer(ClusterKind).get({ namespace: "", name: cluster }) !== undefined;
    const waits = isKept || !isRegistered ? [] : await this.#removeObjects(work);
    if (waits.length === 0) {
      await removeFinalizer(
        context.cluster.client.resource(WorkKind),
        context.informer.get(key) ?? work,
        EXECUTION_FINALIZER,
        DELIVERY_MANAGER,
      );
      this.#attempts.delete(`${key.namespace}/${key.name}`);
      return;
    }
    this.#options.retry(key, DELETION_POLL_MS);
    await this.#report(
      work,
      { type: "Applied", status: "False", reason: "Deleting", message: `waits for removal: ${waits.join("; ")}` },
      {},
    );
  }

  /** Deletes what this Work delivered. Returns what is still there, or cannot be reached. */
  async #removeObjects(work: Work): Promise<string[]> {
    const { cluster, member, follow } = this.#options;
    const waits: string[] = [];
    for (const manifest of work.spec.workload?.manifests ?? []) {
      if (member === undefined) return [`cluster(${cluster}) not ready: it is not connected`];
      try {
        const left = await this.#bounded(async (signal) => {
          const target = await resolveTarget(member, manifest);
          const current = await findCurrent(member, target, follow(target.kind), signal);
          if (current === undefined || !isOurs(current, keyOf(work))) return undefined;
          if (!isDeleting(current)) {
            const { uid } = current.metadata;
            await member.client.dynamic(target.kind).delete(target.name, {
              preconditions: { uid },
              propagationPolicy: "Background",
              signal,
              ...(target.namespace === "" ? {} : { namespace: target.namespace }),
            });
          }
          const after = await findCurrent(member, target, follow(target.kind), signal);
          return after === undefined ? undefined : `${target.kind.kind} ${target.name} in cluster ${cluster}`;
        });
        if (left !== undefined) waits.push(left);
      } catch (error) {
        if (this.#options.context.signal.aborted) throw error;
        // A kind that the member does not have cannot have objects there.
        if (!(error instanceof ManifestError)) waits.push(`cluster(${cluster}): ${messageOf(error)}`);
      }
    }
    return waits;
  }

  async #report(
    work: Work,
    draft: ConditionDraft,
    more: { readonly statuses?: ManifestStatus[]; readonly nextRetryTime?: string },
  ): Promise<void> {
    const { context } = this.#options;
    const now = context.clock.now();
    const observedGeneration = generationOf(work);
    let conditions: Condition[] = withCondition(work.status?.conditions, { ...draft, observedGeneration }, now);
    if (draft.type === "Applied") {
      conditions = conditions.filter((condition) => condition.type !== "Dispatching");
      if (draft.reason !== "Deleting")
        conditions = withCondition(
          conditions,
          { ...availability(draft, more.statuses ?? []), observedGeneration },
          now,
        );
    }
    const statuses = more.statuses ?? work.status?.manifestStatuses;
    const status: WorkStatus = {
      conditions,
      ...(statuses === undefined ? {} : { manifestStatuses: statuses }),
      ...(more.nextRetryTime === undefined ? {} : { nextRetryTime: more.nextRetryTime }),
    };
    const before = findCondition(work.status?.conditions, "Applied");
    if (draft.status === "False" && draft.reason === "AppliedFailed" && before?.message !== draft.message) {
      context.events.record(work, "Warning", draft.reason, draft.message);
    }
    await syncStatus(context.cluster.client.resource(WorkKind), work, status, DELIVERY_MANAGER);
  }
}

function manifestStatus(outcome: Outcome, ordinal: number): ManifestStatus[] {
  const { target, object } = outcome;
  if (target === undefined) return [];
  const { kind, namespace, name } = target;
  const raw = object === undefined ? undefined : Object.entries(object).find(([field]) => field === "status")?.[1];
  const status: unknown = raw;
  return [
    {
      identifier: {
        ordinal,
        group: kind.group,
        version: kind.version,
        kind: kind.kind,
        resource: kind.plural,
        name,
        ...(namespace === "" ? {} : { namespace }),
      },
      ...(isObject(status) ? { status: toJsonObject(status) } : {}),
      health: object === undefined ? "Unknown" : healthOf(target.kind, object),
    },
  ];
}

function availability(applied: ConditionDraft, statuses: readonly ManifestStatus[]): ConditionDraft {
  const sick = statuses.filter((status) => status.health !== "Healthy");
  if (applied.status !== "True")
    return { type: "Available", status: "False", reason: "NotApplied", message: "not everything is applied" };
  if (sick.length === 0)
    return { type: "Available", status: "True", reason: "Healthy", message: "everything is there and healthy" };
  const names = sick.map(
    ({ identifier, health }) => `${identifier.kind} ${identifier.name} is ${String(health).toLowerCase()}`,
  );
  return { type: "Available", status: "False", reason: "Unhealthy", message: names.join("; ") };
}

/** Whether the Work's present content was applied. */
function isAppliedNow(work: Work): boolean {
  const applied = findCondition(work.status?.conditions, "Applied");
  return applied?.status === "True" && applied.observedGeneration === generationOf(work);
}

function generationOf(work: Work): number {
  return work.metadata.generation ?? 0;
}

function keyOf(work: Work): Key {
  return { namespace: work.metadata.namespace ?? "", name: work.metadata.name };
}

/** The member did not answer (as opposed to: it answered no). */
function isSilence(error: unknown): boolean {
  return (
    error instanceof UnavailableError ||
    (error instanceof ArgosyError && error.code === "Timeout") ||
    (error instanceof Error && error.name === "AbortError")
  );
}
