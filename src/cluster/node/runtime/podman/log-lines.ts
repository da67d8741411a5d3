import type { LogOptions } from "../types.js";

const newline = 10;
const head = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)(Z|[+-]\d\d:\d\d) (?:stdout|stderr) ([FP]) ?/;
/** More than any head is long. */
const headBytes = 64;

/**
 * What a program said, from a log as conmon writes it: `TIME stdout F text`, and `P` where the line goes on. Cuts and dates as `options`
 * say; lines that are none are passed on as they are.
 */
export async function* programLines(
  source: AsyncIterable<Uint8Array>,
  { timestamps, sinceMs = 0, limitBytes = Number.POSITIVE_INFINITY }: LogOptions,
): AsyncGenerator<Uint8Array> {
  let left = limitBytes;
  let isContinued = false;
  let rest: Uint8Array = new Uint8Array();
  for await (const chunk of source) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const parts: Uint8Array[] = [];
    let from = 0;
    for (let end = bytes.indexOf(newline, from); end >= 0; end = bytes.indexOf(newline, from)) {
      const line = bytes.subarray(from, end + 1);
      from = end + 1;
      const entry = entryOf(line);
      if (entry.timeMs < sinceMs) continue;
      if (timestamps === true && !isContinued) parts.push(Buffer.from(`${entry.time} `));
      parts.push(entry.text);
      isContinued = entry.goesOn;
    }
    rest = bytes.subarray(from);
    const text = Buffer.concat(parts);
    if (text.length > 0) yield text.length > left ? text.subarray(0, left) : text;
    left -= text.length;
    if (left <= 0) return;
  }
}

interface Entry {
  readonly time: string;
  readonly timeMs: number;
  readonly text: Uint8Array;
  readonly goesOn: boolean;
}

function entryOf(line: Uint8Array): Entry {
  const match = head.exec(Buffer.from(line.subarray(0, headBytes)).toString("latin1"));
  const [all = "", local = "", zone = "", kind = ""] = match ?? [];
  const timeMs = Date.parse(`${local.slice(0, 23)}${zone}`);
  if (match === null || Number.isNaN(timeMs))
    return { time: new Date(0).toISOString(), timeMs: Number.POSITIVE_INFINITY, text: line, goesOn: false };
  const fraction = (/\.(\d+)$/.exec(local)?.[1] ?? "").padEnd(9, "0");
  const time = `${new Date(timeMs).toISOString().slice(0, 19)}.${fraction}Z`;
  const goesOn = kind === "P";
  return { time, timeMs, goesOn, text: line.subarray(all.length, line.length - (goesOn ? 1 : 0)) };
}
