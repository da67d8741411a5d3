import { EMPTY_SHA256, hmac, scopeText, sha256Hex } from "../../kernel/aws/index.js";
import type { Verified } from "./s3-auth.js";
import { type Checksum, createChecksum } from "./s3-checksums.js";
import { S3Error } from "./s3-errors.js";

type Chunks = AsyncIterable<Uint8Array>;

/** The content that a request carries, and what it must be. Reading `content` throws `S3Error` when it is not. */
export interface Payload {
  readonly content: Chunks;
  readonly sha256?: string;
  readonly md5?: string;
}

/** Takes the content out of a request's body, whichever way of S3 it is sent: plain, unsigned, or in signed chunks. */
export function payloadOf(headers: Readonly<Record<string, string>>, body: Chunks, verified: Verified): Payload {
  const mode = verified.payloadHash;
  const md5 = md5Of(headers["content-md5"]);
  const trailers: Record<string, string> = {};
  const content = mode.startsWith("STREAMING-")
    ? withLength(headers["x-amz-decoded-content-length"], decodeChunks(body, { mode, verified, trailers }))
    : body;
  const checked = withChecksums(content, headers, trailers);
  if (mode === "UNSIGNED-PAYLOAD" || mode.startsWith("STREAMING-")) return { content: checked, ...md5 };
  if (!/^[0-9a-f]{64}$/.test(mode))
    throw new S3Error(400, "InvalidArgument", "x-amz-content-sha256 must be a SHA-256 in lower-case hex");
  return { content: checked, sha256: mode, ...md5 };
}

function md5Of(header: string | undefined): { md5?: string } {
  if (header === undefined) return {};
  const md5 = Buffer.from(header, "base64");
  if (md5.length !== 16) throw new S3Error(400, "InvalidDigest", "Content-MD5 must be an MD5 in base64");
  return { md5: md5.toString("hex") };
}

async function* withLength(stated: string | undefined, content: Chunks): AsyncGenerator<Uint8Array, void, undefined> {
  let length = 0;
  for await (const chunk of content) {
    length += chunk.byteLength;
    yield chunk;
  }
  if (stated !== undefined && Number(stated) !== length) {
    throw new S3Error(400, "IncompleteBody", `the content has ${length} bytes, stated were ${stated}`);
  }
}

/** Checks `x-amz-checksum-…` of the headers, or of the trailers that come after the content. */
async function* withChecksums(
  content: Chunks,
  headers: Readonly<Record<string, string>>,
  trailers: Readonly<Record<string, string>>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const announced = (headers["x-amz-trailer"] ?? "").split(",").map((name) => name.trim().toLowerCase());
  const sums = new Map<string, Checksum>();
  for (const name of [...Object.keys(headers), ...announced]) {
    const kind = /^x-amz-checksum-(\w+)$/.exec(name)?.[1];
    if (kind === undefined || kind === "algorithm" || kind === "type" || kind === "mode") continue;
    const sum = createChecksum(kind);
    if (sum === undefined) throw new S3Error(501, "NotImplemented", `the checksum ${kind} is not known`);
    sums.set(name, sum);
  }
  for await (const chunk of content) {
    for (const sum of sums.values()) sum.update(chunk);
    yield chunk;
  }
  for (const [name, sum] of sums) {
    const stated = headers[name] ?? trailers[name];
    const actual = sum.digest();
    if (stated !== actual)
      throw new S3Error(400, "BadDigest", `${name} of the content is ${actual}, stated was ${stated ?? "nothing"}`);
  }
}

interface Decoding {
  readonly mode: string;
  readonly verified: Verified;
  /** Filled with what comes after the last chunk. */
  readonly trailers: Record<string, string>;
}

const MODES = new Set([
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
  "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
]);
const MAX_LINE_BYTES = 4096;
const MAX_CHUNK_BYTES = 64 * 1024 * 1024;

/** Undoes `aws-chunked`: size and signature, content, and so on until a chunk of size 0; then trailers. */
async function* decodeChunks(
  body: Chunks,
  { mode, verified, trailers }: Decoding,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (!MODES.has(mode)) throw new S3Error(501, "NotImplemented", `bodies sent as ${mode} are not understood`);
  const signed = mode.startsWith("STREAMING-AWS4-HMAC-SHA256");
  const reader = createReader(body);
  let previous = verified.signature;
  for (;;) {
    const [size = "", ...extensions] = (await reader.line()).split(";");
    if (!/^[0-9a-fA-F]{1,8}$/.test(size)) throw malformed("a chunk has no size");
    const length = Number.parseInt(size, 16);
    if (length > MAX_CHUNK_BYTES) throw malformed("a chunk is too large");
    const chunk = await reader.bytes(length);
    if (signed) {
      const stated = extensions
        .map((e) => /^chunk-signature=([0-9a-f]{64})$/.exec(e.trim())?.[1])
        .find((s) => s !== undefined);
      previous = chunkSignature(verified, previous, chunk);
      if (stated !== previous)
        throw new S3Error(403, "SignatureDoesNotMatch", "the signature of a chunk does not fit its content");
    }
    if (length === 0) break;
    yield chunk;
    if ((await reader.line()) !== "") throw malformed("a chunk is longer than its size says");
  }
  const text = await readTrailers(reader, trailers);
  const stated = trailers["x-amz-trailer-signature"];
  if (signed && mode.endsWith("-TRAILER") && stated !== trailerSignature(verified, previous, text)) {
    throw new S3Error(403, "SignatureDoesNotMatch", "the signature of the trailers does not fit them");
  }
}

async function readTrailers(reader: Reader, trailers: Record<string, string>): Promise<string> {
  let signedText = "";
  for (;;) {
    const line = await reader.line({ orEnd: true });
    if (line === "") return signedText;
    const colon = line.indexOf(":");
    if (colon < 1 || Object.keys(trailers).length > 16) throw malformed("a trailer is malformed");
    const name = line.slice(0, colon).trim().toLowerCase();
    trailers[name] = line.slice(colon + 1).trim();
    if (name !== "x-amz-trailer-signature") signedText += `${name}:${trailers[name] ?? ""}\n`;
  }
}

function chunkSignature({ key, time, scope }: Verified, previous: string, chunk: Uint8Array): string {
  return hmac(
    key,
    ["AWS4-HMAC-SHA256-PAYLOAD", time, scopeText(scope), previous, EMPTY_SHA256, sha256Hex(chunk)].join("\n"),
  ).toString("hex");
}

function trailerSignature({ key, time, scope }: Verified, previous: string, text: string): string {
  return hmac(key, ["AWS4-HMAC-SHA256-TRAILER", time, scopeText(scope), previous, sha256Hex(text)].join("\n")).toString(
    "hex",
  );
}

function malformed(why: string): S3Error {
  return new S3Error(400, "IncompleteBody", `the chunked body is malformed: ${why}`);
}

interface Reader {
  line(options?: { orEnd?: boolean }): Promise<string>;
  bytes(length: number): Promise<Buffer>;
}

/** Reads lines and counted bytes from a stream. */
function createReader(body: Chunks): Reader {
  const source = body[Symbol.asyncIterator]();
  let pending: Uint8Array = new Uint8Array();
  const more = async (): Promise<boolean> => {
    const { done, value } = await source.next();
    if (done === true) return false;
    pending = pending.byteLength === 0 ? value : Buffer.concat([pending, value]);
    return true;
  };
  const take = (length: number): Buffer => {
    const taken = Buffer.from(pending.buffer, pending.byteOffset, length);
    pending = pending.subarray(length);
    return taken;
  };
  return {
    line: async ({ orEnd = false } = {}) => {
      for (;;) {
        const end = Buffer.from(pending.buffer, pending.byteOffset, pending.byteLength).indexOf("\r\n");
        if (end >= 0)
          return take(end + 2)
            .subarray(0, end)
            .toString();
        if (pending.byteLength > MAX_LINE_BYTES) throw malformed("a line is too long");
        if (!(await more())) {
          if (orEnd && pending.byteLength === 0) return "";
          throw malformed("it ends too early");
        }
      }
    },
    bytes: async (length) => {
      const parts: Uint8Array[] = [];
      let missing = length;
      while (missing > 0) {
        if (pending.byteLength === 0 && !(await more())) throw malformed("it ends too early");
        const part = take(Math.min(missing, pending.byteLength));
        parts.push(part);
        missing -= part.byteLength;
      }
      return Buffer.concat(parts);
    },
  };
}
