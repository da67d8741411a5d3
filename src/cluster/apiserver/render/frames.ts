import { apiVersionOf, type JsonObject } from "../../../kernel/kinds/object.js";
import { encodeJson } from "../store/index.js";
import type { ResourceType, Stored, StoreEvent } from "../types.js";
import { type Form, partialMetadata, tableOf } from "./forms.js";

/** Types of watch events that carry objects. */
export type EventType = "ADDED" | "MODIFIED" | "DELETED";

const prefixes: Readonly<Record<EventType, Buffer>> = {
  ADDED: Buffer.from('{"type":"ADDED","object":'),
  MODIFIED: Buffer.from('{"type":"MODIFIED","object":'),
  DELETED: Buffer.from('{"type":"DELETED","object":'),
};
const suffix = Buffer.from("}\n");

/** One line of a watch from the object's stored bytes. */
export function plainFrame(type: EventType, stored: Stored): Uint8Array {
  return Buffer.concat([prefixes[type], stored.bytes, suffix]);
}

/** One line of a watch, of any object. */
export function jsonFrame(type: string, object: JsonObject): Uint8Array {
  return Buffer.concat([encodeJson({ type, object }), Buffer.from("\n")]);
}

/** One line of a watch in the form that was asked for. */
export function formedFrame(
  event: { readonly type: EventType; readonly object: JsonObject },
  kind: ResourceType,
  form: Form,
  about: { readonly now: number; readonly withColumns: boolean },
): Uint8Array {
  if (form.kind === "Object") return jsonFrame(event.type, event.object);
  if (form.kind === "PartialObjectMetadata") return jsonFrame(event.type, partialMetadata(event.object, form.version));
  const metadata = { resourceVersion: resourceVersionOf(event.object) };
  return jsonFrame(event.type, tableOf(kind, [event.object], form, { ...about, metadata }));
}

function resourceVersionOf(object: JsonObject): string {
  const metadata = object["metadata"];
  const version =
    typeof metadata === "object" && metadata !== null && !Array.isArray(metadata) ? metadata["resourceVersion"] : "";
  return typeof version === "string" ? version : "";
}

const initialEventsEnd = "k8s.io/initial-events-end";

/** The object of a bookmark. */
export function bookmarkOf(kind: ResourceType, revision: number, endsInitialEvents: boolean): JsonObject {
  const metadata: JsonObject = {
    resourceVersion: String(revision),
    ...(endsInitialEvents ? { annotations: { [initialEventsEnd]: "true" } } : {}),
  };
  return { kind: kind.kind, apiVersion: apiVersionOf(kind), metadata };
}

/** Says up to which revision a watch has seen everything; `endsInitialEvents` after the state of a watch-list. */
export function bookmarkFrame(
  kind: ResourceType,
  form: Form,
  revision: number,
  endsInitialEvents: boolean,
): Uint8Array {
  const object = bookmarkOf(kind, revision, endsInitialEvents);
  if (form.kind === "PartialObjectMetadata") return jsonFrame("BOOKMARK", partialMetadata(object, form.version));
  if (form.kind === "Table") {
    const table = tableOf(kind, [], form, {
      now: 0,
      metadata: { resourceVersion: String(revision) },
      withColumns: false,
    });
    const rows = endsInitialEvents ? [{ cells: [], object: partialMetadata(object, form.version) }] : [];
    return jsonFrame("BOOKMARK", { ...table, rows });
  }
  return jsonFrame("BOOKMARK", object);
}

/** Frames of what is being delivered right now, by event or batch: a hundred watchers of one kind share one encoding. */
export class FrameCache {
  readonly #frames = new Map<object, Map<string, Uint8Array>>();

  get(what: StoreEvent | readonly StoreEvent[], label: string, make: () => Uint8Array): Uint8Array {
    let byLabel = this.#frames.get(what);
    if (byLabel === undefined) {
      if (this.#frames.size === 0) setImmediate(() => this.#frames.clear());
      byLabel = new Map();
      this.#frames.set(what, byLabel);
    }
    let frame = byLabel.get(label);
    if (frame === undefined) {
      frame = make();
      byLabel.set(label, frame);
    }
    return frame;
  }
}
