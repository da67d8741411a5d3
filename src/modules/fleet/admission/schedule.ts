/** One field of a schedule: its bounds, and names of values. */
interface FieldRule {
  readonly least: number;
  readonly most: number;
  readonly names?: readonly string[];
}

const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const SECOND: FieldRule = { least: 0, most: 59 };
const FIELDS: readonly FieldRule[] = [
  { least: 0, most: 59 },
  { least: 0, most: 23 },
  { least: 1, most: 31 },
  { least: 1, most: 12, names: MONTHS },
  { least: 0, most: 7, names: DAYS },
];
const YEAR: FieldRule = { least: 0, most: 9999 };
/** Schedules that have a name. */
const NAMED = new Set([
  "@always",
  "@5minutes",
  "@10minutes",
  "@15minutes",
  "@30minutes",
  "@everysecond",
  "@annually",
  "@yearly",
  "@monthly",
  "@weekly",
  "@daily",
  "@hourly",
]);

/** Whether a text is a cron schedule as Karmada's scaler reads it: five fields, six with a year, seven with seconds in front; or a name such as @daily. */
export function isSchedule(text: string): boolean {
  const words = text.trim().split(/\s+/);
  if (words.length === 1) return NAMED.has((words[0] ?? "").toLowerCase());
  const rules = words.length === 7 ? [SECOND, ...FIELDS, YEAR] : words.length === 6 ? [...FIELDS, YEAR] : FIELDS;
  return words.length === rules.length && words.every((word, index) => isField(word, rules[index] ?? SECOND));
}

function isField(word: string, rule: FieldRule): boolean {
  return word.split(",").every((part) => isPart(part, rule));
}

function isPart(part: string, rule: FieldRule): boolean {
  const [range = "", step, ...more] = part.split("/");
  if (more.length > 0 || (step !== undefined && !(/^\d+$/.test(step) && Number(step) > 0))) return false;
  if (range === "*" || range === "?") return true;
  const isDays = rule.most === 31 || rule.names === DAYS;
  // The last day, the nearest working day, the nth day of the week.
  if (isDays && /^(L|\d{1,2}[LW]|\d#[1-5]|LW)$/i.test(range)) return step === undefined;
  const [from = "", to, ...rest] = range.split("-");
  if (rest.length > 0) return false;
  const [low, high] = [numberOf(from, rule), to === undefined ? undefined : numberOf(to, rule)];
  if (low === undefined || (to !== undefined && high === undefined)) return false;
  return high === undefined || low <= high;
}

function numberOf(text: string, { least, most, names }: FieldRule): number | undefined {
  const named = names?.indexOf(text.toUpperCase()) ?? -1;
  if (named >= 0) return named + least;
  if (!/^\d+$/.test(text)) return undefined;
  const value = Number(text);
  return value >= least && value <= most ? value : undefined;
}
