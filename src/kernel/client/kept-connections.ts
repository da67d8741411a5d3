import type { ConnectionOptions } from "node:tls";
import { ArgosyError } from "../errors/index.js";
import { answerFields, ClientPool, Http2Pool, isFieldValue, type WholeAnswer } from "../http-client/index.js";
import type { Http2Answer } from "../http2/index.js";
import type { TransportRequest, TransportResponse } from "./types.js";

/** Where connections go. */
export interface KeptTarget {
  readonly url: URL;
  /** For `https:`. */
  readonly tls: ConnectionOptions;
  readonly connectTimeoutMs: number;
  /** A connection that nobody has used for so long is closed. */
  readonly idleMs: number;
}

/** A whole answer is held in memory; no server of this API sends more in one. */
const maxAnswerBytes = 512 * 1024 * 1024;

/** What can be sent as it is: anything else could be read as more than one request. */
const target = /^\/[\x21-\x7e]*$/;

/**
 * Connections to one server, kept for the next request, whose whole answer is waited for: over HTTP/2 with many exchanges under way, or over
 * HTTP/1.1 with one each. That is all that most calls need, and costs a fraction of what a client for everything takes.
 */
export class KeptConnections {
  readonly #host: string;
  readonly #pool: ClientPool;
  /** Where the server speaks HTTP/2. */
  readonly #multiplexed: Http2Pool;

  constructor({ url, tls, connectTimeoutMs, idleMs }: KeptTarget) {
    const to = { url, tls, connectMs: connectTimeoutMs, idleMs };
    this.#host = url.host;
    this.#pool = new ClientPool(to);
    this.#multiplexed = new Http2Pool(to);
  }

  /** Whether a request can be sent here: its answer is wanted whole, and it has nothing that must be written with more care. */
  static takes(request: TransportRequest): boolean {
    return request.wantsWhole === true && request.repeatedHeaders === undefined && target.test(request.path);
  }

  /** Rejects with what the connection failed with, or why the signal was aborted. */
  async send(request: TransportRequest, path: string, authorization: string | undefined): Promise<TransportResponse> {
    const { body, signal } = request;
    if (!this.#multiplexed.isRefused) {
      const asked = {
        method: request.method,
        path,
        authority: this.#host,
        fields: fieldsOf(request, authorization),
        body: body === undefined ? undefined : Buffer.from(body),
        limit: maxAnswerBytes,
      };
      const answer = await this.#multiplexed.send(asked, signal);
      if (answer !== undefined) return multiplexedAnswer(answer);
    }
    const head = headOf(request, path, { host: this.#host, authorization });
    return answerOf(await this.#pool.send({ head, body }, { limit: maxAnswerBytes, signal }));
  }

  /** No more requests; what is under way ends as it would have. */
  retire(): void {
    this.#pool.retire();
    this.#multiplexed.retire();
  }

  destroy(): void {
    const reason = new ArgosyError("Closed", "the transport is closed");
    this.#pool.destroy(reason);
    this.#multiplexed.destroy(reason);
  }
}

function fieldsOf({ headers = {} }: TransportRequest, authorization: string | undefined): [string, string][] {
  const fields: [string, string][] = [];
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined && name !== "authorization") fields.push([name, checked(name, value)]);
  }
  const own = authorization ?? headers["authorization"];
  if (own !== undefined) fields.push(["authorization", checked("authorization", own)]);
  return fields;
}

function multiplexedAnswer({ status, fields, body }: Http2Answer): TransportResponse {
  let headers: Readonly<Record<string, string>> | undefined;
  return {
    status,
    get headers() {
      headers ??= joined(fields);
      return headers;
    },
    whole: body,
    body: onePiece(body),
  };
}

function joined(fields: Http2Answer["fields"]): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const [name, value] of fields)
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  return headers;
}

function headOf(
  { method, headers = {} }: TransportRequest,
  path: string,
  { host, authorization }: { readonly host: string; readonly authorization: string | undefined },
): string {
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\n`;
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined && name !== "authorization") head += `${name}: ${checked(name, value)}\r\n`;
  }
  const own = authorization ?? headers["authorization"];
  return own === undefined ? head : `${head}authorization: ${checked("authorization", own)}\r\n`;
}

function checked(name: string, value: string): string {
  if (!isFieldValue(value)) throw new TypeError(`header ${name} has characters that are not allowed`);
  return value;
}

function answerOf({ head, body, isCut }: WholeAnswer): TransportResponse {
  if (isCut) throw new ArgosyError("TooLarge", `answered with more than ${maxAnswerBytes} bytes`);
  let headers: Readonly<Record<string, string>> | undefined;
  return {
    status: head.status,
    get headers() {
      headers ??= Object.fromEntries(answerFields(head));
      return headers;
    },
    whole: body,
    body: onePiece(body),
  };
}

async function* onePiece(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  if (bytes.byteLength > 0) yield bytes;
}
