import { EMPTY_SHA256, scopeText, signatureOf, signingKey } from "./signature.js";

/** What requests are signed with. */
export interface AwsKeys {
  readonly accessKey: string;
  readonly secretKey: string;
  /** Of keys that end. */
  readonly sessionToken?: string;
}

/** A request as it will be sent. */
export interface SignedRequest {
  readonly method: string;
  /** As it will be sent, or a `URL` where its way of writing paths will do (it resolves `..`). Spaces of the query go as `%20`. */
  readonly to: Pick<URL, "host" | "pathname" | "searchParams">;
  /** Names in lower case; all of them are signed. */
  readonly headers?: Readonly<Record<string, string>>;
  /** SHA-256 of the body in hex, or `UNSIGNED-PAYLOAD`; default that of no body. */
  readonly payloadHash?: string;
}

/** Who signs, for what, and when. */
export interface SignedBy {
  readonly keys: AwsKeys;
  readonly region: string;
  /** Default `s3`. */
  readonly service?: string;
  readonly nowMs: number;
}

/** The headers of a request with `host`, `authorization` and what that covers. */
export function signedHeaders(
  { method, to, headers: given = {}, payloadHash = EMPTY_SHA256 }: SignedRequest,
  { keys, region, service = "s3", nowMs }: SignedBy,
): Record<string, string> {
  const time = new Date(nowMs).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const scope = { date: time.slice(0, 8), region, service };
  const headers: Record<string, string> = {
    ...given,
    host: to.host,
    "x-amz-date": time,
    "x-amz-content-sha256": payloadHash,
    ...(keys.sessionToken === undefined ? {} : { "x-amz-security-token": keys.sessionToken }),
  };
  const names = Object.keys(headers).sort();
  const signature = signatureOf(
    { method, rawPath: to.pathname, query: to.searchParams, headers },
    { key: signingKey(keys.secretKey, scope), scope, time, signedHeaders: names, payloadHash },
  );
  const credential = `${keys.accessKey}/${scopeText(scope)}`;
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return { ...headers, authorization };
}
