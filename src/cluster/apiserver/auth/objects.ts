import type { JsonObject } from "../../../kernel/kinds/object.js";
import { objectKey } from "../store/keys.js";
import type { Store, StoreEvent } from "../types.js";

/** One object as stored; shared, never to be changed. */
export function lookUp(
  store: Store,
  group: string,
  plural: string,
  at: { namespace: string; name: string },
): JsonObject | undefined {
  return store.get(objectKey({ group, plural }, at.namespace, at.name))?.value;
}

/**
 * Follows everything under `prefix` from now on, whatever happens to single watches: after a gap `onGap` says that
 * everything has to be read again.
 */
export function follow(
  store: Store,
  prefix: string,
  handlers: { onEvents(events: readonly StoreEvent[]): void; onGap(): void },
): { close(): void } {
  let watch: { close(): void } | undefined;
  let isClosed = false;
  const open = (from: number) => {
    watch = store.watch(prefix, from, {
      onEvents: (events) => handlers.onEvents(events),
      onClose(error) {
        if (isClosed || error === undefined) return;
        queueMicrotask(() => {
          if (isClosed) return;
          open(store.revision);
          handlers.onGap();
        });
      },
    });
  };
  open(store.revision);
  return {
    close() {
      isClosed = true;
      watch?.close();
    },
  };
}
