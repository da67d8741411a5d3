import type { Clock, Timer } from "../../../kernel/clock/index.js";
import type { StoreEvent, WatchHandle, WatchHandlers } from "../types.js";
import { bucketOf } from "./keys.js";

interface Watcher {
  readonly prefix: string;
  readonly handlers: WatchHandlers;
}

/** With so many patient watchers of a resource, each event still goes out by itself. */
const fewWatchers = 32;
/** What it costs to write to one more socket, and as much again for everything else that has to be done. */
const pausePerWatcherMs = 0.05;

/** The watches of one resource. */
interface Audience {
  readonly prompt: Set<Watcher>;
  readonly patient: Set<Watcher>;
  waiting: StoreEvent[];
  timer: Timer | undefined;
  lastRoundMs: number;
}

/**
 * The open watches, by resource, so that a write costs nothing to those who look elsewhere. Where a crowd watches one
 * resource, its patient members get events in rounds: the first at once, the next ones together after a pause that grows with
 * the crowd. A write to a socket costs much the same with one event or with twenty.
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
      lastRoundMs: Number.NEGATIVE_INFINITY,
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
    const { size } = audience.patient;
    const passed = this.#clock.monotonicMs() - audience.lastRoundMs;
    const pause = size <= fewWatchers ? 0 : size * pausePerWatcherMs - passed;
    if (pause <= 0) this.#round(name, audience);
    else audience.timer = this.#clock.setTimer(pause, () => this.#round(name, audience));
  }

  #round(name: string, audience: Audience): void {
    audience.timer?.cancel();
    audience.timer = undefined;
    const { waiting } = audience;
    if (waiting.length === 0) return;
    audience.waiting = [];
    handOut(audience.patient, name, waiting);
    audience.lastRoundMs = this.#clock.monotonicMs();
  }

  closeAll(error?: Error): void {
    for (const [name, audience] of this.#audiences) this.#round(name, audience);
    const all = [...this.#audiences.values()].flatMap(({ prompt, patient }) => [...prompt, ...patient]);
    this.#audiences.clear();
    for (const { handlers } of all) handlers.onClose(error);
  }
}

function handOut(watchers: ReadonlySet<Watcher>, name: string, batch: readonly StoreEvent[]): void {
  for (const { prefix, handlers } of watchers) {
    const concerned = prefix === name ? batch : batch.filter((event) => event.now.key.startsWith(prefix));
    if (concerned.length > 0) handlers.onEvents(concerned);
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
