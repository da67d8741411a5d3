import type { KubeObject } from "../kinds/index.js";

const maxKept = 128;
/** Longer texts are not kept. */
const maxLength = 64 * 1024;

/**
 * What a server tells of the writes of a kind comes twice in one text: as the answer, and as an event of the watch, whichever is first. The
 * second is not parsed again.
 */
export class ToldTwice<T extends KubeObject> {
  /** By the version that a text names: a text of some thousand characters is compared, and not hashed. */
  readonly #objects = new Map<string, { readonly text: string; readonly object: T }>();
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
    this.#objects.set(versionIn(text), { text, object: { ...object } });
    const [oldest] = this.#objects.keys();
    if (this.#objects.size > maxKept && oldest !== undefined) this.#objects.delete(oldest);
  }

  #take(text: string): T | undefined {
    const version = versionIn(text);
    const kept = this.#objects.get(version);
    if (kept === undefined || kept.text !== text) return undefined;
    this.#objects.delete(version);
    return kept.object;
  }
}

/** An event that was known. */
export interface Told<T> {
  readonly type: "ADDED" | "MODIFIED";
  readonly object: T;
}

const headOf = { ADDED: '{"type":"ADDED","object":', MODIFIED: '{"type":"MODIFIED","object":' } as const;

const versionField = '"resourceVersion":"';

/** What is most likely the version of the object in a text: a wrong one costs no more than that it is parsed. */
function versionIn(text: string): string {
  const at = text.indexOf(versionField) + versionField.length;
  return at < versionField.length ? "" : text.slice(at, text.indexOf('"', at));
}

function typeOf(line: string): keyof typeof headOf | undefined {
  if (!line.endsWith("}")) return undefined;
  if (line.startsWith(headOf.ADDED)) return "ADDED";
  return line.startsWith(headOf.MODIFIED) ? "MODIFIED" : undefined;
}
