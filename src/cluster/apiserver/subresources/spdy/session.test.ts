import { expect, test } from "vitest";
import { spdyClient } from "./client.fixture.js";
import { spdyDictionary } from "./dictionary.js";
import { type SpdyStream, serveSpdy } from "./session.js";

const settled = async () => {
  for (let i = 0; i < 30; i++) await new Promise((resolve) => setImmediate(resolve));
};

test("the dictionary is SPDY/3's", () => {
  let [a, b] = [1, 0];
  for (const byte of spdyDictionary) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }

  expect(((b << 16) | a) >>> 0).toBe(0xe3c6a7c2);
});

test("streams are opened with headers, carry data both ways and end apart", async () => {
  const peer = spdyClient();
  const opened: SpdyStream[] = [];
  const ended: number[] = [];
  const done = serveSpdy(peer.far, {
    onStream: (stream) => void opened.push(stream),
    onData: (stream, data) => stream.send(Buffer.from(`echo ${Buffer.from(data).toString()}`)),
    onEnd: (stream) => void ended.push(stream.id),
  });

  await peer.open(1, { streamType: "error", port: "80" });
  await peer.open(3, { streamType: "data", port: "80" });
  peer.data(3, "hello");
  peer.control(6, Buffer.from([0, 0, 0, 9]));
  peer.data(1, "", 1);
  await settled();
  peer.near.end();
  await done;

  expect(opened.map(({ id, headers }) => [id, headers.get("streamtype"), headers.get("port")])).toEqual([
    [1, "error", "80"],
    [3, "data", "80"],
  ]);
  const frames = peer.frames();
  expect(frames.filter(({ isControl, what }) => isControl && what === 2)).toHaveLength(2);
  expect(frames.find(({ isControl, what }) => !isControl && what === 3)?.payload.toString()).toBe("echo hello");
  expect(frames.find(({ isControl, what }) => isControl && what === 6)?.payload).toEqual(Buffer.from([0, 0, 0, 9]));
  expect(ended).toEqual([1, 1, 3]);
});

test("hostile frames end the session and nothing else", async () => {
  const serve = (peer: ReturnType<typeof spdyClient>) =>
    serveSpdy(peer.far, { onStream: () => undefined, onData: () => undefined, onEnd: () => undefined });
  const wrongVersion = spdyClient();
  wrongVersion.control(1, Buffer.alloc(20), 0, 2);
  const rubbish = spdyClient();
  rubbish.control(1, Buffer.alloc(40, 7));
  const long = spdyClient();
  long.near.write(Buffer.from([0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]));
  const bomb = spdyClient();
  await bomb.open(1, { a: "x".repeat(1_000_000) });

  await expect(serve(wrongVersion)).rejects.toThrow("only SPDY/3.1");
  await expect(serve(rubbish)).rejects.toThrow();
  await expect(serve(long)).rejects.toThrow("too long");
  await expect(serve(bomb)).rejects.toThrow("too long");
});
