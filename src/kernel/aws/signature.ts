import { createHash, createHmac } from "node:crypto";

/** What SigV4 signs of a request. */
export interface Signable {
  readonly method: string;
  /** As it stands in the request line, without the query. */
  readonly rawPath: string;
  readonly query: URLSearchParams;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/** `20260101/us-east-1/s3/aws4_request`, taken apart. */
export interface Scope {
  readonly date: string;
  readonly region: string;
  readonly service: string;
}

export const EMPTY_SHA256 = createHash("sha256").digest("hex");

/** The key that signs everything of one day, region and service. */
export function signingKey(secret: string, { date, region, service }: Scope): Buffer {
  const ofDay = hmac(`AWS4${secret}`, date);
  return hmac(hmac(hmac(ofDay, region), service), "aws4_request");
}

/** SHA-256 HMAC. */
export function hmac(key: string | Uint8Array, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** Lower-case hex SHA-256. */
export function sha256Hex(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** The signature of a request (Signature Version 4), lower-case hex. */
export function signatureOf(
  request: Signable,
  by: {
    readonly key: Buffer;
    readonly scope: Scope;
    readonly time: string;
    readonly signedHeaders: readonly string[];
    readonly payloadHash: string;
  },
): string {
  const canonical = [
    request.method,
    canonicalPath(request.rawPath),
    canonicalQuery(request.query),
    ...by.signedHeaders.map((name) => `${name}:${(request.headers[name] ?? "").trim().replace(/ +/g, " ")}`),
    "",
    by.signedHeaders.join(";"),
    by.payloadHash,
  ].join("\n");
  const toSign = ["AWS4-HMAC-SHA256", by.time, scopeText(by.scope), sha256Hex(canonical)].join("\n");
  return hmac(by.key, toSign).toString("hex");
}

export function scopeText({ date, region, service }: Scope): string {
  return `${date}/${region}/${service}/aws4_request`;
}

/** Percent-encoding as AWS does it: everything but unreserved characters. */
export function awsEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** A path percent-encoded once, its slashes kept; undecodable ones stay as they are and will not verify. */
function canonicalPath(rawPath: string): string {
  try {
    return rawPath
      .split("/")
      .map((part) => awsEncode(decodeURIComponent(part)))
      .join("/");
  } catch {
    return rawPath;
  }
}

function canonicalQuery(query: URLSearchParams): string {
  const pairs = [...query]
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => [awsEncode(name), awsEncode(value)] as const);
  pairs.sort(([aName, aValue], [bName, bValue]) => compare(aName, bName) || compare(aValue, bValue));
  return pairs.map(([name, value]) => `${name}=${value}`).join("&");
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
