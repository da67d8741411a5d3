/** Shares of requests: which Revisions they mean, and how a new one comes to its share bit by bit. Pure. */
import { isObject } from "../../../kernel/schema/index.js";
import type { TrafficTarget } from "./kinds.js";

/** A share with its Revision found. */
export interface Assigned extends TrafficTarget {
  readonly revisionName: string;
}

/** What the shares of a Route come to. */
export interface Assignment {
  readonly targets: readonly Assigned[];
  /** Why not every share has its Revision; empty when each has. */
  readonly missing: string;
  readonly reason: "" | "RevisionMissing" | "RevisionNotReady" | "ConfigurationMissing";
}

/** What is known of Revisions and Configurations. */
export interface Known {
  /** undefined: there is none. */
  readonly isReady: (revision: string) => boolean | undefined;
  /** The latest ready Revision of a Configuration; undefined: there is no such Configuration; empty: none is ready yet. */
  readonly latestReady: (configuration: string) => string | undefined;
}

/** Finds the Revision of each share. `own` is the Configuration that `latestRevision` means. */
export function assign(traffic: readonly TrafficTarget[], own: string | undefined, known: Known): Assignment {
  const targets: Assigned[] = [];
  for (const target of traffic) {
    const fail = (reason: Assignment["reason"], missing: string): Assignment => ({ targets, reason, missing });
    const { revisionName, configurationName = own } = target;
    if (revisionName !== undefined && revisionName !== "") {
      const isReady = known.isReady(revisionName);
      if (isReady === undefined)
        return fail("RevisionMissing", `Revision "${revisionName}" referenced in traffic not found`);
      if (!isReady) return fail("RevisionNotReady", `Revision "${revisionName}" is not ready yet`);
      targets.push({ ...target, revisionName, latestRevision: false });
      continue;
    }
    if (configurationName === undefined)
      return fail("ConfigurationMissing", "a share names neither Revision nor Configuration");
    const latest = known.latestReady(configurationName);
    if (latest === undefined)
      return fail("ConfigurationMissing", `Configuration "${configurationName}" referenced in traffic not found`);
    if (latest === "")
      return fail("RevisionMissing", `Configuration "${configurationName}" does not have any ready Revision`);
    if (known.isReady(latest) === undefined)
      return fail("RevisionMissing", `Revision "${latest}", the latest ready one of "${configurationName}", is gone`);
    targets.push({ ...target, revisionName: latest, latestRevision: true });
  }
  return { targets, missing: "", reason: "" };
}

/** Shares as they were, without those of Revisions that are gone: what those had is divided among the others as they have shares. All of them where nobody else has any. */
export function withoutGone(targets: readonly Assigned[], isThere: (revision: string) => boolean): readonly Assigned[] {
  const kept = targets.filter(({ revisionName }) => isThere(revisionName));
  const sumOf = (some: readonly Assigned[]): number => some.reduce((sum, { percent = 0 }) => sum + percent, 0);
  const [sum, rest] = [sumOf(targets), sumOf(kept)];
  if (kept.length === targets.length) return targets;
  if (rest === 0) return targets.filter(({ percent = 0, revisionName }) => percent > 0 || isThere(revisionName));
  let given = 0;
  let had = 0;
  return kept.map(({ percent = 0, ...target }) => {
    had += percent;
    const part = Math.round((sum * had) / rest) - given;
    given += part;
    return { ...target, percent: part };
  });
}

/** Percent of each Revision, all its shares together. */
export function percents(targets: readonly Assigned[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { revisionName, percent = 0 } of targets) sums[revisionName] = (sums[revisionName] ?? 0) + percent;
  return sums;
}

/** One Revision's part of a share that is handed over bit by bit. */
export interface RolloutPart {
  readonly revision: string;
  readonly percent: number;
}

/** How far the share of the latest Revision has come, the newest last. */
export interface Rollout {
  readonly parts: readonly RolloutPart[];
  /** When the newest part got its first percent; 0: it has not begun. Milliseconds. */
  readonly beganAtMs: number;
  /** When the next step is due, and how large it is. */
  readonly nextAtMs: number;
  readonly stepMs: number;
  readonly step: number;
}

/** Reads one that was written down; `undefined`: it is none. */
export function readRollout(text: string | undefined): Rollout | undefined {
  try {
    const value: unknown = JSON.parse(text ?? "");
    if (!isObject(value) || !Array.isArray(value["parts"])) return undefined;
    const parts = value["parts"].flatMap((part: unknown) => {
      if (!isObject(part)) return [];
      const { revision, percent } = part;
      return typeof revision === "string" && typeof percent === "number" ? [{ revision, percent }] : [];
    });
    const number = (name: string): number => (typeof value[name] === "number" ? value[name] : 0);
    return {
      parts,
      beganAtMs: number("beganAtMs"),
      nextAtMs: number("nextAtMs"),
      stepMs: number("stepMs"),
      step: number("step"),
    };
  } catch {
    return undefined;
  }
}

/** The whole share is one Revision's. */
export function settledRollout(revision: string, percent: number): Rollout {
  return { parts: [{ revision, percent }], beganAtMs: 0, nextAtMs: 0, stepMs: 0, step: 0 };
}

/**
 * Begins to hand a share over to a new Revision: 1 % at once; then in as many equal steps as the time that it took to become ready
 * fits into the duration. A share of up to 1 % is handed over whole.
 */
export function beginRollout(
  before: Rollout,
  revision: string,
  {
    percent,
    nowMs,
    durationMs,
    readyAfterMs,
  }: { percent: number; nowMs: number; durationMs: number; readyAfterMs: number },
): Rollout {
  if (percent <= 1 || durationMs <= 0) return settledRollout(revision, percent);
  const steps = Math.max(1, Math.round(durationMs / Math.max(1000, readyAfterMs)));
  const step = Math.max(1, Math.round((percent - 1) / steps));
  const stepMs = durationMs / Math.max(1, Math.ceil((percent - 1) / step));
  const parts = [...drain(before.parts, 1), { revision, percent: 1 }];
  return { parts, beganAtMs: nowMs, nextAtMs: nowMs + stepMs, stepMs, step };
}

/** The steps that are due. Taken from the oldest Revision first. */
export function advanceRollout(rollout: Rollout, nowMs: number): Rollout {
  let current = rollout;
  while (current.parts.length > 1 && current.nextAtMs <= nowMs) {
    const newest = current.parts.at(-1);
    if (newest === undefined) break;
    const others = current.parts.slice(0, -1);
    const left = others.reduce((sum, { percent }) => sum + percent, 0);
    const amount = Math.min(current.step, left);
    const parts = [...drain(others, amount), { ...newest, percent: newest.percent + amount }];
    current = { ...current, parts, nextAtMs: current.nextAtMs + current.stepMs };
  }
  return current;
}

/** Takes percents away, from the oldest first; who has none left is out. */
function drain(parts: readonly RolloutPart[], amount: number): RolloutPart[] {
  let left = amount;
  return parts.flatMap((part) => {
    const taken = Math.min(left, part.percent);
    left -= taken;
    return part.percent > taken ? [{ ...part, percent: part.percent - taken }] : [];
  });
}

/** What garbage collection knows of a Revision. */
export interface OldRevision {
  readonly name: string;
  readonly createdAtMs: number;
  readonly lastActiveMs: number;
  /** Routed, the latest ready or the latest at all, or marked to be kept. */
  readonly isKept: boolean;
}

/** Defaults of Knative Serving. */
export const GC_DEFAULTS = {
  retainSinceCreateMs: 48 * 3_600_000,
  retainSinceLastActiveMs: 15 * 3_600_000,
  minNonActive: 20,
  maxNonActive: 1000,
} as const;

/** Revisions to be removed: those that nobody uses and that are old, as long as enough are left; and, oldest first, those beyond the most that may be kept. */
export function staleRevisions(
  revisions: readonly OldRevision[],
  nowMs: number,
  settings: { readonly [K in keyof typeof GC_DEFAULTS]: number } = GC_DEFAULTS,
): readonly string[] {
  const idle = revisions
    .filter(({ isKept }) => !isKept)
    .sort((a, b) => a.lastActiveMs - b.lastActiveMs || a.createdAtMs - b.createdAtMs);
  const stale: string[] = [];
  for (const revision of idle) {
    const left = idle.length - stale.length;
    const isOld =
      nowMs - revision.createdAtMs >= settings.retainSinceCreateMs &&
      nowMs - revision.lastActiveMs >= settings.retainSinceLastActiveMs;
    const isTooMany = settings.maxNonActive >= 0 && left > settings.maxNonActive;
    if ((isOld && left > settings.minNonActive) || isTooMany) stale.push(revision.name);
  }
  return stale;
}
