import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { ArgosyError } from "../../kernel/errors/index.js";
import {
  Framing,
  HeadFault,
  latin1,
  MAX_HEAD_BYTES,
  parseResponseHead,
  type ResponseHead,
} from "../../kernel/http1/index.js";

/** Bytes of an answer that wait for their reader before the sender is held back. */
const MAX_WAITING_BYTES = 256 * 1024;

/** There was no answer, or not all of one. */
export class StepUnreachable extends ArgosyError {
  /** No byte of an answer had come. */
  readonly isBefore: boolean;

  constructor(message: string, isBefore: boolean, options?: ErrorOptions) {
    super("StepUnreachable", message, options);
    this.isBefore = isBefore;
  }
}

/** One connection to a step's service; one exchange at a time. */
export class StepConnection {
  readonly #socket: Socket;
  readonly #origin: string;
  #head: ResponseHead | undefined;
  #framing = new Framing("none");
  #early: Buffer[] = [];
  #pieces: Buffer[] = [];
  #waiting = 0;
  #isOver = true;
  #isKept = false;
  /** What is wrong with the connection, in words. */
  #cause: string | undefined;
  #failure: Error | undefined;
  #onHead: { resolve: (head: ResponseHead) => void; reject: (error: Error) => void } | undefined;
  #onPiece: (() => void) | undefined;
  /** It has answered before. */
  isUsed = false;

  constructor(url: URL, times: { readonly connectMs: number; readonly idleMs: number }, onGone: () => void) {
    this.#origin = url.host;
    const isPlain = url.protocol === "http:";
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const port = url.port === "" ? (isPlain ? 80 : 443) : Number(url.port);
    const servername = /^[\d.]+$|:/.test(host) ? "" : host;
    const socket = isPlain
      ? connectPlain({ host, port })
      : connectTls({ host, port, servername, ALPNProtocols: ["http/1.1"] });
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setTimeout(times.connectMs);
    socket.on("timeout", () => {
      if (socket.connecting) this.#break(`no connection within ${times.connectMs} ms`);
      else if (this.#isOver) this.destroy();
    });
    socket.once(isPlain ? "connect" : "secureConnect", () => socket.setTimeout(times.idleMs));
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.once("end", () => this.#onEnd());
    socket.on("error", (error) => {
      this.#cause ??= error.message;
    });
    socket.once("close", () => {
      onGone();
      this.#fail();
    });
  }

  get canBeUsed(): boolean {
    return this.#isOver && this.#isKept && !this.#socket.destroyed;
  }

  /** Sends a request; resolves with the answer's head. Rejects with `StepUnreachable`, or what `destroy` was given. */
  exchange(head: string, body: Buffer): Promise<ResponseHead> {
    this.#isOver = false;
    this.#isKept = false;
    this.#head = undefined;
    return new Promise((resolve, reject) => {
      this.#onHead = { resolve, reject };
      if (this.#failure !== undefined || this.#socket.destroyed) {
        this.#fail();
        return;
      }
      this.#socket.cork();
      this.#socket.write(head, "latin1");
      if (body.length > 0) this.#socket.write(body);
      this.#socket.uncork();
    });
  }

  /** The body, as it comes; who stops before its end ends the connection. */
  async *pieces(): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const piece = this.#pieces.shift();
        if (piece !== undefined) {
          this.#waiting -= piece.length;
          if (this.#socket.isPaused() && this.#waiting < MAX_WAITING_BYTES) this.#socket.resume();
          yield piece;
        } else if (this.#isOver) return;
        else if (this.#failure !== undefined) throw this.#failure;
        else await new Promise<void>((resolve) => (this.#onPiece = resolve));
      }
    } finally {
      if (!this.#isOver || this.#pieces.length > 0) this.destroy();
    }
  }

  /** Ends it; what is under way fails with `error`. */
  destroy(error?: Error): void {
    this.#failure ??= error;
    this.#isKept = false;
    this.#socket.destroy();
    if (error !== undefined) this.#fail();
  }

  #break(message: string): void {
    this.#cause ??= message;
    this.#socket.destroy();
    this.#fail();
  }

  #fail(): void {
    if (this.#isOver) return;
    const isBefore = this.#head === undefined && this.#early.length === 0;
    const cause = this.#cause ?? "the other side closed the connection";
    this.#failure ??= new StepUnreachable(`${this.#origin}: ${cause}`, isBefore);
    this.#onHead?.reject(this.#failure);
    this.#onHead = undefined;
    this.#wake();
  }

  #wake(): void {
    this.#onPiece?.();
    this.#onPiece = undefined;
  }

  #take(chunk: Buffer): void {
    if (this.#isOver) this.destroy();
    else if (this.#head === undefined) this.#takeHead(chunk);
    else this.#takeBody(chunk);
  }

  #takeHead(chunk: Buffer): void {
    this.#early.push(chunk);
    const all = this.#early.length === 1 ? chunk : Buffer.concat(this.#early);
    const end = all.indexOf("\r\n\r\n");
    if (end < 0 || end > MAX_HEAD_BYTES) {
      if (all.length > MAX_HEAD_BYTES) this.#break("the head of the answer is too long");
      return;
    }
    const head = parseResponseHead(latin1(all, 0, end + 2), end + 2);
    if (head instanceof HeadFault || head.status === 101) {
      this.#break(head instanceof HeadFault ? head.message : "the answer changes the protocol");
      return;
    }
    const rest = all.subarray(end + 4);
    this.#early = [];
    if (head.status < 200) {
      if (rest.length > 0) this.#takeHead(rest);
      return;
    }
    this.#head = head;
    this.#framing = framingOf(head);
    this.#onHead?.resolve(head);
    this.#onHead = undefined;
    this.#takeBody(rest);
  }

  #takeBody(chunk: Buffer): void {
    const used = this.#framing.consume(chunk, 0, chunk.length, (from, to) => {
      this.#pieces.push(chunk.subarray(from, to));
      this.#waiting += to - from;
    });
    if (this.#framing.isBroken) this.#break("the chunks of the answer are malformed");
    else if (this.#framing.isDone) this.#finish(used === chunk.length);
    else if (this.#waiting > MAX_WAITING_BYTES) this.#socket.pause();
    this.#wake();
  }

  #onEnd(): void {
    if (this.#head !== undefined && this.#framing.kind === "close") this.#finish(false);
    this.#socket.destroy();
  }

  #finish(isClean: boolean): void {
    const head = this.#head;
    this.#isOver = true;
    this.isUsed = true;
    const isWhole = isClean && this.#socket.writableLength === 0 && this.#framing.kind !== "close";
    this.#isKept = isWhole && head !== undefined && !head.fields.close && head.minor === 1;
    if (!this.#isKept) this.#socket.destroy();
    this.#wake();
  }
}

function framingOf({ status, fields }: ResponseHead): Framing {
  if (status === 204 || status === 304) return new Framing("none");
  if (fields.isChunked) return new Framing("chunked");
  return fields.contentLength >= 0 ? new Framing("length", fields.contentLength) : new Framing("close");
}
