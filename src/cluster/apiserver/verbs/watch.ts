import type { Timer } from "../../../kernel/clock/index.js";
import { ApiError } from "../../../kernel/errors/index.js";
import { requestAttributes, type Standing } from "../auth/index.js";
import { expired, internalError } from "../failures.js";
import { formOf } from "../render/forms.js";
import type { FrameCache } from "../render/frames.js";
import { ObjectStream } from "../render/object-stream.js";
import { givesObjects } from "../render/shared.js";
import { ByteStream } from "../render/stream.js";
import { WatchFrames } from "../render/watch-frames.js";
import { WatchObjects } from "../render/watch-objects.js";
import type { Selection } from "../request/selectors.js";
import { objectKey } from "../store/keys.js";
import type { HandedEvents, ResourceType, Store, Stored, WatchHandle } from "../types.js";
import { type Call, isStoredForm, type Machinery, prefixFor } from "./context.js";
import { type ListOptions, readListOptions, refuseFuture } from "./list-options.js";

const definitionKind = { group: "apiextensions.k8s.io", plural: "customresourcedefinitions" };
const bookmarkEveryMs = 60_000;
/** A watch without a time-out of its own ends after this to twice this, so that clients spread themselves anew. */
const defaultTimeoutSeconds = 1800;

type Parts = Machinery & { readonly frames: FrameCache; readonly standing: Pick<Standing, "track"> };

/** What a watch answers: a line for each event, or the events themselves. */
export type WatchAnswer = { readonly body: AsyncIterable<Uint8Array> } | { readonly events: HandedEvents };

/** GET with `watch`. Throws what is wrong with the request; what goes wrong later is an ERROR event. */
export function watch(machinery: Parts, call: Call): WatchAnswer {
  const { options, selection } = readListOptions(call.type, call.request.query, "watch");
  if (options.sendInitialEvents === true) refuseFuture(machinery.store, options.resourceVersion);
  const { type } = call;
  const form = formOf(call.accepted, call.request.query);
  if (givesObjects(call, form)) {
    const events = new ObjectStream(() => running.release());
    const running = new Watch(machinery, call, new WatchObjects({ type, form, selection, stream: events }));
    running.start(options, selection);
    return { events };
  }
  const body = new ByteStream(() => running.release());
  const isDirect = isStoredForm(type);
  const { frames, clock } = machinery;
  const running = new Watch(
    machinery,
    call,
    new WatchFrames({ type, form, selection, isDirect, frames, clock, stream: body }),
  );
  running.start(options, selection);
  return { body };
}

/** A custom kind's past begins with its definition, as upstream's watch caches do. */
function refuseBefore(store: Store, { plural, group }: ResourceType, version: number): void {
  const key = objectKey(definitionKind, "", `${plural}.${group}`);
  const isThere = (items: readonly Stored[]) => items.some((stored) => stored.key === key);
  const now = store.get(key);
  if (now === undefined || isThere(store.list(key, { at: version }).items)) return;
  throw expired(`too old resource version: ${version} (${now.revision})`);
}

/** When a watch begins, what it is told of, and when it ends. */
class Watch {
  readonly #machinery: Parts;
  readonly #call: Call;
  readonly #teller: WatchFrames | WatchObjects;
  #subscription: WatchHandle | undefined;
  #timers: Timer[] = [];
  #untrack: () => void = () => undefined;

  constructor(machinery: Parts, call: Call, teller: WatchFrames | WatchObjects) {
    this.#machinery = machinery;
    this.#call = call;
    this.#teller = teller;
  }

  start(options: ListOptions, selection: Selection): void {
    const { signal } = this.#call.request;
    const { stream } = this.#teller;
    const onAbort = (): void => stream.end();
    signal.addEventListener("abort", onAbort, { once: true });
    this.#begin(prefixFor(this.#call, selection), options);
    if (!stream.isEnded) {
      this.#schedule(options);
      const { user, info, request } = this.#call;
      // Who comes back is told why not.
      this.#untrack = this.#machinery.standing.track(requestAttributes(user, info, request), () => stream.end());
    }
    if (signal.aborted) stream.end();
  }

  release(): void {
    this.#untrack();
    this.#subscription?.close();
    for (const timer of this.#timers) timer.cancel();
    this.#timers = [];
  }

  #begin(prefix: string, options: ListOptions): void {
    const { store } = this.#machinery;
    const { type } = this.#call;
    const version = options.resourceVersion ?? 0;
    const sendsState = options.sendInitialEvents ?? version === 0;
    const from = sendsState || version === 0 ? store.revision : version;
    if (from > store.revision) {
      // Every version ever given out is in the journal: this one is of another one (a cluster started over, say).
      this.#fail(expired(`too large resource version: ${from}, current: ${store.revision}`));
      return;
    }
    if (sendsState) {
      this.#teller.state(store.list(prefix).items);
      if (options.sendInitialEvents === true && options.allowBookmarks) this.#teller.bookmark(from, true);
    }
    try {
      if (type.custom && from < store.revision) refuseBefore(store, type, from);
      this.#subscription = store.watch(prefix, from, {
        isPatient: true,
        onEvents: (events) => this.#teller.events(events, from),
        onClose: () => this.#teller.stream.end(),
      });
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    const { status } = error instanceof ApiError ? error : internalError("the watch failed", error);
    this.#teller.fail({ ...status, details: undefined });
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
    this.#teller.bookmark(this.#machinery.store.revision, false);
  }

  #finish(withBookmark: boolean): void {
    if (withBookmark) this.#emitBookmark();
    this.#teller.finish();
  }
}
