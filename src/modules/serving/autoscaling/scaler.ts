/** One scaled workload: what is remembered of it between two looks, and the look itself. No I/O. */
import type { ActivatorReport } from "../../../dataplane/gateway/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import { ColdStartWatch } from "./cold-start.js";
import { bound, type DecisionState, decide, firstState } from "./decision.js";
import { expected, type TrafficHistory, withArrivals } from "./history.js";
import { Load } from "./load.js";
import type { ScalingSettings } from "./settings.js";
import { stepToZero, type ZeroState } from "./to-zero.js";
import { TICK_MS } from "./window.js";

/** What outlives a restart. */
export interface KeptState extends ZeroState {
  /** Its first pods were ready once, with this template. */
  readonly initialized: boolean;
  /** Names the pods' template. */
  readonly template: string;
}

/** What is to be seen of a workload at a look. */
export interface Sight {
  readonly nowMs: number;
  /** Of the Deployment; absent: nobody has said. */
  readonly replicas: number;
  readonly readyReplicas: number;
  /** Of those, with the present template. */
  readonly updatedReplicas: number;
  /** Names the pods' template; with a new one its initial scale counts again, so that it is seen to run. */
  readonly template: string;
  readonly reachable: boolean;
  readonly progressDeadlineMs: number;
}

/** What a look found. */
export interface Look {
  /** To be set; the present number where nothing is to change. */
  readonly replicas: number;
  readonly state: KeptState;
  readonly inPanic: boolean;
  readonly excessBurstCapacity: number;
  /** The numbers that it was made of. */
  readonly inputs: Readonly<Record<string, number | boolean | string>>;
  readonly words: readonly string[];
  readonly againMs: number | undefined;
}

/** What an annotation keeps; undefined where it keeps nothing that can be read. */
export function readKept(text: string | undefined): KeptState | undefined {
  try {
    const value: unknown = JSON.parse(text ?? "");
    if (!isObject(value)) return undefined;
    const { phase, since, initialized, template } = value;
    const sinceMs = typeof since === "string" ? Date.parse(since) : Number.NaN;
    if ((phase !== "active" && phase !== "inactive" && phase !== "activating") || !Number.isFinite(sinceMs))
      return undefined;
    return {
      phase,
      sinceMs,
      initialized: initialized === true,
      template: typeof template === "string" ? template : "",
    };
  } catch {
    return undefined;
  }
}

/** As it stands in the annotation. */
export function renderKept({ phase, sinceMs, initialized, template }: KeptState): string {
  return JSON.stringify({ phase, since: new Date(sinceMs).toISOString(), initialized, template });
}

/** Where decisions begin: within a delay, pods that are there are pods that were wanted. */
function beginning(
  { decision }: ScalingSettings,
  { readyReplicas, replicas, nowMs }: Sight,
  isKnown: boolean,
): DecisionState {
  const first = firstState(readyReplicas, nowMs);
  const isDelayed = decision.scaleDownDelayMs > 0 && isKnown && replicas > 0;
  return isDelayed ? { ...first, peaks: [{ slot: Math.floor(nowMs / TICK_MS), value: replicas }] } : first;
}

/** The memory of one workload. */
export class Scaler {
  readonly load: Load;
  readonly coldStart = new ColdStartWatch();
  history: TrafficHistory;
  #settings: ScalingSettings;
  #arrived: number | undefined;
  #decision: DecisionState;
  #kept: KeptState;

  /** Begins where the kept state ends. After a restart no pod is taken away before it is known what it is needed for. */
  constructor(
    settings: ScalingSettings,
    begin: { readonly sight: Sight; readonly kept: KeptState | undefined; readonly history: TrafficHistory },
  ) {
    const { sight, kept, history } = begin;
    this.#settings = settings;
    this.load = new Load(settings);
    this.history = history;
    const { template } = sight;
    this.#kept = kept ?? { phase: "activating", sinceMs: sight.nowMs, initialized: false, template };
    this.#decision = beginning(settings, sight, kept !== undefined);
  }

  get settings(): ScalingSettings {
    return this.#settings;
  }

  /** Goes on under other settings. Where something else is measured it is as after a restart: what the pods were needed for is not known. */
  adopt(settings: ScalingSettings, sight: Sight): void {
    const before = this.#settings;
    const isSame = before.metric === settings.metric && before.query === settings.query;
    this.#settings = settings;
    this.load.adopt(settings, isSame);
    const begun = beginning(settings, sight, true);
    const isDelayed = before.decision.scaleDownDelayMs > 0;
    this.#decision = isSame ? { ...this.#decision, peaks: (isDelayed ? this.#decision : begun).peaks } : begun;
  }

  /** What the gateway counts. */
  note(report: ActivatorReport, nowMs: number, readyReplicas: number): void {
    this.load.note(report, nowMs, readyReplicas);
    const before = this.#arrived ?? report.arrived;
    this.#arrived = report.arrived;
    this.history = withArrivals(this.history, nowMs, Math.max(0, report.arrived - before));
  }

  /** Requests wait and there is no pod. */
  get isAwaited(): boolean {
    const { latest } = this.load;
    return latest !== undefined && latest.waiting > 0 && latest.pods === 0;
  }

  /** Its first pods have become ready since the last look. */
  hasArrived({ updatedReplicas }: Sight): boolean {
    return this.#kept.phase === "activating" && updatedReplicas > 0;
  }

  /** One look; its time is the caller's. */
  look(sight: Sight): Look {
    const { settings } = this;
    const { nowMs, replicas, reachable } = sight;
    const { latest } = this.load;
    // The gateway sees a pod earlier than its readiness is known.
    const readyPods = Math.min(
      Math.max(sight.readyReplicas, latest?.pods ?? 0),
      Math.max(replicas, sight.readyReplicas),
    );
    const { initialScale } = settings.bounds;
    const isKnown = this.#kept.initialized && this.#kept.template === sight.template;
    const initialized = isKnown || Math.min(readyPods, sight.updatedReplicas) >= initialScale;
    const averages = this.load.averages(nowMs);
    const decision = decide(this.#decision, { ...averages, readyPods, nowMs }, { ...settings.decision, reachable });
    this.#decision = decision.state;
    const words = [...decision.words];
    const wanted = this.#bounded(decision.valid ? decision.desired : undefined, { sight, initialized, words });
    const step = stepToZero(this.#kept, {
      desired: wanted,
      readyPods,
      minReady: initialized ? 1 : initialScale,
      nowMs,
      stableWindowMs: settings.decision.stableWindowMs,
      graceMs: settings.graceMs,
      retentionMs: settings.retentionMs,
      progressDeadlineMs: sight.progressDeadlineMs,
      isHeld: latest !== undefined,
      heldForMs: 0,
    });
    words.push(...step.words);
    this.#kept = { ...step.state, initialized, template: sight.template };
    return {
      replicas: step.replicas ?? replicas,
      state: this.#kept,
      inPanic: decision.inPanic,
      excessBurstCapacity: decision.excessBurstCapacity,
      inputs: {
        metric: settings.metric,
        target: settings.decision.target,
        ready: readyPods,
        replicas,
        waiting: latest?.waiting ?? 0,
        active: latest?.active ?? 0,
        inPanic: decision.inPanic,
        ...averages,
      },
      words,
      againMs: step.againMs,
    };
  }

  #bounded(
    desired: number | undefined,
    { sight, initialized, words }: { readonly sight: Sight; readonly initialized: boolean; readonly words: string[] },
  ): number | undefined {
    const { settings } = this;
    const { nowMs, reachable, replicas } = sight;
    const due = settings.prewarm ? expected(this.history, nowMs) : { isDue: false, requests: 0 };
    const minScale = Math.max(settings.bounds.minScale, due.isDue ? 1 : 0);
    const bounds = { ...settings.bounds, minScale, initialized, reachable };
    // Without data the bounds hold all the same.
    const least = bound(0, bounds);
    const most = bound(replicas, bounds);
    if (desired === undefined && least <= replicas && most >= replicas) return undefined;
    if (due.isDue && minScale > settings.bounds.minScale && (desired ?? 0) === 0)
      words.push(
        `about ${Math.round(due.requests)} requests usually come in this quarter of an hour → at least 1 (pre-warmed)`,
      );
    return bound(desired ?? replicas, bounds, words);
  }
}
