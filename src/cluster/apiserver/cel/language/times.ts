import { CelEvaluationError } from "../errors.js";
import type { Environment } from "./environment.js";
import { Duration, Timestamp } from "./values.js";

const dayMs = 86_400_000;

/** Fields of a moment, from a date whose UTC fields are those of the zone. */
const fields: Readonly<Record<string, (date: Date, fraction: bigint) => number>> = {
  getFullYear: (date) => date.getUTCFullYear(),
  getMonth: (date) => date.getUTCMonth(),
  getDayOfYear: (date) => Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / dayMs),
  getDayOfMonth: (date) => date.getUTCDate() - 1,
  getDate: (date) => date.getUTCDate(),
  getDayOfWeek: (date) => date.getUTCDay(),
  getHours: (date) => date.getUTCHours(),
  getMinutes: (date) => date.getUTCMinutes(),
  getSeconds: (date) => date.getUTCSeconds(),
  getMilliseconds: (_date, fraction) => Number(fraction / 1_000_000n),
};

const spans: Readonly<Record<string, bigint>> = {
  getHours: 3_600_000_000_000n,
  getMinutes: 60_000_000_000n,
  getSeconds: 1_000_000_000n,
  getMilliseconds: 1_000_000n,
};

/** Minutes east of UTC at a moment, from `+01:00` or the name of a zone. */
function offsetIn(zone: string, moment: Timestamp): number {
  const at = zone.indexOf(":");
  if (at < 0) return namedOffset(zone, moment);
  const [hours, minutes] = [zone.slice(0, at), zone.slice(at + 1)];
  for (const part of [hours, minutes])
    if (!/^[+-]?\d+$/.test(part))
      throw new CelEvaluationError(`strconv.Atoi: parsing ${JSON.stringify(part)}: invalid syntax`);
  return zone.startsWith("-") ? Number(hours) * 60 - Number(minutes) : Number(hours) * 60 + Number(minutes);
}

function namedOffset(zone: string, moment: Timestamp): number {
  if (zone === "" || zone === "UTC") return 0;
  try {
    const format = new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "longOffset" });
    const name = format.formatToParts(moment.dateIn(0)).find(({ type }) => type === "timeZoneName")?.value ?? "GMT";
    const [, sign = "+", hours = "0", minutes = "0"] = /GMT([+-])(\d+):(\d+)/.exec(name) ?? [];
    return (Number(hours) * 60 + Number(minutes)) * (sign === "-" ? -1 : 1);
  } catch {
    throw new CelEvaluationError(`unknown time zone ${zone}`);
  }
}

/** What moments and spans of time can be asked. */
export function declareTimes(environment: Environment): void {
  const [time, span] = ["google.protobuf.Timestamp", "google.protobuf.Duration"];
  for (const [name, read] of Object.entries(fields)) {
    const inZone = (moment: unknown, zone: unknown): bigint => {
      if (!(moment instanceof Timestamp)) return 0n;
      return BigInt(read(moment.dateIn(offsetIn(String(zone), moment)), moment.fraction));
    };
    environment.declareFunction(`${time}.${name}(): int`, (moment) => inZone(moment, "UTC"));
    environment.declareFunction(`${time}.${name}(string): int`, inZone);
    const size = spans[name];
    if (size !== undefined)
      environment.declareFunction(`${span}.${name}(): int`, (value) =>
        value instanceof Duration ? value.nanos / size : 0n,
      );
  }
}
