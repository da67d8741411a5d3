/**
 * A connection's streams by number. A list and no map: a map that takes and gives all the time is copied again and again, and one copy
 * that became old leads to all later ones, with the streams that were in them, until a full collection.
 */
export class LiveStreams<T extends { readonly id: number }> {
  /** In the order of their numbers, which only grow. */
  readonly #list: T[] = [];

  get size(): number {
    return this.#list.length;
  }

  get(id: number): T | undefined {
    return this.#list[this.#indexOf(id)];
  }

  /** Its number is greater than any before. */
  add(stream: T): void {
    this.#list.push(stream);
  }

  delete(id: number): void {
    const index = this.#indexOf(id);
    if (index < 0) return;
    this.#list.copyWithin(index, index + 1);
    this.#list.pop();
  }

  /** All as they are now. */
  all(): readonly T[] {
    return [...this.#list];
  }

  /** -1: there is none. What is asked for is mostly among the last. */
  #indexOf(id: number): number {
    let index = this.#list.length - 1;
    while (index >= 0 && (this.#list[index]?.id ?? 0) > id) index--;
    return this.#list[index]?.id === id ? index : -1;
  }
}
