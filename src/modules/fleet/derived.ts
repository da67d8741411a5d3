import type { InformerSet } from "../../kernel/control/index.js";
import type { Kind } from "../../kernel/kinds/index.js";

/** Something computed from informers, computed again only after one of the kinds changed. */
export function derivedFrom<T>(
  informers: InformerSet,
  kinds: readonly Kind[],
  signal: AbortSignal,
  compute: () => T,
): () => T {
  let kept: { readonly value: T } | undefined;
  for (const kind of kinds) {
    const stop = informers.informer(kind).onChange(() => {
      kept = undefined;
    });
    signal.addEventListener("abort", stop, { once: true });
  }
  return () => {
    kept ??= { value: compute() };
    return kept.value;
  };
}
