import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Clock, Random } from "../../kernel/clock/index.js";
import { createHttpsServer, type HttpsServer } from "../../kernel/https/index.js";
import type { Logger } from "../../kernel/log/index.js";
import { type S3Credential, verifySignature } from "./s3-auth.js";
import { S3Error, toS3Error } from "./s3-errors.js";
import type { S3Answer, S3Request } from "./s3-operation.js";
import { answerS3 } from "./s3-operations.js";
import { xmlDocument } from "./s3-xml.js";
import type { BlobStore } from "./types.js";

export interface S3ServerOptions {
  /** The buckets by name; a bucket is one store. Buckets are not made or deleted through the server. */
  readonly buckets: Readonly<Record<string, BlobStore>>;
  /** The access keys, or how to find one. */
  readonly credentials: readonly S3Credential[] | ((accessKeyId: string) => S3Credential | undefined);
  readonly certPem: string;
  readonly keyPem: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Default us-east-1. */
  readonly region?: string;
}

const IDLE_MS = 120_000;

/**
 * An S3-speaking HTTPS server over blob stores, path-style: get with ranges and conditions, put, head, delete, list (V1, V2),
 * copy, batch delete, multipart upload; requests signed with SigV4 in headers or URL, bodies signed, unsigned or chunked.
 */
export function createS3Server(options: S3ServerOptions): HttpsServer {
  return createHttpsServer({
    ...options,
    idleMs: IDLE_MS,
    answer: (request, response) => void exchange(options, request, response),
  });
}

async function exchange(options: S3ServerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { log, random } = options;
  const id = random.uuid();
  const [rawPath = "/"] = (request.url ?? "/").split("?");
  response.setHeader("x-amz-request-id", id);
  response.on("error", () => {});
  try {
    const answer = await answerS3(admit(options, { request, response, rawPath }), options);
    await send(request, response, answer);
  } catch (error) {
    const failure = toS3Error(error);
    if (failure === undefined && !request.destroyed) log.error("s3 request failed", { err: error, request: id });
    const shown =
      failure ?? new S3Error(500, "InternalError", `the server failed; its log has the cause under request ${id}`);
    await refuse(request, response, { shown, rawPath, id });
  } finally {
    drain(request);
    log.debug("s3 request answered", { request: id, method: request.method, status: response.statusCode });
  }
}

function admit(
  { credentials, clock, region = "us-east-1" }: S3ServerOptions,
  { request, response, rawPath }: { request: IncomingMessage; response: ServerResponse; rawPath: string },
): S3Request {
  const target = request.url ?? "/";
  const question = target.indexOf("?");
  const signable = {
    method: request.method ?? "GET",
    rawPath,
    query: new URLSearchParams(question < 0 ? "" : target.slice(question + 1)),
    headers: headersOf(request),
  };
  const find =
    typeof credentials === "function" ? credentials : (id: string) => credentials.find((c) => c.accessKeyId === id);
  const verified = verifySignature(signable, { find, nowMs: clock.now(), region });
  const controller = new AbortController();
  response.on("close", () => {
    if (!response.writableEnded) controller.abort();
  });
  return { ...signable, verified, body: bodyOf(request, response), signal: controller.signal };
}

/** The body; asked for only when somebody reads it, so a refused upload is never sent. */
async function* bodyOf(
  request: IncomingMessage,
  response: ServerResponse,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (request.headers.expect !== undefined) response.writeContinue();
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    const bytes: Uint8Array = chunk;
    yield bytes;
  }
  if (!request.complete) throw new S3Error(400, "IncompleteBody", "the body was broken off");
}

function headersOf(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(",") : value;
  }
  return headers;
}

async function send(request: IncomingMessage, response: ServerResponse, answer: S3Answer): Promise<void> {
  response.statusCode = answer.status;
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  if (!request.complete) response.setHeader("connection", "close");
  const { body = "" } = answer;
  if (typeof body === "string") {
    if (!response.hasHeader("content-length") && answer.status !== 204)
      response.setHeader("content-length", Buffer.byteLength(body));
    await end(response, request.method === "HEAD" ? "" : body);
    return;
  }
  try {
    await pipeline(Readable.from(body, { objectMode: false }), response);
  } catch {
    // The head is out, so only a cut connection says that the body is not whole.
    response.destroy();
  }
}

async function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  { shown, rawPath, id }: { shown: S3Error; rawPath: string; id: string },
): Promise<void> {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  response.statusCode = shown.status;
  if (shown.status === 304) {
    await end(response, "");
    return;
  }
  response.setHeader("content-type", "application/xml");
  // No `connection: close` while the client still sends: that would reset the connection, and the refusal be lost. The rest is drained.
  const body = xmlDocument(
    "Error",
    { Code: shown.code, Message: shown.message, Resource: rawPath, RequestId: id },
    { namespace: false },
  );
  await end(response, request.method === "HEAD" ? "" : body);
}

function end(response: ServerResponse, body: string): Promise<void> {
  return new Promise((resolve) => {
    response.once("close", resolve);
    response.end(body, () => resolve());
  });
}

/** Reads what a client still sends after a refusal, so that it sees the answer; gives up beyond 256 MiB. */
function drain(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let left = 256 * 1024 * 1024;
  request.on("error", () => {});
  request.on("data", (chunk: Buffer) => {
    left -= chunk.byteLength;
    if (left < 0) request.destroy();
  });
  request.resume();
}
