import { HttpError } from "./answer.js";
import { Framing } from "./framing.js";
import type { RequestHead } from "./head.js";

/** Told of bytes before they are kept; may throw to refuse the body. */
export type BodyCharge = (bytes: number) => void;

interface RequestConnection {
  readonly wantBody: () => void;
  readonly isGone: () => boolean;
}

interface Reader {
  readonly limit: number;
  readonly charge: BodyCharge | undefined;
  readonly resolve: (body: Buffer) => void;
  readonly reject: (error: unknown) => void;
}

/** One request as a server's `answer` function sees it. */
export class Http1Request {
  readonly method: string;
  /** Path and query; begins with `/` (or is `*`); dot segments are resolved. */
  readonly target: string;
  /** Lower case, without port. */
  readonly host: string;
  /** Told of the whole body, as it came, when somebody reads it. */
  onBody: ((body: Buffer) => void) | undefined;
  readonly #head: RequestHead;
  readonly #framing: Framing;
  readonly #connection: RequestConnection;
  #headers: Map<string, string> | undefined;
  #pieces: Buffer[] = [];
  #size = 0;
  #reader: Reader | undefined;
  /** Nobody wants the rest: it is followed to its end and forgotten. */
  #isUnwanted = false;
  #onAway: (() => void) | undefined;
  #isLeft = false;
  /** Why no more will come. */
  #fault: HttpError | undefined;

  /** `connection.wantBody` is called when the body is asked for and not all here. */
  constructor(head: RequestHead, connection: RequestConnection) {
    this.method = head.method;
    this.target = head.target;
    this.host = head.host;
    this.#head = head;
    this.#connection = connection;
    const { isChunked, contentLength } = head.fields;
    if (isChunked) this.#framing = new Framing("chunked");
    else this.#framing = contentLength > 0 ? new Framing("length", contentLength) : new Framing("none");
  }

  /** The value of a field by its lower-case name; several are joined by commas. Fields of the connection (Host, Connection, …) are not among them. */
  header(name: string): string | undefined {
    return this.headers().get(name);
  }

  /** All fields by lower-case name, as `header` gives them. */
  headers(): ReadonlyMap<string, string> {
    this.#headers ??= readFields(this.#head.fields.rest);
    return this.#headers;
  }

  /** Calls once when the client has ended its side or is away before the answer was begun; at once where it already has. */
  onAway(listener: () => void): void {
    if (this.#isLeft || this.isGone) listener();
    else this.#onAway = listener;
  }

  /** The connection's: nobody is expected to read the answer. */
  leave(): void {
    this.#isLeft = true;
    this.#onAway?.();
    this.#onAway = undefined;
  }

  /** Whether all of the body is here. */
  get isWhole(): boolean {
    return this.#framing.isDone;
  }

  /** The client is away, or has ended its side a second ago: nobody reads an answer. */
  get isGone(): boolean {
    return this.#connection.isGone();
  }

  /** Bytes of the body that wait for somebody to read it. */
  get unread(): number {
    return this.#reader === undefined ? this.#size : 0;
  }

  /**
   * The whole body; to be called once. Rejects with an `HttpError`: 413 beyond `limit` bytes, 400 when its framing is broken or the
   * connection ends before it does; and with what `charge` throws.
   */
  readBody(limit: number, charge?: BodyCharge): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#fault !== undefined) return reject(this.#fault);
      this.#reader = { limit, charge, resolve, reject };
      if (this.#head.fields.contentLength > limit) this.#refuse(tooLarge(limit));
      else if (this.#size > 0) this.#accept(this.#size);
      if (this.#reader === undefined) return;
      if (this.#framing.isDone) this.#finish();
      else this.#connection.wantBody();
    });
  }

  /** Takes what belongs to the body from `start` on; returns how many bytes that were. */
  feed(chunk: Buffer, start: number): number {
    const used = this.#framing.consume(chunk, start, chunk.length, (from, to) => {
      if (this.#isUnwanted) return;
      this.#pieces.push(chunk.subarray(from, to));
      this.#size += to - from;
      if (this.#reader !== undefined) this.#accept(to - from);
    });
    if (this.#framing.isBroken && this.#fault === undefined) this.cut("the chunked body is malformed");
    else if (this.#framing.isDone) this.#finish();
    return used;
  }

  /** No more of the body will come. */
  cut(message: string, status = 400): void {
    this.#fault ??= new HttpError(status, message);
    this.#refuse(this.#fault);
  }

  /** The answer is known; what is left of the body is not wanted. */
  forget(): void {
    this.#isUnwanted = true;
    this.#pieces = [];
    this.#size = 0;
    this.#reader = undefined;
  }

  #accept(bytes: number): void {
    const reader = this.#reader;
    if (reader === undefined) return;
    try {
      if (this.#size > reader.limit) throw tooLarge(reader.limit);
      reader.charge?.(bytes);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #finish(): void {
    const reader = this.#reader;
    if (reader === undefined) return;
    const [first] = this.#pieces;
    const body = this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces);
    this.onBody?.(body);
    reader.resolve(body);
    this.forget();
  }

  #refuse(error: unknown): void {
    const reader = this.#reader;
    this.forget();
    reader?.reject(error);
  }
}

const tooLarge = (limit: number): HttpError => new HttpError(413, `the body is larger than ${limit} bytes`);

function readFields(lines: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (let start = 0; start < lines.length; ) {
    const end = lines.indexOf("\r\n", start);
    const colon = lines.indexOf(":", start);
    const name = lines.slice(start, colon).toLowerCase();
    const value = lines.slice(colon + 1, end).trim();
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : `${before}, ${value}`);
    start = end + 2;
  }
  return fields;
}
