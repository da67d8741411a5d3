/** How many pods a load wants: one look of the pod autoscaler (KPA), as a pure function. */
import { type Peak, withPeak } from "./window.js";

/** What a look goes by; see `readSettings`. */
export interface DecisionSettings {
  /** Load that one pod should have. */
  readonly target: number;
  /** Load that one pod can have at most. */
  readonly total: number;
  readonly maxScaleUpRate: number;
  readonly maxScaleDownRate: number;
  /** As a factor: 2 is 200 %. */
  readonly panicThreshold: number;
  readonly stableWindowMs: number;
  readonly activationScale: number;
  readonly scaleDownDelayMs: number;
  /** -1: unlimited. */
  readonly targetBurstCapacity: number;
  /** Whether requests can get there; what nobody can reach may go to nothing at once. */
  readonly reachable: boolean;
}

/** What is known at a look. */
export interface Observation {
  /** Averages over the two windows; absent: nothing was measured. */
  readonly stable?: number;
  readonly panic?: number;
  readonly readyPods: number;
  readonly nowMs: number;
}

/** What one look leaves to the next. */
export interface DecisionState {
  /** When the panic threshold was passed last; absent: no panic. */
  readonly panicAtMs?: number;
  /** The largest number wanted in this panic. */
  readonly panicPeak: number;
  readonly peaks: readonly Peak[];
}

/** What a look found. */
export interface Decision {
  /** Without data nothing is decided, and everything stays as it is. */
  readonly valid: boolean;
  readonly desired: number;
  /** What could come at once without waiting; below 0: requests may have to wait. */
  readonly excessBurstCapacity: number;
  readonly inPanic: boolean;
  readonly state: DecisionState;
  /** The steps that led there, in words. */
  readonly words: readonly string[];
}

/** State of a new autoscaler. Where several pods are ready already it begins in panic: what they were needed for is forgotten, so none is taken away before it is known again. */
export function firstState(readyPods: number, nowMs: number): DecisionState {
  return readyPods > 1
    ? { panicAtMs: nowMs, panicPeak: readyPods, peaks: [] }
    : { panicPeak: Math.max(0, readyPods), peaks: [] };
}

interface Wanted {
  readonly raw: number;
  readonly bounded: number;
}

/** One look. */
export function decide(state: DecisionState, seen: Observation, settings: DecisionSettings): Decision {
  const { stable, panic, readyPods, nowMs } = seen;
  if (stable === undefined || panic === undefined) {
    const words = ["nothing was measured yet, so nothing changes"];
    const inPanic = state.panicAtMs !== undefined;
    return { valid: false, desired: readyPods, excessBurstCapacity: 0, inPanic, state, words };
  }
  const words: string[] = [];
  const ready = Math.max(1, readyPods);
  const byStable = wantedFor("the stable window", stable, { ready, settings, words });
  const byPanic = wantedFor("the panic window", panic, { ready, settings, words });
  const panicked = panicState(state, { wanted: byPanic.raw, ready, nowMs, settings, words });
  let desired = byStable.bounded;
  let { panicPeak } = panicked;
  if (panicked.panicAtMs !== undefined) {
    desired = Math.max(byStable.bounded, byPanic.bounded);
    if (desired < panicPeak) words.push(`${desired} < ${panicPeak} wanted before in this panic → ${panicPeak}`);
    panicPeak = Math.max(panicPeak, desired);
    desired = panicPeak;
  }
  let { peaks } = state;
  if (settings.scaleDownDelayMs > 0 && settings.reachable) {
    peaks = withPeak(peaks, nowMs, desired, settings.scaleDownDelayMs);
    const highest = peaks[0]?.value ?? desired;
    if (highest > desired)
      words.push(`${highest} were wanted within the last ${seconds(settings.scaleDownDelayMs)} (delay) → ${highest}`);
    desired = Math.max(desired, highest);
  }
  const { panicAtMs } = panicked;
  return {
    valid: true,
    desired,
    excessBurstCapacity: burstCapacity(readyPods, panic, settings),
    inPanic: panicAtMs !== undefined,
    state: { panicPeak, peaks, ...(panicAtMs === undefined ? {} : { panicAtMs }) },
    words,
  };
}

function wantedFor(
  name: string,
  load: number,
  { ready, settings, words }: { ready: number; settings: DecisionSettings; words: string[] },
): Wanted {
  const { target, maxScaleUpRate, maxScaleDownRate, reachable, activationScale } = settings;
  const most = Math.ceil(maxScaleUpRate * ready);
  const least = reachable ? Math.floor(ready / maxScaleDownRate) : 0;
  const raw = Math.ceil(load / target);
  let bounded = Math.min(Math.max(raw, least), most);
  const base = `${name}: ${shown(load)} / ${shown(target)} a pod → ${raw}`;
  if (bounded < raw) words.push(`${base}, at most ${shown(maxScaleUpRate)} × ${ready} ready → ${bounded}`);
  else if (bounded > raw) words.push(`${base}, at least ${ready} ready / ${shown(maxScaleDownRate)} → ${bounded}`);
  else words.push(base);
  if (activationScale > 1 && raw > 0 && activationScale > bounded) {
    words.push(`activation scale → ${activationScale}`);
    bounded = activationScale;
  }
  return { raw, bounded };
}

interface PanicQuestion {
  readonly wanted: number;
  readonly ready: number;
  readonly nowMs: number;
  readonly settings: DecisionSettings;
  readonly words: string[];
}

function panicState(
  state: DecisionState,
  { wanted, ready, nowMs, settings, words }: PanicQuestion,
): Pick<DecisionState, "panicAtMs" | "panicPeak"> {
  const { panicThreshold, stableWindowMs } = settings;
  const { panicAtMs, panicPeak } = state;
  if (wanted / ready >= panicThreshold) {
    const what = panicAtMs === undefined ? "panic" : "panic goes on";
    words.push(`${wanted} wanted ≥ ${shown(panicThreshold)} × ${ready} ready → ${what}`);
    return { panicAtMs: nowMs, panicPeak };
  }
  if (panicAtMs === undefined) return { panicPeak };
  if (nowMs - panicAtMs > stableWindowMs) {
    words.push(
      `${wanted} wanted < ${shown(panicThreshold)} × ${ready} ready for ${seconds(stableWindowMs)} → no panic`,
    );
    return { panicPeak: 0 };
  }
  return { panicAtMs, panicPeak };
}

/** What could come at once: 0 where it is not asked for, -1 where every burst is to be held. */
function burstCapacity(readyPods: number, panic: number, { targetBurstCapacity, total }: DecisionSettings): number {
  if (targetBurstCapacity === 0) return 0;
  if (targetBurstCapacity < 0) return -1;
  return Math.floor(readyPods * total - targetBurstCapacity - panic);
}

const shown = (value: number): string => String(Math.round(value * 1000) / 1000);
const seconds = (ms: number): string => `${shown(ms / 1000)} s`;

/** What limits a number of pods, and what for. */
export interface Bounds {
  readonly minScale: number;
  /** 0: none. */
  readonly maxScale: number;
  readonly initialScale: number;
  /** Its first pods, `initialScale` of them, were ready once. */
  readonly initialized: boolean;
  readonly reachable: boolean;
}

/** A wish within its bounds. What nobody can reach needs no minimum; what was never up gets its initial scale first. */
export function bound(desired: number, bounds: Bounds, words: string[] = []): number {
  const { minScale, maxScale, initialScale, initialized, reachable } = bounds;
  let least = reachable ? minScale : 0;
  if (!initialized) least = Math.max(least, initialScale);
  if (desired < least) {
    words.push(`${desired} < ${initialized || least === minScale ? "min scale" : "initial scale"} ${least} → ${least}`);
    return least;
  }
  if (maxScale > 0 && desired > maxScale) {
    words.push(`${desired} > max scale ${maxScale} → ${maxScale}`);
    return maxScale;
  }
  return desired;
}
