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
export function scheduleFault(schedule: string): string | undefined {
  if (schedule.includes("TZ")) return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
  if (schedule.startsWith("@"))
    return descriptors.has(schedule) || /^@every (\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(schedule)
      ? undefined
      : `unrecognized descriptor: ${schedule}`;
  const fields = schedule.trim().split(/\s+/);
  if (fields.length !== ranges.length)
    return `expected exactly 5 fields, found ${fields.length}: [${fields.join(" ")}]`;
  for (const [index, range] of ranges.entries())
    for (const part of (fields[index] ?? "").split(",")) {
      const fault = partFault(part, range);
      if (fault !== undefined) return fault;
    }
  return undefined;
}

function partFault(part: string, range: Range): string | undefined {
  const [span = "", step, ...tooMany] = part.split("/");
  if (tooMany.length > 0) return `too many slashes: ${part}`;
  if (step !== undefined && !/^[1-9]\d*$/.test(step)) return `failed to parse int from ${step}`;
  if (span === "*" || span === "?") return undefined;
  const [from = "", to = from, ...more] = span.split("-");
  if (more.length > 0) return `too many hyphens: ${part}`;
  const [start, end] = [numberOf(from, range), numberOf(to, range)];
  if (start === undefined) return `failed to parse int from ${from}: strconv.Atoi: parsing "${from}": invalid syntax`;
  if (end === undefined) return `failed to parse int from ${to}: strconv.Atoi: parsing "${to}": invalid syntax`;
  if (start < range.minimum) return `beginning of range (${start}) below minimum (${range.minimum}): ${part}`;
  if (end > range.maximum) return `end of range (${end}) above maximum (${range.maximum}): ${part}`;
  return start > end ? `beginning of range (${start}) beyond end of range (${end}): ${part}` : undefined;
}

function numberOf(text: string, range: Range): number | undefined {
  const named = range.names.indexOf(text.toLowerCase());
  if (named >= 0) return named + range.minimum;
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** What is wrong with the name of a time zone, or nothing. */
export function timeZoneFault(zone: string): string | undefined {
  if (zone === "") return "timeZone must be nil or non-empty string";
  if (zone.toLowerCase() === "local")
    return "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return undefined;
  } catch {
    return `unknown time zone ${zone}`;
  }
}
