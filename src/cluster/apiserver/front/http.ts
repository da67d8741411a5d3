import type { IncomingMessage, ServerResponse } from "node:http";
import { TLSSocket } from "node:tls";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { tooLarge } from "../failures.js";
import { maxBodyBytes } from "../request/body.js";
import { failureResponse } from "../server/respond.js";
import type { ApiRequest, ApiResponse } from "../types.js";
import { warningValue } from "./in-process.js";
import { outOf, writeBody } from "./streams.js";
import type { Waiting } from "./waiting.js";

const nothing = new Uint8Array();
const maxOneWriteBytes = 16 * 1024;
/** Answers up to this fit into what the kernel and TLS buffer for a connection. */
export const maxQuickBytes = 256 * 1024;
/** Whoever sends more than this gets a closed connection. */
export const maxDroppedBytes = 64 * 1024 * 1024;

/** What is waited for: bodies to come, answers to be taken. */
export interface Waits {
  readonly bodies: Waiting;
  readonly answers: Waiting;
}

/** Serves one exchange: reads the body, asks `handle`, writes the answer as fast as the client takes it. Never rejects. */
export async function serve(
  exchange: { readonly request: IncomingMessage; readonly response: ServerResponse },
  handle: (request: ApiRequest) => Promise<ApiResponse>,
  log: Logger,
  waits: Waits,
): Promise<void> {
  const { request, response } = exchange;
  const gone = new LazyAbort();
  let answer: ApiResponse | undefined;
  response.once("close", () => {
    gone.isClosed = true;
    if (!response.writableFinished) gone.abort();
    answer?.done?.();
  });
  response.on("error", () => gone.abort());
  try {
    const body = await readBody(request, waits.bodies);
    const asked = toApiRequest(request, body ?? nothing, gone);
    answer = body === undefined ? failureResponse(tooLarge(maxBodyBytes), log, asked) : await handle(asked);
    if (gone.isClosed) answer.done?.();
    else if (answer.body instanceof Uint8Array && answer.body.byteLength > maxQuickBytes) {
      const wait = waits.answers.begin(() => response.destroy(), answer.body.byteLength);
      response.once("close", () => waits.answers.end(wait));
    }
    const how = { isHead: request.method === "HEAD", closes: body === undefined, answers: waits.answers };
    await write(response, answer, how);
  } catch (error) {
    if (!gone.isAborted) log.warn("answer broke off", { path: request.url ?? "", err: messageOf(error) });
    response.destroy();
  }
}

/** An `AbortController` that is made when someone asks for its signal: most requests are over before anyone does. */
export class LazyAbort {
  isAborted = false;
  isClosed = false;
  #controller: AbortController | undefined;

  abort(): void {
    this.isAborted = true;
    this.#controller?.abort();
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.isAborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }
}

/** The request line of a socket's request, with its body. */
export function toApiRequest(
  request: IncomingMessage,
  body: Uint8Array,
  gone: { readonly signal: AbortSignal },
): ApiRequest {
  const target = request.url ?? "/";
  const mark = target.indexOf("?");
  const { headers, repeated } = headersOf(request);
  const subject = certificateSubject(request.socket);
  return {
    method: request.method ?? "GET",
    path: mark < 0 ? target : target.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? "" : target.slice(mark + 1)),
    headers,
    ...(repeated === undefined ? {} : { repeatedHeaders: repeated }),
    body,
    ...(subject === undefined ? {} : subject),
    remoteAddress: request.socket.remoteAddress ?? "",
    get signal() {
      return gone.signal;
    },
  };
}

function headersOf(request: IncomingMessage): {
  headers: Record<string, string>;
  repeated: Record<string, string[]> | undefined;
} {
  const headers: Record<string, string> = {};
  let repeated: Record<string, string[]> | undefined;
  const raw = request.rawHeaders;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index]?.toLowerCase() ?? "";
    const value = raw[index + 1] ?? "";
    if (name === "__proto__") continue;
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else {
      repeated ??= {};
      repeated[name] = [...(repeated[name] ?? [before]), value];
      headers[name] = `${before}, ${value}`;
    }
  }
  return { headers, repeated };
}

type Subject = Pick<ApiRequest, "clientCertificate" | "hasStrangeCertificate">;
const subjects = new WeakMap<object, Subject | "none">();

/** CN and O of a verified client certificate, or that there is another; looked at once a connection. */
export function certificateSubject(socket: object): Subject | undefined {
  const known = subjects.get(socket) ?? readSubject(socket);
  subjects.set(socket, known);
  return known === "none" ? undefined : known;
}

function readSubject(socket: object): Subject | "none" {
  if (!(socket instanceof TLSSocket)) return "none";
  const { subject, fingerprint256 } = socket.getPeerCertificate();
  if (subject === undefined) return "none";
  if (!socket.authorized) return { hasStrangeCertificate: true };
  const { CN, O } = subject;
  const commonName: unknown = Array.isArray(CN) ? CN[0] : CN;
  const organizations: unknown[] = Array.isArray(O) ? O : O === undefined ? [] : [O];
  if (typeof commonName !== "string" || commonName === "") return "none";
  return {
    clientCertificate: {
      commonName,
      organizations: organizations.filter((item): item is string => typeof item === "string"),
      fingerprint: fingerprint256.replaceAll(":", "").toLowerCase(),
    },
  };
}

/** The whole body; `undefined` when it is larger than a resource may be. What is too much is read and dropped: a client that still sends would not see the answer. */
async function readBody(request: IncomingMessage, bodies: Waiting): Promise<Uint8Array | undefined> {
  if (request.method === "GET" && request.headers["content-length"] === undefined) return nothing;
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = [];
    let size = 0;
    const wait = bodies.begin(() => {
      chunks = [];
      reject(new DOMException("the body took too long to come", "TimeoutError"));
      request.destroy();
    });
    request.once("close", () => bodies.end(wait));
    request.on("data", (chunk: Buffer) => {
      size += chunk.byteLength;
      if (size <= maxBodyBytes) bodies.grow(wait, chunk.byteLength);
      if (size <= maxBodyBytes) chunks.push(chunk);
      else chunks = [];
      if (size > maxDroppedBytes) resolve(undefined);
    });
    request.once("end", () => {
      bodies.end(wait);
      if (size > maxBodyBytes) resolve(undefined);
      else resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
    });
    request.once("error", reject);
    request.once("aborted", () => reject(new DOMException("the client went away", "AbortError")));
  });
}

async function write(
  response: ServerResponse,
  answer: ApiResponse,
  how: { readonly isHead: boolean; readonly closes: boolean; readonly answers: Waiting },
): Promise<void> {
  const headers: Record<string, string | number | string[]> = { ...answer.headers };
  if (answer.warnings !== undefined && answer.warnings.length > 0)
    headers["warning"] = answer.warnings.map(warningValue);
  if (how.closes) headers["connection"] = "close";
  const { body } = answer;
  if (body instanceof Uint8Array) {
    headers["content-length"] = body.byteLength;
    response.writeHead(answer.status, headers);
    if (how.isHead) response.end();
    else if (body.byteLength > maxOneWriteBytes) response.end(body);
    // As Latin-1 text (a byte a character) head and body leave in one write, which a TLS socket encrypts at once.
    else response.end(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("latin1"), "latin1");
    return;
  }
  response.writeHead(answer.status, headers);
  // A watch may have nothing to say for long; the client waits for the head.
  response.flushHeaders();
  await writeBody(outOf(response), body, how.answers);
}
