import { BlobError, type ByteRange, type RangeRequest } from "./types.js";

/** Longest key in bytes of UTF-8, as in S3. */
export const MAX_KEY_BYTES = 1024;
/** Longest file name of the file systems that we write to. */
const MAX_NAME_BYTES = 255;
/** Names with this prefix are the store's own. */
export const OWN_PREFIX = ".argosy.";

/** Refuses keys that no home can hold: empty, longer than 1024 bytes, or with lone surrogates. */
export function checkKey(key: string): void {
  if (key === "") throw new BlobError("InvalidKey", "the key is empty");
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw new BlobError("InvalidKey", `the key is longer than ${MAX_KEY_BYTES} bytes: ${key.slice(0, 80)}…`);
  }
  if (/\p{Surrogate}/u.test(key)) throw new BlobError("InvalidKey", "the key is no valid Unicode text");
}

/** Order of keys: by the bytes of their UTF-8, as S3 lists them. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/**
 * The file names of a key's parts below the root. No name can leave the root or meet the store's own files: `.` and `..`,
 * empty parts, control characters, backslashes and the store's prefix are escaped with `%`, and so is `%`.
 */
export function namesOfKey(key: string): string[] {
  checkKey(key);
  return key.split("/").map((part) => {
    const name = nameOfPart(part);
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
      throw new BlobError(
        "InvalidKey",
        `a part of the key is longer than ${MAX_NAME_BYTES} bytes: ${part.slice(0, 80)}…`,
      );
    }
    return name;
  });
}

/** File name of one part of a key. */
export function nameOfPart(part: string): string {
  if (part === "") return "%_";
  const escaped = part.replace(/[%\\\p{Cc}]/gu, escapeCharacter);
  const own = escaped === "." || escaped === ".." || escaped.startsWith(OWN_PREFIX);
  return own ? `%2E${escaped.slice(1)}` : escaped;
}

/** The part of a key that a file name stands for; `undefined`: a file that is not a blob's. */
export function partOfName(name: string): string | undefined {
  if (name === "%_") return "";
  if (name.startsWith(OWN_PREFIX)) return undefined;
  const part = name.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return nameOfPart(part) === name ? part : undefined;
}

/** The bytes of a blob that a range means; throws `InvalidRange` when none do. */
export function resolveRange(range: RangeRequest, sizeBytes: number): ByteRange {
  const start = "suffix" in range ? Math.max(0, sizeBytes - range.suffix) : range.start;
  const end = "suffix" in range ? sizeBytes - 1 : Math.min(range.end ?? sizeBytes - 1, sizeBytes - 1);
  if (start < 0 || start > end) {
    throw new BlobError("InvalidRange", `the range begins behind the end of the blob (${sizeBytes} bytes)`);
  }
  return { start, end };
}

/**
 * The range that an HTTP `Range` header asks for; `undefined` for none. Several ranges at once and other units are not offered:
 * the standard lets a server answer them in full. Throws `InvalidRange` for an empty one.
 */
export function parseRangeHeader(header: string | undefined): RangeRequest | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "");
  if (match === null) return undefined;
  const [, start = "", end = ""] = match;
  if (start === "") {
    if (end === "") return undefined;
    if (Number(end) === 0) throw new BlobError("InvalidRange", "the range is empty");
    return { suffix: Number(end) };
  }
  if (end !== "" && Number(end) < Number(start)) return undefined;
  return { start: Number(start), ...(end === "" ? {} : { end: Number(end) }) };
}

function escapeCharacter(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}
