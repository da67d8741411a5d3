/** Holds back what may become a stop sequence, and cuts the text where one is found. */
export class StopScanner {
  readonly #stops: readonly string[];
  #held = "";
  /** The sequence that was found. */
  found: string | undefined;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** Takes more text; returns what is safe to show. After a sequence was found nothing more is. */
  push(text: string): string {
    if (this.found !== undefined) return "";
    if (this.#stops.length === 0) return text;
    const all = this.#held + text;
    let cut = -1;
    for (const stop of this.#stops) {
      const at = all.indexOf(stop);
      if (at >= 0 && (cut < 0 || at < cut)) {
        cut = at;
        this.found = stop;
      }
    }
    if (cut >= 0) {
      this.#held = "";
      return all.slice(0, cut);
    }
    const kept = this.#possible(all);
    this.#held = all.slice(all.length - kept);
    return all.slice(0, all.length - kept);
  }

  /** What was held back and is no stop sequence after all. */
  end(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }

  /** Length of the longest end of `text` that begins a stop sequence. */
  #possible(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--)
        if (text.endsWith(stop.slice(0, length))) longest = length;
    }
    return longest;
  }
}
