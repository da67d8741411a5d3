import type { Faults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asNumber, asObject } from "../registry/read.js";

/** What a workload counts. */
export interface Counting {
  /** Fields that may not be negative. */
  readonly counts: readonly string[];
  /** Fields that may not be more than there are replicas. */
  readonly upToReplicas: readonly string[];
  /** What the available ones may not be more than, in upstream's words; absent: nothing. */
  readonly availableWords?: string;
}

/** Of a Deployment. */
export const deploymentCounts: Counting = {
  counts: [
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "terminatingReplicas",
    "collisionCount",
  ],
  upToReplicas: ["updatedReplicas", "readyReplicas", "availableReplicas"],
  availableWords: "cannot be greater than readyReplicas",
};

/** Of a ReplicaSet or ReplicationController. */
export const replicaCounts: Counting = {
  counts: [
    "replicas",
    "fullyLabeledReplicas",
    "readyReplicas",
    "availableReplicas",
    "observedGeneration",
    "terminatingReplicas",
  ],
  upToReplicas: ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
  availableWords: "cannot be greater than readyReplicas",
};

/** Of a StatefulSet. */
export const statefulCounts: Counting = {
  counts: [
    "replicas",
    "readyReplicas",
    "currentReplicas",
    "updatedReplicas",
    "availableReplicas",
    "observedGeneration",
    "collisionCount",
  ],
  upToReplicas: ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
  availableWords: "cannot be greater than status.readyReplicas",
};

/** Of a DaemonSet, which has no replicas. */
export const daemonCounts: Counting = {
  counts: [
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
  ],
  upToReplicas: [],
};

/** Checks the numbers that are reported of a workload. */
export function validateStatusCounts(
  object: JsonObject,
  old: JsonObject,
  faults: Faults,
  { counts, upToReplicas, availableWords }: Counting,
): void {
  const [status, before] = [asObject(object["status"]), asObject(old["status"])];
  const count = (field: string): number => asNumber(status[field]) ?? 0;
  for (const field of counts)
    if (count(field) < 0) faults.invalid(`status.${field}`, count(field), "must be greater than or equal to 0");
  for (const field of upToReplicas)
    if (count(field) > count("replicas"))
      faults.invalid(`status.${field}`, count(field), "cannot be greater than status.replicas");
  if (availableWords !== undefined && count("availableReplicas") > count("readyReplicas"))
    faults.invalid("status.availableReplicas", count("availableReplicas"), availableWords);
  const collisions = asNumber(before["collisionCount"]);
  const now = asNumber(status["collisionCount"]);
  if (collisions !== undefined && (now === undefined || now < collisions))
    faults.invalid("status.collisionCount", now ?? 0, "cannot be decremented");
}
