/** What is left unread by a slow client before its stream is cut: it comes back and lists anew. */
export const maxUnreadBytes = 16 * 1024 * 1024;
/** Chunks that wait may be shared with other streams; what is handed over is a copy of its own. */
const maxHandedOverBytes = 1024 * 1024;

/** Chunks that are pushed on one side and read on the other; what waits is handed over as one chunk, or a few large ones. */
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
    if (this.#bytes > maxHandedOverBytes && chunks.length > 1) return this.#takeSome();
    this.#chunks = [];
    this.#bytes = 0;
    return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
  }

  #takeSome(): Uint8Array {
    let count = 0;
    let size = 0;
    for (const chunk of this.#chunks) {
      if (count > 0 && size + chunk.byteLength > maxHandedOverBytes) break;
      size += chunk.byteLength;
      count++;
    }
    this.#bytes -= size;
    return Buffer.concat(this.#chunks.splice(0, count));
  }
}
