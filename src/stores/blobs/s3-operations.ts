import { isGranted } from "./s3-auth.js";
import { S3Error } from "./s3-errors.js";
import { answerList, answerListBuckets } from "./s3-lists.js";
import { answerUpload } from "./s3-multipart.js";
import { deleteMany, deleteObject, getObject, putObject } from "./s3-objects.js";
import {
  type S3Answer,
  type S3Operation,
  type S3Request,
  type S3Stores,
  UPLOADS_PREFIX,
  xmlAnswer,
} from "./s3-operation.js";

/** Query members that name parts of S3 that this server does not have. */
const FOREIGN = [
  "acl",
  "tagging",
  "policy",
  "lifecycle",
  "cors",
  "website",
  "notification",
  "replication",
  "encryption",
  "logging",
  "object-lock",
  "retention",
  "legal-hold",
  "torrent",
  "restore",
  "select",
  "attributes",
  "versions",
  "versionId",
  "inventory",
  "metrics",
  "analytics",
];

/** Finds and runs the operation that a request means. Throws `S3Error` and `BlobError`. */
export async function answerS3(request: S3Request, stores: S3Stores): Promise<S3Answer> {
  const [, bucket = "", ...rest] = request.rawPath.split("/");
  if (bucket === "") {
    if (request.method !== "GET") throw notAllowed(request.method);
    return answerListBuckets(request, stores);
  }
  const key = decodeKey(rest.join("/"));
  const foreign = FOREIGN.find((name) => request.query.has(name));
  if (foreign !== undefined) throw new S3Error(501, "NotImplemented", `?${foreign} is not offered by this server`);
  const store = Object.hasOwn(stores.buckets, bucket) ? stores.buckets[bucket] : undefined;
  const access = request.method === "GET" || request.method === "HEAD" ? "read" : "write";
  const grantKey = key === "" ? (request.query.get("prefix") ?? "") : key;
  // Batch deletes name their keys in the body and are checked there.
  const isBatch = key === "" && request.method === "POST" && request.query.has("delete");
  const isBucketOnly =
    key === "" && (request.method === "HEAD" || request.query.has("location") || request.query.has("versioning"));
  const { credential } = request.verified;
  const allowed =
    isBatch || isBucketOnly
      ? credential.grants.some((g) => g.bucket === bucket)
      : isGranted(credential, { bucket, key: grantKey, access });
  if (!allowed) {
    throw new S3Error(403, "AccessDenied", `this access key may not ${access} ${bucket}/${grantKey}`);
  }
  if (store === undefined) throw new S3Error(404, "NoSuchBucket", `there is no bucket ${bucket}`);
  if (key.startsWith(UPLOADS_PREFIX))
    throw new S3Error(403, "AccessDenied", `keys below ${UPLOADS_PREFIX} are the server's own`);
  const operation: S3Operation = { request, bucket, key, store, stores };
  return key === "" ? answerBucket(operation) : answerObject(operation);
}

function decodeKey(rawKey: string): string {
  try {
    return decodeURIComponent(rawKey);
  } catch {
    throw new S3Error(400, "InvalidURI", "the key is not valid percent-encoding");
  }
}

function notAllowed(method: string): S3Error {
  return new S3Error(405, "MethodNotAllowed", `${method} is not possible here`);
}

async function answerBucket(operation: S3Operation): Promise<S3Answer> {
  const { method, query } = operation.request;
  if (method === "HEAD") return { status: 200 };
  if (method === "PUT") throw new S3Error(409, "BucketAlreadyOwnedByYou", "the bucket exists already");
  if (method === "POST" && query.has("delete")) return deleteMany(operation);
  if (method !== "GET") throw notAllowed(method);
  if (query.has("location")) return xmlAnswer("LocationConstraint", "");
  if (query.has("versioning")) return xmlAnswer("VersioningConfiguration", "");
  return answerList(operation);
}

async function answerObject(operation: S3Operation): Promise<S3Answer> {
  const { method, query } = operation.request;
  if (query.has("uploads") || query.has("uploadId")) return answerUpload(operation);
  switch (method) {
    case "GET":
    case "HEAD":
      return getObject(operation);
    case "PUT":
      return putObject(operation);
    case "DELETE":
      return deleteObject(operation);
    default:
      throw notAllowed(method);
  }
}
