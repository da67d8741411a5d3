import type { Clock } from "../../../kernel/clock/index.js";
import type { ClusterAccess } from "../../../kernel/control/index.js";
import type { JsonObject, LabelSelector } from "../../../kernel/kinds/index.js";
import type { Logger } from "../../../kernel/log/index.js";

/** What one replica needs of a node and of a cluster (`ReplicaRequirements` of a binding). */
export interface ReplicaRequirements {
  readonly nodeClaim?: NodeClaim;
  /** Canonical quantities by resource. */
  readonly resourceRequest?: Readonly<Record<string, string>>;
  readonly priorityClassName?: string;
}

/** What one replica demands of nodes. */
export interface NodeClaim {
  /** A `NodeSelector`, as in a pod's required node affinity. */
  readonly hardNodeAffinity?: JsonObject;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly JsonObject[];
}

/** How many replicas a workload has, and what each needs. */
export interface Replicas {
  readonly replicas: number;
  readonly requirements: ReplicaRequirements | undefined;
}

/** One part of a workload that has several, as the workers of a training job. */
export interface Component extends Replicas {
  readonly name: string;
}

/** Karmada's words for how an object is. */
export type Health = "Healthy" | "Unhealthy" | "Unknown";

/** What one member tells of an object; an entry of a binding's `status.aggregatedStatus`. */
export interface StatusItem {
  readonly clusterName: string;
  readonly status?: JsonObject | undefined;
  readonly applied?: boolean | undefined;
  readonly health?: string | undefined;
}

/** An object that another one cannot do without; named, or found by labels. */
export interface DependentObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly labelSelector?: LabelSelector;
}

/**
 * What the hub knows of a kind. Arguments are shared and never changed; results are fresh. Only custom interpreters throw
 * (`InterpreterError`): those of the kinds that Argosy knows take any object, however it is filled in.
 */
export interface Interpreter {
  /** `undefined`: the kind has no replicas, and goes whole to each cluster. */
  replicas(object: JsonObject): Replicas | undefined;
  /** The parts of a workload that has several; empty for others. */
  components(object: JsonObject): readonly Component[];
  /** The object with that many replicas; the same for a kind without. */
  revise(object: JsonObject, replicas: number): JsonObject;
  /** A kind of which nothing is known is healthy by being there. */
  health(object: JsonObject): Health;
  /** What of a member's object goes into the Work; `undefined`: nothing yet. */
  reflectStatus(object: JsonObject): JsonObject | undefined;
  /** The template's status from those of the members; `undefined`: it is left as it is. */
  aggregateStatus(template: JsonObject, items: readonly StatusItem[], now: string): JsonObject | undefined;
  dependencies(object: JsonObject): readonly DependentObject[];
  /** What is wanted, with what the member's own controllers have filled in since. */
  retain(desired: JsonObject, observed: JsonObject): JsonObject;
}

/** The part of an interpreter that a kind fills in; the rest is usual. */
export type PartialInterpreter = Partial<Interpreter>;

/** The hub that customizations are read from, and what scripts need of it; a controller's context is one. */
export interface CustomizationSource {
  readonly cluster: ClusterAccess;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Finds what is known of a kind. */
export interface Interpreters {
  interpreterFor(apiVersion: string, kind: string): Interpreter;
  /** Follows the customizations of a hub from the first call on; resolves when all of them are known. */
  follow(hub: CustomizationSource): Promise<void>;
}
