import { expect, test } from "vitest";
import { ByteStream, maxUnreadBytes } from "./stream.js";

const bytes = (text: string): Uint8Array => Buffer.from(text);

test("what waits is handed over as one chunk, and the end comes after it", async () => {
  let ended = 0;
  const stream = new ByteStream(() => ended++);
  stream.push(bytes("a"));
  stream.push(bytes("b"));
  const seen: string[] = [];
  const reading = (async () => {
    for await (const chunk of stream) seen.push(Buffer.from(chunk).toString());
  })();
  await new Promise((resolve) => setImmediate(resolve));
  stream.push(bytes("c"));
  stream.end();
  await reading;

  expect(seen).toEqual(["ab", "c"]);
  expect(ended).toBe(1);
});

test("much that waits is handed over in pieces: each is a copy for one reader", async () => {
  const stream = new ByteStream(() => undefined);
  for (let index = 0; index < 8; index++) stream.push(new Uint8Array(400 * 1024).fill(index));
  stream.end();
  const seen: number[] = [];
  for await (const chunk of stream) seen.push(chunk.byteLength / 1024, chunk[0] ?? -1);

  expect(seen).toEqual([800, 0, 800, 2, 800, 4, 800, 6]);
});

test("a reader that does not keep up is cut off instead of filling the memory", async () => {
  let ended = 0;
  const stream = new ByteStream(() => ended++);
  for (let index = 0; index < 3; index++) stream.push(new Uint8Array(maxUnreadBytes / 2));
  const seen: number[] = [];
  for await (const chunk of stream) seen.push(chunk.byteLength);

  expect(ended).toBe(1);
  expect(seen).toEqual([]);
});

test("a reader that leaves ends the stream", async () => {
  let ended = 0;
  const stream = new ByteStream(() => ended++);
  stream.push(bytes("a"));
  for await (const _ of stream) break;

  expect(ended).toBe(1);
});
