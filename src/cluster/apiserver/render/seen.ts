import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Selection } from "../request/selectors.js";
import { restamped } from "../store/snapshot.js";
import type { Stored, StoreEvent } from "../types.js";
import type { EventType } from "./frames.js";

/** What an event means to one watch. */
export interface Seen {
  readonly type: EventType;
  readonly stored: Stored;
}

/** What an event means where nothing is left out. */
export function seenByAll(event: StoreEvent): Seen {
  if (event.type === "delete") return { type: "DELETED", stored: event.now };
  return { type: event.old === undefined ? "ADDED" : "MODIFIED", stored: event.now };
}

/** An event as seen through a selection: entering it is an addition, leaving it a deletion of the last matching state. */
export function seenThrough(
  selection: Selection,
  event: StoreEvent,
  values: { readonly now: JsonObject; readonly old: JsonObject | undefined },
): Seen | undefined {
  const { now, old } = values;
  const matched = old !== undefined && selection.matches(old);
  if (event.type === "delete") return matched ? { type: "DELETED", stored: event.now } : undefined;
  const matches = selection.matches(now);
  if (matches) return { type: matched ? "MODIFIED" : "ADDED", stored: event.now };
  if (!matched || event.old === undefined) return undefined;
  return { type: "DELETED", stored: restamped(event.old, event.now.revision) };
}
