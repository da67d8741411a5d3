/** When the last pods go, as a pure state machine. */

/** activating: pods are wanted and none answers yet; inactive: none is wanted, those that are there only wait for their end. */
export type Phase = "activating" | "active" | "inactive";

/** Where a workload stands; kept over restarts. */
export interface ZeroState {
  readonly phase: Phase;
  /** Wall-clock milliseconds at which the phase began. */
  readonly sinceMs: number;
}

/** What decides about the last pods. */
export interface ZeroQuestion {
  /** Within its bounds; absent: nothing was decided. */
  readonly desired: number | undefined;
  readonly readyPods: number;
  /** So many ready pods make it active. */
  readonly minReady: number;
  readonly nowMs: number;
  readonly stableWindowMs: number;
  readonly graceMs: number;
  readonly retentionMs: number;
  readonly progressDeadlineMs: number;
  /** Whether requests that come now are held rather than lost; without that nothing goes to zero. */
  readonly isHeld: boolean;
  /** For how long that has been so. */
  readonly heldForMs: number;
}

/** What follows. */
export interface ZeroAnswer {
  /** To be set; absent: it stays. */
  readonly replicas?: number;
  readonly state: ZeroState;
  /** When to look again at the latest. */
  readonly againMs?: number;
  readonly words: readonly string[];
}

/** After the deadline for progress, how long pods have to say what is wrong. */
const DIAGNOSIS_MS = 30_000;

/** One step. */
export function stepToZero(state: ZeroState, question: ZeroQuestion): ZeroAnswer {
  const { desired } = question;
  const now = arrived(state, question);
  if (desired === undefined) return { state: now, words: [] };
  if (desired > 0) return { replicas: desired, state: now, words: [] };
  if (now.phase === "activating") return giveUp(now, question);
  if (now.phase === "active") return rest(now, question);
  return leave(now, question);
}

/** The phase that the pods and the wish make it. */
function arrived(state: ZeroState, { desired, readyPods, minReady, nowMs }: ZeroQuestion): ZeroState {
  const isWanted = (desired ?? 0) > 0 || state.phase !== "inactive";
  if (!isWanted) return state;
  const phase: Phase =
    readyPods >= Math.max(1, minReady) ? "active" : state.phase === "active" && readyPods > 0 ? "active" : "activating";
  return phase === state.phase ? state : { phase, sinceMs: nowMs };
}

function giveUp(state: ZeroState, { nowMs, progressDeadlineMs }: ZeroQuestion): ZeroAnswer {
  const limitMs = progressDeadlineMs + DIAGNOSIS_MS;
  const passedMs = nowMs - state.sinceMs;
  if (passedMs < limitMs)
    return {
      state,
      againMs: limitMs - passedMs,
      words: ["no request waits, but the pods that were asked for are still starting"],
    };
  return {
    replicas: 0,
    state: { phase: "inactive", sinceMs: nowMs },
    words: [`no pod became ready within ${limitMs / 1000} s → given up, 0`],
  };
}

function rest(state: ZeroState, { nowMs, stableWindowMs }: ZeroQuestion): ZeroAnswer {
  const leftMs = stableWindowMs - (nowMs - state.sinceMs);
  if (leftMs > 0)
    return {
      replicas: 1,
      state,
      againMs: leftMs,
      words: [`nothing is wanted, but it has been active for less than ${stableWindowMs / 1000} s → 1`],
    };
  return {
    state: { phase: "inactive", sinceMs: nowMs },
    againMs: 0,
    words: [`no request for ${stableWindowMs / 1000} s → inactive; requests that come are held`],
  };
}

function leave(state: ZeroState, question: ZeroQuestion): ZeroAnswer {
  const { nowMs, graceMs, retentionMs, isHeld, heldForMs } = question;
  if (!isHeld) return { state, words: ["requests would not be held, so the last pods stay"] };
  const inactiveMs = nowMs - state.sinceMs;
  const whole = Math.max(graceMs, retentionMs);
  const leftMs = Math.min(whole - inactiveMs, Math.max(graceMs - heldForMs, retentionMs - inactiveMs));
  if (leftMs > 0)
    return { state, againMs: leftMs, words: [`inactive for ${Math.round(inactiveMs / 1000)} s of ${whole / 1000} s`] };
  return { replicas: 0, state, words: [`inactive for ${Math.round(inactiveMs / 1000)} s → 0`] };
}
