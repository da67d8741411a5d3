const pattern = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

/** An RFC 3339 time as the API writes it: UTC, whole seconds, or six decimals for micro times. `undefined` if it is none. */
export function normaliseTime(text: string, micro: boolean): string | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [, , , , , , , fraction = "", zone = "Z"] = match;
  const milliseconds = Date.parse(text.slice(0, 19) + zone);
  if (Number.isNaN(milliseconds)) return undefined;
  const seconds = new Date(milliseconds).toISOString().slice(0, 19);
  return micro ? `${seconds}.${fraction.slice(1, 7).padEnd(6, "0")}Z` : `${seconds}Z`;
}
