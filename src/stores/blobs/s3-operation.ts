import { awsEncode, type Signable, sha256Hex } from "../../kernel/aws/index.js";
import type { Random } from "../../kernel/clock/index.js";
import { isGranted, type Verified } from "./s3-auth.js";
import { S3Error } from "./s3-errors.js";
import { payloadOf } from "./s3-payload.js";
import { xmlDocument } from "./s3-xml.js";
import type { BlobStore } from "./types.js";

/** Where the parts of unfinished uploads wait, out of clients' sight. */
export const UPLOADS_PREFIX = ".argosy-uploads/";

const MAX_DOCUMENT_BYTES = 2 * 1024 * 1024;

/** A request whose signature was right. */
export interface S3Request extends Signable {
  readonly verified: Verified;
  readonly body: AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
}

export interface S3Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | AsyncIterable<Uint8Array>;
}

/** What operations work on. */
export interface S3Stores {
  readonly buckets: Readonly<Record<string, BlobStore>>;
  readonly random: Random;
}

/** One operation: its request, its bucket and its key (empty for operations on the bucket). */
export interface S3Operation {
  readonly request: S3Request;
  readonly bucket: string;
  readonly key: string;
  readonly store: BlobStore;
  readonly stores: S3Stores;
}

/** A document as answer. */
export function xmlAnswer(name: string, value: Parameters<typeof xmlDocument>[1]): S3Answer {
  return { status: 200, headers: { "content-type": "application/xml" }, body: xmlDocument(name, value) };
}

/** The Location of an object in answers. */
export function locationOf({ bucket, key }: Pick<S3Operation, "bucket" | "key">): string {
  return `/${bucket}/${key.split("/").map(awsEncode).join("/")}`;
}

/** Whether a request's access key may write a key; batch deletes ask for each of theirs. */
export function mayWrite({ request, bucket }: S3Operation, key: string): boolean {
  return isGranted(request.verified.credential, { bucket, key, access: "write" });
}

/** A document that a request carries, checked and bounded. */
export async function readDocument({ request }: S3Operation): Promise<string> {
  const payload = payloadOf(request.headers, request.body, request.verified);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of payload.content) {
    length += chunk.byteLength;
    if (length > MAX_DOCUMENT_BYTES) throw new S3Error(400, "EntityTooLarge", "the document is too large");
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  if (payload.sha256 !== undefined && payload.sha256 !== sha256Hex(bytes)) {
    throw new S3Error(400, "XAmzContentSHA256Mismatch", "the body is not the one that was signed");
  }
  return bytes.toString();
}
