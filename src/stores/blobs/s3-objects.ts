import { parseRangeHeader } from "./keys.js";
import { isGranted } from "./s3-auth.js";
import { S3Error } from "./s3-errors.js";
import { mayWrite, readDocument, type S3Answer, type S3Operation, UPLOADS_PREFIX, xmlAnswer } from "./s3-operation.js";
import { payloadOf } from "./s3-payload.js";
import { childText, parseXml } from "./s3-xml.js";
import { BlobError, type BlobInfo, type BlobRead } from "./types.js";

/** Largest content of one PUT, as in S3; beyond it there is multipart upload. */
const MAX_PUT_BYTES = 5 * 1024 ** 3;
const MAX_BATCH_KEYS = 1000;

/** GetObject and HeadObject, whole or by range, under conditions. */
export async function getObject({ request, key, store }: S3Operation): Promise<S3Answer> {
  const info = await store.head(key);
  if (info === undefined) throw noSuchKey(key);
  checkConditions(request.headers, info);
  const range = parseRangeHeader(request.headers["range"]);
  if (request.method === "HEAD") {
    return {
      status: 200,
      headers: {
        ...objectHeaders(info, request.query),
        ...checksumHeader(info),
        "content-length": String(info.sizeBytes),
      },
    };
  }
  const read = await store.get(key, { ...(range === undefined ? {} : { range }), signal: request.signal });
  if (read === undefined) throw noSuchKey(key);
  return objectAnswer(read, request.query);
}

function objectAnswer(read: BlobRead, query: URLSearchParams): S3Answer {
  const { info, range } = read;
  const length = range === undefined ? info.sizeBytes : range.end - range.start + 1;
  const headers = { ...objectHeaders(info, query), "content-length": String(length) };
  if (range === undefined) return { status: 200, headers: { ...headers, ...checksumHeader(info) }, body: read.body };
  return {
    status: 206,
    headers: { ...headers, "content-range": `bytes ${range.start}-${range.end}/${info.sizeBytes}` },
    body: read.body,
  };
}

function objectHeaders(info: BlobInfo, query: URLSearchParams): Record<string, string> {
  const disposition = query.get("response-content-disposition");
  const contentType = query.get("response-content-type") ?? info.contentType;
  if (/[^\x20-\x7e]/.test(`${disposition ?? ""}${contentType}`)) {
    throw new S3Error(400, "InvalidArgument", "the headers that are asked for must be plain ASCII");
  }
  return {
    "content-type": contentType,
    "last-modified": new Date(info.modifiedMs).toUTCString(),
    etag: `"${info.etag}"`,
    "accept-ranges": "bytes",
    ...(disposition === null ? {} : { "content-disposition": disposition }),
  };
}

/** Only beside the whole content: clients check what they read against it. */
function checksumHeader(info: BlobInfo): Record<string, string> {
  return info.sha256 === undefined
    ? {}
    : { "x-amz-checksum-sha256": Buffer.from(info.sha256, "hex").toString("base64") };
}

function noSuchKey(key: string): S3Error {
  return new S3Error(404, "NoSuchKey", `there is no object ${key}`);
}

function checkConditions(headers: Readonly<Record<string, string>>, info: BlobInfo): void {
  const [match, noneMatch] = [headers["if-match"], headers["if-none-match"]];
  const seconds = Math.floor(info.modifiedMs / 1000) * 1000;
  const [since, unmodified] = [
    Date.parse(headers["if-modified-since"] ?? ""),
    Date.parse(headers["if-unmodified-since"] ?? ""),
  ];
  const failed = match !== undefined ? !hasTag(match, info) : seconds > unmodified;
  if (failed) throw new S3Error(412, "PreconditionFailed", "the object is not the one that the condition names");
  const same = noneMatch !== undefined ? hasTag(noneMatch, info) : seconds <= since;
  if (same) throw new S3Error(304, "NotModified", "the object has not changed");
}

function hasTag(header: string, info: BlobInfo): boolean {
  return header
    .split(",")
    .some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "").replaceAll('"', "") === info.etag);
}

/** PutObject, and CopyObject where a source is named. */
export async function putObject(operation: S3Operation): Promise<S3Answer> {
  const { request, key, store } = operation;
  const { headers } = request;
  if (headers["x-amz-copy-source"] !== undefined) return copyObject(operation, headers["x-amz-copy-source"]);
  if (headers["if-match"] !== undefined)
    throw new S3Error(501, "NotImplemented", "if-match is not offered for uploads");
  const { content, ...digests } = payloadOf(headers, request.body, request.verified);
  const contentType = headers["content-type"];
  const info = await store.put(key, content, {
    ...digests,
    ...(contentType === undefined ? {} : { contentType }),
    onlyIfAbsent: headers["if-none-match"] === "*",
    maxBytes: MAX_PUT_BYTES,
    signal: request.signal,
  });
  return { status: 200, headers: { etag: `"${info.etag}"` } };
}

async function copyObject({ request, key, store, stores }: S3Operation, source: string): Promise<S3Answer> {
  const [bucket = "", ...rest] = source.replace(/^\//, "").split("/");
  const sourceKey = decodeURIComponent(rest.join("/"));
  if (
    !isGranted(request.verified.credential, { bucket, key: sourceKey, access: "read" }) ||
    sourceKey.startsWith(UPLOADS_PREFIX)
  ) {
    throw new S3Error(403, "AccessDenied", `this access key may not read ${bucket}/${sourceKey}`);
  }
  const read = Object.hasOwn(stores.buckets, bucket) ? await stores.buckets[bucket]?.get(sourceKey) : undefined;
  if (read === undefined) throw noSuchKey(sourceKey);
  const info = await store.put(key, read.body, { contentType: read.info.contentType, signal: request.signal });
  return xmlAnswer("CopyObjectResult", {
    LastModified: new Date(info.modifiedMs).toISOString(),
    ETag: `"${info.etag}"`,
  });
}

/** DeleteObject: also right for what is not there. */
export async function deleteObject({ key, store }: S3Operation): Promise<S3Answer> {
  await store.delete(key);
  return { status: 204 };
}

/** DeleteObjects: up to 1000 keys in a document; each succeeds or fails by itself. */
export async function deleteMany(operation: S3Operation): Promise<S3Answer> {
  const document = parseXml(await readDocument(operation));
  if (document?.name !== "Delete") throw new S3Error(400, "MalformedXML", "the body must be a Delete document");
  const keys = document.children
    .filter((child) => child.name === "Object")
    .map((child) => childText(child, "Key") ?? "");
  if (keys.length > MAX_BATCH_KEYS)
    throw new S3Error(400, "MalformedXML", `at most ${MAX_BATCH_KEYS} objects can be deleted at once`);
  const deleted: { Key: string }[] = [];
  const errors: { Key: string; Code: string; Message: string }[] = [];
  for (const key of keys) {
    if (!mayWrite(operation, key) || key.startsWith(UPLOADS_PREFIX)) {
      errors.push({ Key: key, Code: "AccessDenied", Message: "this access key may not delete it" });
      continue;
    }
    try {
      await operation.store.delete(key);
      deleted.push({ Key: key });
    } catch (error) {
      if (!(error instanceof BlobError)) throw error;
      errors.push({ Key: key, Code: error.code, Message: error.message });
    }
  }
  const quiet = childText(document, "Quiet") === "true";
  return xmlAnswer("DeleteResult", { Deleted: quiet ? [] : deleted, Error: errors });
}
