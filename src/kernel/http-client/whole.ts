import type { ResponseHead } from "../http1/index.js";
import type { AnswerReceiver, ClientConnection } from "./connection.js";

/** An answer that was waited for to its end. */
export interface WholeAnswer {
  readonly head: ResponseHead;
  /** Empty where it is cut. */
  readonly body: Buffer;
  /** The body was longer than what was wanted. */
  readonly isCut: boolean;
}

/** How an exchange ends. */
export interface WholeOutcome {
  onAnswer(answer: WholeAnswer, isKept: boolean): void;
  onFailure(error: Error): void;
}

/** Most of a body that is read though it is not wanted, so that the connection can be kept. */
const MAX_DROPPED_BYTES = 64 * 1024;
const NOTHING = Buffer.alloc(0);

/** Gathers an answer of at most `limit` bytes. */
export class WholeReceiver implements AnswerReceiver {
  readonly #connection: ClientConnection;
  readonly #limit: number;
  readonly #outcome: WholeOutcome;
  #head: ResponseHead | undefined;
  #first: Buffer | undefined;
  #more: Buffer[] | undefined;
  #bytes = 0;

  constructor(connection: ClientConnection, limit: number, outcome: WholeOutcome) {
    this.#connection = connection;
    this.#limit = limit;
    this.#outcome = outcome;
  }

  onHead(head: ResponseHead): void {
    this.#head = head;
  }

  onPiece(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#bytes > this.#limit) {
      this.#first = undefined;
      this.#more = undefined;
      if (this.#bytes > this.#limit + MAX_DROPPED_BYTES) this.#connection.cut();
    } else if (this.#first === undefined) this.#first = piece;
    else if (this.#more === undefined) this.#more = [this.#first, piece];
    else this.#more.push(piece);
  }

  onEnd(isKept: boolean): void {
    if (this.#head === undefined) return;
    const body = this.#more === undefined ? (this.#first ?? NOTHING) : Buffer.concat(this.#more);
    this.#outcome.onAnswer({ head: this.#head, body, isCut: this.#bytes > this.#limit }, isKept);
  }

  onFailure(error: Error): void {
    this.#outcome.onFailure(error);
  }
}
