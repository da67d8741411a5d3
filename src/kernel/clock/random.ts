import type { Random } from "./types.js";

const suffixAlphabet = "bcdfghjklmnpqrstvwxz2456789";

/** Builds the whole of `Random` from one source of uniform numbers in [0, 1) and one of bytes. */
export function randomFrom(next: () => number, fillBytes: (bytes: Uint8Array) => void): Random {
  const int = (limit: number): number => Math.floor(next() * limit);
  return {
    next,
    int,
    suffix(length) {
      let text = "";
      for (let i = 0; i < length; i += 1) text += suffixAlphabet.charAt(int(suffixAlphabet.length));
      return text;
    },
    uuid() {
      const bytes = new Uint8Array(16);
      fillBytes(bytes);
      bytes.set([((bytes[6] ?? 0) & 0x0f) | 0x40], 6);
      bytes.set([((bytes[8] ?? 0) & 0x3f) | 0x80], 8);
      const hex = Buffer.from(bytes).toString("hex");
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    },
  };
}
