import type { Json } from "../../../kernel/kinds/object.js";
import { isObject, setMember } from "../../../kernel/schema/index.js";

/** What a client in this process sends, as JSON would have carried it, and about how long its text would be. */
export interface Copied {
  readonly value: Json;
  /** Never less than the bytes of its JSON text. */
  readonly mostBytes: number;
}

/** A text's bytes in JSON are at most so many for each of its units: control characters are written as `\u0000`. */
const bytesPerUnit = 6;
const mostBytesOfNumber = 25;

/**
 * Copies content as if it had been written as JSON text and read again: members that are undefined or functions are left out, in lists
 * they are null, like numbers that are not finite. The members in `omitted` are not looked at.
 */
export function copyContent(content: object, omitted: readonly string[]): Copied {
  const copier = new Copier();
  if (omitted.length === 0 || !isObject(content))
    return { value: copier.copy(content) ?? null, mostBytes: copier.bytes };
  const rest = { ...content };
  for (const name of omitted) delete rest[name];
  return { value: copier.copy(rest) ?? null, mostBytes: copier.bytes };
}

class Copier {
  bytes = 0;

  copy(value: unknown): Json | undefined {
    if (typeof value === "string") {
      this.bytes += 2 + bytesPerUnit * value.length;
      return value;
    }
    this.bytes += mostBytesOfNumber;
    if (value === null || typeof value === "boolean") return value;
    if (typeof value === "number") return Number.isFinite(value) ? value + 0 : null;
    if (Array.isArray(value)) return value.map((item) => this.copy(item) ?? null);
    if (isObject(value)) return typeof value["toJSON"] === "function" ? this.#asText(value) : this.#members(value);
    if (typeof value === "bigint") throw new TypeError("a BigInt cannot be written as JSON");
    return undefined;
  }

  #members(value: Readonly<Record<string, Json | undefined>>): Json {
    const copy: Record<string, Json | undefined> = {};
    for (const key in value) {
      const member = this.copy(value[key]);
      if (member === undefined) continue;
      this.bytes += 4 + bytesPerUnit * key.length;
      setMember(copy, key, member);
    }
    return copy;
  }

  /** Of what writes itself. */
  #asText(value: object): Json {
    const text = JSON.stringify(value);
    this.bytes += bytesPerUnit * text.length;
    const copy: Json = JSON.parse(text);
    return copy;
  }
}
