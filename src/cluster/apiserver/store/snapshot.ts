import { messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, metadataOf } from "../fields.js";
import { JournalError } from "../journal/errors.js";
import type { Stored } from "../types.js";
import { encodeObject } from "./object-text.js";

/**
 * So many values are kept beside their bytes at most; a parsed object takes several times the room of its bytes. A write takes a place, and what it
 * replaced has none to lose any more: so these are the objects of some thousand writes, which a controller comes back to within seconds.
 */
const keptValues = 6144;

/**
 * The snapshots whose values were made or asked for last, of all stores: in turn, the oldest forgets its value. (Weak
 * references would not do: they hold what they refer to until the next full collection, and make it old for it.)
 */
class Recent {
  readonly #snapshots: Snapshot[] = [];
  #next = 0;

  add(snapshot: Snapshot): void {
    this.#snapshots[this.#next]?.forget();
    this.#snapshots[this.#next] = snapshot;
    this.#next = (this.#next + 1) % keptValues;
  }
}

const recent = new Recent();

/** An object at one revision. Its bytes are made when first asked for and then kept; its value may be parsed again. */
export class Snapshot implements Stored {
  readonly key: string;
  readonly revision: number;
  #value: JsonObject | undefined;
  #bytes: Uint8Array | undefined;

  constructor(key: string, revision: number, content: { readonly value: JsonObject } | { readonly bytes: Uint8Array }) {
    this.key = key;
    this.revision = revision;
    if ("value" in content) this.#value = content.value;
    else this.#bytes = content.bytes;
  }

  get value(): JsonObject {
    if (this.#value === undefined) {
      this.#value = parseObject(this, this.bytes);
      recent.add(this);
    }
    return this.#value;
  }

  get bytes(): Uint8Array {
    if (this.#bytes === undefined) {
      this.#bytes = encodeObject(this.#value ?? {});
      recent.add(this);
    }
    return this.#bytes;
  }

  /** Gives up the value, which can be made of the bytes again. */
  forget(): void {
    if (this.#bytes !== undefined) this.#value = undefined;
  }
}

function parseObject({ key, revision }: Snapshot, bytes: Uint8Array): JsonObject {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
    if (isObject(value)) return value;
  } catch (error) {
    throw new JournalError(
      "JournalDamaged",
      `the object ${key} of revision ${revision} is damaged: ${messageOf(error)}`,
      { cause: error },
    );
  }
  throw new JournalError("JournalDamaged", `the object ${key} of revision ${revision} is damaged: no JSON object`);
}

/** Stamps `value` with the revision and wraps it. */
export function stamped(key: string, revision: number, value: JsonObject): Snapshot {
  metadataOf(value)["resourceVersion"] = String(revision);
  return new Snapshot(key, revision, { value });
}

/** The state that a DELETED event shows: the last one, at the deletion's revision. */
export function restamped(last: Stored, revision: number): Snapshot {
  const value = { ...last.value, metadata: { ...metadataOf(last.value), resourceVersion: String(revision) } };
  return new Snapshot(last.key, revision, { value });
}
