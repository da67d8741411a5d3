import type { Timer } from "../../../kernel/clock/index.js";
import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { expired, internalError } from "../failures.js";
import { type Form, formOf } from "../render/forms.js";
import {
  bookmarkFrame,
  type EventType,
  type FrameCache,
  formedFrame,
  jsonFrame,
  plainFrame,
} from "../render/frames.js";
import { ByteStream } from "../render/stream.js";
import type { Selection } from "../request/selectors.js";
import { objectKey } from "../store/keys.js";
import { restamped } from "../store/snapshot.js";
import type { ResourceType, Store, Stored, StoreEvent, WatchHandle } from "../types.js";
import { type Call, isStoredForm, type Machinery, prefixFor } from "./context.js";
import { type ListOptions, readListOptions, refuseFuture } from "./list-options.js";

const definitionKind = { group: "apiextensions.k8s.io", plural: "customresourcedefinitions" };
const bookmarkEveryMs = 60_000;
/** A watch without a time-out of its own ends after this to twice this, so that clients spread themselves anew. */
const defaultTimeoutSeconds = 1800;

/** GET with `watch`: a stream of events, a line each. Throws what is wrong with the request; what goes wrong later is an ERROR event. */
export function watch(machinery: Machinery & { readonly frames: FrameCache }, call: Call): AsyncIterable<Uint8Array> {
  const { options, selection } = readListOptions(call.type, call.request.query, "watch");
  if (options.sendInitialEvents === true) refuseFuture(machinery.store, options.resourceVersion);
  return new Watch(machinery, call, { options, selection }).stream;
}

/** A custom kind's past begins with its definition, as upstream's watch caches do. */
function refuseBefore(store: Store, { plural, group }: ResourceType, version: number): void {
  const key = objectKey(definitionKind, "", `${plural}.${group}`);
  const isThere = (items: readonly Stored[]) => items.some((stored) => stored.key === key);
  const now = store.get(key);
  if (now === undefined || isThere(store.list(key, { at: version }).items)) return;
  throw expired(`too old resource version: ${version} (${now.revision})`);
}

/** What an event means to one watch. */
interface Seen {
  readonly type: EventType;
  readonly stored: Stored;
}

class Watch {
  readonly stream: ByteStream;
  readonly #machinery: Machinery & { readonly frames: FrameCache };
  readonly #type: ResourceType;
  readonly #form: Form;
  readonly #selection: Selection;
  readonly #label: string;
  /** Objects need no conversion: frames are made at once, from stored bytes where the form is plain. */
  readonly #isDirect: boolean;
  #subscription: WatchHandle | undefined;
  #timers: Timer[] = [];
  #converting: Promise<void> = Promise.resolve();
  #hasSentColumns = false;

  constructor(
    machinery: Machinery & { readonly frames: FrameCache },
    call: Call,
    asked: { readonly options: ListOptions; readonly selection: Selection },
  ) {
    const { options, selection } = asked;
    this.#machinery = machinery;
    this.#type = call.type;
    this.#selection = selection;
    this.#form = formOf(call.accepted, call.request.query);
    this.#label = `${call.type.version}|${JSON.stringify(this.#form)}`;
    this.#isDirect = isStoredForm(call.type);
    this.stream = new ByteStream(() => this.#release());
    const onAbort = (): void => this.stream.end();
    call.request.signal.addEventListener("abort", onAbort, { once: true });
    this.#start(prefixFor(call, selection), options);
    if (!this.stream.isEnded) this.#schedule(options);
    if (call.request.signal.aborted) this.stream.end();
  }

  #start(prefix: string, options: ListOptions): void {
    const { store } = this.#machinery;
    const version = options.resourceVersion ?? 0;
    const sendsState = options.sendInitialEvents ?? version === 0;
    const from = sendsState || version === 0 ? store.revision : version;
    if (from > store.revision) {
      // Every version ever given out is in the journal: this one is of another one (a cluster started over, say).
      this.#fail(expired(`too large resource version: ${from}, current: ${store.revision}`));
      return;
    }
    if (sendsState) this.#sendState(prefix, from, options);
    try {
      if (this.#type.custom && from < store.revision) refuseBefore(store, this.#type, from);
      this.#subscription = store.watch(prefix, from, {
        isPatient: true,
        onEvents: (events) => this.#onEvents(events, from),
        onClose: () => this.stream.end(),
      });
    } catch (error) {
      this.#fail(error);
    }
  }

  #sendState(prefix: string, revision: number, options: ListOptions): void {
    const { items } = this.#machinery.store.list(prefix);
    this.#emit(items.map((stored) => () => this.#initialFrame(stored)));
    if (options.sendInitialEvents === true && options.allowBookmarks) {
      this.#emit([() => bookmarkFrame(this.#type, this.#form, revision, true)]);
    }
  }

  #initialFrame(stored: Stored): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    if (this.#isDirect) return this.#isSelected(stored) ? this.#frame({ type: "ADDED", stored }) : undefined;
    return this.#convertedFrame({ type: "put", now: stored, old: undefined });
  }

  #onEvents(events: readonly StoreEvent[], from: number): void {
    const isNew = (events[0]?.now.revision ?? 0) > from;
    if (isNew && this.#isDirect && this.#selection.isEverything && this.#form.kind === "Object") {
      const makeAll = (): Uint8Array => framesOf(events);
      this.stream.push(this.#machinery.frames.get(events, this.#label, makeAll));
      return;
    }
    this.#emit(events.filter((event) => event.now.revision > from).map((event) => () => this.#eventFrame(event)));
  }

  #eventFrame(event: StoreEvent): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    if (!this.#isDirect) return this.#convertedFrame(event);
    const seen = this.#selection.isEverything ? seenByAll(event) : this.#see(event, event.now.value, event.old?.value);
    if (seen === undefined) return undefined;
    if (this.#form.kind === "Table" && !this.#hasSentColumns) return this.#frame(seen);
    return this.#machinery.frames.get(event, `${seen.type}|${this.#label}`, () => this.#frame(seen));
  }

  /** The value of an object is looked at only where that is needed: it may have to be parsed. */
  #isSelected(stored: Stored): boolean {
    return this.#selection.isEverything || this.#selection.matches(stored.value);
  }

  async #convertedFrame(event: StoreEvent): Promise<Uint8Array | undefined> {
    const now = await this.#type.fromStorage(event.now.value);
    const old = event.old === undefined ? undefined : await this.#type.fromStorage(event.old.value);
    const seen = this.#see(event, now, old);
    if (seen === undefined) return undefined;
    const object = seen.stored === event.now ? now : await this.#type.fromStorage(seen.stored.value);
    return this.#formed(seen.type, object);
  }

  /** Entering a selector is an addition to those who watch through it, leaving it a deletion of the last matching state. */
  #see(event: StoreEvent, now: JsonObject, old: JsonObject | undefined): Seen | undefined {
    const matched = old !== undefined && this.#selection.matches(old);
    if (event.type === "delete") return matched ? { type: "DELETED", stored: event.now } : undefined;
    const matches = this.#selection.matches(now);
    if (matches) return { type: matched ? "MODIFIED" : "ADDED", stored: event.now };
    if (!matched || event.old === undefined) return undefined;
    return { type: "DELETED", stored: restamped(event.old, event.now.revision) };
  }

  #frame(seen: Seen): Uint8Array {
    return this.#form.kind === "Object"
      ? plainFrame(seen.type, seen.stored)
      : this.#formed(seen.type, seen.stored.value);
  }

  #formed(type: EventType, object: JsonObject): Uint8Array {
    const withColumns = !this.#hasSentColumns;
    this.#hasSentColumns = true;
    return formedFrame({ type, object }, this.#type, this.#form, { now: this.#machinery.clock.now(), withColumns });
  }

  /** Frames go out in order: at once, or behind those that still wait for a conversion. */
  #emit(makers: readonly (() => Uint8Array | Promise<Uint8Array | undefined> | undefined)[]): void {
    if (this.#isDirect) {
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
    this.#converting.catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): void {
    const { status } = error instanceof ApiError ? error : internalError("the watch failed", error);
    this.stream.push(jsonFrame("ERROR", { ...status, details: undefined }));
    this.stream.end();
  }

  #schedule(options: ListOptions): void {
    const { clock, random } = this.#machinery;
    const seconds = options.timeoutSeconds ?? 0;
    const timeoutMs = (seconds > 0 ? seconds : defaultTimeoutSeconds * (1 + random.next())) * 1000;
    // As upstream, whose last bookmark comes two seconds before the end.
    const hasLast = options.allowBookmarks && timeoutMs > 2000;
    this.#timers.push(clock.setTimer(timeoutMs, () => this.#finish(hasLast)));
    if (options.allowBookmarks) this.#scheduleBookmark();
  }

  #scheduleBookmark(): void {
    const { clock } = this.#machinery;
    const timer = clock.setTimer(bookmarkEveryMs, () => {
      this.#emitBookmark();
      this.#timers = this.#timers.filter((other) => other !== timer);
      this.#scheduleBookmark();
    });
    this.#timers.push(timer);
  }

  /** What it stands for must have been sent before it. */
  #emitBookmark(): void {
    this.#subscription?.catchUp();
    const { revision } = this.#machinery.store;
    this.#emit([() => bookmarkFrame(this.#type, this.#form, revision, false)]);
  }

  #finish(withBookmark: boolean): void {
    if (withBookmark) this.#emitBookmark();
    void this.#converting.then(() => this.stream.end()); // its own failures have ended the stream
  }

  #release(): void {
    this.#subscription?.close();
    for (const timer of this.#timers) timer.cancel();
    this.#timers = [];
  }
}

function framesOf(events: readonly StoreEvent[]): Uint8Array {
  const frames = events.map((event) => {
    const { type, stored } = seenByAll(event);
    return plainFrame(type, stored);
  });
  return frames.length === 1 && frames[0] !== undefined ? frames[0] : Buffer.concat(frames);
}

/** What an event means where nothing is left out. */
function seenByAll(event: StoreEvent): Seen {
  if (event.type === "delete") return { type: "DELETED", stored: event.now };
  return { type: event.old === undefined ? "ADDED" : "MODIFIED", stored: event.now };
}
