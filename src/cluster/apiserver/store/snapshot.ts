import type { JsonObject } from "../../../kernel/kinds/object.js";
import { metadataOf } from "../fields.js";
import type { Stored } from "../types.js";

/** JSON text of a value as bytes. */
export function encodeJson(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value), "utf8");
}

/** An object at one revision; its bytes are made when first asked for and then kept. */
export class Snapshot implements Stored {
  readonly key: string;
  readonly revision: number;
  readonly value: JsonObject;
  #bytes: Uint8Array | undefined;

  constructor(key: string, revision: number, content: { readonly value: JsonObject; readonly bytes?: Uint8Array }) {
    this.key = key;
    this.revision = revision;
    this.value = content.value;
    this.#bytes = content.bytes;
  }

  get bytes(): Uint8Array {
    this.#bytes ??= encodeJson(this.value);
    return this.#bytes;
  }
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
