import type { HorizontalPodAutoscaler } from "../../../kernel/kinds/index.js";

type Behavior = NonNullable<HorizontalPodAutoscaler["spec"]["behavior"]>;
type Rules = NonNullable<Behavior["scaleUp"]>;

/** How long the highest recommendation holds against fewer replicas, unless the behaviour says so; upstream's flag. */
const downWindowMs = 300_000;
const defaultUp: Required<Rules> = {
  stabilizationWindowSeconds: 0,
  selectPolicy: "Max",
  policies: [
    { type: "Pods", value: 4, periodSeconds: 15 },
    { type: "Percent", value: 100, periodSeconds: 15 },
  ],
};
const defaultDown: Required<Rules> = {
  stabilizationWindowSeconds: downWindowMs / 1000,
  selectPolicy: "Max",
  policies: [{ type: "Percent", value: 100, periodSeconds: 15 }],
};

interface Dated {
  readonly atMs: number;
}

/** What was recommended and done for one autoscaler; lost at a restart, as upstream's. */
export interface Past {
  recommendations: readonly (Dated & { readonly replicas: number })[];
  ups: readonly (Dated & { readonly change: number })[];
  downs: readonly (Dated & { readonly change: number })[];
}

/** What the metrics ask for, and within which bounds. */
export interface Wish {
  readonly current: number;
  readonly desired: number;
  readonly min: number;
  readonly max: number;
  readonly nowMs: number;
}

/** One condition. */
export interface Told {
  readonly reason: string;
  readonly message: string;
}

/** The size that is to be set now, and how it came about. */
export interface Paced {
  readonly replicas: number;
  readonly able: Told;
  readonly limited: Told & { readonly isLimited: boolean };
}

const ready: Told = { reason: "ReadyForNewScale", message: "recommended size matches current size" };
const heldDown: Told = {
  reason: "ScaleDownStabilized",
  message: "recent recommendations were higher than current one, applying the highest recent recommendation",
};
const heldUp: Told = {
  reason: "ScaleUpStabilized",
  message: "recent recommendations were lower than current one, applying the lowest recent recommendation",
};
const within: Told = {
  reason: "DesiredWithinRange",
  message: "the desired count is within the acceptable range",
};
const limits = {
  tooFew: { reason: "TooFewReplicas", message: "the desired replica count is less than the minimum replica count" },
  tooMany: { reason: "TooManyReplicas", message: "the desired replica count is more than the maximum replica count" },
  upRate: {
    reason: "ScaleUpLimit",
    message: "the desired replica count is increasing faster than the maximum scale rate",
  },
  downRate: {
    reason: "ScaleDownLimit",
    message: "the desired replica count is decreasing faster than the maximum scale rate",
  },
} as const;

/** Brings a wish within the bounds, the windows and the rates. Notes it in `past`. */
export function pace(wish: Wish, behavior: Behavior | undefined, past: Past): Paced {
  const stabilized = behavior === undefined ? stabilizeDown(wish, past) : stabilizeBoth(wish, rulesOf(behavior), past);
  const able =
    stabilized === wish.desired ? ready : behavior === undefined || wish.desired < wish.current ? heldDown : heldUp;
  const settled = { ...wish, desired: stabilized };
  const { replicas, told } = behavior === undefined ? bound(settled) : boundByRates(settled, rulesOf(behavior), past);
  return { replicas, able, limited: { ...told, isLimited: replicas !== stabilized } };
}

/** Notes a change of size that was made, for the rates of the behaviour. */
export function noteChange(
  behavior: Behavior | undefined,
  past: Past,
  change: { readonly from: number; readonly to: number; readonly nowMs: number },
): void {
  if (behavior === undefined) return;
  const { up, down } = rulesOf(behavior);
  const { from, to, nowMs } = change;
  const isUp = to > from;
  const longestMs = Math.max(0, ...(isUp ? up : down).policies.map(({ periodSeconds }) => periodSeconds)) * 1000;
  const before = (isUp ? past.ups : past.downs).filter(({ atMs }) => atMs >= nowMs - longestMs);
  const after = [...before, { change: Math.abs(to - from), atMs: nowMs }];
  if (isUp) past.ups = after;
  else past.downs = after;
}

interface BothRules {
  readonly up: Required<Rules>;
  readonly down: Required<Rules>;
}

function rulesOf({ scaleUp, scaleDown }: Behavior): BothRules {
  return { up: { ...defaultUp, ...scaleUp }, down: { ...defaultDown, ...scaleDown } };
}

function stabilizeDown({ desired, nowMs }: Wish, past: Past): number {
  const recent = past.recommendations.filter(({ atMs }) => atMs >= nowMs - downWindowMs);
  past.recommendations = [...recent, { replicas: desired, atMs: nowMs }];
  return Math.max(desired, ...recent.map(({ replicas }) => replicas));
}

function stabilizeBoth({ current, desired, nowMs }: Wish, { up, down }: BothRules, past: Past): number {
  const upFrom = nowMs - up.stabilizationWindowSeconds * 1000;
  const downFrom = nowMs - down.stabilizationWindowSeconds * 1000;
  const since = (fromMs: number) =>
    past.recommendations.filter(({ atMs }) => atMs > fromMs).map(({ replicas }) => replicas);
  const atLeast = Math.min(desired, ...since(upFrom));
  const atMost = Math.max(desired, ...since(downFrom));
  const recent = past.recommendations.filter(({ atMs }) => atMs >= Math.min(upFrom, downFrom));
  past.recommendations = [...recent, { replicas: desired, atMs: nowMs }];
  return Math.min(Math.max(current, atLeast), atMost);
}

/** Without a behaviour: at most twice as many at once, or four. */
function bound({ current, desired, min, max }: Wish): { replicas: number; told: Told } {
  const fastest = Math.max(2 * current, 4);
  if (desired < min) return { replicas: min, told: limits.tooFew };
  if (desired <= Math.min(max, fastest)) return { replicas: desired, told: within };
  return max > fastest ? { replicas: fastest, told: limits.upRate } : { replicas: max, told: limits.tooMany };
}

function boundByRates(wish: Wish, { up, down }: BothRules, past: Past): { replicas: number; told: Told } {
  const { current, desired, min, max } = wish;
  if (desired > current) {
    const fastest = Math.max(current, rateLimit(wish, up, past, "up"));
    const most = Math.min(max, fastest);
    if (desired > most) return { replicas: most, told: max > fastest ? limits.upRate : limits.tooMany };
  } else if (desired < current) {
    const fastest = Math.min(current, rateLimit(wish, down, past, "down"));
    const least = Math.max(min, fastest);
    if (desired < least) return { replicas: least, told: min < fastest ? limits.downRate : limits.tooFew };
  }
  return { replicas: desired, told: within };
}

/** How far the policies let the size go now, counted from what it was at the start of each policy's period. */
function rateLimit({ current, nowMs }: Wish, rules: Required<Rules>, past: Past, way: "up" | "down"): number {
  if (rules.selectPolicy === "Disabled") return current;
  const sum = (changes: Past["ups"], seconds: number): number =>
    changes.filter(({ atMs }) => atMs > nowMs - seconds * 1000).reduce((total, { change }) => total + change, 0);
  const proposals = rules.policies.map(({ type, value, periodSeconds }) => {
    const atStart = current - sum(past.ups, periodSeconds) + sum(past.downs, periodSeconds);
    if (way === "up") return type === "Pods" ? atStart + value : Math.ceil(atStart * (1 + value / 100));
    return type === "Pods" ? atStart - value : Math.trunc(atStart * (1 - value / 100));
  });
  // The largest change goes furthest: up to the highest number, down to the lowest.
  const isHighest = (rules.selectPolicy === "Min") === (way === "down");
  return isHighest ? Math.max(...proposals) : Math.min(...proposals);
}
