import type { Field } from "./hpack.js";

/** What a stream needs of its connection. */
export interface StreamOutput {
  /** Sends a HEADERS frame. */
  sendHeaders(stream: Http2Stream, block: Buffer, isEnd: boolean): void;
  /** Sends what the windows allow; returns how many bytes that were. `isEnd` goes with the last of them. */
  sendData(stream: Http2Stream, bytes: Uint8Array, isEnd: boolean): number;
  sendReset(stream: Http2Stream, code: number): void;
  /** The stream's owner took these bytes: more may come. */
  giveBack(stream: Http2Stream, bytes: number): void;
  /** The stream ended on both sides, or was reset. */
  forget(stream: Http2Stream): void;
  readonly isWritable: boolean;
}

/** Bytes that may wait before a writer is held up. */
const HIGH_WATER = 65_536;

/** One request and its answer. */
export class Http2Stream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  /** The values, one by one, of fields that came more than once. */
  readonly repeated: ReadonlyMap<string, readonly string[]> | undefined;
  readonly #output: StreamOutput;
  /** What we may send and receive. */
  sendWindow: number;
  receiveWindow: number;
  /** Bytes of the body that were announced; -1: none were. */
  readonly announced: number;
  received = 0;
  /** Bytes that were taken and are not in the window again. */
  credit = 0;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #trailers: Buffer | undefined;
  #hasEnd = false;
  #isHeld = false;
  #heldBytes = 0;
  /** The client's side has ended. */
  isRemoteEnded = false;
  /** Our side has ended: nothing more is sent. */
  isLocalEnded = false;
  /** Gone: ended on both sides, reset, or the connection ended. */
  isClosed = false;
  hasAnswered = false;
  /** When the owner of the server gives it up; monotonic milliseconds. */
  deadlineMs = Number.POSITIVE_INFINITY;
  /** Since when the client takes nothing of what waits, as the owner of the server noted it. */
  stuckSinceMs: number | undefined;
  onData: (bytes: Buffer) => void = () => undefined;
  onEnd: () => void = () => undefined;
  onClose: () => void = () => undefined;
  onDrain: () => void = () => undefined;
  /** The owner of the server: `deadlineMs` has passed, and the client's side has not ended. */
  onOverdue: () => void = () => undefined;

  constructor(id: number, fields: readonly Field[], output: StreamOutput, windows: { send: number; receive: number }) {
    this.id = id;
    const headers = new Map<string, string>();
    let repeated: Map<string, readonly string[]> | undefined;
    for (const [name, value] of fields) {
      const before = headers.get(name);
      headers.set(name, before === undefined ? value : `${before}${name === "cookie" ? "; " : ", "}${value}`);
      if (before === undefined) continue;
      repeated ??= new Map();
      repeated.set(name, [...(repeated.get(name) ?? [before]), value]);
    }
    this.headers = headers;
    this.repeated = repeated;
    this.#output = output;
    this.sendWindow = windows.send;
    this.receiveWindow = windows.receive;
    const length = headers.get("content-length");
    this.announced = length === undefined ? -1 : Number(length);
  }

  /** Sends the answer's header. */
  respond(block: Buffer, isEnd = false): void {
    if (this.isClosed || this.hasAnswered) return;
    this.hasAnswered = true;
    this.isLocalEnded = isEnd;
    this.#output.sendHeaders(this, block, isEnd);
    if (isEnd) this.#settle();
  }

  /** Sends a part of the body; false: wait for `onDrain`. */
  write(bytes: Uint8Array): boolean {
    if (this.isClosed || this.#hasEnd) return true;
    this.#push(bytes);
    return this.#waitingBytes < HIGH_WATER && this.#output.isWritable;
  }

  /** Ends the answer, with a last part and with trailers. */
  end(bytes?: Uint8Array, trailers?: Buffer): void {
    if (this.isClosed || this.#hasEnd) return;
    this.#hasEnd = true;
    this.#trailers = trailers;
    if (bytes !== undefined && bytes.length > 0) this.#push(bytes);
    if (this.#waitingBytes === 0) this.#finish();
  }

  #push(bytes: Uint8Array): void {
    if (this.#waitingBytes > 0) {
      this.#waiting.push(bytes);
      this.#waitingBytes += bytes.length;
      return;
    }
    const isLast = this.#hasEnd && this.#trailers === undefined;
    const sent = this.#output.sendData(this, bytes, isLast);
    if (sent < bytes.length) {
      this.#waiting.push(bytes.subarray(sent));
      this.#waitingBytes = bytes.length - sent;
    } else if (isLast) this.isLocalEnded = true;
  }

  #finish(): void {
    if (!this.isLocalEnded) {
      if (this.#trailers !== undefined) this.#output.sendHeaders(this, this.#trailers, true);
      else this.#output.sendData(this, new Uint8Array(), true);
      this.isLocalEnded = true;
    }
    this.#settle();
  }

  /** The windows have grown. */
  flush(): void {
    while (this.#waiting.length > 0 && !this.isClosed) {
      const [first = new Uint8Array()] = this.#waiting;
      const isLast = this.#hasEnd && this.#trailers === undefined && this.#waiting.length === 1;
      const sent = this.#output.sendData(this, first, isLast);
      if (sent > 0) this.stuckSinceMs = undefined;
      this.#waitingBytes -= sent;
      if (sent < first.length) {
        this.#waiting[0] = first.subarray(sent);
        return;
      }
      this.#waiting.shift();
      if (isLast) this.isLocalEnded = true;
    }
    if (this.isClosed) return;
    if (this.#hasEnd) this.#finish();
    else this.onDrain();
  }

  get hasWaiting(): boolean {
    return this.#waitingBytes > 0;
  }

  /** Takes no more of the body for now: the client is held up when its window is used up. */
  pause(): void {
    this.#isHeld = true;
  }

  resume(): void {
    this.#isHeld = false;
    const held = this.#heldBytes;
    this.#heldBytes = 0;
    if (held > 0) this.#output.giveBack(this, held);
  }

  get isPaused(): boolean {
    return this.#isHeld;
  }

  /** A part of the body came. */
  deliver(bytes: Buffer, size: number): void {
    if (bytes.length > 0) this.onData(bytes);
    if (this.#isHeld) this.#heldBytes += size;
    else if (!this.isRemoteEnded) this.#output.giveBack(this, size);
  }

  /** The client's side ended. */
  endRemote(): void {
    this.isRemoteEnded = true;
    this.onEnd();
    if (this.isLocalEnded) this.#settle();
  }

  /** Ends the stream at once on both sides. */
  reset(code: number): void {
    if (this.isClosed) return;
    this.#output.sendReset(this, code);
    this.close();
  }

  #settle(): void {
    if (this.isLocalEnded && this.isRemoteEnded) this.close();
  }

  /** The stream is gone. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#output.forget(this);
    this.onDrain();
    this.onClose();
  }
}
