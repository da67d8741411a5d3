import { findCondition, type JsonObject, type Kind, type KubeObject } from "../../kernel/kinds/index.js";
import { isObject } from "../../kernel/schema/index.js";
import { readyConditionIn } from "./hyper-readiness.js";

/** Karmada's words for it. */
export type Health = "Healthy" | "Unhealthy" | "Unknown";

/** How an object in a member is, as far as its kind lets one tell; a kind that says nothing of itself is healthy by being there. */
export function healthOf(kind: Kind, object: KubeObject): Health {
  const { status, spec } = fieldsOf(object);
  if (kind.group === "apps" && ["Deployment", "StatefulSet", "ReplicaSet"].includes(kind.kind)) {
    const wanted = spec["replicas"] ?? 1;
    const ready = (kind.kind === "Deployment" ? status["availableReplicas"] : status["readyReplicas"]) ?? 0;
    return Number(ready) >= Number(wanted) &&
      Number(status["observedGeneration"] ?? 0) >= (object.metadata.generation ?? 0)
      ? "Healthy"
      : "Unhealthy";
  }
  if (kind.group === "batch" && kind.kind === "Job") return jobHealth(status);
  // What it says of itself is about an earlier form.
  if (Number(status["observedGeneration"] ?? Number.POSITIVE_INFINITY) < (object.metadata.generation ?? 0))
    return "Unhealthy";
  const ready = readyConditionIn(status);
  if (ready !== undefined)
    return ready.status === "True" ? "Healthy" : ready.status === "False" ? "Unhealthy" : "Unknown";
  return kind.kind === "MLService" ? "Unknown" : "Healthy";
}

function jobHealth(status: JsonObject): Health {
  const conditions = Array.isArray(status["conditions"]) ? status["conditions"] : [];
  const named = conditions.flatMap((item: unknown) => {
    if (!isObject(item)) return [];
    const { type, status: value } = item;
    return typeof type === "string" && typeof value === "string" ? [{ type, status: value }] : [];
  });
  return findCondition(named, "Failed")?.status === "True" ? "Unhealthy" : "Healthy";
}

function fieldsOf(object: KubeObject): { readonly status: JsonObject; readonly spec: JsonObject } {
  const fields = new Map<string, unknown>(Object.entries(object));
  const status = fields.get("status");
  const spec = fields.get("spec");
  return { status: isObject(status) ? status : emptyObject(), spec: isObject(spec) ? spec : emptyObject() };
}

function emptyObject(): JsonObject {
  return {};
}
