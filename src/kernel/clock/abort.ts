/** Who is to be called of each signal; the signal itself has one listener, whose list it would go through for every one that is added. */
const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `stop` once when `signal` aborts; cheap for a signal that thousands wait for. An aborted one calls nobody. Returns its removal. */
export function onAbort(signal: AbortSignal, stop: () => void): () => void {
  const known = waiting.get(signal);
  const all = known ?? new Set();
  // One entry for each call, whatever function it has.
  const entry = (): void => stop();
  all.add(entry);
  if (known === undefined) {
    waiting.set(signal, all);
    signal.addEventListener(
      "abort",
      () => {
        for (const each of [...all]) each();
        all.clear();
      },
      { once: true },
    );
  }
  return () => void all.delete(entry);
}
