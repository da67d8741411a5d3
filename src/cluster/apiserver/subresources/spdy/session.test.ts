import { constants, createDeflate } from "node:zlib";
import { expect, test } from "vitest";
import { duplexPair } from "../duplex-pair.js";
import { spdyDictionary } from "./dictionary.js";
import { type SpdyStream, serveSpdy } from "./session.js";

/** What a client writes, and the frames that it is answered. */
function client() {
  const [near, far] = duplexPair();
  const deflate = createDeflate({ dictionary: spdyDictionary });
  let seen = Buffer.alloc(0);
  near.on("data", (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
  });
  near.on("error", () => undefined);
  const compress = (headers: Record<string, string>) =>
    new Promise<Buffer>((resolve) => {
      const words = (text: string) => {
        const length = Buffer.alloc(4);
        length.writeUInt32BE(Buffer.byteLength(text));
        return Buffer.concat([length, Buffer.from(text)]);
      };
      const count = Buffer.alloc(4);
      count.writeUInt32BE(Object.keys(headers).length);
      const chunks: Buffer[] = [];
      const collect = (chunk: Buffer) => void chunks.push(chunk);
      deflate.on("data", collect);
      deflate.write(
        Buffer.concat([count, ...Object.entries(headers).flatMap(([name, value]) => [words(name), words(value)])]),
      );
      deflate.flush(constants.Z_SYNC_FLUSH, () => {
        deflate.off("data", collect);
        resolve(Buffer.concat(chunks));
      });
    });
  const frame = (first: number, flags: number, payload: Buffer) => {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(first >>> 0);
    head.writeUInt8(flags, 4);
    head.writeUIntBE(payload.length, 5, 3);
    near.write(Buffer.concat([head, payload]));
  };
  const control = (type: number, payload: Buffer, flags = 0, version = 3) =>
    frame(0x80000000 | (version << 16) | type, flags, payload);
  return {
    far,
    near,
    control,
    data: (id: number, text: string, flags = 0) => frame(id, flags, Buffer.from(text)),
    async open(id: number, headers: Record<string, string>) {
      const fixed = Buffer.alloc(10);
      fixed.writeUInt32BE(id);
      control(1, Buffer.concat([fixed, await compress(headers)]));
    },
    frames() {
      const list: { isControl: boolean; what: number; flags: number; payload: Buffer }[] = [];
      for (let at = 0; at + 8 <= seen.length; ) {
        const first = seen.readUInt32BE(at);
        const length = seen.readUIntBE(at + 5, 3);
        const isControl = first >>> 31 === 1;
        list.push({
          isControl,
          what: isControl ? first & 0xffff : first,
          flags: seen.readUInt8(at + 4),
          payload: seen.subarray(at + 8, at + 8 + length),
        });
        at += 8 + length;
      }
      return list;
    },
  };
}

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
  const peer = client();
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
  const serve = (peer: ReturnType<typeof client>) =>
    serveSpdy(peer.far, { onStream: () => undefined, onData: () => undefined, onEnd: () => undefined });
  const wrongVersion = client();
  wrongVersion.control(1, Buffer.alloc(20), 0, 2);
  const rubbish = client();
  rubbish.control(1, Buffer.alloc(40, 7));
  const long = client();
  long.near.write(Buffer.from([0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]));
  const bomb = client();
  await bomb.open(1, { a: "x".repeat(1_000_000) });

  await expect(serve(wrongVersion)).rejects.toThrow("only SPDY/3.1");
  await expect(serve(rubbish)).rejects.toThrow();
  await expect(serve(long)).rejects.toThrow("too long");
  await expect(serve(bomb)).rejects.toThrow("too long");
});
