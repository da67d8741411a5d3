import { S3Error } from "./s3-errors.js";
import {
  locationOf,
  readDocument,
  type S3Answer,
  type S3Operation,
  UPLOADS_PREFIX,
  xmlAnswer,
} from "./s3-operation.js";
import { payloadOf } from "./s3-payload.js";
import { childText, parseXml } from "./s3-xml.js";
import type { BlobInfo } from "./types.js";

const MAX_PARTS = 10_000;
const MAX_PART_BYTES = 5 * 1024 ** 3;

/** What is known of an unfinished upload; kept as a blob of its own, so that it outlives a restart. */
interface Upload {
  readonly key: string;
  readonly contentType: string | undefined;
}

/** CreateMultipartUpload, UploadPart, ListParts, CompleteMultipartUpload, AbortMultipartUpload. */
export async function answerUpload(operation: S3Operation): Promise<S3Answer> {
  const { method, query } = operation.request;
  const id = query.get("uploadId");
  if (id === null) {
    if (method !== "POST") throw new S3Error(501, "NotImplemented", "unfinished uploads cannot be listed");
    return createUpload(operation);
  }
  const upload = await findUpload(operation, id);
  switch (method) {
    case "PUT":
      return putPart(operation, id);
    case "GET":
      return listParts(operation, id);
    case "POST":
      return completeUpload(operation, id, upload);
    case "DELETE":
      await removeUpload(operation, id);
      return { status: 204 };
    default:
      throw new S3Error(405, "MethodNotAllowed", `${method} is not possible here`);
  }
}

async function createUpload({ request, bucket, key, store, stores }: S3Operation): Promise<S3Answer> {
  const id = stores.random.uuid().replaceAll("-", "");
  const upload: Upload = { key, contentType: request.headers["content-type"] };
  await store.put(`${UPLOADS_PREFIX}${id}/upload.json`, Buffer.from(JSON.stringify(upload)));
  return xmlAnswer("InitiateMultipartUploadResult", { Bucket: bucket, Key: key, UploadId: id });
}

async function findUpload({ key, store }: S3Operation, id: string): Promise<Upload> {
  const unknown = new S3Error(404, "NoSuchUpload", "there is no such upload; it may have been completed or aborted");
  if (!/^[0-9a-f]{32}$/.test(id)) throw unknown;
  const read = await store.get(`${UPLOADS_PREFIX}${id}/upload.json`);
  if (read === undefined) throw unknown;
  const chunks: Uint8Array[] = [];
  for await (const chunk of read.body) chunks.push(chunk);
  const parsed: unknown = JSON.parse(Buffer.concat(chunks).toString());
  if (typeof parsed !== "object" || parsed === null || !("key" in parsed) || parsed.key !== key) throw unknown;
  const contentType =
    "contentType" in parsed && typeof parsed.contentType === "string" ? parsed.contentType : undefined;
  return { key, contentType };
}

function partKey(id: string, number: number): string {
  return `${UPLOADS_PREFIX}${id}/part-${String(number).padStart(5, "0")}`;
}

function partNumber(text: string | null | undefined): number {
  const number = Number(text ?? "");
  if (!Number.isInteger(number) || number < 1 || number > MAX_PARTS) {
    throw new S3Error(400, "InvalidArgument", `the part number must be from 1 to ${MAX_PARTS}`);
  }
  return number;
}

async function putPart({ request, store }: S3Operation, id: string): Promise<S3Answer> {
  const number = partNumber(request.query.get("partNumber"));
  if (request.headers["x-amz-copy-source"] !== undefined)
    throw new S3Error(501, "NotImplemented", "parts cannot be copied from objects");
  const { content, ...digests } = payloadOf(request.headers, request.body, request.verified);
  const info = await store.put(partKey(id, number), content, {
    ...digests,
    maxBytes: MAX_PART_BYTES,
    signal: request.signal,
  });
  return { status: 200, headers: { etag: `"${info.etag}"` } };
}

async function partsOf({ store }: S3Operation, id: string): Promise<BlobInfo[]> {
  const parts: BlobInfo[] = [];
  const prefix = `${UPLOADS_PREFIX}${id}/part-`;
  for (let after: string | undefined = ""; after !== undefined; ) {
    const page = await store.list({ prefix, ...(after === "" ? {} : { after }) });
    parts.push(...page.blobs);
    after = page.next;
  }
  return parts;
}

async function listParts(operation: S3Operation, id: string): Promise<S3Answer> {
  const parts = await partsOf(operation, id);
  return xmlAnswer("ListPartsResult", {
    Bucket: operation.bucket,
    Key: operation.key,
    UploadId: id,
    IsTruncated: false,
    Part: parts.map((part) => ({
      PartNumber: Number(part.key.slice(-5)),
      LastModified: new Date(part.modifiedMs).toISOString(),
      ETag: `"${part.etag}"`,
      Size: part.sizeBytes,
    })),
  });
}

async function completeUpload(operation: S3Operation, id: string, upload: Upload): Promise<S3Answer> {
  const { bucket, key, store, request } = operation;
  const wanted = await wantedParts(operation);
  const there = new Map((await partsOf(operation, id)).map((part) => [part.key, part]));
  const parts = wanted.map(({ number, etag }) => {
    const part = there.get(partKey(id, number));
    if (part === undefined || part.etag !== etag)
      throw new S3Error(400, "InvalidPart", `part ${number} was not uploaded, or with another content`);
    return part;
  });
  async function* content(): AsyncGenerator<Uint8Array, void, undefined> {
    for (const part of parts) {
      const read = await store.get(part.key);
      if (read === undefined) throw new S3Error(400, "InvalidPart", "a part went away while the upload was completed");
      yield* read.body;
    }
  }
  const info = await store.put(key, content(), {
    ...(upload.contentType === undefined ? {} : { contentType: upload.contentType }),
    onlyIfAbsent: request.headers["if-none-match"] === "*",
  });
  await removeUpload(operation, id);
  return xmlAnswer("CompleteMultipartUploadResult", {
    Location: locationOf({ bucket, key }),
    Bucket: bucket,
    Key: key,
    ETag: `"${info.etag}"`,
  });
}

async function wantedParts(operation: S3Operation): Promise<{ number: number; etag: string }[]> {
  const document = parseXml(await readDocument(operation));
  const parts = (document?.children ?? [])
    .filter((child) => child.name === "Part")
    .map((child) => ({
      number: partNumber(childText(child, "PartNumber")),
      etag: (childText(child, "ETag") ?? "").replaceAll('"', ""),
    }));
  if (document?.name !== "CompleteMultipartUpload" || parts.length === 0) {
    throw new S3Error(400, "MalformedXML", "the body must be a CompleteMultipartUpload document with parts");
  }
  if (parts.some((part, index) => index > 0 && part.number <= (parts[index - 1]?.number ?? 0))) {
    throw new S3Error(400, "InvalidPartOrder", "the parts must be in ascending order");
  }
  return parts;
}

async function removeUpload(operation: S3Operation, id: string): Promise<void> {
  const { store } = operation;
  for (const part of await partsOf(operation, id)) await store.delete(part.key);
  await store.delete(`${UPLOADS_PREFIX}${id}/upload.json`);
}
