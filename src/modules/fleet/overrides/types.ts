import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { OverrideSpec } from "../policies/kinds.js";

/** What a rule changes. */
export type Overriders = NonNullable<OverrideSpec["overriders"]>;
export type ImageOverrider = NonNullable<Overriders["imageOverrider"]>[number];
export type WordsOverrider = NonNullable<Overriders["commandOverrider"]>[number];
export type MapOverrider = NonNullable<Overriders["labelsOverrider"]>[number];
export type FieldOverrider = NonNullable<Overriders["fieldOverrider"]>[number];

/** An override policy as it is applied; `namespace` is `""` for one of the whole cluster. */
export interface OverridePolicyFacts {
  readonly name: string;
  readonly namespace: string;
  readonly spec: OverrideSpec;
}

/** A rule that was applied. */
export interface AppliedOverride {
  readonly policyName: string;
  readonly overriders: Overriders;
}

/** A manifest for one cluster, and how it came to differ. */
export interface Overridden {
  readonly manifest: JsonObject;
  /** Rules of policies of the whole cluster, in the order of application. */
  readonly cluster: readonly AppliedOverride[];
  /** Rules of policies of the object's namespace, after those. */
  readonly namespaced: readonly AppliedOverride[];
  /** What changed nothing though somebody may expect it to. */
  readonly notes: readonly string[];
}
