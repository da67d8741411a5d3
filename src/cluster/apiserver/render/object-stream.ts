import type { HandedEvent, HandedEvents } from "../types.js";

/** What is left untaken by a slow reader before its stream is cut: it comes back and lists anew. */
const maxUntaken = 100_000;

/** Events that are pushed on one side and read on the other, those that wait together. */
export class ObjectStream implements HandedEvents {
  #events: HandedEvent[] = [];
  #ended = false;
  #wake: (() => void) | undefined;
  readonly #onEnd: () => void;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  push(events: readonly HandedEvent[]): void {
    if (this.#ended || events.length === 0) return;
    for (const event of events) this.#events.push(event);
    if (this.#events.length > maxUntaken) {
      this.#events = [];
      this.end();
    }
    this.#wakeReader();
  }

  /** No more events; those that wait are still read. */
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

  async *[Symbol.asyncIterator](): AsyncIterator<readonly HandedEvent[]> {
    try {
      for (;;) {
        const events = this.#events;
        if (events.length > 0) {
          this.#events = [];
          yield events;
        } else if (this.#ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.end();
    }
  }
}
