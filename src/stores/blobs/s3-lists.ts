import { awsEncode } from "../../kernel/aws/index.js";
import { S3Error } from "./s3-errors.js";
import {
  type S3Answer,
  type S3Operation,
  type S3Request,
  type S3Stores,
  UPLOADS_PREFIX,
  xmlAnswer,
} from "./s3-operation.js";
import type { BlobInfo } from "./types.js";

/** The buckets that a key may use at all. */
export function answerListBuckets(request: S3Request, { buckets }: S3Stores): S3Answer {
  const { credential } = request.verified;
  const visible = Object.keys(buckets).filter((bucket) => credential.grants.some((grant) => grant.bucket === bucket));
  return xmlAnswer("ListAllMyBucketsResult", {
    Owner: { ID: credential.accessKeyId, DisplayName: credential.accessKeyId },
    Buckets: { Bucket: visible.sort().map((Name) => ({ Name, CreationDate: new Date(0).toISOString() })) },
  });
}

/** ListObjectsV2, and the older ListObjects where `list-type` is absent. */
export async function answerList({ request, bucket, store }: S3Operation): Promise<S3Answer> {
  const { query } = request;
  const isV2 = query.get("list-type") === "2";
  const prefix = query.get("prefix") ?? "";
  const delimiter = query.get("delimiter") ?? "";
  const encoding = query.get("encoding-type");
  if (delimiter !== "" && delimiter !== "/") throw new S3Error(501, "NotImplemented", 'the only delimiter is "/"');
  if (encoding !== null && encoding !== "url") throw new S3Error(400, "InvalidArgument", "encoding-type must be url");
  const limit = limitOf(query.get("max-keys"));
  const after = isV2 ? startOf(query) : (query.get("marker") ?? "");
  const page =
    limit === 0
      ? { blobs: [], prefixes: [], next: undefined }
      : await listVisible({ store, prefix, after, limit, ...(delimiter === "/" ? { delimiter } : {}) });
  const shown = (text: string): string => (encoding === "url" ? text.split("/").map(awsEncode).join("/") : text);
  const common = {
    Name: bucket,
    Prefix: shown(prefix),
    MaxKeys: limit,
    Delimiter: delimiter === "" ? undefined : delimiter,
    EncodingType: encoding ?? undefined,
    IsTruncated: page.next !== undefined,
    Contents: page.blobs.map((blob) => contentsOf(blob, shown)),
    CommonPrefixes: page.prefixes.map((p) => ({ Prefix: shown(p) })),
  };
  if (!isV2)
    return xmlAnswer("ListBucketResult", {
      ...common,
      Marker: shown(after),
      NextMarker: page.next === undefined ? undefined : shown(page.next),
    });
  return xmlAnswer("ListBucketResult", {
    ...common,
    KeyCount: page.blobs.length + page.prefixes.length,
    StartAfter: query.get("start-after") ?? undefined,
    ContinuationToken: query.get("continuation-token") ?? undefined,
    NextContinuationToken: page.next === undefined ? undefined : Buffer.from(page.next).toString("base64url"),
  });
}

function limitOf(given: string | null): number {
  const limit = Number(given ?? 1000);
  if (!Number.isInteger(limit) || limit < 0)
    throw new S3Error(400, "InvalidArgument", "max-keys must be a whole number");
  return Math.min(limit, 1000);
}

function startOf(query: URLSearchParams): string {
  const token = query.get("continuation-token");
  if (token === null) return query.get("start-after") ?? "";
  const after = Buffer.from(token, "base64url").toString();
  if (after === "" || Buffer.from(after).toString("base64url") !== token) {
    throw new S3Error(400, "InvalidArgument", "the continuation token is not one of this server's");
  }
  return after;
}

interface List {
  readonly store: S3Operation["store"];
  readonly prefix: string;
  readonly after: string;
  readonly limit: number;
  readonly delimiter?: "/";
}

/** A page without the parts of unfinished uploads; it may be shorter than asked for, as S3's may. */
async function listVisible({
  store,
  ...query
}: List): Promise<{ blobs: BlobInfo[]; prefixes: string[]; next: string | undefined }> {
  const page = await store.list(query);
  const isVisible = (key: string): boolean => !key.startsWith(UPLOADS_PREFIX);
  return {
    blobs: page.blobs.filter(({ key }) => isVisible(key)),
    prefixes: page.prefixes.filter(isVisible),
    next: page.next?.startsWith(UPLOADS_PREFIX) === true ? `${UPLOADS_PREFIX}\u{10ffff}` : page.next,
  };
}

function contentsOf(blob: BlobInfo, shown: (text: string) => string) {
  return {
    Key: shown(blob.key),
    LastModified: new Date(blob.modifiedMs).toISOString(),
    ETag: `"${blob.etag}"`,
    Size: blob.sizeBytes,
    StorageClass: "STANDARD",
  };
}
