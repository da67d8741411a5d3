import { createHash } from "node:crypto";
import { sha256Hex } from "../../kernel/aws/index.js";
import { checkKey, compareKeys } from "./keys.js";
import { mediaTypeOf } from "./media-types.js";
import { createS3Client, type S3Access, type S3Client, type S3Response } from "./s3-client.js";
import { childText, parseXml, xmlDocument } from "./s3-xml.js";
import {
  BlobError,
  type BlobInfo,
  type BlobPage,
  type BlobRead,
  type BlobStore,
  type ListQuery,
  type PutOptions,
  type RangeRequest,
} from "./types.js";

/** Content up to here goes in one request; longer content in parts of this size. */
const PART_BYTES = 8 * 1024 * 1024;

/** The S3 home: one bucket of any S3 server, spoken to with Signature Version 4 over HTTPS, path-style. */
export function createS3Blobs(access: S3Access): BlobStore {
  const client = createS3Client(access);
  return {
    put: (key, content, options = {}) => put(client, { key, content, options, nowMs: access.clock.now() }),
    get: (key, { range, signal } = {}) => get(client, key, { range, signal }),
    head: async (key) => {
      checkKey(key);
      const response = await client.call({ method: "HEAD", key }, [404]);
      await response.body.dump();
      return response.status === 404
        ? undefined
        : infoOf(key, response.headers, Number(response.headers["content-length"] ?? 0));
    },
    list: (query = {}) => list(client, query),
    delete: async (key) => {
      checkKey(key);
      const there = await client.call({ method: "HEAD", key }, [404]);
      await there.body.dump();
      if (there.status === 404) return false;
      const response = await client.call({ method: "DELETE", key }, [404]);
      await response.body.dump();
      return response.status !== 404;
    },
    close: () => client.close(),
  };
}

function infoOf(key: string, headers: S3Response["headers"], sizeBytes: number): BlobInfo {
  const sha256 = headers["x-amz-checksum-sha256"];
  // A checksum with a dash is one over parts, not over the content.
  const whole = sha256 !== undefined && !sha256.includes("-");
  return {
    key,
    sizeBytes,
    etag: (headers["etag"] ?? "").replaceAll('"', ""),
    modifiedMs: Date.parse(headers["last-modified"] ?? "") || 0,
    contentType: headers["content-type"] ?? "application/octet-stream",
    ...(whole ? { sha256: Buffer.from(sha256, "base64").toString("hex") } : {}),
  };
}

async function get(
  client: S3Client,
  key: string,
  { range, signal }: { range: RangeRequest | undefined; signal: AbortSignal | undefined },
): Promise<BlobRead | undefined> {
  checkKey(key);
  const headers: Record<string, string> = range === undefined ? {} : { range: rangeHeader(range) };
  const response = await client.call(
    { method: "GET", key, headers, ...(signal === undefined ? {} : { signal }) },
    [404],
  );
  if (response.status === 404) {
    await response.body.dump();
    return undefined;
  }
  const part = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers["content-range"] ?? "");
  const sizeBytes = Number(part?.[3] ?? response.headers["content-length"] ?? 0);
  return {
    info: infoOf(key, response.headers, sizeBytes),
    ...(part === null ? {} : { range: { start: Number(part[1]), end: Number(part[2]) } }),
    body: response.body,
    discard: async () => void response.body.destroy(),
  };
}

function rangeHeader(range: RangeRequest): string {
  return "suffix" in range ? `bytes=-${range.suffix}` : `bytes=${range.start}-${range.end ?? ""}`;
}

interface Put {
  readonly key: string;
  readonly content: Uint8Array | AsyncIterable<Uint8Array>;
  readonly options: PutOptions;
  readonly nowMs: number;
}

async function put(client: S3Client, { key, content, options, nowMs }: Put): Promise<BlobInfo> {
  checkKey(key);
  const contentType = options.contentType ?? mediaTypeOf(key);
  const sums = { md5: createHash("md5"), sha256: createHash("sha256") };
  let sizeBytes = 0;
  let upload: Upload | undefined;
  try {
    let last: Buffer | undefined;
    for await (const piece of pieces(content)) {
      options.signal?.throwIfAborted();
      sizeBytes += piece.byteLength;
      if (sizeBytes > (options.maxBytes ?? Number.POSITIVE_INFINITY))
        throw new BlobError("TooLarge", `the content is longer than ${options.maxBytes} bytes`);
      sums.md5.update(piece);
      sums.sha256.update(piece);
      // The last piece stays here until it is known to be the last.
      if (last !== undefined) {
        upload ??= await startUpload(client, key, contentType);
        await upload.part(last);
      }
      last = piece;
    }
    const digests = { md5: sums.md5.digest("hex"), sha256: sums.sha256.digest("hex") };
    checkDigests(options, digests);
    const finish = { onlyIfAbsent: options.onlyIfAbsent === true, body: last ?? Buffer.alloc(0) };
    const etag =
      upload === undefined ? await putWhole(client, key, { contentType, ...finish }) : await upload.finish(finish);
    return { key, sizeBytes, etag, modifiedMs: nowMs, contentType, sha256: digests.sha256 };
  } catch (error) {
    await upload?.abort();
    throw error;
  }
}

/** Content in pieces of the size of a part. */
async function* pieces(content: Uint8Array | AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void, undefined> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of content instanceof Uint8Array ? [content] : content) {
    let rest = chunk;
    while (bytes + rest.byteLength >= PART_BYTES) {
      const missing = PART_BYTES - bytes;
      yield Buffer.concat([...waiting, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      waiting = [];
      bytes = 0;
    }
    if (rest.byteLength > 0) waiting.push(rest);
    bytes += rest.byteLength;
  }
  if (bytes > 0) yield Buffer.concat(waiting);
}

function checkDigests(options: PutOptions, actual: { readonly md5: string; readonly sha256: string }): void {
  for (const name of ["sha256", "md5"] as const) {
    const stated = options[name];
    if (stated !== undefined && stated !== actual[name]) {
      throw new BlobError("BadDigest", `the ${name} of the content is ${actual[name]}, stated was ${stated}`);
    }
  }
}

interface Finish {
  readonly body: Buffer;
  readonly onlyIfAbsent: boolean;
}

async function putWhole(
  client: S3Client,
  key: string,
  { contentType, body, onlyIfAbsent }: Finish & { contentType: string },
): Promise<string> {
  const headers = { "content-type": contentType, ...conditionOf(onlyIfAbsent) };
  const response = await client.call({ method: "PUT", key, headers, body, bodySha256: sha256Hex(body) });
  await response.body.dump();
  return etagOf(response);
}

function conditionOf(onlyIfAbsent: boolean): Record<string, string> {
  return onlyIfAbsent ? { "if-none-match": "*" } : {};
}

function etagOf(response: S3Response): string {
  return (response.headers["etag"] ?? "").replaceAll('"', "");
}

interface Upload {
  part(body: Buffer): Promise<void>;
  finish(finish: Finish): Promise<string>;
  abort(): Promise<void>;
}

async function startUpload(client: S3Client, key: string, contentType: string): Promise<Upload> {
  const started = await client.call({
    method: "POST",
    key,
    query: { uploads: "" },
    headers: { "content-type": contentType },
  });
  const document = parseXml(await started.body.text());
  const uploadId = document && childText(document, "UploadId");
  if (uploadId === undefined) throw new BlobError("Unavailable", "the artifact store gave no upload id");
  const parts: { PartNumber: number; ETag: string }[] = [];
  const part = async (body: Buffer): Promise<void> => {
    const query = { partNumber: String(parts.length + 1), uploadId };
    const response = await client.call({ method: "PUT", key, query, body, bodySha256: sha256Hex(body) });
    await response.body.dump();
    parts.push({ PartNumber: parts.length + 1, ETag: response.headers["etag"] ?? "" });
  };
  return {
    part,
    finish: async ({ body, onlyIfAbsent }) => {
      await part(body);
      const text = Buffer.from(xmlDocument("CompleteMultipartUpload", { Part: parts }));
      const call = {
        method: "POST",
        key,
        query: { uploadId },
        headers: conditionOf(onlyIfAbsent),
        body: text,
        bodySha256: sha256Hex(text),
      };
      const response = await client.call(call);
      const answer = parseXml(await response.body.text());
      // S3 may say 200 and report a failure in the document.
      if (answer?.name !== "CompleteMultipartUploadResult")
        throw new BlobError("Unavailable", "the artifact store did not complete the upload");
      return (childText(answer, "ETag") ?? "").replaceAll('"', "");
    },
    abort: async () => {
      // Best effort: what is left is the store's to clear away, and the first error is the one to report.
      const response = await client.call({ method: "DELETE", key, query: { uploadId } }, [404]).catch(() => undefined);
      await response?.body.dump();
    },
  };
}

async function list(client: S3Client, { prefix, delimiter, after = "", limit = 1000 }: ListQuery): Promise<BlobPage> {
  // A rolled-up prefix stands before its keys; what comes after it is what comes after all of them.
  const start = delimiter !== undefined && after.endsWith("/") ? `${after}\u{10ffff}` : after;
  const query: Record<string, string> = {
    "list-type": "2",
    "encoding-type": "url",
    "max-keys": String(Math.max(1, Math.min(limit, 1000))),
    ...(prefix === undefined ? {} : { prefix }),
    ...(delimiter === undefined ? {} : { delimiter }),
    ...(start === "" ? {} : { "start-after": start }),
  };
  const response = await client.call({ method: "GET", key: "", query });
  const document = parseXml(await response.body.text());
  if (document?.name !== "ListBucketResult")
    throw new BlobError("Unavailable", "the artifact store's listing cannot be read");
  const elements = (name: string) => document.children.filter((child) => child.name === name);
  const blobs = elements("Contents").map((element): BlobInfo => {
    const key = decodeText(childText(element, "Key") ?? "");
    return {
      key,
      sizeBytes: Number(childText(element, "Size") ?? 0),
      etag: (childText(element, "ETag") ?? "").replaceAll('"', ""),
      modifiedMs: Date.parse(childText(element, "LastModified") ?? "") || 0,
      contentType: mediaTypeOf(key),
    };
  });
  const prefixes = elements("CommonPrefixes").map((element) => decodeText(childText(element, "Prefix") ?? ""));
  const last = [blobs.at(-1)?.key ?? "", prefixes.at(-1) ?? ""].sort(compareKeys).at(-1) ?? "";
  const isMore = childText(document, "IsTruncated") === "true" && last !== "";
  return { blobs, prefixes, ...(isMore ? { next: last } : {}) };
}

/** S3's url encoding writes spaces as plus signs. */
function decodeText(text: string): string {
  return decodeURIComponent(text.replaceAll("+", "%20"));
}
