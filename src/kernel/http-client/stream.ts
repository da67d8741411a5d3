import type { ResponseHead } from "../http1/index.js";
import type { AnswerReceiver, ClientConnection, OutgoingRequest } from "./connection.js";

/** An answer of which the head has come. */
export interface StreamedAnswer {
  readonly head: ResponseHead;
  /** The body as it comes, to be read once; who stops before its end gives it up. Throws what the exchange failed with. */
  readonly body: AsyncGenerator<Buffer, void>;
  /** Gives the body up, and its connection where there is more to come. */
  readonly drop: () => void;
}

/** Bytes that wait for their reader before the server is held back. */
const MAX_WAITING_BYTES = 256 * 1024;

/** One exchange whose body is read as it comes. */
export class StreamReceiver implements AnswerReceiver {
  readonly #connection: ClientConnection;
  readonly #onOver: () => void;
  #pieces: Buffer[] = [];
  #waiting = 0;
  #isOver = false;
  #failure: Error | undefined;
  #onHead: { resolve: (head: ResponseHead) => void; reject: (error: Error) => void } | undefined;
  #onPiece: (() => void) | undefined;

  /** `onOver` is told when nothing more will come, before that is read. */
  constructor(connection: ClientConnection, onOver: () => void) {
    this.#connection = connection;
    this.#onOver = onOver;
  }

  async exchange(request: OutgoingRequest): Promise<StreamedAnswer> {
    const head = await new Promise<ResponseHead>((resolve, reject) => {
      this.#onHead = { resolve, reject };
      this.#connection.exchange(request, this);
    });
    return { head, body: this.#body(), drop: () => this.#drop() };
  }

  async *#body(): AsyncGenerator<Buffer, void> {
    try {
      for (;;) {
        const piece = this.#pieces.shift();
        if (piece !== undefined) {
          this.#waiting -= piece.length;
          if (this.#waiting < MAX_WAITING_BYTES && !this.#isOver) this.#connection.resume();
          yield piece;
        } else if (this.#failure !== undefined) throw this.#failure;
        else if (this.#isOver) return;
        else await new Promise<void>((resolve) => (this.#onPiece = resolve));
      }
    } finally {
      this.#drop();
    }
  }

  #drop(): void {
    this.#pieces = [];
    // Once it is over, the connection is another exchange's.
    if (!this.#isOver) this.#connection.destroy();
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
    this.#end();
  }

  onFailure(error: Error): void {
    this.#failure = error;
    this.#onHead?.reject(error);
    this.#onHead = undefined;
    this.#end();
  }

  #end(): void {
    this.#isOver = true;
    this.#onOver();
    this.#wake();
  }

  #wake(): void {
    this.#onPiece?.();
    this.#onPiece = undefined;
  }
}
