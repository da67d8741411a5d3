import { amountOf } from "../../../kernel/gates/index.js";
import { labelSelectorMatches } from "../../../kernel/kinds/index.js";
import type { WaveSpec } from "./kind.js";

/** Clusters that change together. */
export interface Wave {
  readonly name: string;
  readonly clusters: readonly string[];
  readonly needsApproval: boolean;
  /** Its own bake, if it has one. */
  readonly bake: string | undefined;
}

/**
 * Distributes clusters over waves: each wave takes, of those that none before took, the named ones, those with its labels, or (without
 * either) any, by name, up to its count. What is left is a last wave `rest`; clusters that the revision no longer has come after
 * all others, as `leaving`. Waves that get nothing are left out. Pure.
 */
export function wavesOf(
  specs: readonly WaveSpec[],
  clusters: { readonly staying: readonly string[]; readonly leaving: readonly string[] },
  labelsOf: (cluster: string) => Readonly<Record<string, string>> | undefined,
): Wave[] {
  const all = [...clusters.staying].sort();
  let left = all;
  const waves: Wave[] = [];
  for (const spec of specs) {
    const fits = (cluster: string): boolean =>
      spec.clusters?.includes(cluster) === true ||
      (spec.selector !== undefined && labelSelectorMatches(spec.selector, labelsOf(cluster) ?? {})) ||
      (spec.clusters === undefined && spec.selector === undefined && spec.count !== undefined);
    const candidates = left.filter(fits);
    const limit = spec.count === undefined ? candidates.length : amountOf(spec.count, all.length, Math.ceil);
    const taken = candidates.slice(0, limit);
    left = left.filter((cluster) => !taken.includes(cluster));
    if (taken.length > 0)
      waves.push({ name: spec.name, clusters: taken, needsApproval: spec.approval === true, bake: spec.bake });
  }
  if (left.length > 0)
    waves.push({ name: specs.length === 0 ? "all" : "rest", clusters: left, needsApproval: false, bake: undefined });
  if (clusters.leaving.length > 0)
    waves.push({ name: "leaving", clusters: [...clusters.leaving].sort(), needsApproval: false, bake: "0s" });
  return waves;
}

/** What of the waves comes to nothing with these clusters: waves without any, and names that are none of theirs. Pure. */
export function unmatchedIn(
  specs: readonly WaveSpec[],
  given: readonly { readonly cluster: string; readonly wave: string }[],
): string[] {
  const known = new Set(given.map(({ cluster }) => cluster));
  return specs.flatMap(({ name, clusters = [] }) => {
    const strange = clusters.filter((cluster) => !known.has(cluster));
    const isEmpty = !given.some(({ wave }) => wave === name);
    if (!isEmpty && strange.length === 0) return [];
    const why =
      strange.length === 0
        ? "none is left that fits"
        : `${strange.join(", ")} ${strange.length === 1 ? "is none" : "are none"} of the HyperMLService's`;
    return [isEmpty ? `wave ${name} has no cluster: ${why}` : `wave ${name}: ${why}`];
  });
}
