import type { StoreEvent } from "../types.js";
import { bucketOf } from "./keys.js";

/** What a watch calls. */
export interface WatchHandlers {
  onEvents(events: readonly StoreEvent[]): void;
  onClose(error?: Error): void;
}

interface Watcher {
  readonly prefix: string;
  readonly handlers: WatchHandlers;
}

/** The open watches, by resource, so that a write costs nothing to those who look elsewhere. */
export class Watchers {
  readonly #byBucket = new Map<string, Set<Watcher>>();

  add(prefix: string, handlers: WatchHandlers): { close(): void } {
    const name = bucketOf(prefix);
    const watchers = this.#byBucket.get(name) ?? new Set<Watcher>();
    this.#byBucket.set(name, watchers);
    const watcher = { prefix, handlers };
    watchers.add(watcher);
    return { close: () => void watchers.delete(watcher) };
  }

  /** Hands a batch to everyone whom part of it concerns. */
  deliver(events: readonly StoreEvent[]): void {
    for (const [name, batch] of groupByBucket(events)) {
      for (const { prefix, handlers } of this.#byBucket.get(name) ?? []) {
        const concerned = prefix === name ? batch : batch.filter((event) => event.now.key.startsWith(prefix));
        if (concerned.length > 0) handlers.onEvents(concerned);
      }
    }
  }

  closeAll(error?: Error): void {
    const all = [...this.#byBucket.values()].flatMap((watchers) => [...watchers]);
    this.#byBucket.clear();
    for (const { handlers } of all) handlers.onClose(error);
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
