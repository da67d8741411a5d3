import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Selection } from "../request/selectors.js";
import type { ResourceType, Stored, StoreEvent } from "../types.js";
import type { Form } from "./forms.js";
import { bookmarkOf } from "./frames.js";
import type { ObjectStream } from "./object-stream.js";
import { seenByAll, seenThrough } from "./seen.js";
import { sharedObject } from "./shared.js";

/** What a watch in the same process is about. */
export interface ObjectsOptions {
  readonly type: ResourceType;
  readonly form: Form;
  readonly selection: Selection;
  readonly stream: ObjectStream;
}

/** Tells a watch in the same process, which gets the objects themselves. */
export class WatchObjects {
  readonly stream: ObjectStream;
  readonly #type: ResourceType;
  readonly #selection: Selection;

  constructor({ type, selection, stream }: ObjectsOptions) {
    this.stream = stream;
    this.#type = type;
    this.#selection = selection;
  }

  state(items: readonly Stored[]): void {
    const selected = this.#selection.isEverything ? items : items.filter(({ value }) => this.#selection.matches(value));
    this.stream.push(selected.map((stored) => ({ type: "ADDED", object: sharedObject(stored) })));
  }

  bookmark(revision: number, endsInitialEvents: boolean): void {
    this.stream.push([{ type: "BOOKMARK", object: bookmarkOf(this.#type, revision, endsInitialEvents) }]);
  }

  /** Those after a revision. */
  events(events: readonly StoreEvent[], from: number): void {
    const told: { type: string; object: JsonObject }[] = [];
    for (const event of events) {
      if (event.now.revision <= from) continue;
      const seen = this.#selection.isEverything
        ? seenByAll(event)
        : seenThrough(this.#selection, event, { now: event.now.value, old: event.old?.value });
      if (seen !== undefined) told.push({ type: seen.type, object: sharedObject(seen.stored) });
    }
    this.stream.push(told);
  }

  fail(status: JsonObject): void {
    this.stream.push([{ type: "ERROR", object: status }]);
    this.stream.end();
  }

  finish(): void {
    this.stream.end();
  }
}
