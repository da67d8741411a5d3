/** What is left unread by a slow client before its stream is cut: it comes back and lists anew. */
export const maxUnreadBytes = 16 * 1024 * 1024;
/** Chunks that wait may be shared with other streams; what is handed over is a copy of its own. */
const maxHandedOverBytes = 1024 * 1024;

/** Who gets chunks as they come, without a promise for each. */
export interface Taker {
  /** `false`: it has enough until the stream's `resume`. The chunk may be another stream's too. */
  take(chunk: Uint8Array): boolean;
  /** Everything was taken. */
  end(): void;
}

/**
 * Chunks that are pushed on one side and read on the other; what waits is handed over as one chunk, or a few large ones. Read
 * either by iterating, or by one taker that gets what was pushed when the running job of the event loop is over.
 */
export class ByteStream implements AsyncIterable<Uint8Array> {
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #wake: (() => void) | undefined;
  #onCut: (() => void) | undefined;
  #taker: Taker | undefined;
  #isPaused = false;
  #isListed = false;
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

  /** From now on everything goes to `taker`: what waits at once, the rest as it comes. */
  handTo(taker: Taker): void {
    this.#taker = taker;
    this.handOver();
  }

  /** The taker can take more. */
  resume(): void {
    this.#isPaused = false;
    this.handOver();
  }

  /** Gives the taker what waits, as far as it takes it. */
  handOver(): void {
    this.#isListed = false;
    while (!this.#isPaused && this.#chunks.length > 0) this.#isPaused = this.#taker?.take(this.#takeAll()) === false;
    if (!this.#ended || this.#chunks.length > 0) return;
    const taker = this.#taker;
    this.#taker = undefined;
    taker?.end();
  }

  #wakeReader(): void {
    if (this.#taker !== undefined) {
      if (!this.#isListed) handOverSoon(this);
      this.#isListed = true;
      return;
    }
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

/** Streams with something new for their takers: one microtask for all of them. */
let listed: ByteStream[] = [];

function handOverSoon(stream: ByteStream): void {
  if (listed.push(stream) > 1) return;
  queueMicrotask(() => {
    const streams = listed;
    listed = [];
    for (const each of streams) each.handOver();
  });
}
