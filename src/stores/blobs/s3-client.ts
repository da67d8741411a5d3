import { Agent, type Dispatcher } from "undici";
import { awsEncode, signedHeaders } from "../../kernel/aws/index.js";
import type { Clock } from "../../kernel/clock/index.js";
import { ArgosyError, messageOf } from "../../kernel/errors/index.js";
import { childText, parseXml } from "./s3-xml.js";
import { BlobError, type BlobErrorCode } from "./types.js";

/** Where a bucket is, and who asks. */
export interface S3Access {
  /** `https://host:port`, path-style. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** PEM of the authority that signed the server's certificate; default the system's. */
  readonly caPem?: string;
  readonly clock: Clock;
}

export interface S3Call {
  readonly method: string;
  /** Empty for the bucket itself. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** SHA-256 of the body in hex. */
  readonly bodySha256?: string;
  readonly signal?: AbortSignal;
}

export interface S3Response {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Dispatcher.ResponseData["body"];
}

/** Signed calls on one bucket. */
export interface S3Client {
  /** Resolves for 2xx and for the given other statuses; throws `BlobError` for the rest. Repeats calls that failed in passing. */
  call(call: S3Call, accepted?: readonly number[]): Promise<S3Response>;
  close(): Promise<void>;
}

const ATTEMPTS = 3;
const RETRY_MS = 200;

export function createS3Client(access: S3Access): S3Client {
  const origin = access.endpoint.replace(/\/+$/, "");
  const agent = new Agent({
    headersTimeout: 60_000,
    bodyTimeout: 60_000,
    connect: { timeout: 10_000, ...(access.caPem === undefined ? {} : { ca: access.caPem }) },
  });
  return {
    call: async (call, accepted = []) => {
      for (let attempt = 1; ; attempt++) {
        const response = await send(agent, { access, origin, call }).catch((error: unknown) => refused(error, call));
        const isDone =
          !(response instanceof BlobError) && (response.status < 300 || accepted.includes(response.status));
        if (isDone) return response;
        const failure = response instanceof BlobError ? response : await failureOf(response, call);
        if (failure.reason !== "Unavailable" || attempt === ATTEMPTS) throw failure;
        await access.clock.sleep(RETRY_MS * attempt, call.signal);
      }
    },
    close: () => agent.close(),
  };
}

function refused(error: unknown, { method, key, signal }: S3Call): BlobError {
  if (error instanceof BlobError) return error;
  if (signal?.aborted === true) return new BlobError("Aborted", "the call was broken off", { cause: error });
  // Errors of the content's own source are not the network's.
  if (error instanceof ArgosyError) throw error;
  return new BlobError("Unavailable", `the artifact store does not answer (${method} ${key}): ${messageOf(error)}`, {
    cause: error,
  });
}

async function send(
  agent: Agent,
  { access, origin, call }: { access: S3Access; origin: string; call: S3Call },
): Promise<S3Response> {
  const rawPath = `/${[access.bucket, ...(call.key === "" ? [] : call.key.split("/"))].map(awsEncode).join("/")}`;
  const query = new URLSearchParams(call.query ?? {});
  const search = [...query].map(([name, value]) => `${awsEncode(name)}=${awsEncode(value)}`).join("&");
  const { accessKeyId: accessKey, secretAccessKey: secretKey, region, clock } = access;
  const headers = signedHeaders(
    {
      method: call.method,
      to: { host: new URL(origin).host, pathname: rawPath, searchParams: query },
      ...(call.headers === undefined ? {} : { headers: call.headers }),
      ...(call.bodySha256 === undefined ? {} : { payloadHash: call.bodySha256 }),
    },
    { keys: { accessKey, secretKey }, region, nowMs: clock.now() },
  );
  const response = await agent.request({
    origin,
    path: search === "" ? rawPath : `${rawPath}?${search}`,
    method: methodOf(call.method),
    headers,
    ...(call.body === undefined ? {} : { body: call.body }),
    ...(call.signal === undefined ? {} : { signal: call.signal }),
  });
  const plain: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) plain[name] = Array.isArray(value) ? value.join(",") : value;
  }
  return { status: response.statusCode, headers: plain, body: response.body };
}

function methodOf(method: string): "GET" | "HEAD" | "PUT" | "POST" | "DELETE" {
  if (method === "HEAD" || method === "PUT" || method === "POST" || method === "DELETE") return method;
  return "GET";
}

const REASONS: Readonly<Record<string, BlobErrorCode>> = {
  InvalidRange: "InvalidRange",
  PreconditionFailed: "Exists",
  OperationAborted: "Conflict",
  BadDigest: "BadDigest",
  XAmzContentSHA256Mismatch: "BadDigest",
  EntityTooLarge: "TooLarge",
  KeyTooLongError: "InvalidKey",
  InvalidArgument: "InvalidKey",
  InsufficientStorage: "NoSpace",
};
const BY_STATUS: Readonly<Record<number, BlobErrorCode>> = {
  409: "Conflict",
  412: "Exists",
  416: "InvalidRange",
  507: "NoSpace",
};

async function failureOf({ status, body }: S3Response, { method, key }: S3Call): Promise<BlobError> {
  const text = await body.text().catch(() => "");
  const document = text.length < 65_536 ? parseXml(text) : undefined;
  const code = (document && childText(document, "Code")) ?? "";
  const message = (document && childText(document, "Message")) ?? "";
  const reason = REASONS[code] ?? BY_STATUS[status] ?? "Unavailable";
  const said = [String(status), code, message].filter((part) => part !== "").join(" ");
  // A refusal of who we are or what we ask will not pass by itself.
  const final = status >= 400 && status < 500 && reason === "Unavailable";
  return new BlobError(
    final ? "Refused" : reason,
    `the artifact store refused ${method} ${key === "" ? "on the bucket" : key}: ${said}`,
  );
}
