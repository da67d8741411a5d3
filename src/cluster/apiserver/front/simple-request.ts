import { maxBodyBytes } from "../request/body.js";

/** A request that asks for nothing special of the connection, and on which no other one follows. */
export interface SimpleRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** By lower-case name; each came once. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

const maxHeadBytes = 16 * 1024;
const requestLine = /^(GET|POST|PUT|PATCH|DELETE) (\/[\x21-\x7e]*) HTTP\/1\.1$/;
const fieldLine = /^([a-z0-9-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?[ \t]*$/i;
/** Whoever sends these is served by node's own parser. */
const special = new Set([
  "expect",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

/**
 * Reads requests of one connection that are plain beyond doubt. Everything else, well-formed or not, is `undefined`: this is
 * no parser that must know all of RFC 9112, only one that must never read more into bytes than every other would.
 */
export class SimpleReader {
  /** Fields of the last request: a client's next one mostly has the same. */
  #fields = "";
  #headers: Readonly<Record<string, string>> | undefined;

  /** A number: the head is plain, and the request will be so many bytes in all. */
  read(piece: Buffer): SimpleRequest | number | undefined {
    const end = piece.indexOf("\r\n\r\n");
    if (end < 0 || end > maxHeadBytes) return undefined;
    const head = piece.toString("latin1", 0, end);
    const lineEnd = head.indexOf("\r\n");
    const [, method, target] = requestLine.exec(head.slice(0, lineEnd)) ?? [];
    if (lineEnd < 0 || method === undefined || target === undefined) return undefined;
    const headers = this.#read(head.slice(lineEnd + 2));
    if (headers?.["host"] === undefined) return undefined;
    const body = piece.subarray(end + 4);
    const length = headers["content-length"] ?? "0";
    if (String(body.byteLength) === length) return { method, target, headers, body };
    const isToCome = /^[1-9]\d{0,6}$/.test(length) && Number(length) > body.byteLength;
    return isToCome && Number(length) <= maxBodyBytes ? end + 4 + Number(length) : undefined;
  }

  #read(fields: string): Readonly<Record<string, string>> | undefined {
    if (this.#headers === undefined || fields !== this.#fields) {
      this.#headers = readFields(fields);
      this.#fields = fields;
    }
    return this.#headers;
  }
}

function readFields(fields: string): Readonly<Record<string, string>> | undefined {
  const headers: Record<string, string> = {};
  for (const line of fields.split("\r\n")) {
    const [, name, value = ""] = fieldLine.exec(line) ?? [];
    const key = name?.toLowerCase();
    if (key === undefined || special.has(key) || Object.hasOwn(headers, key)) return undefined;
    if (key === "connection" && value.toLowerCase() !== "keep-alive") return undefined;
    headers[key] = value;
  }
  return headers;
}
