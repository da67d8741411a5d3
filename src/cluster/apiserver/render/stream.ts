/** What is left unread by a slow client before its stream is cut: it comes back and lists anew. */
export const maxUnreadBytes = 16 * 1024 * 1024;

/** Chunks that are pushed on one side and read on the other; what waits is handed over as one chunk. */
export class ByteStream implements AsyncIterable<Uint8Array> {
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #wake: (() => void) | undefined;
  #onCut: (() => void) | undefined;
  readonly #onEnd: () => void;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  push(chunk: Uint8Array): void {
    if (this.#ended) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#bytes > maxUnreadBytes) {
      this.#chunks = [];
      this.end();
      this.#onCut?.();
    }
    this.#wakeReader();
  }

  /** Called when the reader was too slow: it may be stuck in a write, and its connection is to be closed. */
  whenCut(callback: () => void): void {
    this.#onCut = callback;
  }

  /** No more chunks; those that wait are still read. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    this.#wakeReader();
  }

  #wakeReader(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    try {
      for (;;) {
        if (this.#chunks.length > 0) yield this.#takeAll();
        else if (this.#ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.end();
    }
  }

  #takeAll(): Uint8Array {
    const chunks = this.#chunks;
    const first = chunks[0];
    this.#chunks = [];
    this.#bytes = 0;
    return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
  }
}
