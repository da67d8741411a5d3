/** Texts as token numbers and back. */
import { HttpError } from "../../../kernel/http1/index.js";

export interface Tokenizer {
  /** How many numbers there are; 0: as many as the model has. */
  readonly size: number;
  /** Throws 400 for text that has no numbers. */
  encode(text: string): number[];
  /** The bytes that a token stands for. */
  bytesOf(id: number): Uint8Array;
  /** Ends a text. */
  isEnd(id: number): boolean;
  /** A token that is no text. */
  isSpecial(id: number): boolean;
  /** The number of a special token by its text. */
  special(text: string): number | undefined;
}

const NO_BYTES = new Uint8Array();

/**
 * A token for each byte, or each ASCII character where the model has fewer numbers than there are bytes; 0 is the end of text.
 * `size`: how many numbers the model has.
 */
export function byteTokenizer(size: number): Tokenizer {
  return {
    size,
    encode(text) {
      const ids = [...Buffer.from(text, "utf8")];
      const beyond = ids.findIndex((id) => id >= size);
      if (beyond >= 0) throw new HttpError(400, `the model reads ${size} characters (ASCII), and the text has others`);
      return ids;
    },
    bytesOf: (id) => (id === 0 || id > 255 ? NO_BYTES : Uint8Array.of(id)),
    isEnd: (id) => id === 0,
    isSpecial: (id) => id === 0,
    special: () => undefined,
  };
}

/** Texts from tokens that come one after the other: characters are given when their last byte is here. */
export class TextJoiner {
  readonly #tokenizer: Tokenizer;
  readonly #decoder = new TextDecoder("utf-8");

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  push(id: number): string {
    return this.#decoder.decode(this.#tokenizer.bytesOf(id), { stream: true });
  }

  /** What is left of a character that did not come whole. */
  end(): string {
    return this.#decoder.decode();
  }
}

/** A single token as text; where it is part of a character only, with the replacement character. */
export const tokenText = (tokenizer: Tokenizer, id: number): string =>
  Buffer.from(tokenizer.bytesOf(id)).toString("utf8");
