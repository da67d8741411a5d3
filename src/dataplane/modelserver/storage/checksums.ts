/** Checksums of files, in one pass for all that are wanted. */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Checksum } from "./types.js";

type Algorithm = Checksum["algorithm"];

interface Digest {
  update(chunk: Uint8Array): void;
  hex(): string;
}

/** Hexadecimal digests of a file: SHA-256, and the one asked for. */
export async function digestFile(
  file: string,
  algorithm: Algorithm = "sha256",
): Promise<{ readonly sha256: string; readonly asked: string }> {
  const sha256 = digestOf("sha256", 0);
  const asked = algorithm === "sha256" ? sha256 : digestOf(algorithm, (await stat(file)).size);
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) {
    sha256.update(chunk);
    if (asked !== sha256) asked.update(chunk);
  }
  const hex = sha256.hex();
  return { sha256: hex, asked: asked === sha256 ? hex : asked.hex() };
}

function digestOf(algorithm: Algorithm, size: number): Digest {
  if (algorithm === "crc32c") return crc32c();
  const hash: Hash = createHash(algorithm === "git-blob" ? "sha1" : algorithm);
  if (algorithm === "git-blob") hash.update(`blob ${size}\0`);
  return { update: (chunk) => void hash.update(chunk), hex: () => hash.digest("hex") };
}

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** Castagnoli's CRC, which Google's store names for objects that were put together of parts (RFC 3720, B.4). */
function crc32c(): Digest {
  let state = 0xffffffff;
  return {
    update: (chunk) => {
      for (const byte of chunk) state = (TABLE[(state ^ byte) & 0xff] ?? 0) ^ (state >>> 8);
    },
    hex: () => ((state ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0"),
  };
}

/** Base64, as headers and listings have checksums, as hexadecimal; `undefined` where it is none of `bytes` bytes. */
export function hexOfBase64(text: string, bytes: number): string | undefined {
  const buffer = Buffer.from(text, "base64");
  return buffer.length === bytes ? buffer.toString("hex") : undefined;
}
