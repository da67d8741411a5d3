import type { ConnectionOptions } from "node:tls";
import { ArgosyError } from "../errors/index.js";
import { answerFields, ClientPool, isFieldValue, type WholeAnswer } from "../http-client/index.js";
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
 * Connections over HTTP/1.1 to one server, kept for the next request: each has one exchange under way, of which the whole answer is
 * waited for. That is all that most calls need, and costs a fraction of what a client for everything takes.
 */
export class KeptConnections {
  readonly #host: string;
  readonly #pool: ClientPool;

  constructor({ url, tls, connectTimeoutMs, idleMs }: KeptTarget) {
    this.#host = url.host;
    this.#pool = new ClientPool({ url, tls, connectMs: connectTimeoutMs, idleMs });
  }

  /** Whether a request can be sent here: its answer is wanted whole, and it has nothing that must be written with more care. */
  static takes(request: TransportRequest): boolean {
    return request.wantsWhole === true && request.repeatedHeaders === undefined && target.test(request.path);
  }

  /** Rejects with what the connection failed with, or why the signal was aborted. */
  async send(request: TransportRequest, path: string, authorization: string | undefined): Promise<TransportResponse> {
    const { body, signal } = request;
    const head = headOf(request, path, { host: this.#host, authorization });
    return answerOf(await this.#pool.send({ head, body }, { limit: maxAnswerBytes, signal }));
  }

  /** No more requests; what is under way ends as it would have. */
  retire(): void {
    this.#pool.retire();
  }

  destroy(): void {
    this.#pool.destroy(new ArgosyError("Closed", "the transport is closed"));
  }
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
