import type { KubeObject } from "../kinds/index.js";

const maxKept = 128;
/** Longer texts are not kept. */
const maxLength = 64 * 1024;

/**
 * What a server tells of the writes of a kind comes twice in one text: as the answer, and as an event of the watch, whichever is first. The
 * second is not parsed again.
 */
export class ToldTwice<T extends KubeObject> {
  readonly #objects = new Map<string, T>();
  #writes = 0;

  /** Around each write. */
  begin(): void {
    this.#writes += 1;
  }

  end(): void {
    this.#writes -= 1;
  }

  /** The object of an answer that came as an event before. */
  answered(text: string): T | undefined {
    return this.#take(text.trimEnd());
  }

  /** Keeps the object of an answer for the event to come. */
  keepAnswer(text: string, object: T): void {
    this.#keep(text.trimEnd(), object);
  }

  /** The event of a line of a watch; `parse` is asked for what was not the answer of a write. */
  event<E extends { readonly type: string; readonly object: T }>(
    line: string,
    parse: (line: string) => E,
  ): E | Told<T> {
    const type = this.#writes === 0 && this.#objects.size === 0 ? undefined : typeOf(line);
    if (type === undefined) return parse(line);
    const text = line.slice(headOf[type].length, -1);
    const object = this.#take(text);
    if (object !== undefined) return { type, object };
    const event = parse(line);
    // Only what may be the answer of a write under way.
    if (this.#writes > 0) this.#keep(text, event.object);
    return event;
  }

  /** In a copy: whoever got the object may have changed its members. */
  #keep(text: string, object: T): void {
    if (text.length > maxLength) return;
    this.#objects.set(text, { ...object });
    const [oldest] = this.#objects.keys();
    if (this.#objects.size > maxKept && oldest !== undefined) this.#objects.delete(oldest);
  }

  #take(text: string): T | undefined {
    const object = this.#objects.get(text);
    if (object !== undefined) this.#objects.delete(text);
    return object;
  }
}

/** An event that was known. */
export interface Told<T> {
  readonly type: "ADDED" | "MODIFIED";
  readonly object: T;
}

const headOf = { ADDED: '{"type":"ADDED","object":', MODIFIED: '{"type":"MODIFIED","object":' } as const;

function typeOf(line: string): keyof typeof headOf | undefined {
  if (!line.endsWith("}")) return undefined;
  if (line.startsWith(headOf.ADDED)) return "ADDED";
  return line.startsWith(headOf.MODIFIED) ? "MODIFIED" : undefined;
}
