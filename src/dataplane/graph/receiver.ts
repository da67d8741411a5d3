import { abortReason } from "../../kernel/clock/index.js";
import { ArgosyError } from "../../kernel/errors/index.js";
import type { AnswerReceiver, ClientConnection, OutgoingRequest } from "../../kernel/http-client/index.js";
import type { ResponseHead } from "../../kernel/http1/index.js";

/** Bytes of an answer that wait for their reader before the sender is held back. */
const MAX_WAITING_BYTES = 256 * 1024;

/** There was no answer, or not all of one. */
export class StepUnreachable extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("StepUnreachable", message, options);
  }
}

/** One exchange with a step's service: its head is waited for, its body read as it comes. */
export class StepReceiver implements AnswerReceiver {
  readonly #connection: ClientConnection;
  readonly #host: string;
  readonly #signal: AbortSignal;
  #pieces: Buffer[] = [];
  #waiting = 0;
  #isOver = false;
  #failure: Error | undefined;
  #onHead: { resolve: (head: ResponseHead) => void; reject: (error: Error) => void } | undefined;
  #onPiece: (() => void) | undefined;

  /** `signal`: the connection is destroyed when it aborts. */
  constructor(connection: ClientConnection, host: string, signal: AbortSignal) {
    this.#connection = connection;
    this.#host = host;
    this.#signal = signal;
  }

  /** Sends a request; resolves with the answer's head. Rejects with `StepUnreachable`, or the signal's reason. */
  exchange(request: OutgoingRequest): Promise<ResponseHead> {
    return new Promise((resolve, reject) => {
      this.#onHead = { resolve, reject };
      this.#connection.exchange(request, this);
    });
  }

  /** The body, as it comes; who stops before its end ends the connection. */
  async *pieces(): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const piece = this.#pieces.shift();
        if (piece !== undefined) {
          this.#waiting -= piece.length;
          if (this.#waiting < MAX_WAITING_BYTES && !this.#isOver) this.#connection.resume();
          yield piece;
        } else if (this.#isOver) return;
        else if (this.#failure !== undefined) throw this.#failure;
        else await new Promise<void>((resolve) => (this.#onPiece = resolve));
      }
    } finally {
      if (!this.#isOver || this.#pieces.length > 0) this.#connection.destroy();
    }
  }

  onHead(head: ResponseHead): void {
    this.#onHead?.resolve(head);
    this.#onHead = undefined;
  }

  onPiece(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#waiting += piece.length;
    if (this.#waiting > MAX_WAITING_BYTES) this.#connection.pause();
    this.#wake();
  }

  onEnd(): void {
    this.#isOver = true;
    this.#wake();
  }

  onFailure(error: Error): void {
    this.#failure = this.#signal.aborted
      ? abortReason(this.#signal)
      : new StepUnreachable(`${this.#host}: ${error.message}`, { cause: error });
    this.#onHead?.reject(this.#failure);
    this.#onHead = undefined;
    this.#wake();
  }

  #wake(): void {
    this.#onPiece?.();
    this.#onPiece = undefined;
  }
}
