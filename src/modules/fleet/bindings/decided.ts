import type { Key } from "../../../kernel/control/index.js";
import type { ClusterFacts, PlacementResult } from "../placement/types.js";

interface Decision {
  readonly result: PlacementResult;
  readonly clusters: readonly ClusterFacts[];
}

/** Decisions that new bindings were made with: the scheduler, which sees them next, needs not come to them again. */
export class Decided {
  readonly #decisions = new Map<string, Decision>();

  /** A binding is made with this, decided with these clusters. */
  note(key: Key, result: PlacementResult, clusters: readonly ClusterFacts[]): void {
    this.#decisions.set(textOf(key), { result, clusters });
  }

  /** It was not made. */
  forget(key: Key): void {
    this.#decisions.delete(textOf(key));
  }

  /** What was decided of a binding, once, and unless clusters changed since. */
  take(key: Key, clusters: readonly ClusterFacts[]): PlacementResult | undefined {
    const decision = this.#decisions.get(textOf(key));
    this.#decisions.delete(textOf(key));
    return decision?.clusters === clusters ? decision.result : undefined;
  }
}

const textOf = ({ namespace, name }: Key): string => `${namespace}/${name}`;
