import type { Timer } from "../../kernel/clock/index.js";
import {
  type ClusterAccess,
  type ControllerSpec,
  createQueue,
  type Informer,
  type Key,
  type Queue,
  type ReconcileContext,
} from "../../kernel/control/index.js";
import { ArgosyError } from "../../kernel/errors/index.js";
import { apiVersionOf, isDeleting, type Kind, type KubeObject, NamespaceKind } from "../../kernel/kinds/index.js";
import { isMoreThanStatus } from "./changes.js";
import type { Interpreters } from "./interpreters/index.js";
import { ClusterKind, type Work, WorkKind } from "./kinds.js";
import { ARGOSY, clusterOfSpace, executionSpaceOf, KARMADA } from "./names.js";
import { WorkExecutor } from "./work-executor.js";

const NAME = "execution-controller";
/** Stands for all that failed in a member; no object is called so. */
const NO_WORK = "#failed";
/** How often it is looked whether members have other connections. */
const FOLLOW_MS = 3000;

/** What delivery needs besides the hub. */
export interface ExecutionOptions {
  readonly members: (cluster: string) => ClusterAccess | undefined;
  readonly interpreters: Interpreters;
  /** It runs in the only member, and sees of the hub what the member's agent may see. Default: in the hub, for push members. */
  readonly isAgent?: boolean;
  /** Objects worked on at once in one member; default 32: while sixteen are under way together, sixteen gather. */
  readonly concurrencyPerMember?: number;
  /** A call to a member that takes longer has failed; default 5 s. */
  readonly callTimeoutMs?: number;
}

/**
 * Makes Works true in their members (push). Every member has a queue and workers of its own, so one that hangs or is gone
 * delays nobody else; the controller's own workers only sort keys into those queues.
 */
export function executionController(options: ExecutionOptions): ControllerSpec<Work> {
  let lanes: Lanes | undefined;
  return {
    name: NAME,
    kind: WorkKind,
    concerns: isMoreThanStatus,
    concurrency: 8,
    watches: [
      {
        kind: ClusterKind,
        // Of a cluster that changes, those Works are looked at that failed in it; a new connection is a reason for all.
        keys: (cluster) => [{ namespace: executionSpaceOf(cluster.metadata.name), name: NO_WORK }],
      },
      // Only so that they are known: what is in one that goes to all members does not wait for that.
      ...(options.isAgent === true ? [] : [{ kind: NamespaceKind, keys: () => [] }]),
    ],
    async reconcile(key, _object, context) {
      await options.interpreters.follow(context);
      if (lanes === undefined || lanes.context.signal.aborted) lanes = new Lanes(options, context);
      lanes.sort(key);
    },
  };
}

/** The members' queues. */
class Lanes {
  readonly context: ReconcileContext<Work>;
  readonly #options: ExecutionOptions;
  readonly #lanes = new Map<string, Lane>();
  /** How each cluster was to be served when it was last looked at. */
  readonly #modes = new Map<string, string>();
  #timer: Timer | undefined;

  constructor(options: ExecutionOptions, context: ReconcileContext<Work>) {
    this.#options = options;
    this.context = context;
    context.signal.addEventListener(
      "abort",
      () => {
        this.#timer?.cancel();
        void this.#close();
      },
      { once: true },
    );
    this.#follow();
  }

  /** A connection may be replaced (a new authority) without anything else that changes: what was delivered is then looked at over the new one. */
  #follow(): void {
    const { clock, signal, informer } = this.context;
    if (signal.aborted) return;
    for (const [cluster, lane] of this.#lanes) {
      if (this.#options.members(cluster) === lane.member) continue;
      const space = executionSpaceOf(cluster);
      for (const { metadata } of informer.list(space)) this.context.enqueue({ namespace: space, name: metadata.name });
    }
    this.#timer = clock.setTimer(FOLLOW_MS, () => this.#follow());
  }

  sort(key: Key): void {
    const cluster = clusterOfSpace(key.namespace);
    if (cluster === undefined) return;
    const isAboutAll = key.name === NO_WORK && this.#hasNewMode(cluster);
    if (this.#isFetched(cluster, key)) return;
    const member = this.#options.members(cluster);
    const known = this.#lanes.get(cluster);
    if (known !== undefined && known.member === member && !isAboutAll) {
      if (key.name === NO_WORK) known.retryFailed();
      else known.queue.add(key);
      return;
    }
    const lane = known !== undefined && known.member === member ? known : this.#open(cluster, member, known);
    // What was done on another connection is not known on this one.
    for (const { metadata } of this.context.informer.list(key.namespace)) {
      const each = { namespace: key.namespace, name: metadata.name };
      if (!this.#isFetched(cluster, each)) lane.queue.add(each);
    }
  }

  /** A lane in the place of another. */
  #open(cluster: string, member: ClusterAccess | undefined, old: Lane | undefined): Lane {
    // Put in its place at once, so that there is never a second one; it begins when the one before has ended.
    const before = old?.close();
    const lane = new Lane(cluster, member, this.#options, this.context);
    this.#lanes.set(cluster, lane);
    if (before === undefined) lane.queue.start();
    else void this.#begin(lane, before);
    return lane;
  }

  /** Whether a cluster came, went, or changed between push and pull since this was last asked. */
  #hasNewMode(name: string): boolean {
    const cluster = this.context.cluster.informers.informer(ClusterKind).get({ namespace: "", name });
    const mode = cluster === undefined ? "" : (cluster.spec?.syncMode ?? "Push");
    const isNew = this.#modes.get(name) !== mode;
    this.#modes.set(name, mode);
    return isNew;
  }

  async #begin(lane: Lane, before: Promise<void>): Promise<void> {
    await before.catch((error: unknown) => this.context.log.warn("a member's queue ended badly", { err: error }));
    if (!this.context.signal.aborted) lane.queue.start();
  }

  /** Whether the member's own agent makes a Work true. What was given up there is let go of here. */
  #isFetched(cluster: string, key: Key): boolean {
    if (this.#options.isAgent === true) return false;
    const { informers } = this.context.cluster;
    if (informers.informer(ClusterKind).get({ namespace: "", name: cluster })?.spec?.syncMode !== "Pull") return false;
    const work = informers.informer(WorkKind).get(key);
    return work === undefined || !isDeleting(work) || work.metadata.annotations?.[ARGOSY.abandon] !== "true";
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map((lane) => lane.close()));
    this.#lanes.clear();
  }
}

/** One member: its queue, its informers' events, its executor. */
class Lane {
  readonly member: ClusterAccess | undefined;
  readonly queue: Queue;
  readonly #followed = new Map<string, { readonly informer: Informer<KubeObject>; isSynced: boolean }>();
  readonly #undo: (() => void)[] = [];
  readonly #executor: WorkExecutor;

  constructor(
    cluster: string,
    member: ClusterAccess | undefined,
    options: ExecutionOptions,
    context: ReconcileContext<Work>,
  ) {
    this.member = member;
    const executor = new WorkExecutor({
      cluster,
      member,
      context,
      timeoutMs: options.callTimeoutMs ?? 5000,
      interpreters: options.interpreters,
      isAgent: options.isAgent === true,
      follow: (kind) => this.#follow(kind, { context, isEcho: (object) => executor.isEcho(kind, object) }),
      retry: (key, delayMs) => this.queue.addAfter(key, delayMs),
    });
    this.#executor = executor;
    this.queue = createQueue({
      clock: context.clock,
      random: context.random,
      concurrency: options.concurrencyPerMember ?? 32,
      work: async (key) => {
        try {
          await executor.execute(key);
          this.queue.forget(key);
        } catch (error) {
          if (context.signal.aborted) return;
          context.log.debug("work is tried again", { work: `${key.namespace}/${key.name}`, err: error });
          this.queue.addRateLimited(key);
        }
      },
    });
  }

  /** The member's informer of a kind; changes of objects that a Work delivered wake that Work. */
  #follow(
    kind: Kind,
    { context, isEcho }: { readonly context: ReconcileContext<Work>; readonly isEcho: (now: KubeObject) => boolean },
  ): { readonly informer: Informer<KubeObject>; readonly isSynced: boolean } {
    const key = `${apiVersionOf(kind)}/${kind.plural}`;
    const known = this.#followed.get(key);
    if (known !== undefined) return known;
    if (this.member === undefined) throw new ArgosyError("NoMember", "the member is not connected");
    const informer = this.member.informers.informer(kind);
    const followed = { informer, isSynced: false };
    this.#followed.set(key, followed);
    this.#undo.push(
      informer.onChange((now, old) => {
        const key = workOf(now);
        const before = workOf(old);
        const isOther = before?.name !== key?.name || before?.namespace !== key?.namespace;
        if (key !== undefined && !(now !== undefined && isEcho(now))) this.queue.add(key);
        if (before !== undefined && isOther) this.queue.add(before);
      }),
    );
    informer.synced(context.signal).then(
      () => {
        followed.isSynced = true;
      },
      // Only at the end: an informer does not give up.
      () => {},
    );
    return followed;
  }

  /** Tries what failed again, where the member is ready for it. */
  retryFailed(): void {
    for (const key of this.#executor.failed()) this.queue.add(key);
  }

  async close(): Promise<void> {
    for (const undo of this.#undo.splice(0)) undo();
    await this.queue.close();
  }
}

/** The Work that an object of a member says it was delivered by. */
function workOf(object: KubeObject | undefined): Key | undefined {
  const annotations = object?.metadata.annotations;
  const name = annotations?.[KARMADA.workName];
  const namespace = annotations?.[KARMADA.workNamespace];
  return name === undefined || namespace === undefined ? undefined : { namespace, name };
}
