import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Shape } from "../registry/shape.js";
import type { MergeSchema } from "../types.js";
import { applyObject } from "./apply.js";
import { KnownWays } from "./known-ways.js";
import { strategicMerge } from "./strategic.js";
import { trackUpdate, zeroBase } from "./update.js";

/** What merging needs to know of a kind. */
export interface MergeOptions {
  readonly shape: Shape;
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** Paths that a write by a subresource (empty: of the object itself) leaves as they were, whatever it says. Default: the status, and by `status` the spec. */
  readonly resets?: Readonly<Record<string, readonly (readonly string[])[]>>;
  /** Native kinds only. */
  readonly supportsStrategic: boolean;
  /** Upstream's server can bring a live object of the kind into this version; if not, nobody can be found who owned it before. */
  readonly isConvertible: boolean;
  /** Writes to the resource itself leave the status alone. */
  readonly hasStatus: boolean;
  /** Brings a merged object into the form in which the server keeps objects of the kind. */
  readonly normalise: (object: JsonObject) => JsonObject;
}

/** The same, with what was merged last. */
export interface Merging extends MergeOptions {
  readonly known: KnownWays;
  /** An object of the kind with nothing in it; nobody changes it. */
  readonly zero: JsonObject;
}

/** The merges of one kind. */
export function createMerge(of: MergeOptions): MergeSchema {
  const options: Merging = { ...of, known: new KnownWays(of.shape), zero: zeroBase(of) };
  return {
    supportsStrategic: options.supportsStrategic,
    strategicMerge: (current, patch) => strategicMerge(options.shape, current, patch),
    trackUpdate: (object, old, by) => trackUpdate(options, object, old, by),
    apply: (current, applied, by) => applyObject(options, current, applied, by),
  };
}
