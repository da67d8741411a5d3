import type { Clock } from "../../../kernel/clock/index.js";
import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { internalError } from "../failures.js";
import type { Selection } from "../request/selectors.js";
import type { ResourceType, Stored, StoreEvent } from "../types.js";
import type { Form } from "./forms.js";
import { bookmarkFrame, type EventType, type FrameCache, formedFrame, jsonFrame, plainFrame } from "./frames.js";
import { type Seen, seenByAll, seenThrough } from "./seen.js";
import type { ByteStream } from "./stream.js";

/** What a watch in lines is about. */
export interface FramesOptions {
  readonly type: ResourceType;
  readonly form: Form;
  readonly selection: Selection;
  /** Objects need no conversion: frames are made at once, from stored bytes where the form is plain. */
  readonly isDirect: boolean;
  readonly frames: FrameCache;
  readonly clock: Clock;
  readonly stream: ByteStream;
}

/** Tells a watch in lines of bytes. */
export class WatchFrames {
  readonly stream: ByteStream;
  readonly #options: FramesOptions;
  readonly #label: string;
  #converting: Promise<void> = Promise.resolve();
  #hasSentColumns = false;

  constructor(options: FramesOptions) {
    this.#options = options;
    this.stream = options.stream;
    this.#label = `${options.type.version}|${JSON.stringify(options.form)}`;
  }

  state(items: readonly Stored[]): void {
    this.#emit(items.map((stored) => () => this.#initialFrame(stored)));
  }

  bookmark(revision: number, endsInitialEvents: boolean): void {
    const { type, form } = this.#options;
    this.#emit([() => bookmarkFrame(type, form, revision, endsInitialEvents)]);
  }

  /** Those after a revision. */
  events(events: readonly StoreEvent[], from: number): void {
    const { isDirect, selection, form, frames } = this.#options;
    const isNew = (events[0]?.now.revision ?? 0) > from;
    if (isNew && isDirect && selection.isEverything && form.kind === "Object") {
      const makeAll = (): Uint8Array => framesOf(events);
      this.stream.push(frames.get(events, this.#label, makeAll));
      return;
    }
    this.#emit(events.filter((event) => event.now.revision > from).map((event) => () => this.#eventFrame(event)));
  }

  fail(status: JsonObject): void {
    this.stream.push(jsonFrame("ERROR", status));
    this.stream.end();
  }

  /** Ends it after what still waits for a conversion. */
  finish(): void {
    void this.#converting.then(() => this.stream.end()); // its own failures have ended the stream
  }

  #initialFrame(stored: Stored): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    if (this.#options.isDirect) return this.#isSelected(stored) ? this.#frame({ type: "ADDED", stored }) : undefined;
    return this.#convertedFrame({ type: "put", now: stored, old: undefined });
  }

  #eventFrame(event: StoreEvent): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    const { isDirect, selection, form, frames } = this.#options;
    if (!isDirect) return this.#convertedFrame(event);
    const seen = selection.isEverything
      ? seenByAll(event)
      : seenThrough(selection, event, { now: event.now.value, old: event.old?.value });
    if (seen === undefined) return undefined;
    if (form.kind === "Table" && !this.#hasSentColumns) return this.#frame(seen);
    return frames.get(event, `${seen.type}|${this.#label}`, () => this.#frame(seen));
  }

  /** The value of an object is looked at only where that is needed: it may have to be parsed. */
  #isSelected(stored: Stored): boolean {
    const { selection } = this.#options;
    return selection.isEverything || selection.matches(stored.value);
  }

  async #convertedFrame(event: StoreEvent): Promise<Uint8Array | undefined> {
    const { type, selection } = this.#options;
    const now = await type.fromStorage(event.now.value);
    const old = event.old === undefined ? undefined : await type.fromStorage(event.old.value);
    const seen = seenThrough(selection, event, { now, old });
    if (seen === undefined) return undefined;
    const object = seen.stored === event.now ? now : await type.fromStorage(seen.stored.value);
    return this.#formed(seen.type, object);
  }

  #frame(seen: Seen): Uint8Array {
    return this.#options.form.kind === "Object"
      ? plainFrame(seen.type, seen.stored)
      : this.#formed(seen.type, seen.stored.value);
  }

  #formed(event: EventType, object: JsonObject): Uint8Array {
    const { type, form, clock } = this.#options;
    const withColumns = !this.#hasSentColumns;
    this.#hasSentColumns = true;
    return formedFrame({ type: event, object }, type, form, { now: clock.now(), withColumns });
  }

  /** Frames go out in order: at once, or behind those that still wait for a conversion. */
  #emit(makers: readonly (() => Uint8Array | Promise<Uint8Array | undefined> | undefined)[]): void {
    if (this.#options.isDirect) {
      for (const make of makers) {
        const frame = make();
        if (frame instanceof Uint8Array) this.stream.push(frame);
      }
      return;
    }
    this.#converting = this.#converting.then(async () => {
      for (const make of makers) {
        const frame = await make();
        if (frame !== undefined) this.stream.push(frame);
      }
    });
    this.#converting.catch((error: unknown) => {
      const { status } = error instanceof ApiError ? error : internalError("the watch failed", error);
      this.fail({ ...status, details: undefined });
    });
  }
}

function framesOf(events: readonly StoreEvent[]): Uint8Array {
  const frames = events.map((event) => {
    const { type, stored } = seenByAll(event);
    return plainFrame(type, stored);
  });
  return frames.length === 1 && frames[0] !== undefined ? frames[0] : Buffer.concat(frames);
}
