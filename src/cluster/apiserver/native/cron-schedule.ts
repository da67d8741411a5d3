interface Range {
  readonly name: string;
  readonly minimum: number;
  readonly maximum: number;
  readonly names: readonly string[];
}

const ranges: readonly Range[] = [
  { name: "minute", minimum: 0, maximum: 59, names: [] },
  { name: "hour", minimum: 0, maximum: 23, names: [] },
  { name: "day of month", minimum: 1, maximum: 31, names: [] },
  { name: "month", minimum: 1, maximum: 12, names: "jan feb mar apr may jun jul aug sep oct nov dec".split(" ") },
  { name: "day of week", minimum: 0, maximum: 6, names: "sun mon tue wed thu fri sat".split(" ") },
];
const descriptors = new Set("@yearly @annually @monthly @weekly @daily @midnight @hourly".split(" "));

/** What is wrong with a cron schedule, or nothing. */
export function scheduleFault(text: string): string | undefined {
  const [, zone, rest] = /^(?:CRON_)?TZ=([^ ]*)( .*)$/s.exec(text) ?? [];
  if (zone !== undefined && zone !== "" && timeZoneFaults(zone).length > 0)
    return `provided bad location ${zone}: unknown time zone ${zone}`;
  const schedule = (rest ?? text).trim();
  if (schedule.startsWith("@")) return descriptorFault(schedule);
  const fields = schedule.split(/\s+/).filter((field) => field !== "");
  if (fields.length !== ranges.length)
    return `expected exactly 5 fields, found ${fields.length}: [${fields.join(" ")}]`;
  for (const [index, range] of ranges.entries())
    for (const part of (fields[index] ?? "").split(",")) {
      const fault = part === "" ? undefined : partFault(part, range);
      if (fault !== undefined) return fault;
    }
  return undefined;
}

function descriptorFault(schedule: string): string | undefined {
  if (descriptors.has(schedule)) return undefined;
  if (!schedule.startsWith("@every ")) return `unrecognized descriptor: ${schedule}`;
  const span = schedule.slice("@every ".length);
  if (/^[-+]?(0|(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$/.test(span)) return undefined;
  return `failed to parse duration ${schedule}: time: invalid duration ${JSON.stringify(span)}`;
}

function partFault(part: string, range: Range): string | undefined {
  const [span = "", step, ...moreSteps] = part.split("/");
  const [from = "", to, ...more] = span.split("-");
  let [start, end] = [range.minimum, range.maximum];
  if (from !== "*" && from !== "?") {
    const first = numberOf(from, range);
    if (typeof first === "string") return first;
    const last = to === undefined ? first : more.length > 0 ? `too many hyphens: ${part}` : numberOf(to, range);
    if (typeof last === "string") return last;
    [start, end] = [first, last];
  }
  if (moreSteps.length > 0) return `too many slashes: ${part}`;
  const width = step === undefined ? 1 : numberOf(step, { ...range, names: [] });
  if (typeof width === "string") return width;
  if (step !== undefined && to === undefined) end = range.maximum;
  if (start < range.minimum) return `beginning of range (${start}) below minimum (${range.minimum}): ${part}`;
  if (end > range.maximum) return `end of range (${end}) above maximum (${range.maximum}): ${part}`;
  if (start > end) return `beginning of range (${start}) beyond end of range (${end}): ${part}`;
  return width === 0 ? `step of range should be a positive number: ${part}` : undefined;
}

/** A number, or what is wrong with it. */
function numberOf(text: string, range: Range): number | string {
  const named = range.names.indexOf(text.toLowerCase());
  if (named >= 0) return named + range.minimum;
  if (!/^[+-]?\d+$/.test(text))
    return `failed to parse int from ${text}: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`;
  return Number(text) < 0 ? `negative number (${Number(text)}) not allowed: ${text}` : Number(text);
}

const zonePart = /^[A-Za-z.\-_0-9+]{1,14}$/;

/** What is wrong with the name of a time zone, or nothing. */
export function timeZoneFaults(zone: string): readonly string[] {
  if (zone === "") return ["timeZone must be nil or non-empty string"];
  const unknown = [`unknown time zone ${zone}`];
  const isOdd = (part: string): boolean =>
    part === "." || part === ".." || part.startsWith("-") || !zonePart.test(part);
  if (zone.split("/").some(isOdd)) return unknown;
  if (zone.toLowerCase() === "local") {
    const vague = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
    return [vague, ...(zone === "Local" ? [] : unknown)];
  }
  try {
    const { timeZone } = new Intl.DateTimeFormat("en", { timeZone: zone }).resolvedOptions();
    // Upstream looks for a file of this name.
    return timeZone !== zone && timeZone.toLowerCase() === zone.toLowerCase() ? unknown : [];
  } catch {
    return unknown;
  }
}
