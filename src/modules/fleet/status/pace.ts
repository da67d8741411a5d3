const SHORTEST_MS = 1000;
const LONGEST_MS = 10_000;
const FOR_EACH_MS = 20;

/** Which bindings wait for the first answers of their members. What members tell is gathered as long, and written once. */
export class Pace {
  /** Since when, by their text. */
  readonly #waiting = new Map<string, number>();

  /** Since when a binding waits; from now on, if it did not. */
  begin(text: string, nowMs: number): number {
    const sinceMs = this.#waiting.get(text) ?? nowMs;
    this.#waiting.set(text, sinceMs);
    return sinceMs;
  }

  /** It waits no more. */
  end(text: string): void {
    this.#waiting.delete(text);
  }

  /** Whether a binding waits. */
  has(text: string): boolean {
    return this.#waiting.has(text);
  }

  /** How long those members that have answered wait for the others; longer where there is much to do. */
  patienceMs(): number {
    return Math.min(LONGEST_MS, SHORTEST_MS + this.#waiting.size * FOR_EACH_MS);
  }
}
