import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { generationOf, statusOf, valueAt } from "./fields.js";
import type { Health, Interpreter } from "./types.js";

type Judge = Interpreter["health"];

function toHealth(isHealthy: boolean): Health {
  return isHealthy ? "Healthy" : "Unhealthy";
}

function count(status: JsonObject, field: string): number {
  return asNumber(status[field]) ?? 0;
}

function isObserved(object: JsonObject): boolean {
  return count(statusOf(object), "observedGeneration") === generationOf(object);
}

/** The status of a condition of the object; `""` when it says nothing of that. */
export function conditionIn(object: JsonObject, type: string): string {
  return asString(
    asObjects(statusOf(object)["conditions"]).find((condition) => condition["type"] === type)?.["status"],
  );
}

/** Deployment, StatefulSet: the status is about this generation, all replicas are of it and all of them are available. */
export const rolledOut: Judge = (object) => {
  const status = statusOf(object);
  const wanted = asNumber(valueAt(object, ["spec", "replicas"])) ?? 0;
  const updated = count(status, "updatedReplicas");
  return toHealth(isObserved(object) && updated >= wanted && count(status, "availableReplicas") >= updated);
};

export const enoughReplicas: Judge = (object) => {
  const wanted = asNumber(valueAt(object, ["spec", "replicas"])) ?? 0;
  return toHealth(isObserved(object) && count(statusOf(object), "availableReplicas") >= wanted);
};

export const onEveryNode: Judge = (object) => {
  const status = statusOf(object);
  const updated = count(status, "updatedNumberScheduled");
  return toHealth(
    isObserved(object) &&
      updated >= count(status, "desiredNumberScheduled") &&
      count(status, "numberAvailable") >= updated,
  );
};

function hasAddress(object: JsonObject): boolean {
  return asObjects(asObject(statusOf(object)["loadBalancer"])["ingress"]).some(
    (address) => asString(address["hostname"]) !== "" || asString(address["ip"]) !== "",
  );
}

export const ingressHealth: Judge = (object) => toHealth(hasAddress(object));

export const serviceHealth: Judge = (object) =>
  toHealth(valueAt(object, ["spec", "type"]) !== "LoadBalancer" || hasAddress(object));

export const claimHealth: Judge = (object) => toHealth(statusOf(object)["phase"] === "Bound");

export const podHealth: Judge = (object) => {
  const { phase } = statusOf(object);
  return toHealth(phase === "Succeeded" || (phase === "Running" && conditionIn(object, "Ready") === "True"));
};

export const disruptionHealth: Judge = (object) => {
  const status = statusOf(object);
  return toHealth(count(status, "currentHealthy") >= count(status, "desiredHealthy"));
};

/** By a condition that says that all is well; `Unknown` as long as it says nothing. What a status says of an earlier form does not count. */
export function byCondition(type: string): Judge {
  return (object) => {
    const said = conditionIn(object, type);
    if (said === "" || said === "Unknown") return "Unknown";
    const observed = asNumber(statusOf(object)["observedGeneration"]);
    return toHealth(said === "True" && (observed === undefined || observed >= generationOf(object)));
  };
}

/** Jobs of the training operators: healthy as long as they say something and have not failed. */
export function unlessFailed(type: string): Judge {
  return (object) =>
    toHealth(asObjects(statusOf(object)["conditions"]).length > 0 && conditionIn(object, type) !== "True");
}

/** A notebook: its container runs, or is about to, or ended well. */
export const notebookHealth: Judge = (object) => {
  const state = asObject(statusOf(object)["containerState"]);
  if (isObject(state["running"])) return "Healthy";
  const { waiting, terminated } = state;
  if (isObject(waiting)) return toHealth(waiting["reason"] === "ContainerCreating");
  if (!isObject(terminated)) return "Unhealthy";
  const isBad = ["Error", "OOMKilled", "ContainerCannotRun"].includes(asString(terminated["reason"]));
  return toHealth(!isBad && (asNumber(terminated["exitCode"]) ?? 0) === 0);
};

export const rayClusterHealth: Judge = (object) =>
  toHealth(
    conditionIn(object, "HeadPodReady") === "True" &&
      conditionIn(object, "RayClusterProvisioned") === "True" &&
      conditionIn(object, "RayClusterReplicaFailure") !== "True",
  );

/** RayJob: by the state of the job and of what runs it. */
export const rayJobHealth: Judge = (object) => {
  const { jobStatus, jobDeploymentStatus } = statusOf(object);
  if (jobStatus === undefined && jobDeploymentStatus === undefined) return "Unknown";
  const isBad = jobStatus === "FAILED" || jobStatus === "STOPPED" || jobDeploymentStatus === "Failed";
  return toHealth(!isBad);
};
