import type { Json, JsonObject } from "../../../../src/kernel/kinds/object.js";

/** A write that both fleets get, as one would type it. */
export interface Write {
  /** A member; absent: the hub. */
  readonly on?: string;
  readonly create?: JsonObject;
  readonly patch?: Ref;
  readonly remove?: Ref;
  /** Of `patch`: an object is merged, a list is a JSON patch. */
  readonly with?: Json;
  /** Of `patch`: its status, which then speaks of the object's present generation. */
  readonly isStatus?: boolean;
}

/** An object by its name; its namespace is the case's. */
export interface Ref {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
}

/** What happens in a namespace of its own, phase after phase; both fleets come to rest after each. */
export interface FleetCase {
  readonly seed: number;
  readonly namespace: string;
  readonly phases: readonly (readonly Write[])[];
}

/** The members as they are in a phase. */
export interface World {
  /** By member: a merge patch of its Cluster. */
  readonly clusters: Readonly<Record<string, JsonObject>>;
  /** By member: what each of its two nodes has. */
  readonly nodes: Readonly<Record<string, readonly JsonObject[]>>;
}

/** Cases that happen side by side, because they have the members in common. */
export interface Batch {
  /** One for the first phases, one for the later ones. */
  readonly worlds: readonly [World, World];
  readonly cases: readonly FleetCase[];
}

/** What differs after a phase of a case. */
export interface Finding {
  readonly fleetCase: FleetCase;
  readonly phase: number;
  /** `-`: only a real Karmada shows it; `+`: only ours does. */
  readonly lines: readonly string[];
}

/** Phases: what is there before, the beginning, a change, another world, a change, the end. */
export const PHASES = ["before", "beginning", "change", "world", "later change", "end"] as const;
/** The phase that begins with the second world. */
export const WORLD_PHASE = 3;
export const MEMBERS = ["member1", "member2", "member3", "member4"] as const;
