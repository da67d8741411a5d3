import type { Clock, Random, Timer } from "../clock/index.js";
import { isConflict, isNotFound, TerminalError } from "../errors/index.js";
import { controllerOf, isDeleting, type Kind, type KubeObject, refersTo } from "../kinds/index.js";
import type { Logger } from "../log/index.js";
import type { Metrics } from "../metrics/index.js";
import { createEventRecorder, type OwnedEventRecorder } from "./events.js";
import { addFinalizer, removeFinalizer } from "./finalizers.js";
import { createQueue, type Queue } from "./queue.js";
import type { ClusterAccess, ControllerSpec, Informer, Key, ReconcileContext, WatchSpec } from "./types.js";

/** One running controller. */
export interface Controller {
  start(): void;
  close(): Promise<void>;
}

/** What a controller runs with. */
export interface ControllerOptions {
  readonly cluster: ClusterAccess;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly resyncMs: number;
  /** Aborted when the controller must end. */
  readonly signal: AbortSignal;
}

const defaultConcurrency = 2;

function createMeters(metrics: Metrics, controller: string) {
  const runs = metrics.counter({
    name: "argosy_controller_reconciles_total",
    help: "Reconciles by result.",
    labels: ["controller", "result"],
  });
  const time = metrics.histogram({
    name: "argosy_controller_reconcile_seconds",
    help: "Time of one reconcile.",
    labels: ["controller"],
  });
  const depth = metrics.gauge({
    name: "argosy_controller_queue_depth",
    help: "Keys that wait for a worker.",
    labels: ["controller"],
  });
  return {
    ended: (result: string, seconds: number): void => {
      runs.add({ controller, result });
      time.observe({ controller }, seconds);
    },
    depth: (keys: number): void => depth.set({ controller }, keys),
  };
}

/** Key of the object of `kind` that controls `object`. */
function ownerKey(object: KubeObject, kind: Kind): readonly Key[] {
  const owner = controllerOf(object);
  if (owner === undefined || !refersTo(owner, kind)) return [];
  return [{ namespace: kind.namespaced ? (object.metadata.namespace ?? "") : "", name: owner.name }];
}

function keyOf(object: KubeObject): Key {
  return { namespace: object.metadata.namespace ?? "", name: object.metadata.name };
}

/** Makes a controller that is not started. */
export function createController<T extends KubeObject>(
  spec: ControllerSpec<T>,
  options: ControllerOptions,
): Controller {
  return new RunningController(spec, options);
}

class RunningController<T extends KubeObject> implements Controller {
  readonly #spec: ControllerSpec<T>;
  readonly #options: ControllerOptions;
  readonly #log: Logger;
  readonly #meters: ReturnType<typeof createMeters>;
  readonly #informer: Informer<T>;
  readonly #events: OwnedEventRecorder;
  readonly #queue: Queue;
  readonly #undo: (() => void)[] = [];
  #resyncTimer: Timer | undefined;

  constructor(spec: ControllerSpec<T>, options: ControllerOptions) {
    const { cluster, clock, random } = options;
    this.#spec = spec;
    this.#options = options;
    this.#log = options.log.with({ controller: spec.name, cluster: cluster.name });
    this.#meters = createMeters(options.metrics, spec.name);
    this.#informer = cluster.informers.informer(spec.kind);
    const component = spec.eventSource ?? spec.name;
    this.#events = createEventRecorder({ client: cluster.client, clock, random, log: this.#log, component });
    this.#queue = createQueue({
      clock,
      random,
      concurrency: spec.concurrency ?? defaultConcurrency,
      work: (key) => this.#work(key),
    });
  }

  start(): void {
    this.#begin().catch((error: unknown) => {
      if (!this.#options.signal.aborted) this.#log.error("controller did not start", { err: error });
    });
  }

  async close(): Promise<void> {
    for (const remove of this.#undo) remove();
    this.#resyncTimer?.cancel();
    await this.#queue.close();
    await this.#events.close();
  }

  async #begin(): Promise<void> {
    const { signal } = this.#options;
    const sources = this.#subscribe();
    await Promise.all([this.#informer.synced(signal), ...sources.map((source) => source.synced(signal))]);
    if (signal.aborted) return;
    for (const object of this.#informer.list()) this.#queue.add(keyOf(object));
    for (const key of this.#spec.keys ?? []) this.#queue.add(key);
    this.#armResync();
    this.#queue.start();
  }

  #subscribe(): Informer<KubeObject>[] {
    const { cluster } = this.#options;
    const spec = this.#spec;
    const sources: Informer<KubeObject>[] = [];
    const follow = (
      source: Informer<KubeObject>,
      keys: (object: KubeObject) => readonly Key[],
      concerns: WatchSpec["concerns"] = () => true,
    ): void => {
      sources.push(source);
      this.#undo.push(
        source.onChange((now, old) => {
          if (now !== undefined && old !== undefined && !concerns(now, old)) return;
          this.#wake([...(now ? keys(now) : []), ...(old ? keys(old) : [])]);
        }),
      );
    };
    this.#undo.push(
      this.#informer.onChange((now, old) => {
        const object = now ?? old;
        if (object === undefined) return;
        if (now !== undefined && old !== undefined && spec.concerns?.(now, old) === false) return;
        if (now !== undefined && old === undefined && spec.isIdle?.(now) === true) return;
        this.#wake([keyOf(object)]);
      }),
    );
    for (const owned of spec.owns ?? [])
      follow(cluster.informers.informer(owned), (object) => ownerKey(object, spec.kind));
    for (const watch of spec.watches ?? []) {
      const { informers } = watch.cluster ?? cluster;
      follow(informers.informer(watch.kind), (object) => watch.keys(object, informers), watch.concerns);
    }
    return sources;
  }

  #wake(keys: readonly Key[]): void {
    for (const key of keys) this.#queue.add(key);
    this.#meters.depth(this.#queue.depth);
  }

  #armResync(): void {
    const { clock, random, resyncMs } = this.#options;
    this.#resyncTimer = clock.setTimer(resyncMs * (0.9 + 0.2 * random.next()), () => {
      for (const object of this.#informer.list()) this.#queue.add(keyOf(object), "resync");
      for (const key of this.#spec.keys ?? []) this.#queue.add(key, "resync");
      this.#armResync();
    });
  }

  #contextFor(key: Key): ReconcileContext<T> {
    const { cluster, clock, random, signal } = this.#options;
    const parent = this.#log;
    let log: Logger | undefined;
    return {
      cluster,
      clock,
      random,
      signal,
      // Most reconciles have nothing to say.
      get log() {
        log ??= parent.with({ key: `${key.namespace}/${key.name}` });
        return log;
      },
      informer: this.#informer,
      events: this.#events,
      enqueue: (other, delayMs = 0) => this.#queue.addAfter(other, delayMs),
    };
  }

  async #work(key: Key): Promise<void> {
    const { clock, signal } = this.#options;
    const beganMs = clock.monotonicMs();
    const context = this.#contextFor(key);
    let result = "success";
    try {
      const outcome = await reconcileOnce(this.#spec, key, context);
      this.#queue.forget(key);
      if (outcome?.requeueAfterMs !== undefined) this.#queue.addAfter(key, outcome.requeueAfterMs);
    } catch (error) {
      if (signal.aborted) return;
      result = this.#handleFailure(error, key, context.log);
    }
    this.#meters.ended(result, (clock.monotonicMs() - beganMs) / 1000);
    this.#meters.depth(this.#queue.depth);
  }

  /** Says how the failure is called in metrics, and arranges the retry. */
  #handleFailure(error: unknown, key: Key, log: Logger): string {
    if (error instanceof TerminalError) {
      this.#queue.forget(key);
      log.warn("reconcile refused until the object changes", { reason: error.message });
      return "terminal";
    }
    this.#queue.addRateLimited(key);
    if (isConflict(error)) {
      log.debug("reconcile lost a race, trying again", { reason: error.message });
      return "conflict";
    }
    log.warn("reconcile failed, trying again", { err: error, failures: this.#queue.failures(key) });
    return "error";
  }
}

/** One look at one key: finalizer first, then the controller's own work. */
async function reconcileOnce<T extends KubeObject>(
  spec: ControllerSpec<T>,
  key: Key,
  context: ReconcileContext<T>,
): Promise<Awaited<ReturnType<ControllerSpec<T>["reconcile"]>>> {
  let object = context.informer.get(key);
  if (object === undefined || spec.finalizer === undefined || spec.finalize === undefined)
    return spec.reconcile(key, object, context);
  const resource = context.cluster.client.resource(spec.kind);
  if (!isDeleting(object)) {
    try {
      object = await addFinalizer(resource, object, spec.finalizer, spec.name);
    } catch (error) {
      // Gone since the informer heard of it: its deletion event is on the way.
      if (isNotFound(error)) return undefined;
      throw error;
    }
    return spec.reconcile(key, object, context);
  }
  if (object.metadata.finalizers?.includes(spec.finalizer) !== true) return undefined;
  const outcome = await spec.finalize(object, context);
  if (outcome !== "done") return outcome;
  await removeFinalizer(resource, context.informer.get(key) ?? object, spec.finalizer, spec.name);
  return undefined;
}
