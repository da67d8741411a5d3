import { timingSafeEqual } from "node:crypto";
import { type Scope, type Signable, signatureOf, signingKey } from "../../kernel/aws/index.js";
import { S3Error } from "./s3-errors.js";

/** What one access key may do. */
export interface S3Grant {
  readonly bucket: string;
  /** Keys that begin with this; `""` for the whole bucket. */
  readonly prefix: string;
  readonly access: "read" | "write" | "read-write";
}

/** An access key and its permissions; without grants it may do nothing. */
export interface S3Credential {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly grants: readonly S3Grant[];
}

/** A request whose signature was right. */
export interface Verified {
  readonly credential: S3Credential;
  /** Value of x-amz-content-sha256, or UNSIGNED-PAYLOAD of presigned URLs. */
  readonly payloadHash: string;
  readonly signature: string;
  readonly key: Buffer;
  readonly scope: Scope;
  readonly time: string;
}

interface Claim {
  readonly accessKeyId: string;
  readonly scope: Scope;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  readonly time: string;
  readonly payloadHash: string;
  /** First and last moment of validity, epoch milliseconds. */
  readonly fromMs: number;
  readonly untilMs: number;
}

const SKEW_MS = 15 * 60_000;
const MAX_PRESIGNED_SECONDS = 7 * 24 * 3600;

/** Checks a request's signature, in its headers or in its query (presigned). Throws `S3Error`. */
export function verifySignature(
  request: Signable,
  {
    find,
    nowMs,
    region,
  }: {
    readonly find: (accessKeyId: string) => S3Credential | undefined;
    readonly nowMs: number;
    readonly region: string;
  },
): Verified {
  const claim = request.query.has("X-Amz-Signature") ? presignedClaim(request) : headerClaim(request);
  if (claim.scope.region !== region || claim.scope.service !== "s3") {
    throw new S3Error(
      400,
      "AuthorizationHeaderMalformed",
      `the region of this server is "${region}" and the service is "s3"`,
    );
  }
  if (!claim.time.startsWith(claim.scope.date))
    throw new S3Error(403, "SignatureDoesNotMatch", "date and scope of the signature differ");
  const credential = find(claim.accessKeyId);
  if (credential === undefined) throw new S3Error(403, "InvalidAccessKeyId", "there is no such access key");
  const key = signingKey(credential.secretAccessKey, claim.scope);
  if (!isSame(signatureOf(request, { ...claim, key }), claim.signature)) {
    throw new S3Error(403, "SignatureDoesNotMatch", "the signature does not fit the request; check the secret key");
  }
  if (nowMs < claim.fromMs)
    throw new S3Error(403, "RequestTimeTooSkewed", "the request is signed for a later time; check the clock");
  if (nowMs > claim.untilMs) {
    throw request.query.has("X-Amz-Signature")
      ? new S3Error(403, "AccessDenied", "the presigned URL has expired")
      : new S3Error(403, "RequestTimeTooSkewed", "the request was signed too long ago; check the clock");
  }
  return {
    credential,
    payloadHash: claim.payloadHash,
    signature: claim.signature,
    key,
    scope: claim.scope,
    time: claim.time,
  };
}

/** Whether a credential may read or write a key; for listings the key is the prefix that is listed. */
export function isGranted(
  credential: S3Credential,
  wanted: { readonly bucket: string; readonly key: string; readonly access: "read" | "write" },
): boolean {
  return credential.grants.some(
    ({ bucket, prefix, access }) =>
      bucket === wanted.bucket &&
      wanted.key.startsWith(prefix) &&
      (access === "read-write" || access === wanted.access),
  );
}

function headerClaim({ headers }: Signable): Claim {
  const authorization = headers["authorization"];
  if (authorization === undefined)
    throw new S3Error(403, "AccessDenied", "requests must be signed (AWS Signature Version 4)");
  const match =
    /^AWS4-HMAC-SHA256 +Credential=([^,\s]+)[, ]+SignedHeaders=([^,\s]+)[, ]+Signature=([0-9a-f]{64})$/.exec(
      authorization.trim(),
    );
  const [, credential = "", names = "", signature = ""] = match ?? [];
  if (match === null)
    throw new S3Error(400, "AuthorizationHeaderMalformed", "the Authorization header is not a Signature Version 4");
  const time = headers["x-amz-date"] ?? "";
  const payloadHash = headers["x-amz-content-sha256"];
  if (payloadHash === undefined) throw new S3Error(400, "InvalidRequest", "the header x-amz-content-sha256 is missing");
  const signedAt = parseTime(time);
  const claim = { ...scopeOf(credential), signedHeaders: signedNames(names, headers), signature, time, payloadHash };
  return { ...claim, fromMs: signedAt - SKEW_MS, untilMs: signedAt + SKEW_MS };
}

function presignedClaim({ query, headers }: Signable): Claim {
  const value = (name: string): string => query.get(name) ?? "";
  if (value("X-Amz-Algorithm") !== "AWS4-HMAC-SHA256") throw malformedQuery("X-Amz-Algorithm must be AWS4-HMAC-SHA256");
  const seconds = Number(value("X-Amz-Expires"));
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > MAX_PRESIGNED_SECONDS) {
    throw malformedQuery(`X-Amz-Expires must be from 1 to ${MAX_PRESIGNED_SECONDS} seconds`);
  }
  const time = value("X-Amz-Date");
  const signedAt = parseTime(time);
  return {
    ...scopeOf(value("X-Amz-Credential")),
    signedHeaders: signedNames(value("X-Amz-SignedHeaders"), headers),
    signature: value("X-Amz-Signature"),
    time,
    payloadHash: headers["x-amz-content-sha256"] ?? "UNSIGNED-PAYLOAD",
    fromMs: signedAt - SKEW_MS,
    untilMs: signedAt + seconds * 1000,
  };
}

function malformedQuery(why: string): S3Error {
  return new S3Error(400, "AuthorizationQueryParametersError", why);
}

function scopeOf(credential: string): { accessKeyId: string; scope: Scope } {
  const parts = credential.split("/");
  const [date = "", region = "", service = "", end] = parts.slice(-4);
  if (parts.length < 5 || end !== "aws4_request")
    throw new S3Error(400, "AuthorizationHeaderMalformed", "the credential scope is malformed");
  return { accessKeyId: parts.slice(0, -4).join("/"), scope: { date, region, service } };
}

/** Host, and every x-amz- header that is sent, must be signed: what is not, somebody else could have put there. */
function signedNames(names: string, headers: Readonly<Record<string, string>>): string[] {
  const signed = names.split(";");
  const must = ["host", ...Object.keys(headers).filter((name) => name.startsWith("x-amz-"))];
  const absent = must.filter((name) => !signed.includes(name));
  if (absent.length > 0) throw new S3Error(403, "AccessDenied", `headers are not signed: ${absent.join(", ")}`);
  return signed;
}

function parseTime(time: string): number {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(time);
  if (match === null)
    throw new S3Error(403, "AccessDenied", "the date of the signature must look like 20260101T120000Z");
  const [, year, month, day, hour, minute, second] = match;
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
