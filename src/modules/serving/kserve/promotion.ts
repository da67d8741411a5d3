/** The way of a new revision to its share: steps that are watched, or bit by bit, and back when a gate fails. Pure. */
import type { Verdict } from "../../../kernel/gates/index.js";
import { asNumber, asObject, asString, isObject, parseJson } from "../../../kernel/schema/index.js";
import { advanceRollout, beginRollout } from "../knative/traffic.js";
import type { PromotionSettings } from "./promotion-settings.js";

/** How far a revision is; kept with its Deployment. */
export interface PromotionState {
  readonly revision: string;
  /** Its share now. */
  readonly percent: number;
  /** Since when it is watched with that share; 0: its pods are not all ready yet. */
  readonly sinceMs: number;
  /** When it was asked for first: by how long it takes from there until its pods are ready, its bits are measured. */
  readonly askedAtMs?: number;
  /** Bit by bit: when the next bit is due, how large it is, and how long after the one before. */
  readonly bits?: { readonly nextAtMs: number; readonly step: number; readonly stepMs: number };
  /** Why it goes no further. */
  readonly failed?: { readonly reason: "GateFailed" | "GateUnanswered"; readonly message: string };
}

/** What is known of it now. */
export interface PromotionSeen {
  readonly revision: string;
  /** The share that is asked for in the end: `canaryTrafficPercent`, else 100. */
  readonly target: number;
  /** All its pods are of this revision and ready. */
  readonly isSettled: boolean;
  readonly nowMs: number;
  readonly verdicts: readonly Verdict[];
  /** Somebody said that it goes on whatever gates say. */
  readonly isPromoted: boolean;
}

/** Where it stands. */
export interface Promotion {
  readonly state: PromotionState;
  readonly phase: "Waiting" | "Baking" | "Holding" | "Complete" | "RolledBack" | "Paused";
  /** For people. */
  readonly message: string;
}

/** The next state. */
export function advancePromotion(
  before: PromotionState | undefined,
  settings: PromotionSettings,
  seen: PromotionSeen,
): Promotion {
  const { revision, target, nowMs } = seen;
  const known = before?.revision === revision ? before : undefined;
  if (seen.isPromoted || target === 0) {
    const state = { revision, percent: target, sinceMs: known?.sinceMs ?? 0 };
    const said = target === 0 ? "canaryTrafficPercent is 0: it is pinned" : "it was promoted by hand";
    return { state, phase: target === 100 ? "Complete" : "Holding", message: `${revision}: ${said}` };
  }
  const start = known ?? { revision, percent: firstShare(settings, target), sinceMs: 0, askedAtMs: nowMs };
  const state = start.percent > target ? { ...start, percent: target } : start;
  if (state.failed !== undefined) return stopped(state, settings);
  if (state.sinceMs === 0) {
    const words = `${revision} gets ${state.percent} % once all its pods are ready`;
    if (!seen.isSettled) return { state, phase: "Waiting", message: words };
    return going({ ...state, sinceMs: nowMs }, settings, seen);
  }
  return going(state, settings, seen);
}

const firstShare = ({ steps, durationMs }: PromotionSettings, target: number): number =>
  durationMs > 0 ? Math.min(1, target) : Math.min(steps[0] ?? target, target);

function stopped(state: PromotionState, { onFailure }: PromotionSettings): Promotion {
  const { reason, message } = state.failed ?? { reason: "GateFailed", message: "" };
  const isBack = onFailure === "Rollback";
  return {
    state: isBack ? { ...state, percent: 0 } : state,
    phase: isBack ? "RolledBack" : "Paused",
    message: `${state.revision} ${isBack ? "was taken back" : `stays at ${state.percent} %`}: ${reason}: ${message}`,
  };
}

function going(state: PromotionState, settings: PromotionSettings, seen: PromotionSeen): Promotion {
  const { nowMs, target, verdicts } = seen;
  const bad = verdicts.find(({ verdict }) => verdict === "Failed");
  if (bad !== undefined)
    return stopped({ ...state, failed: { reason: "GateFailed", message: `${bad.name}: ${bad.message}` } }, settings);
  if (settings.durationMs > 0) return bitByBit(state, settings, seen);
  const passedMs = nowMs - state.sinceMs;
  const isLast = state.percent >= target;
  const waiting = verdicts.find(({ verdict }) => verdict === "Waiting");
  if (isLast && target < 100)
    return { state, phase: "Holding", message: `${state.revision} has its ${target} % and is watched` };
  if (isLast) return { state, phase: "Complete", message: `${state.revision} has all the traffic` };
  if (passedMs < settings.bakeMs)
    return { state, phase: "Baking", message: `${state.revision} is watched at ${state.percent} %` };
  if (waiting !== undefined) {
    if (passedMs < settings.bakeMs + settings.deadlineMs)
      return { state, phase: "Baking", message: `${state.revision}: ${waiting.name} waits: ${waiting.message}` };
    const message = `${waiting.name}: ${waiting.message}, after bake and deadline`;
    return stopped({ ...state, failed: { reason: "GateUnanswered", message } }, settings);
  }
  const percent = Math.min(target, settings.steps.find((step) => step > state.percent) ?? target);
  const told = verdicts.map(({ name, message }) => `${name}: ${message}`).join("; ");
  return {
    state: { revision: state.revision, percent, sinceMs: 0 },
    phase: "Waiting",
    message: `${state.revision} goes from ${state.percent} to ${percent} %${told === "" ? "" : `: ${told}`}`,
  };
}

/** 1 % first, then equal bits, as Knative has it. */
function bitByBit(state: PromotionState, { durationMs }: PromotionSettings, seen: PromotionSeen): Promotion {
  const { target, nowMs } = seen;
  const { revision, askedAtMs = nowMs } = state;
  const pair = (percent: number) => [
    { revision: "", percent: target - percent },
    { revision, percent },
  ];
  const begun =
    state.bits === undefined
      ? beginRollout({ parts: pair(0).slice(0, 1), beganAtMs: 0, nextAtMs: 0, stepMs: 0, step: 0 }, revision, {
          ...{ percent: target, nowMs, durationMs, readyAfterMs: nowMs - askedAtMs },
        })
      : advanceRollout({ parts: pair(state.percent), beganAtMs: state.sinceMs, ...state.bits }, nowMs);
  const percent = begun.parts.at(-1)?.percent ?? target;
  const { nextAtMs, step, stepMs } = begun;
  const next: PromotionState = { ...state, percent, bits: { nextAtMs, step, stepMs } };
  if (percent < target)
    return { state: next, phase: "Baking", message: `${revision} has ${percent} % on its way to ${target} %` };
  return target < 100
    ? { state: next, phase: "Holding", message: `${revision} has its ${target} %` }
    : { state: next, phase: "Complete", message: `${revision} has all the traffic` };
}

/** The state as a Deployment keeps it; `undefined` for what is none. */
export function readPromotion(text: string | undefined): PromotionState | undefined {
  const value = asObject(parseJson(text ?? ""));
  const revision = asString(value["revision"]);
  if (revision === "") return undefined;
  const { bits, failed } = value;
  const number = (of: unknown, name: string): number => (isObject(of) ? (asNumber(of[name]) ?? 0) : 0);
  const reason = isObject(failed) && failed["reason"] === "GateUnanswered" ? "GateUnanswered" : "GateFailed";
  return {
    revision,
    percent: number(value, "percent"),
    sinceMs: number(value, "sinceMs"),
    ...("askedAtMs" in value ? { askedAtMs: number(value, "askedAtMs") } : {}),
    ...(isObject(bits)
      ? { bits: { nextAtMs: number(bits, "nextAtMs"), step: number(bits, "step"), stepMs: number(bits, "stepMs") } }
      : {}),
    ...(isObject(failed) ? { failed: { reason, message: asString(failed["message"]) } } : {}),
  };
}
