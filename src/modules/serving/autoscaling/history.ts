/** When requests usually come, by time of day: so that a pod can be there before them. */
import { isObject } from "../../../kernel/schema/index.js";

const SLOT_MS = 15 * 60_000;
const SLOTS = 96;
/** What the last day counts beside all before it. */
const NEWEST_SHARE = 0.3;
/** How long before the time a pod is started. */
const LEAD_MS = 2 * 60_000;
/** From so many requests in a quarter of an hour on a pod is worth while. */
const ENOUGH = 1;

/** Requests in each quarter of an hour of the day (UTC), the last days counting most. */
export interface TrafficHistory {
  readonly slots: readonly number[];
  /** The quarter that is going on, counted from 1970, and its requests so far. */
  readonly slot: number;
  readonly count: number;
}

/** Nothing known. */
export const NO_HISTORY: TrafficHistory = { slots: Array.from({ length: SLOTS }, () => 0), slot: 0, count: 0 };

/** The history after some requests have come. Quarters that have passed are closed; those in which nothing was looked at count as without requests. */
export function withArrivals(history: TrafficHistory, nowMs: number, arrivals: number): TrafficHistory {
  const slot = Math.floor(nowMs / SLOT_MS);
  if (history.slot === 0) return { ...history, slot, count: arrivals };
  if (slot <= history.slot) return arrivals === 0 ? history : { ...history, count: history.count + arrivals };
  const slots = [...history.slots];
  const last = Math.min(slot, history.slot + SLOTS);
  for (let closed = history.slot; closed < last; closed++) {
    const before = slots[closed % SLOTS] ?? 0;
    const count = closed === history.slot ? history.count : 0;
    // A first day counts whole.
    const mean = before === 0 ? count : before * (1 - NEWEST_SHARE) + count * NEWEST_SHARE;
    slots[closed % SLOTS] = Math.round(mean * 100) / 100;
  }
  return { slots, slot, count: arrivals };
}

/** Whether requests usually come now or soon, and how many. */
export function expected(
  history: TrafficHistory,
  nowMs: number,
): { readonly isDue: boolean; readonly requests: number } {
  const at = (ms: number): number => history.slots[Math.floor(ms / SLOT_MS) % SLOTS] ?? 0;
  const requests = Math.max(at(nowMs), at(nowMs + LEAD_MS));
  return { isDue: requests >= ENOUGH, requests };
}

/** What an annotation keeps; what cannot be read is forgotten. */
export function readHistory(text: string | undefined): TrafficHistory {
  try {
    const value: unknown = JSON.parse(text ?? "");
    if (!isObject(value)) return NO_HISTORY;
    const { slots, slot } = value;
    if (!Array.isArray(slots) || slots.length !== SLOTS || typeof slot !== "number") return NO_HISTORY;
    const numbers = slots.filter((count): count is number => typeof count === "number" && count >= 0);
    return numbers.length === SLOTS ? { slots: numbers, slot, count: 0 } : NO_HISTORY;
  } catch {
    return NO_HISTORY;
  }
}
