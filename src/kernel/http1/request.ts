import { HttpError } from "./answer.js";
import { Framing } from "./framing.js";
import type { RequestHead } from "./head.js";

/** Told of bytes before they are kept; may throw to refuse the body. */
export interface BodyCharge {
  take(bytes: number): void;
}

interface RequestConnection {
  /** Somebody waits for the rest of the request's body. */
  wantBody(request: Http1Request): void;
  isGone(): boolean;
}

/** A head with its fields by name, for all requests that come with it. */
export class KnownHead {
  readonly head: RequestHead;
  #headers: ReadonlyMap<string, string> | undefined;

  constructor(head: RequestHead) {
    this.head = head;
  }

  /** All fields by lower-case name, as `Http1Request.header` gives them. */
  headers(): ReadonlyMap<string, string> {
    this.#headers ??= readFields(this.head.fields.rest);
    return this.#headers;
  }
}

interface Reader {
  readonly limit: number;
  readonly charge: BodyCharge | undefined;
  readonly resolve: (body: Buffer) => void;
  readonly reject: (error: unknown) => void;
}

/** Hears of a request's body. */
export interface RequestFollower {
  /** The whole body, as it came, when somebody reads it. */
  onBody(body: Buffer): void;
}

/** One request as a server's `answer` function sees it. */
export class Http1Request {
  readonly method: string;
  /** Path and query; begins with `/` (or is `*`); dot segments are resolved. */
  readonly target: string;
  /** Lower case, without port. */
  readonly host: string;
  /** Who follows it. A field, and no map by requests: maps make old what passes through them. */
  follower: RequestFollower | undefined;
  readonly #known: KnownHead;
  readonly #framing: Framing;
  readonly #connection: RequestConnection;
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
  constructor(known: KnownHead, connection: RequestConnection) {
    const { head } = known;
    this.method = head.method;
    this.target = head.target;
    this.host = head.host;
    this.#known = known;
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
    return this.#known.headers();
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
   * The whole body; to be called once. At once when it is here, else as a promise. Throws, or rejects with, an `HttpError`: 413 beyond
   * `limit` bytes, 400 when its framing is broken or the connection ends before it does; and what `charge` throws.
   */
  readBody(limit: number, charge?: BodyCharge): Promise<Buffer> | Buffer {
    if (this.#fault !== undefined) throw this.#fault;
    if (this.#framing.isDone) {
      const size = this.#size;
      if (size > limit) throw tooLarge(limit);
      if (size > 0) charge?.take(size);
      return this.#taken();
    }
    return new Promise((resolve, reject) => {
      this.#reader = { limit, charge, resolve, reject };
      if (this.#known.head.fields.contentLength > limit) this.#refuse(tooLarge(limit));
      else if (this.#size > 0) this.#accept(this.#size);
      if (this.#reader !== undefined) this.#connection.wantBody(this);
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
      reader.charge?.take(bytes);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #finish(): void {
    const reader = this.#reader;
    if (reader !== undefined) reader.resolve(this.#taken());
  }

  /** What came, which is all. */
  #taken(): Buffer {
    const [first] = this.#pieces;
    const body = this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces);
    this.follower?.onBody(body);
    this.forget();
    return body;
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
