import type { Clock, Timer } from "../../../kernel/clock/index.js";
import type { StoreEvent, WatchHandle, WatchHandlers } from "../types.js";
import { bucketOf } from "./keys.js";

interface Watcher {
  readonly prefix: string;
  readonly handlers: WatchHandlers;
}

/** With so many patient watchers of a resource, each event still goes out by itself. */
const fewWatchers = 32;
/** Between two rounds everything else gets as long as the last one took, within these bounds: nobody waits for long. */
const pausePerWatcherMs = { least: 0.02, most: 0.04 };

/** The watches of one resource. */
interface Audience {
  readonly prompt: Set<Watcher>;
  readonly patient: Set<Watcher>;
  waiting: StoreEvent[];
  timer: Timer | undefined;
  /** When the last round ended, and how long it took. */
  lastEndMs: number;
  lastTookMs: number;
}

/**
 * The open watches, by resource, so that a write costs nothing to those who look elsewhere. Where a crowd watches one
 * resource, its patient members get events in rounds: the first at once, the next ones together after a pause that grows with
 * what a round costs. A write to a socket costs much the same with one event or with twenty.
 */
export class Watchers {
  readonly #audiences = new Map<string, Audience>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(prefix: string, handlers: WatchHandlers): WatchHandle {
    const name = bucketOf(prefix);
    const audience = this.#audience(name);
    // What waits happened before this watch begins.
    this.#round(name, audience);
    const watcher = { prefix, handlers };
    const group = handlers.isPatient === true ? audience.patient : audience.prompt;
    group.add(watcher);
    return {
      close: () => void group.delete(watcher),
      catchUp: () => this.#round(name, audience),
    };
  }

  #audience(name: string): Audience {
    const known = this.#audiences.get(name);
    if (known !== undefined) return known;
    const made: Audience = {
      prompt: new Set(),
      patient: new Set(),
      waiting: [],
      timer: undefined,
      lastEndMs: Number.NEGATIVE_INFINITY,
      lastTookMs: 0,
    };
    this.#audiences.set(name, made);
    return made;
  }

  /** Hands a batch to everyone whom part of it concerns. */
  deliver(events: readonly StoreEvent[]): void {
    for (const [name, batch] of groupByBucket(events)) {
      const audience = this.#audiences.get(name);
      if (audience === undefined) continue;
      handOut(audience.prompt, name, batch);
      if (audience.patient.size === 0) continue;
      audience.waiting = audience.waiting.length === 0 ? batch : [...audience.waiting, ...batch];
      this.#schedule(name, audience);
    }
  }

  #schedule(name: string, audience: Audience): void {
    if (audience.timer !== undefined) return;
    const left = pauseAfter(audience) - (this.#clock.monotonicMs() - audience.lastEndMs);
    if (left <= 0) this.#round(name, audience);
    else audience.timer = this.#clock.setTimer(left, () => this.#round(name, audience));
  }

  #round(name: string, audience: Audience): void {
    audience.timer?.cancel();
    audience.timer = undefined;
    const { waiting } = audience;
    if (waiting.length === 0) return;
    audience.waiting = [];
    const begun = this.#clock.monotonicMs();
    handOut(audience.patient, name, waiting);
    audience.lastEndMs = this.#clock.monotonicMs();
    // What was handed out is written by then.
    if (isCrowd(audience)) setImmediate(() => this.#endRound(audience, begun));
  }

  #endRound(audience: Audience, begun: number): void {
    audience.lastEndMs = this.#clock.monotonicMs();
    audience.lastTookMs = audience.lastEndMs - begun;
  }

  closeAll(error?: Error): void {
    for (const [name, audience] of this.#audiences) this.#round(name, audience);
    const all = [...this.#audiences.values()].flatMap(({ prompt, patient }) => [...prompt, ...patient]);
    this.#audiences.clear();
    for (const { handlers } of all) handlers.onClose(error);
  }
}

function isCrowd({ patient }: Audience): boolean {
  return patient.size > fewWatchers;
}

/** How long after a round the next one may begin. */
function pauseAfter(audience: Audience): number {
  if (!isCrowd(audience)) return 0;
  const { least, most } = pausePerWatcherMs;
  const { size } = audience.patient;
  return Math.min(Math.max(audience.lastTookMs, size * least), size * most);
}

/** Watchers of one prefix get the same batch, so that they can share what they make of it. */
function handOut(watchers: ReadonlySet<Watcher>, name: string, batch: readonly StoreEvent[]): void {
  const parts = new Map<string, readonly StoreEvent[]>([[name, batch]]);
  for (const { prefix, handlers } of watchers) {
    let part = parts.get(prefix);
    if (part === undefined) {
      part = batch.filter((event) => event.now.key.startsWith(prefix));
      parts.set(prefix, part);
    }
    if (part.length > 0) handlers.onEvents(part);
  }
}

function groupByBucket(events: readonly StoreEvent[]): Map<string, StoreEvent[]> {
  const groups = new Map<string, StoreEvent[]>();
  for (const event of events) {
    const name = bucketOf(event.now.key);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [event]);
    else group.push(event);
  }
  return groups;
}
