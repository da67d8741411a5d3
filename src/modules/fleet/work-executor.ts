import { UnavailableError } from "../../kernel/client/index.js";
import { onAbort } from "../../kernel/clock/index.js";
import {
  addFinalizer,
  type ClusterAccess,
  type Informer,
  type Key,
  type ReconcileContext,
  removeFinalizer,
  syncStatus,
} from "../../kernel/control/index.js";
import { ApiError, ArgosyError, messageOf } from "../../kernel/errors/index.js";
import {
  findCondition,
  isDeleting,
  type JsonObject,
  type Kind,
  type KubeObject,
  NamespaceKind,
  timeOf,
} from "../../kernel/kinds/index.js";
import { SharedDeadlines } from "./deadline.js";
import { Gathering } from "./gathering.js";
import type { Interpreters } from "./interpreters/index.js";
import { jsonOf } from "./json.unsafe.js";
import { ClusterKind, type ConditionDraft, type Work, WorkKind, type WorkStatus } from "./kinds.js";
import {
  creationFault,
  DELIVERY_MANAGER,
  findCurrent,
  isAsWanted,
  isManaged,
  isOfAnotherHub,
  isOurs,
  ManifestError,
  release,
  resolveTarget,
  type Target,
  takesOver,
  withoutSecrets,
} from "./member-apply.js";
import { withOwners, withoutScaled } from "./member-owners.js";
import { Repairs } from "./member-repairs.js";
import { tellOfDrift, tellOfScaler } from "./member-words.js";
import { type Applying, isSameVersion, MemberWrites } from "./member-writes.js";
import { ARGOSY, EXECUTION_FINALIZER, executionSpaceOf, KARMADA } from "./names.js";
import { workNameOf } from "./policies/marks.js";
import { isOfHyper, takenWords, tellsOfTwoHubs, wordsFor } from "./status/words.js";
import {
  appliedCondition,
  dispatchingCondition,
  isAppliedNow,
  manifestStatuses,
  type Outcome,
  withConditions,
} from "./status/work-status.js";

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 60_000;
/** How often a deletion is looked after that no event tells of. */
const DELETION_POLL_MS = 1000;

/** Label of a namespace of the hub that stays there. */
const SKIP_PROPAGATION = "namespace.karmada.io/skip-auto-propagation";
const RESERVED = /^(kube|karmada)-/;

/** What an executor works with. */
export interface ExecutorOptions {
  readonly cluster: string;
  readonly member: ClusterAccess | undefined;
  readonly context: ReconcileContext<Work>;
  readonly timeoutMs: number;
  readonly interpreters: Interpreters;
  /** Of the hub only this member's Works are seen. */
  readonly isAgent: boolean;
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

/** Makes the Works of one member true, one key at a time. */
export class WorkExecutor {
  readonly #options: ExecutorOptions;
  readonly #attempts = new Map<string, Attempt>();
  readonly #writes = new MemberWrites();
  readonly #repairs: Repairs;
  readonly #deadlines: SharedDeadlines;
  readonly #gathering: Gathering;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#deadlines = new SharedDeadlines(options.context.clock, options.context.signal, options.timeoutMs);
    this.#repairs = new Repairs(options.context.clock);
    this.#gathering = new Gathering(options.context.clock);
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

  /** Works that wait to be tried again. */
  failed(): Key[] {
    const namespace = executionSpaceOf(this.#options.cluster);
    return [...this.#attempts.keys()].map((text) => ({ namespace, name: text.slice(text.indexOf("/") + 1) }));
  }

  /** Whether a change of a member's object is what this executor just made of it. */
  isEcho(kind: Kind, object: KubeObject): boolean {
    const { namespace = "", name } = object.metadata;
    return this.#writes.isEcho({ kind, namespace, name }, object);
  }

  async #apply(work: Work, target: Target, how: Pick<Applying, "signal" | "makesNamespace">): Promise<KubeObject> {
    const { member, retry } = this.#options;
    if (member === undefined) throw new ArgosyError("NoMember", "the member is not connected");
    const { namespace = "", name } = work.metadata;
    await this.#gathering.pass();
    return this.#writes.apply(member, target, {
      ...how,
      content: contentOf(work),
      onOtherChange: () => retry({ namespace, name }, 0),
    });
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
    const isSuspended = held.spec.suspendDispatching === true;
    const outcomes: Outcome[] = [];
    for (const manifest of held.spec.workload?.manifests ?? [])
      outcomes.push(await (isSuspended ? this.#observeOne(held, manifest) : this.#deliverOne(held, manifest)));
    const failed = outcomes.filter((outcome) => outcome.error !== undefined);
    if (failed.length === 0) this.#attempts.delete(`${key.namespace}/${key.name}`);
    const nextMs = failed.length === 0 ? undefined : this.#planRetry(held, key);
    const isSilent = failed.length > 0 && failed.every((outcome) => outcome.isUnreachable);
    if (isSilent && isAppliedNow(held)) return;
    const applied = isSuspended ? undefined : appliedCondition(held, outcomes);
    await this.#report(held, [dispatchingCondition(held), ...(applied === undefined ? [] : [applied])], {
      // Of a member that does not answer, the last that was heard stays.
      ...(isSilent ? {} : { statuses: manifestStatuses(held, outcomes, this.#options.interpreters) }),
      ...(nextMs === undefined ? {} : { nextRetryTime: timeOf(context.clock.now() + nextMs) }),
    });
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

  /** What a member has of a Work that is suspended; nothing is sent, and silence is no fault. */
  async #observeOne(work: Work, manifest: JsonObject): Promise<Outcome> {
    const { member, follow } = this.#options;
    const none = { target: undefined, object: undefined, error: undefined, isUnreachable: false };
    if (member === undefined) return none;
    try {
      return await this.#bounded(async (signal) => {
        const target = await resolveTarget(member, manifest);
        const current = await findCurrent(member, target, follow(target.kind), signal);
        const object = current !== undefined && isOurs(current, work) ? current : undefined;
        return { ...none, target, object };
      });
    } catch (error) {
      if (this.#options.context.signal.aborted) throw error;
      return none;
    }
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
        if (current === undefined) return await this.#make(work, target, signal);
        const hold = this.#holdOn(current, target, work);
        if (hold === "left") return { ...standing, error: undefined, isUnreachable: false };
        if (hold === "foreign")
          return { ...standing, error: wordsFor(work).foreign(current, target, cluster), isUnreachable: false };
        if (hold === "taken") return { ...standing, error: takenWords(target, cluster), isUnreachable: false };
        standing = { target, object: current };
        if (isDeleting(current)) {
          const error = `${target.kind.kind} ${target.name} is being deleted in cluster ${cluster}`;
          return { ...standing, error, isUnreachable: false };
        }
        return await this.#change(work, target, { current, signal });
      });
    } catch (error) {
      if (this.#options.context.signal.aborted) throw error;
      const isUnreachable = isSilence(error);
      const message = isUnreachable
        ? `cluster(${cluster}) not ready: ${messageOf(error)}`
        : wordsFor(work).refusal(error, standing.target, cluster);
      return { ...standing, error: withoutSecrets(message, manifest), isUnreachable };
    }
  }

  /** Whose an object is: this Work's (or to be), somebody else's, or taken over since this one was applied: by another Work, or by another hub. */
  #holdOn(current: KubeObject, target: Target, work: Work): "ours" | "foreign" | "left" | "taken" {
    if (takesOver(target, work)) return "ours";
    // Whoever came last keeps it, and whoever loses it says so: to put it back and forth would help nobody.
    if (isTaken(current, work, target)) return "taken";
    if (isOurs(current, work)) return "ours";
    if (!isManaged(current)) return "foreign";
    const name = current.metadata.annotations?.[KARMADA.workName];
    const namespace = current.metadata.annotations?.[KARMADA.workNamespace];
    if (isOfHyper(work))
      return this.#isOfHub(target) && name === workNameOf("Namespace", "", target.name) ? "ours" : "foreign";
    const isNamed = name !== undefined && namespace !== undefined;
    const holder = isNamed ? this.#options.context.informer.get({ namespace, name }) : undefined;
    const isHeld = holder !== undefined && !isDeleting(holder);
    return isHeld && isAppliedNow(work) ? "left" : "ours";
  }

  async #make(work: Work, target: Target, signal: AbortSignal): Promise<Outcome> {
    const { member } = this.#options;
    try {
      const makesNamespace = isOfHyper(work) || this.#isPropagated(target.namespace);
      const object = await this.#apply(work, target, { signal, makesNamespace });
      return { target, object, error: undefined, isUnreachable: false, isWritten: true, isRemade: isAppliedNow(work) };
    } catch (error) {
      const isVague = error instanceof ApiError && error.httpCode === 500 && !isOfHyper(work);
      throw (isVague && member !== undefined ? await creationFault(member, target, signal) : undefined) ?? error;
    }
  }

  /** A namespace that the hub sends to all members: a HyperMLService may say more of it, and what others put into it must not go with that. */
  #isOfHub({ kind, name }: Target): boolean {
    return kind.group === "" && kind.kind === "Namespace" && this.#isPropagated(name);
  }

  /** Whether a namespace of the hub goes to all members anyway; then what is in it does not wait for that. */
  #isPropagated(name: string): boolean {
    if (this.#options.isAgent) {
      const key = { namespace: executionSpaceOf(this.#options.cluster), name: workNameOf("Namespace", "", name) };
      const work = this.#options.context.informer.get(key);
      return work !== undefined && !isDeleting(work);
    }
    const namespaces = this.#options.context.cluster.informers.informer(NamespaceKind);
    const found = namespaces.get({ namespace: "", name });
    return (
      found !== undefined &&
      found.metadata.deletionTimestamp === undefined &&
      found.metadata.labels?.[SKIP_PROPAGATION] !== "true" &&
      !RESERVED.test(name)
    );
  }

  /** Makes an object that is there as it is wanted, if it is not so. */
  async #change(
    work: Work,
    target: Target,
    { current, signal }: { readonly current: KubeObject; readonly signal: AbortSignal },
  ): Promise<Outcome> {
    const { interpreters, cluster, context, member } = this.#options;
    const interpreter = interpreters.interpreterFor(current.apiVersion, current.kind);
    const wanted = { ...target, manifest: interpreter.retain(target.manifest, jsonOf(current)) };
    const isApplied = isAppliedNow(work);
    const isAsMade = this.#writes.isMadeOf(contentOf(work), target, current);
    if (isAsMade || (isApplied && (this.#writes.isAsMade(target, current) || isAsWanted(current, wanted))))
      return { target, object: current, error: undefined, isUnreachable: false, isWritten: !isApplied };
    const scaled = member === undefined ? undefined : await withoutScaled(member, wanted, current, signal);
    const aim = scaled === undefined ? wanted : { ...wanted, manifest: scaled.manifest };
    if (scaled !== undefined) tellOfScaler(work, target, scaled.autoscaler, context);
    if (isApplied && isAsWanted(current, aim))
      return { target, object: current, error: undefined, isUnreachable: false };
    const before = isApplied && member !== undefined ? await withOwners(member, target, current, signal) : current;
    const content = contentOf(work);
    const held = this.#repairs.hold(aim, content, before, cluster);
    if (held !== undefined) return { target, object: current, error: held, isUnreachable: false };
    const object = await this.#apply(work, aim, { signal, makesNamespace: false });
    // What the member only spells differently is no change.
    const isChanged = !isSameVersion(object, before);
    if (isChanged && (isApplied || this.#repairs.isAtOdds(aim, content))) this.#repairs.made(aim, content);
    if (isChanged && isApplied) tellOfDrift(work, aim, before, { cluster, context });
    return { target, object, error: undefined, isUnreachable: false, isWritten: !isApplied };
  }

  /** One exchange with the member, with a time limit. */
  async #bounded<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const limit = this.#deadlines.begin();
    const { signal } = limit;
    let forget: () => void = () => undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        // A call that does not heed its signal must not hold the lane either.
        forget = onAbort(signal, () => reject(signal.reason));
        call(signal).then(resolve, reject);
      });
    } finally {
      forget();
      limit.done();
    }
  }

  async #remove(work: Work, key: Key): Promise<void> {
    if (work.metadata.finalizers?.includes(EXECUTION_FINALIZER) !== true) return;
    const { context, cluster } = this.#options;
    const isAbandoned = work.metadata.annotations?.[ARGOSY.abandon] === "true";
    const isRegistered =
      context.cluster.informers.informer(ClusterKind).get({ namespace: "", name: cluster }) !== undefined;
    const waits = isAbandoned || !isRegistered ? [] : await this.#removeObjects(work);
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
    const message = `waits for removal: ${waits.join("; ")}`;
    await this.#report(work, [{ type: "Applied", status: "False", reason: "Deleting", message }], {});
  }

  /** Deletes what this Work delivered, or lets go of it. Returns what is still there, or cannot be reached. */
  async #removeObjects(work: Work): Promise<string[]> {
    const { cluster, member, follow } = this.#options;
    const waits: string[] = [];
    for (const manifest of work.spec.workload?.manifests ?? []) {
      if (member === undefined) return [`cluster(${cluster}) not ready: it is not connected`];
      try {
        const left = await this.#bounded(async (signal) => {
          const target = await resolveTarget(member, manifest);
          const current = await findCurrent(member, target, follow(target.kind), signal);
          if (current === undefined || !this.#goesWith(work, target, current)) return undefined;
          const { uid } = current.metadata;
          this.#writes.forget(target);
          this.#repairs.forget(target);
          if (work.spec.preserveResourcesOnDeletion === true) {
            await release(member, target, current, signal);
            return undefined;
          }
          if (!isDeleting(current)) {
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

  /** Whether an object is removed with its Work. A namespace of the hub is not: the Work that is its own has it again when it next looks. */
  #goesWith(work: Work, target: Target, current: KubeObject): boolean {
    if (!isOurs(current, work) || isTaken(current, work, target)) return false;
    return !isOfHyper(work) || !this.#isOfHub(target);
  }

  async #report(
    work: Work,
    drafts: readonly ConditionDraft[],
    more: { readonly statuses?: NonNullable<WorkStatus["manifestStatuses"]>; readonly nextRetryTime?: string },
  ): Promise<void> {
    const { context } = this.#options;
    const statuses = more.statuses ?? work.status?.manifestStatuses;
    const status: WorkStatus = {
      ...withConditions(work, drafts, context.clock.now()),
      ...(statuses === undefined ? {} : { manifestStatuses: statuses }),
      ...(more.nextRetryTime === undefined ? {} : { nextRetryTime: more.nextRetryTime }),
    };
    const before = findCondition(work.status?.conditions, "Applied");
    const applied = drafts.find(({ type }) => type === "Applied");
    if (applied?.reason === "AppliedFailed" && before?.message !== applied.message)
      context.events.record(work, "Warning", applied.reason, applied.message);
    await syncStatus(context.cluster.client.resource(WorkKind), work, status, DELIVERY_MANAGER);
  }
}

/** Whether another hub has taken what this Work had delivered. */
function isTaken(current: KubeObject, work: Work, target: Target): boolean {
  return isOfAnotherHub(current, work, target) && (isAppliedNow(work) || tellsOfTwoHubs(work));
}

function contentOf(work: Work): string {
  return `${work.metadata.uid}/${generationOf(work)}`;
}

function generationOf(work: Work): number {
  return work.metadata.generation ?? 0;
}

/** The member did not answer (as opposed to: it answered no); who is not let in at all has no answer either. */
function isSilence(error: unknown): boolean {
  return (
    error instanceof UnavailableError ||
    (error instanceof ApiError && error.httpCode === 401) ||
    // Closed: the connection was just replaced.
    (error instanceof ArgosyError && (error.code === "Timeout" || error.code === "Closed")) ||
    (error instanceof Error && error.name === "AbortError")
  );
}
