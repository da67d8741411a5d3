import { type Fields, Framing } from "../../kernel/http1/index.js";

/** Why a body was refused. */
export interface BodyFault {
  readonly status: number;
  readonly reason: string;
  readonly message: string;
}

/** A request body on its way: where it ends, how long it may be, and its first bytes in case it must be sent again. */
export class RequestBody {
  readonly #framing: Framing;
  readonly #limit: number | undefined;
  readonly #replayBytes: number;
  /** The body so far; undefined once it is no longer kept. */
  #replay: (Buffer | string)[] | undefined = [];
  #received = 0;

  constructor(fields: Fields, limit: number | undefined, replayBytes: number) {
    const { isChunked, contentLength } = fields;
    if (isChunked) this.#framing = new Framing("chunked");
    else this.#framing = contentLength > 0 ? new Framing("length", contentLength) : new Framing("none");
    this.#limit = limit;
    this.#replayBytes = replayBytes;
    this.#received = isChunked || contentLength < 0 ? 0 : contentLength;
  }

  get isDone(): boolean {
    return this.#framing.isDone;
  }

  get isAbsent(): boolean {
    return this.#framing.kind === "none";
  }

  /** Set when the body is longer than allowed or malformed. */
  get fault(): BodyFault | undefined {
    if (this.#framing.isBroken) return { status: 400, reason: "BadRequest", message: "the chunked body is malformed" };
    if (this.#limit === undefined || this.#received <= this.#limit) return undefined;
    return { status: 413, reason: "BodyTooLarge", message: `the body is longer than ${this.#limit} bytes` };
  }

  /** How many bytes from `start` on belong to the body; a copy, or that part of the chunk's `text`, is kept for a second sending until `forget`. */
  take(chunk: Buffer, start: number, end: number, text?: string): number {
    const used = this.#framing.consume(chunk, start, end);
    if (this.#framing.kind === "chunked") this.#received += used;
    if (used > 0)
      this.#replay?.push(text?.slice(start, start + used) ?? Buffer.from(chunk.subarray(start, start + used)));
    return used;
  }

  /** Everything that came so far, text as Latin-1, or undefined when it is no longer kept. */
  get replay(): readonly (Buffer | string)[] | undefined {
    return this.#replay;
  }

  /** Too long to be kept for a second sending once the first one is under way. */
  get isLarge(): boolean {
    return this.#received > this.#replayBytes;
  }

  /** No second sending will be needed, or none is possible. */
  forget(): void {
    this.#replay = undefined;
  }
}
