/** Bodies that come in pieces, gathered within a bound that all of them share. */

/** What one body may take, and all that are being gathered together. */
export class GatherBudget {
  readonly maxBodyBytes: number;
  #left: number;

  constructor(maxBodyBytes: number, totalBytes: number) {
    this.maxBodyBytes = maxBodyBytes;
    this.#left = totalBytes;
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

/** One body on its way. Must be ended by `take` or `drop`. */
export class Collector {
  readonly #budget: GatherBudget;
  #pieces: Uint8Array[] = [];
  #size = 0;
  /** It is more than what may be kept. */
  isTooMuch = false;

  constructor(budget: GatherBudget) {
    this.#budget = budget;
  }

  add(piece: string | Uint8Array): void {
    if (this.isTooMuch || piece.length === 0) return;
    // A piece of something larger would hold all of that.
    const bytes = Buffer.from(piece);
    if (this.#size + bytes.length > this.#budget.maxBodyBytes || !this.#budget.take(bytes.length)) {
      this.drop();
      this.isTooMuch = true;
      return;
    }
    this.#size += bytes.length;
    this.#pieces.push(bytes);
  }

  /** The body; `undefined` when it was too much. */
  take(): Buffer | undefined {
    if (this.isTooMuch) return undefined;
    const body = Buffer.concat(this.#pieces);
    this.drop();
    return body;
  }

  drop(): void {
    this.#budget.give(this.#size);
    this.#size = 0;
    this.#pieces = [];
  }
}
