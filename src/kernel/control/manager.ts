import { setMaxListeners } from "node:events";
import type { ApiClient } from "../client/index.js";
import type { Clock, Random } from "../clock/index.js";
import { ArgosyError } from "../errors/index.js";
import type { KubeObject } from "../kinds/index.js";
import type { Logger } from "../log/index.js";
import { createMetrics, type Metrics } from "../metrics/index.js";
import { type Controller, createController } from "./controller.js";
import { createLeaderElection, type LeaderElectionOptions } from "./leader.js";
import type { ClusterAccess, ControllerSpec } from "./types.js";

/** What controllers of one cluster run with. */
export interface ManagerOptions {
  readonly cluster: ClusterAccess;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Present: controllers run only while this candidate leads. */
  readonly leaderElection?: Pick<
    LeaderElectionOptions,
    "namespace" | "name" | "identity" | "leaseDurationMs" | "renewDeadlineMs" | "retryMs" | "onLeader"
  > & {
    /** Where the lease is; default: the cluster. */
    readonly client?: ApiClient;
  };
  /** Default: a registry of its own. */
  readonly metrics?: Metrics;
  /** Every object is looked at again after this long even if nothing changed; default 10 minutes. */
  readonly resyncMs?: number;
}

/** Runs controllers. */
export interface Manager {
  /** Also after `start`. A name may be used once. */
  add<T extends KubeObject>(spec: ControllerSpec<T>): void;
  /** Returns at once; controllers begin when their informers are synced (and the lease is held). */
  start(): void;
  /** Stops handing out work and resolves when running reconciles have ended. */
  close(): Promise<void>;
  readonly metrics: Metrics;
}

const defaultResyncMs = 10 * 60_000;

/** Makes a manager without controllers. */
export function createManager(options: ManagerOptions): Manager {
  const { clock, log } = options;
  const metrics = options.metrics ?? createMetrics();
  const stop = new AbortController();
  // One listener for each thing that runs: no leak.
  setMaxListeners(0, stop.signal);
  const makers = new Map<string, (signal: AbortSignal) => Controller>();
  const running = new Set<Controller>();
  let term: AbortSignal | undefined;
  let finished: Promise<void> = Promise.resolve();
  let isStarted = false;

  const begin = (maker: (signal: AbortSignal) => Controller, signal: AbortSignal): void => {
    const controller = maker(signal);
    running.add(controller);
    controller.start();
  };

  /** Runs all controllers until the signal is aborted. */
  const lead = async (signal: AbortSignal): Promise<void> => {
    term = signal;
    for (const maker of makers.values()) begin(maker, signal);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    term = undefined;
    await Promise.all([...running].map((controller) => controller.close()));
    running.clear();
  };

  return {
    metrics,
    add(spec) {
      if (makers.has(spec.name)) throw new ArgosyError("Duplicate", `controller "${spec.name}" is added twice`);
      const maker = (signal: AbortSignal): Controller =>
        createController(spec, { ...options, metrics, signal, resyncMs: options.resyncMs ?? defaultResyncMs });
      makers.set(spec.name, maker);
      if (term !== undefined) begin(maker, term);
    },
    start() {
      if (isStarted) throw new ArgosyError("Started", "the manager was started before");
      isStarted = true;
      const { leaderElection } = options;
      const run =
        leaderElection === undefined
          ? lead(stop.signal)
          : createLeaderElection({ ...options, client: options.cluster.client, ...leaderElection }).run(
              lead,
              stop.signal,
            );
      finished = run.catch((error: unknown) => log.error("manager ended", { err: error, atMs: clock.now() }));
    },
    async close() {
      stop.abort(new ArgosyError("Closed", "the manager is closed"));
      await finished;
    },
  };
}
