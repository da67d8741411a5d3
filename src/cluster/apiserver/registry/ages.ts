import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asObject, asString } from "./read.js";

/** A duration as kubectl prints it: `5s`, `4m10s`, `15m`, `3h12m`, `2d`, `1y30d`. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return pair(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return pair(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return pair(days, "d", hours % 24, "h");
  if (days < 365 * 2) return `${days}d`;
  const years = Math.floor(days / 365);
  return years < 8 ? pair(years, "y", days % 365, "d") : `${years}y`;
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`;
}

/** Time since an RFC 3339 time; `<unknown>` without one. */
export function ageOf(time: Json | undefined, now: number): string {
  const then = Date.parse(asString(time));
  return Number.isNaN(then) ? "<unknown>" : humanDuration(now - then);
}

/** Time since an object was created. */
export function objectAge(object: JsonObject, now: number): string {
  return ageOf(asObject(object["metadata"])["creationTimestamp"], now);
}
