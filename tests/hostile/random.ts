import { type Random, seededRandom } from "../../src/kernel/clock/index.js";

/** Seeded choices. */
export class Dice {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  int(limit: number): number {
    return this.#random.int(limit);
  }

  pick<T>(list: readonly T[]): T {
    const found = list[this.int(list.length)];
    if (found === undefined) throw new Error("an empty list");
    return found;
  }

  chance(oneIn: number): boolean {
    return this.int(oneIn) === 0;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.int(256)));
  }

  /** Text with what parsers stumble over. */
  text(length = 12): string {
    const odd = [
      "\u0000",
      "\u202e",
      "\ud800",
      "%00",
      "%2e%2e%2f",
      "\r\n",
      "é",
      "漢",
      "'",
      '"',
      "\\",
      "/",
      "..",
      "{",
      "}",
      "$",
      "~1",
      "𝒳",
    ];
    return Array.from({ length: 1 + this.int(length) }, () =>
      this.chance(3) ? this.pick(odd) : String.fromCharCode(32 + this.int(95)),
    ).join("");
  }
}
