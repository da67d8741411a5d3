import { InputError } from "../../../kernel/errors/index.js";

/** When a CronJob is due. */
export interface Schedule {
  /** First due time after `afterMs`; `undefined`: never within five years. */
  next(afterMs: number): number | undefined;
}

interface Field {
  readonly values: ReadonlySet<number>;
  /** Written as `*` or `?`. */
  readonly isAny: boolean;
}

interface Bounds {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly names?: readonly string[];
}

const minuteMs = 60_000;
const hourMs = 3_600_000;
const dayMs = 86_400_000;
const horizonMs = 5 * 366 * dayMs;

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const bounds: readonly Bounds[] = [
  { name: "minute", min: 0, max: 59 },
  { name: "hour", min: 0, max: 23 },
  { name: "day of month", min: 1, max: 31 },
  { name: "month", min: 1, max: 12, names: ["", ...months] },
  { name: "day of week", min: 0, max: 6, names: weekdays },
];
const macros: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};

function parseNumber(text: string, { min, max, names, name }: Bounds): number {
  const named = names?.indexOf(text.toLowerCase()) ?? -1;
  const number = named >= 0 && text !== "" ? named : /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw new InputError(`schedule: "${text}" is no ${name} (${min}-${max})`);
}

/** One part of a list: `3`, `1-5`, `*`, each with or without `/step`. */
function parsePart(part: string, limits: Bounds): readonly [first: number, last: number, step: number] {
  const [, range = "", stepText] = /^([^/]*)(?:\/([1-9]\d{0,3}))?$/.exec(part) ?? [];
  const [from = "", to, ...more] = range.split("-");
  if (range === "" || more.length > 0) throw new InputError(`schedule: cannot read "${part}" as ${limits.name}`);
  const step = Number(stepText ?? 1);
  if (to === undefined && /^[*?]$/.test(from)) return [limits.min, limits.max, step];
  const first = parseNumber(from, limits);
  const last = to === undefined ? (stepText === undefined ? first : limits.max) : parseNumber(to, limits);
  if (last < first) throw new InputError(`schedule: "${range}" runs backwards`);
  return [first, last, step];
}

function parseField(text: string, limits: Bounds): Field {
  const values = new Set<number>();
  for (const part of text.split(",")) {
    const [first, last, step] = parsePart(part, limits);
    for (let value = first; value <= last; value += step) values.add(value);
  }
  return { values, isAny: /^[*?]/.test(text) };
}

/** Splits an instant into local calendar fields. */
type Calendar = (ms: number) => {
  readonly month: number;
  readonly day: number;
  readonly weekday: number;
  readonly hour: number;
  readonly minute: number;
};

function calendarOf(timeZone: string | undefined): Calendar {
  if (timeZone === undefined || timeZone === "UTC" || timeZone === "Etc/UTC") {
    return (ms) => {
      const date = new Date(ms);
      return {
        month: date.getUTCMonth() + 1,
        day: date.getUTCDate(),
        weekday: date.getUTCDay(),
        hour: date.getUTCHours(),
        minute: date.getUTCMinutes(),
      };
    };
  }
  const format = zoneFormat(timeZone);
  return (ms) => {
    const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, value]));
    const number = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.get(type) ?? 0);
    return {
      month: number("month"),
      day: number("day"),
      weekday: weekdays.indexOf((parts.get("weekday") ?? "").toLowerCase()),
      hour: number("hour"),
      minute: number("minute"),
    };
  };
}

function zoneFormat(timeZone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-US", {
      timeZone,
      hourCycle: "h23",
      weekday: "short",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
    });
  } catch (error) {
    throw new InputError(`"${timeZone}" is no time zone`, { cause: error });
  }
}

function parseEvery(text: string): Schedule {
  const match = /^(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,7})s)?$/.exec(text);
  const [hours = 0, minutes = 0, seconds = 0] = (match ?? [])
    .slice(1)
    .map((part: string | undefined) => Number(part ?? 0));
  const periodMs = Math.max(0, hours * hourMs + minutes * minuteMs + seconds * 1000);
  if (periodMs < 1000) throw new InputError(`schedule: "@every ${text}" is no duration such as 1h30m`);
  return { next: (afterMs) => Math.floor(afterMs / 1000) * 1000 + periodMs };
}

/** Parses a cron schedule (five fields, names, lists, ranges, steps, `@daily`, `@every 1h`). Default zone: UTC. Throws `InputError`. */
export function parseSchedule(text: string, timeZone?: string): Schedule {
  const trimmed = text.trim();
  if (trimmed.startsWith("@every ")) return parseEvery(trimmed.slice("@every ".length).trim());
  const words = (macros[trimmed] ?? trimmed).split(/\s+/);
  if (words.length !== bounds.length)
    throw new InputError(`schedule "${text}" has ${words.length} fields, not minute hour day month weekday`);
  const [minute, hour, day, month, weekday] = bounds.map((limits, index) => parseField(words[index] ?? "", limits));
  if (minute === undefined || hour === undefined || day === undefined || month === undefined || weekday === undefined)
    throw new InputError(`cannot read schedule "${text}"`);
  const calendar = calendarOf(timeZone);
  // As cron has it: when both are given, either day will do.
  const isDay = (at: ReturnType<Calendar>): boolean => {
    const byDay = day.values.has(at.day);
    const byWeekday = weekday.values.has(at.weekday);
    return day.isAny || weekday.isAny ? byDay && byWeekday : byDay || byWeekday;
  };
  return {
    next(afterMs) {
      let ms = Math.floor(afterMs / minuteMs) * minuteMs + minuteMs;
      while (ms - afterMs < horizonMs) {
        const at = calendar(ms);
        const sinceMidnightMs = at.hour * hourMs + at.minute * minuteMs;
        // A day with a change of clocks is shorter or longer: going at most to 23:00 of its usual length never skips one.
        if (!month.values.has(at.month) || !isDay(at))
          ms += sinceMidnightMs < 22 * hourMs ? 22 * hourMs - sinceMidnightMs : hourMs - at.minute * minuteMs;
        else if (!hour.values.has(at.hour)) ms += hourMs - at.minute * minuteMs;
        else if (!minute.values.has(at.minute)) ms += minuteMs;
        else return ms;
      }
      return undefined;
    },
  };
}

const windowsMs = [hourMs, dayMs, 32 * dayMs, 367 * dayMs, horizonMs];

/** The last due time in (earliestMs, nowMs], and about how many there were. */
export function dueSince(
  schedule: Schedule,
  earliestMs: number,
  nowMs: number,
): { readonly last: number; readonly missed: number } | undefined {
  const first = schedule.next(earliestMs);
  if (first === undefined || first > nowMs) return undefined;
  const second = schedule.next(first);
  if (second === undefined || second > nowMs) return { last: first, missed: 1 };
  const missed = Math.floor((nowMs - first) / (second - first)) + 1;
  // Counted from the first one, so that a schedule of intervals keeps its beat.
  const last = lastWithin(schedule, first + (missed - 2) * (second - first), nowMs);
  return { last: last ?? lastDue(schedule, earliestMs, nowMs) ?? first, missed };
}

function lastWithin(schedule: Schedule, startMs: number, nowMs: number): number | undefined {
  let last: number | undefined;
  for (let due = schedule.next(startMs); due !== undefined && due <= nowMs; due = schedule.next(due)) last = due;
  return last;
}

/** The last due time in (earliestMs, nowMs], of a schedule whose gaps may differ widely. */
function lastDue(schedule: Schedule, earliestMs: number, nowMs: number): number | undefined {
  for (const windowMs of windowsMs) {
    const startMs = Math.max(earliestMs, nowMs - windowMs);
    const last = lastWithin(schedule, startMs, nowMs);
    if (last !== undefined || startMs === earliestMs) return last;
  }
  return undefined;
}

/** RFC 3339 in a time zone, as Go writes it: `2026-03-29T03:30:00+02:00`. The zone must be one. */
export function zonedTime(ms: number, timeZone = "UTC"): string {
  const format = new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
  const name = format.formatToParts(ms).find(({ type }) => type === "timeZoneName")?.value ?? "GMT";
  const [, sign = "+", hours = "00", minutes = "00"] = /^GMT(?:([+-])(\d\d):(\d\d))?/.exec(name) ?? [];
  const offset = `${sign}${hours}:${minutes}`;
  const shiftMs = (sign === "-" ? -1 : 1) * (Number(hours) * hourMs + Number(minutes) * minuteMs);
  return `${new Date(ms + shiftMs).toISOString().slice(0, 19)}${offset === "+00:00" ? "Z" : offset}`;
}

/** Whether there is such a time zone. */
export function isTimeZone(timeZone: string): boolean {
  try {
    zoneFormat(timeZone);
    return true;
  } catch {
    return false;
  }
}
