import { constants, createDeflate } from "node:zlib";
import { duplexPair } from "../duplex-pair.js";
import { spdyDictionary } from "./dictionary.js";

/** Names and values, each with its length before it (SPDY 3.1, section 2.6.10). */
function headerBlock(headers: Record<string, string>): Buffer {
  const words = (text: string) => Buffer.concat([uint32(Buffer.byteLength(text)), Buffer.from(text)]);
  const pairs = Object.entries(headers).flatMap(([name, value]) => [words(name), words(value)]);
  return Buffer.concat([uint32(Object.keys(headers).length), ...pairs]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A client of SPDY for tests: what it writes, and the frames that it is answered. */
export function spdyClient() {
  const [near, far] = duplexPair();
  const deflate = createDeflate({ dictionary: spdyDictionary });
  let seen = Buffer.alloc(0);
  near.on("data", (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
  });
  near.on("error", () => undefined);
  const compress = (headers: Record<string, string>) =>
    new Promise<Buffer>((resolve) => {
      const chunks: Buffer[] = [];
      const collect = (chunk: Buffer) => void chunks.push(chunk);
      deflate.on("data", collect);
      deflate.write(headerBlock(headers));
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
