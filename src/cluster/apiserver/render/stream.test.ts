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

/** Takes all, or no more after `limit` chunks. */
function collector(limit = Number.POSITIVE_INFINITY) {
  const seen: string[] = [];
  const taker = {
    take: (chunk: Uint8Array) => {
      seen.push(Buffer.from(chunk).toString());
      return seen.length < limit;
    },
    end: () => void seen.push("end"),
  };
  return { seen, taker };
}

test("a taker gets at once what waits, then what one job pushed as one chunk, and the end once", async () => {
  const stream = new ByteStream(() => undefined);
  stream.push(bytes("a"));
  const { seen, taker } = collector();
  stream.handTo(taker);
  expect(seen).toEqual(["a"]);
  stream.push(bytes("b"));
  stream.push(bytes("c"));
  expect(seen).toEqual(["a"]);
  await Promise.resolve();
  expect(seen).toEqual(["a", "bc"]);
  stream.push(bytes("d"));
  stream.end();
  stream.push(bytes("e"));
  await Promise.resolve();
  stream.resume();

  expect(seen).toEqual(["a", "bc", "d", "end"]);
});

test("a taker that has enough gets the rest when it can take more, and the end behind it", async () => {
  const stream = new ByteStream(() => undefined);
  const { seen, taker } = collector(1);
  stream.handTo(taker);
  for (const text of ["a", "b"]) {
    stream.push(bytes(text));
    await Promise.resolve();
  }
  stream.push(bytes("c"));
  stream.end();
  await Promise.resolve();
  expect(seen).toEqual(["a"]);
  stream.resume();
  stream.resume();

  expect(seen).toEqual(["a", "bc", "end"]);
});

test("a taker that does not come back is cut off", async () => {
  let cuts = 0;
  const stream = new ByteStream(() => undefined);
  stream.whenCut(() => cuts++);
  const { seen, taker } = collector(1);
  stream.handTo(taker);
  stream.push(bytes("a"));
  await Promise.resolve();
  for (let index = 0; index < 3; index++) stream.push(new Uint8Array(maxUnreadBytes / 2));
  await Promise.resolve();
  stream.resume();

  expect(cuts).toBe(1);
  expect(seen).toEqual(["a", "end"]);
});
