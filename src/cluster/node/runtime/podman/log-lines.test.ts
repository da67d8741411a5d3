import { expect, test } from "vitest";
import type { LogOptions } from "../types.js";
import { programLines } from "./log-lines.js";

const log = [
  "2026-01-02T03:04:05.100000001+00:00 stdout F one",
  "2026-01-02T04:04:05.2+01:00 stderr P tw",
  "2026-01-02T03:04:05.300000003Z stderr F o",
  "2026-01-02T03:04:06.400000004Z stdout F ",
  "no line of conmon",
  "2026-01-02T03:04:07.5Z stdout P end",
  "",
].join("\n");

async function read(options: LogOptions, size: number): Promise<string> {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let from = 0; from < log.length; from += size) yield Buffer.from(log.slice(from, from + size));
  }
  let text = "";
  for await (const chunk of programLines(pieces(), options)) text += Buffer.from(chunk).toString("utf8");
  return text;
}

test.each([1, 7, 64, 1000])(
  "what was said, without what stands before each line, in pieces of %i bytes",
  async (size) => {
    expect(await read({}, size)).toBe("one\ntwo\n\nno line of conmon\nend");
    expect(await read({ limitBytes: 5 }, size)).toBe("one\nt");
    expect(await read({ sinceMs: Date.parse("2026-01-02T03:04:06Z") }, size)).toBe("\nno line of conmon\nend");
    expect((await read({ timestamps: true }, size)).split("\n").slice(0, 3)).toEqual([
      "2026-01-02T03:04:05.100000001Z one",
      "2026-01-02T03:04:05.200000000Z two",
      "2026-01-02T03:04:06.400000004Z ",
    ]);
  },
);
