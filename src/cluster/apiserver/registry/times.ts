const pattern = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

/** The last time that is written as it came: an object has the same one several times, and so has the next. */
let lastSecond = "";

/** An RFC 3339 time as the API writes it: UTC, whole seconds, or six decimals for micro times. `undefined` if it is none. */
export function normaliseTime(text: string, micro: boolean): string | undefined {
  if (text === lastSecond && !micro) return text;
  const time = readTime(text, micro);
  if (time === text && !micro) lastSecond = text;
  return time;
}

function readTime(text: string, micro: boolean): string | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [, , , , , , , fraction = "", zone = "Z"] = match;
  const milliseconds = Date.parse(text.slice(0, 19) + zone);
  if (Number.isNaN(milliseconds) || (micro && fraction.length !== 7)) return undefined;
  const seconds = new Date(milliseconds).toISOString().slice(0, 19);
  return micro ? `${seconds}.${fraction.slice(1, 7).padEnd(6, "0")}Z` : `${seconds}Z`;
}

/** What Go's parser says of a text that is no such time. */
export function goTimeFault(text: string, micro: boolean): string {
  const layout = `2006-01-02T15:04:05${micro ? ".000000" : ""}Z07:00`;
  const shown = JSON.stringify(text);
  let rest = text;
  for (const [part, pattern] of layoutParts(micro)) {
    const match = pattern.exec(rest);
    if (match === null)
      return `parsing time ${shown} as ${JSON.stringify(layout)}: cannot parse ${JSON.stringify(rest)} as ${JSON.stringify(part)}`;
    const limits = outOfRange[part];
    const value = Number(match[0]);
    if (limits !== undefined && (value < limits.least || value > limits.most))
      return `parsing time ${shown}: ${limits.name} out of range`;
    rest = rest.slice(match[0].length);
  }
  if (rest !== "") return `parsing time ${shown}: extra text: ${JSON.stringify(rest)}`;
  return `parsing time ${shown}: day out of range`;
}

const outOfRange: Readonly<Record<string, { readonly name: string; readonly least: number; readonly most: number }>> = {
  "01": { name: "month", least: 1, most: 12 },
  "15": { name: "hour", least: 0, most: 23 },
  "04": { name: "minute", least: 0, most: 59 },
  "05": { name: "second", least: 0, most: 59 },
};

function layoutParts(micro: boolean): (readonly [string, RegExp])[] {
  const two = /^\d\d/;
  return [
    ["2006", /^\d{4}/],
    ["-", /^-/],
    ["01", two],
    ["-", /^-/],
    ["02", two],
    ["T", /^T/],
    ["15", two],
    [":", /^:/],
    ["04", two],
    [":", /^:/],
    ["05", micro ? two : /^\d\d(\.\d+)?/],
    ...(micro ? [[".000000", /^\.\d{6}/] as const] : []),
    ["Z07:00", /^(Z|[+-]\d\d:\d\d)/],
  ];
}
