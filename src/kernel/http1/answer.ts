import { ArgosyError } from "../errors/index.js";
import { REASONS } from "./reasons.js";

/** Refuses a request: `message` is for people; `headers` go with the answer. */
export class HttpError extends ArgosyError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super("HttpError", message);
    this.status = status;
    this.headers = headers;
  }
}

/** An answer to be sent. */
export interface Http1Answer {
  readonly status: number;
  /** Beside Content-Type, Content-Length, Date and Connection, which are the server's. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Media type; application/json unless told. */
  readonly type?: string;
  /** Pieces are sent as they come, no faster than the client takes them; what they fail with cuts the connection. */
  readonly body: string | Uint8Array | AsyncIterable<string | Uint8Array>;
}

/** What the connection has to say in an answer's head. */
export interface HopFields {
  readonly close: boolean;
  /** HTTP/1.0 must be told that the connection stays. */
  readonly keepAlive: boolean;
  readonly chunked?: boolean;
  /** As in a Date field. */
  readonly date: string;
}

// RFC 9110 5.5: anything else could end the field.
const NOT_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/** Status line and fields, with the empty line; without `length` the body's end is told by chunks, or by the connection's where that ends. Throws `HttpError` 500 when a field's value could end the field. */
export function renderHead(answer: Http1Answer, length: number | undefined, hop: HopFields): string {
  const { status, type = "application/json", headers } = answer;
  const size =
    length !== undefined
      ? `content-length: ${length}\r\n`
      : hop.chunked === true
        ? "transfer-encoding: chunked\r\n"
        : "";
  let head = `HTTP/1.1 ${status} ${REASONS[status] ?? "Unknown"}\r\ncontent-type: ${type}\r\n${size}date: ${hop.date}\r\n`;
  if (headers !== undefined) {
    for (const [name, value] of Object.entries(headers)) {
      if (NOT_A_VALUE.test(value))
        throw new HttpError(500, `header ${name} of the answer has characters that are not allowed`);
      head += `${name}: ${value}\r\n`;
    }
  }
  if (hop.close) head += "connection: close\r\n";
  else if (hop.keepAlive) head += "connection: keep-alive\r\n";
  return `${head}\r\n`;
}
