import type { Dice } from "./random.js";

/** Hostile HTTP/2: what is written to a connection that agreed on h2. */
export function hostileFrames(dice: Dice): Buffer {
  const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
  const start = Buffer.concat([preface, frame(4, 0, 0, Buffer.alloc(0))]);
  const makers: (() => Buffer)[] = [
    // Rapid reset.
    () =>
      Buffer.concat(range(dice.pick([50, 2000])).flatMap((i) => [request(2 * i + 1), frame(3, 0, 2 * i + 1, u32(8))])),
    // Settings, pings, window updates, priorities: each wants an answer or some work.
    () => Buffer.concat(range(3000).map(() => frame(4, 0, 0, Buffer.from([0, 4, 0, 0, dice.int(256), 0])))),
    () => Buffer.concat(range(3000).map(() => frame(6, 0, 0, dice.bytes(8)))),
    () => Buffer.concat(range(3000).map(() => frame(8, 0, 0, u32(0x7fffffff)))),
    () => Buffer.concat(range(3000).map((i) => frame(2, 0, 2 * i + 1, dice.bytes(5)))),
    // Headers that never end.
    () =>
      Buffer.concat([
        frame(1, 0, 1, requestBlock),
        ...range(2000).map(() => frame(9, 0, 1, literal("x-h", "y".repeat(200)))),
      ]),
    () => frame(1, 5, 1, Buffer.concat([requestBlock, ...range(500).map((i) => literal(`x-${i}`, "y".repeat(100)))])),
    // A table that one byte names again and again.
    () =>
      frame(1, 5, 1, Buffer.concat([requestBlock, indexed("x-bomb", "z".repeat(3900)), Buffer.alloc(12_000, 0xbe)])),
    () => frame(1, 5, 1, dice.bytes(200)),
    () => frame(0, 0, 1, dice.bytes(100)),
    () => frame(dice.int(256), dice.int(256), dice.int(1 << 30), dice.bytes(dice.int(300))),
    () => Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]), dice.bytes(1000)]),
    // Many streams at once, none of which ends.
    () => Buffer.concat(range(1500).map((i) => frame(1, 4, 2 * i + 1, requestBlock))),
    () => Buffer.concat([frame(1, 4, 1, requestBlock), ...range(2000).map(() => frame(0, 0, 1, Buffer.alloc(0)))]),
    () => dice.bytes(500),
  ];
  return Buffer.concat([dice.chance(10) ? preface.subarray(0, dice.int(24)) : start, dice.pick(makers)()]);
}

const range = (length: number) => Array.from({ length }, (_, index) => index);

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, payload]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}

const literal = (name: string, value: string) => Buffer.concat([Buffer.from([0]), text(name), text(value)]);
const indexed = (name: string, value: string) => Buffer.concat([Buffer.from([0x40]), text(name), text(value)]);

/** GET https://x/api */
const requestBlock = Buffer.concat([
  Buffer.from([0x82, 0x87]),
  Buffer.from([0x04]),
  text("/api"),
  Buffer.from([0x01]),
  text("x"),
]);

const request = (stream: number) => frame(1, 5, stream, requestBlock);
