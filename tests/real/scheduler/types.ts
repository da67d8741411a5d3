import type { JsonObject } from "../../../src/kernel/kinds/object.js";

/** A write that both clusters get. */
export interface Write {
  readonly method: "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: JsonObject;
}

/** A pod that is to be placed. */
export interface Trial {
  readonly pod: JsonObject;
  /** What happens while it waits; it is looked at again afterwards. Dropped where it was placed. */
  readonly changes: readonly Write[];
}

/** A cluster and pods that come to it one after another. */
export interface Scenario {
  readonly seed: number;
  /** How many nodes there are. */
  readonly nodes: number;
  readonly setup: readonly Write[];
  readonly trials: readonly Trial[];
}

/** What became of a pod, without what a scheduler may choose. */
export interface Outcome {
  readonly node: string;
  readonly nominated: string;
  /** `PodScheduled`, as `status reason: message`. */
  readonly condition: string;
  /** About the pod, each once. */
  readonly events: readonly string[];
  /** Other pods that are gone, or going with what they say about it. */
  readonly victims: readonly string[];
  /** Volumes and claims of the scenario with what they are bound to. */
  readonly volumes: readonly string[];
}

/** A trial that ended otherwise. */
export interface Disagreement {
  readonly seed: number;
  readonly trial: number;
  readonly isAfter: boolean;
  readonly real: Outcome;
  readonly own: Outcome;
  readonly lines: readonly string[];
}
