import type { ApiClient } from "../client/index.js";
import type { Clock, Random } from "../clock/index.js";
import { isNotFound } from "../errors/index.js";
import { type Event, EventKind, type KubeObject, timeOf } from "../kinds/index.js";
import type { Logger } from "../log/index.js";
import type { EventRecorder } from "./types.js";

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

interface Wish {
  readonly key: string;
  readonly about: KubeObject;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

/** An event that the server knows; equal ones are counted on it. */
interface Known {
  readonly name: string;
  readonly namespace: string;
  count: number;
  lastMs: number;
}

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

  return {
    record(about, type, reason, message) {
      const { namespace = "", name, uid } = about.metadata;
      const text = message.slice(0, maxMessageLength);
      if (!isOpen || waiting.length >= maxWaiting || !mayRecord(`${about.kind}/${namespace}/${name}/${uid}`)) return;
      waiting.push({ key: [about.kind, uid, type, reason, text].join("\u0000"), about, type, reason, message: text });
      writing ??= drain();
    },
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
    const patch = { count, lastTimestamp: timeOf(nowMs) };
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

function newEvent(wish: Wish, { clock, random, component }: EventRecorderOptions) {
  const { about, type, reason, message } = wish;
  const now = timeOf(clock.now());
  const namespace = about.metadata.namespace ?? "default";
  const { name, uid, resourceVersion } = about.metadata;
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `${name.slice(0, 230)}.${random.uuid().replaceAll("-", "").slice(0, 16)}`, namespace },
    involvedObject: {
      apiVersion: about.apiVersion,
      kind: about.kind,
      name,
      uid,
      resourceVersion,
      ...(about.metadata.namespace === undefined ? {} : { namespace }),
    },
    type,
    reason,
    message,
    count: 1,
    firstTimestamp: now,
    lastTimestamp: now,
    source: { component },
    reportingComponent: component,
    reportingInstance: component,
  } satisfies Omit<Event, "metadata"> & { metadata: { name: string; namespace: string } };
}
