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
import { apiVersionOf, isDeleting, type Kind, type KubeObject } from "../../kernel/kinds/index.js";
import { isMoreThanStatus } from "./changes.js";
import type { Interpreters } from "./interpreters/index.js";
import { ClusterKind, type Work, WorkKind } from "./kinds.js";
import { ARGOSY, clusterOfSpace, executionSpaceOf, KARMADA } from "./names.js";
import { WorkExecutor } from "./work-executor.js";

const NAME = "execution-controller";
const SPACE_INDEX = "execution-space";
/** How often it is looked whether members have other connections. */
const FOLLOW_MS = 3000;

/** What delivery needs besides the hub. */
export interface ExecutionOptions {
  readonly members: (cluster: string) => ClusterAccess | undefined;
  readonly interpreters: Interpreters;
  /** It runs in the only member, and sees of the hub what the member's agent may see. Default: in the hub, for push members. */
  readonly isAgent?: boolean;
  /** Objects worked on at once in one member; default 4. */
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
        keys: (cluster, informers) => {
          const works = informers.informer(WorkKind);
          works.addIndex(SPACE_INDEX, (work) => [work.metadata.namespace ?? ""]);
          const space = executionSpaceOf(cluster.metadata.name);
          return works.byIndex(SPACE_INDEX, space).map((work) => ({ namespace: space, name: work.metadata.name }));
        },
      },
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
    if (cluster === undefined || this.#isFetched(cluster, key)) return;
    const member = this.#options.members(cluster);
    let lane = this.#lanes.get(cluster);
    if (lane === undefined || lane.member !== member) {
      // Put in its place at once, so that there is never a second one; it begins when the one before has ended.
      const before = lane?.close();
      lane = new Lane(cluster, member, this.#options, this.context);
      this.#lanes.set(cluster, lane);
      if (before === undefined) lane.queue.start();
      else void this.#begin(lane, before);
    }
    lane.queue.add(key);
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
    this.queue = createQueue({
      clock: context.clock,
      random: context.random,
      concurrency: options.concurrencyPerMember ?? 4,
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
