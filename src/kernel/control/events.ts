import type { ApiClient } from "../client/index.js";
import type { Clock, Random } from "../clock/index.js";
import { isNotFound } from "../errors/index.js";
import { type Event, EventKind, type KubeObject, timeOf } from "../kinds/index.js";
import type { Logger } from "../log/index.js";
import type { EventRecorder, ReportedEvent } from "./types.js";

/** A recorder with a background writer; `close` waits for what is being written and drops the rest. */
export interface OwnedEventRecorder extends EventRecorder {
  /** Resolves when everything recorded so far is written or given up. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** What a recorder needs. */
export interface EventRecorderOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** `source.component` and `reportingComponent`. */
  readonly component: string;
}

interface Wish extends Omit<ReportedEvent, "action"> {
  readonly key: string;
  /** Present: in the form of events.k8s.io. */
  readonly action?: string;
}

/** An event that the server knows; equal ones are counted on it. */
interface Known {
  readonly name: string;
  readonly namespace: string;
  count: number;
  lastMs: number;
}

/** Messages for one reason of one object. */
interface Group {
  readonly messages: readonly string[];
  readonly lastMs: number;
}

/** Knows what was said lately. */
class Groups {
  readonly #clock: Clock;
  readonly #groups = new Map<string, Group>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether so many others were said of the object for the same reason that they are told as one. */
  isOneOfMany(source: string, message: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    const before = this.#groups.get(source);
    const messages = before !== undefined && nowMs - before.lastMs <= countWindowMs ? before.messages : [];
    const isKnown = messages.includes(message);
    this.#groups.delete(source);
    const now = isKnown ? messages : [...messages, message].slice(-(maxAlike - 1));
    this.#groups.set(source, { messages: now, lastMs: nowMs });
    trim(this.#groups);
    return (isKnown ? messages.length : messages.length + 1) >= maxAlike;
  }
}

/** As upstream: the tenth message for one reason stands for those that come after it as well. */
const maxAlike = 10;
const combinedPrefix = "(combined from similar events): ";
const maxKnown = 2_000;
const maxWaiting = 500;
const maxMessageLength = 1024;
/** An event that was not repeated for this long begins anew. */
const countWindowMs = 10 * 60_000;
/** As upstream: this many at once about one object and reason, then one each five minutes. */
const burst = 25;
const refillMs = 300_000;

/** Makes a recorder of core/v1 Events. Equal events are counted up; an object that floods is throttled; a failing server costs nothing but a log line. */
export function createEventRecorder(options: EventRecorderOptions): OwnedEventRecorder {
  const { clock, log } = options;
  const waiting: Wish[] = [];
  const known = new Map<string, Known>();
  const groups = new Groups(clock);
  const spent = new Map<string, { tokens: number; atMs: number }>();
  let writing: Promise<void> | undefined;
  let isOpen = true;

  const mayRecord = (source: string): boolean => {
    const nowMs = clock.monotonicMs();
    const before = spent.get(source) ?? { tokens: burst, atMs: nowMs };
    const tokens = Math.min(burst, before.tokens + (nowMs - before.atMs) / refillMs);
    spent.delete(source);
    spent.set(source, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs: nowMs });
    trim(spent);
    return tokens >= 1;
  };

  const drain = async (): Promise<void> => {
    for (let wish = waiting.shift(); wish !== undefined && isOpen; wish = waiting.shift()) {
      try {
        await write(wish, known, options);
      } catch (error) {
        log.debug("event not written", { reason: wish.reason, err: error });
      }
    }
    writing = undefined;
  };

  const wish = (event: Omit<Wish, "key">): void => {
    const { about, type, reason, action = "", related } = event;
    const { namespace = "", name, uid } = about.metadata;
    const message = event.message.slice(0, maxMessageLength);
    if (!isOpen || waiting.length >= maxWaiting || !mayRecord(`${about.kind}/${namespace}/${name}/${uid}/${type}`))
      return;
    if (event.action === undefined && groups.isOneOfMany([about.kind, uid, type, reason].join("\u0000"), message)) {
      const combined = `${combinedPrefix}${message}`.slice(0, maxMessageLength);
      waiting.push({ ...event, key: [about.kind, uid, type, reason].join("\u0000"), message: combined });
      writing ??= drain();
      return;
    }
    const key = [about.kind, uid, type, reason, action, related?.metadata.uid ?? "", message].join("\u0000");
    waiting.push({ ...event, key, message });
    writing ??= drain();
  };

  return {
    record: (about, type, reason, message) => wish({ about, type, reason, message }),
    report: wish,
    async flush() {
      await writing;
    },
    async close() {
      isOpen = false;
      await writing;
    },
  };
}

/** Forgets what was used least recently. */
function trim(map: Map<string, unknown>): void {
  for (const oldest of map.keys()) {
    if (map.size <= maxKnown) return;
    map.delete(oldest);
  }
}

async function write(wish: Wish, known: Map<string, Known>, options: EventRecorderOptions): Promise<void> {
  const { client, clock } = options;
  const nowMs = clock.now();
  const events = client.resource(EventKind);
  const before = known.get(wish.key);
  known.delete(wish.key);
  if (before !== undefined && nowMs - before.lastMs < countWindowMs) {
    const count = before.count + 1;
    const patch =
      wish.action === undefined
        ? { count, lastTimestamp: timeOf(nowMs), message: wish.message }
        : { series: { count, lastObservedTime: microTimeOf(nowMs) } };
    try {
      await events.patch(before.name, "merge", patch, { namespace: before.namespace, fieldManager: options.component });
      known.set(wish.key, { ...before, count, lastMs: nowMs });
      return;
    } catch (error) {
      // It lived its hour and was removed: a new one takes its place.
      if (!isNotFound(error)) throw error;
    }
  }
  const event = newEvent(wish, options);
  await events.create(event);
  known.set(wish.key, { name: event.metadata.name, namespace: event.metadata.namespace, count: 1, lastMs: nowMs });
  trim(known);
}

/** Times of events are kept to the microsecond. */
function microTimeOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000Z`;
}

function referenceTo({ apiVersion, kind, metadata }: KubeObject) {
  const { namespace, name, uid, resourceVersion } = metadata;
  return { apiVersion, kind, name, uid, resourceVersion, ...(namespace === undefined ? {} : { namespace }) };
}

function newEvent(wish: Wish, { clock, random, component }: EventRecorderOptions) {
  const { about, related, type, reason, message, action } = wish;
  const nowMs = clock.now();
  const now = timeOf(nowMs);
  const namespace = about.metadata.namespace ?? "default";
  const name = `${about.metadata.name.slice(0, 230)}.${random.uuid().replaceAll("-", "").slice(0, 16)}`;
  const told =
    action === undefined
      ? { count: 1, firstTimestamp: now, lastTimestamp: now, source: { component } }
      : { action, eventTime: microTimeOf(nowMs) };
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name, namespace },
    involvedObject: referenceTo(about),
    ...(related === undefined ? {} : { related: referenceTo(related) }),
    type,
    reason,
    message,
    ...told,
    reportingComponent: component,
    reportingInstance: component,
  } satisfies Omit<Event, "metadata"> & { metadata: { name: string; namespace: string } };
}
