import { isIP, isIPv4, isIPv6 } from "node:net";

const dateTime =
  /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
const date = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/;
const hostname =
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?$/;
const duration = /^(\d+(\.\d*)?\s*(ns|us|µs|μs|ms|s|m|h|d|w|nano|micro|milli|second|minute|hour|day|week)s?\s*)+$/i;

/** The last date that was one: most times that are written are of the same day. */
let knownDate = "";

function isDate(value: string): boolean {
  if (value === knownDate) return true;
  const isOne = date.test(value) && new Date(`${value}T00:00:00Z`).toJSON()?.startsWith(value) === true;
  if (isOne) knownDate = value;
  return isOne;
}

function isUri(value: string): boolean {
  return /^[A-Za-z][A-Za-z0-9+.-]*:\S*$/.test(value) || /^\/\S*$/.test(value);
}

function isCidr(value: string): boolean {
  const [address = "", bits = "", ...rest] = value.split("/");
  return (
    rest.length === 0 && isIP(address) !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (isIPv4(address) ? 32 : 128)
  );
}

const uuid = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

/** Formats that Kubernetes enforces; every other name is a remark only. */
const checks: Readonly<Record<string, (value: string) => boolean>> = {
  "date-time": (value) => dateTime.test(value) && isDate(value.slice(0, 10)),
  date: isDate,
  byte: (value) => value.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(value),
  uuid: (value) => uuid.test(value),
  uuid3: (value) => uuid.test(value) && /^.{12,14}-?3/.test(value),
  uuid4: (value) => uuid.test(value) && value.replaceAll("-", "")[12] === "4",
  uuid5: (value) => uuid.test(value) && value.replaceAll("-", "")[12] === "5",
  uri: isUri,
  ipv4: isIPv4,
  ipv6: isIPv6,
  cidr: isCidr,
  mac: (value) => /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(value),
  hexcolor: (value) => /^#?([0-9a-f]{3}|[0-9a-f]{6})$/i.test(value),
  rgbcolor: (value) =>
    /^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*(,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*){2}\)$/.test(value),
  ssn: (value) => /^\d{3}[- ]?\d{2}[- ]?\d{4}$/.test(value),
  bsonobjectid: (value) => /^[0-9a-f]{24}$/i.test(value),
  hostname: (value) => hostname.test(value),
  email: (value) => /^[^\s@]+@[^\s@]+$/.test(value),
  duration: (value) => duration.test(value),
};

/** Whether text has the format; true for formats that are not enforced. */
export function matchesFormat(format: string, value: string): boolean {
  return Object.hasOwn(checks, format) ? (checks[format]?.(value) ?? true) : true;
}
