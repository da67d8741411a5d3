import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { FirstLines } from "./first-lines.js";

const through = (chunks: readonly string[]): Promise<string> =>
  text(Readable.from(chunks.map((each) => Buffer.from(each))).pipe(new FirstLines()));

const cases: readonly (readonly [said: string, shown: string])[] = [
  ["one\r\r\ntwo\r\r\nthree\r\n", "one\r\ntwo\r\nthree\r\n"],
  // From the first line that is ended once the command's own carriage returns stay.
  ["one\r\ntwo\r\r\n", "one\r\ntwo\r\r\n"],
  // Of the command's own before a line end that is translated twice only one goes.
  ["one\r\r\r\ntwo\r\n", "one\r\r\ntwo\r\n"],
  ["one\ntwo\r\r\n", "one\ntwo\r\n"],
  ["\r\rprompt\r\r", "\r\rprompt\r\r"],
  ["", ""],
];

test.each(cases)("%j", async (said, shown) => {
  expect(await through([said])).toBe(shown);
  expect(await through(said.split(""))).toBe(shown);
});
