import type { Journal } from "./types.js";

/** A journal that forgets everything with its process: for tests and simulations. */
export function memoryJournal(): Journal {
  return {
    load: () => ({ compacted: 0, entries: [] }),
    append: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}
