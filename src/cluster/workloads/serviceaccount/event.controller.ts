import type { ControllerSpec } from "../../../kernel/control/index.js";
import { type Event, EventKind, type Namespace, NamespaceKind } from "../../../kernel/kinds/index.js";

const keptMs = 3_600_000;
const everyMs = 300_000;
const pageSize = 500;

/** Removes Events an hour after they last happened. */
export function eventCleaner(): ControllerSpec<Namespace> {
  return {
    name: "event-cleaner",
    kind: NamespaceKind,
    concurrency: 1,
    async reconcile({ name }, namespace, { cluster, clock, signal }) {
      // One look serves all namespaces; it is tied to the one that is always there.
      if (name !== "default" || namespace === undefined) return undefined;
      const events = cluster.client.resource(EventKind);
      const before = clock.now() - keptMs;
      let next: string | undefined;
      do {
        const page = await events.list({ limit: pageSize, signal, ...(next === undefined ? {} : { continue: next }) });
        for (const event of page.items) {
          if (timeOf(event) >= before) continue;
          await events.delete(event.metadata.name, {
            namespace: event.metadata.namespace ?? "",
            preconditions: { uid: event.metadata.uid },
          });
        }
        next = page.continue;
      } while (next !== undefined);
      return { requeueAfterMs: everyMs };
    },
  };
}

function timeOf(event: Event): number {
  const times = [
    event.series?.lastObservedTime,
    event.lastTimestamp,
    event.eventTime,
    event.metadata.creationTimestamp,
  ];
  return Math.max(...times.map((time) => (time === undefined || time === null ? 0 : Date.parse(time))));
}
