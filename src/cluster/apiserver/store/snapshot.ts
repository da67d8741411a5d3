import { messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, metadataOf } from "../fields.js";
import { JournalError } from "../journal/errors.js";
import type { Stored } from "../types.js";

/** JSON text of a value as bytes. */
export function encodeJson(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value), "utf8");
}

/**
 * An object at one revision. Its bytes are made when first asked for and then kept; from then on the value is kept only as
 * long as someone holds it (a parsed object takes several times the room of its bytes), and else parsed again.
 */
export class Snapshot implements Stored {
  readonly key: string;
  readonly revision: number;
  #fresh: JsonObject | undefined;
  #value: WeakRef<JsonObject> | undefined;
  #bytes: Uint8Array | undefined;

  constructor(key: string, revision: number, content: { readonly value: JsonObject } | { readonly bytes: Uint8Array }) {
    this.key = key;
    this.revision = revision;
    if ("value" in content) this.#fresh = content.value;
    else this.#bytes = content.bytes;
  }

  get value(): JsonObject {
    const known = this.#fresh ?? this.#value?.deref();
    if (known !== undefined) return known;
    const parsed = parseObject(this, this.bytes);
    this.#value = new WeakRef(parsed);
    return parsed;
  }

  get bytes(): Uint8Array {
    if (this.#bytes === undefined) {
      const { value } = this;
      this.#bytes = encodeJson(value);
      this.#value = new WeakRef(value);
      this.#fresh = undefined;
    }
    return this.#bytes;
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
