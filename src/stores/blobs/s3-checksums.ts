import { createHash } from "node:crypto";

/** A running checksum. */
export interface Checksum {
  update(bytes: Uint8Array): void;
  /** Base64 of the big-endian value, as S3 headers carry it. */
  digest(): string;
}

/** The checksums of S3 by the name in `x-amz-checksum-<name>`; `undefined` for unknown names. */
export function createChecksum(name: string): Checksum | undefined {
  switch (name) {
    case "crc32":
      return crc32(0xedb88320);
    case "crc32c":
      return crc32(0x82f63b78);
    case "crc64nvme":
      return crc64();
    case "sha1":
    case "sha256": {
      const hash = createHash(name);
      return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest("base64") };
    }
    default:
      return undefined;
  }
}

const tables32 = new Map<number, Uint32Array>();

function crc32(polynomial: number): Checksum {
  const table = tables32.get(polynomial) ?? tableOf(polynomial);
  tables32.set(polynomial, table);
  let crc = 0xffffffff;
  return {
    update: (bytes) => {
      for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] ?? 0);
    },
    digest: () => {
      const value = Buffer.alloc(4);
      value.writeUInt32BE(~crc >>> 0);
      return value.toString("base64");
    },
  };
}

function tableOf(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, index) => {
    let value = index;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
    return value >>> 0;
  });
}

/** CRC-64/NVME, reflected polynomial 0x9a6c9329ac4bc9b5, kept in two halves: numbers hold 53 bits. */
const POLYNOMIAL_HIGH = 0x9a6c9329;
const POLYNOMIAL_LOW = 0xac4bc9b5;
let tables64: { readonly high: Uint32Array; readonly low: Uint32Array } | undefined;

function crc64(): Checksum {
  tables64 ??= makeTables64();
  const tables = tables64;
  let high = 0xffffffff;
  let low = 0xffffffff;
  return {
    update: (bytes) => {
      for (const byte of bytes) {
        const index = (low ^ byte) & 0xff;
        low = ((low >>> 8) | (high << 24)) ^ (tables.low[index] ?? 0);
        high = (high >>> 8) ^ (tables.high[index] ?? 0);
      }
    },
    digest: () => {
      const value = Buffer.alloc(8);
      value.writeUInt32BE(~high >>> 0, 0);
      value.writeUInt32BE(~low >>> 0, 4);
      return value.toString("base64");
    },
  };
}

function makeTables64(): { high: Uint32Array; low: Uint32Array } {
  const high = new Uint32Array(256);
  const low = new Uint32Array(256);
  for (let index = 0; index < 256; index++) {
    let [h, l] = [0, index];
    for (let bit = 0; bit < 8; bit++) {
      const odd = (l & 1) === 1;
      l = (l >>> 1) | ((h & 1) << 31);
      h >>>= 1;
      if (odd) {
        l ^= POLYNOMIAL_LOW;
        h ^= POLYNOMIAL_HIGH;
      }
    }
    high[index] = h >>> 0;
    low[index] = l >>> 0;
  }
  return { high, low };
}
