/** The members that conditions of all kinds have; native ones leave some out. */
export interface ConditionLike {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
  observedGeneration?: number;
}

/** What a controller says in a condition; the time of the last change is filled in. */
export type ConditionUpdate<C extends ConditionLike> = Omit<C, "lastTransitionTime">;

/** RFC 3339 in seconds, as metav1.Time is written. */
export function timeOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** The condition of that type. */
export function findCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  type: string,
): C | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** Whether a condition says `True`. */
export function isConditionTrue(conditions: readonly ConditionLike[] | undefined, type: string): boolean {
  return findCondition(conditions, type)?.status === "True";
}

/**
 * A copy of `conditions` in which `update` replaces the one of its type (or is appended). `lastTransitionTime` moves to
 * `nowMs` only when the status differs, so writing the same thing again changes nothing.
 */
export function withCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  update: ConditionUpdate<C>,
  nowMs: number,
): (ConditionUpdate<C> & { lastTransitionTime: string })[] {
  const before = findCondition(conditions, update.type);
  const lastTransitionTime =
    before?.status === update.status && before.lastTransitionTime !== undefined
      ? before.lastTransitionTime
      : timeOf(nowMs);
  const next = { ...update, lastTransitionTime };
  const others = (conditions ?? []).map((condition) => ({
    ...condition,
    lastTransitionTime: condition.lastTransitionTime ?? timeOf(nowMs),
  }));
  return before === undefined
    ? [...others, next]
    : others.map((condition) => (condition.type === update.type ? next : condition));
}
