import { findCondition, type JsonObject } from "../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject } from "../../kernel/schema/index.js";
import type { ObjectState } from "./hyper-status.js";
import { builtInInterpreter } from "./interpreters/index.js";
import { isServed } from "./served-kinds.js";

/** A condition inside a raw member status, Ready unless another is asked for. */
export function readyConditionIn(
  status: JsonObject | undefined,
  wanted = "Ready",
): { readonly status: string; readonly message: string } | undefined {
  const list = status?.["conditions"];
  if (!Array.isArray(list)) return undefined;
  const conditions = list.flatMap((item) => {
    if (!isObject(item)) return [];
    const { type, status: value, message, reason } = item;
    if (typeof type !== "string" || typeof value !== "string") return [];
    const text = typeof message === "string" && message !== "" ? message : typeof reason === "string" ? reason : "";
    return [{ type, status: value, message: text }];
  });
  return findCondition(conditions, wanted);
}

/** What the member reported of an object, as its Work has it. */
export function memberStatusOf({ work }: ObjectState): JsonObject | undefined {
  return work?.status?.manifestStatuses?.[0]?.status;
}

/** Why a member does not take the names of a CustomResourceDefinition, so that it is never established; empty: it does, or said nothing. */
export function nameClash(state: ObjectState): string {
  if (state.object.kind !== "CustomResourceDefinition") return "";
  const accepted = readyConditionIn(memberStatusOf(state), "NamesAccepted");
  return accepted?.status === "False" ? `its names are not accepted: ${accepted.message}` : "";
}

/** Why an object is not ready; empty when it is, undefined when it is of a kind that says nothing of it. */
export function unreadinessOf(state: ObjectState): string | undefined {
  const status = memberStatusOf(state);
  const health = state.work?.status?.manifestStatuses?.[0]?.health ?? unheardOf(state);
  const ready = readyConditionIn(status);
  const isService = isServed(state.object.kind);
  const clash = nameClash(state);
  if (clash !== "") return clash;
  if (ready === undefined && health !== "Unhealthy" && !isService) return undefined;
  if (!state.isApplied) return "is not applied";
  if (ready !== undefined && ready.status !== "True") return orElse(ready.message, "is not ready");
  const release = isService ? releaseGap(state.object.manifest, status) : "";
  if (release !== "") return release;
  if (ready !== undefined && health !== "Unhealthy") return "";
  if (ready === undefined && isService) return "has not reported yet";
  return replicasGap(state.object.manifest, status) ?? "has not reported on its newest form yet";
}

/** Of a workload that reported on the form it was given: how many of its replicas are ready. */
function replicasGap(manifest: JsonObject, status: JsonObject | undefined): string | undefined {
  const { observedGeneration, generation, readyReplicas = 0 } = status ?? {};
  const wanted = asObject(manifest["spec"])["replicas"] ?? 1;
  // A kind that does not tell its own generation may speak of an earlier form.
  if (generation === undefined || observedGeneration !== generation) return undefined;
  return typeof wanted === "number" && typeof readyReplicas === "number" && readyReplicas < wanted
    ? `${readyReplicas} of ${wanted} replicas are ready`
    : undefined;
}

/** The health of an object that was applied and of which nothing came back yet: of kinds that report it, none. */
function unheardOf({ object, isApplied }: ObjectState): string | undefined {
  const { apiVersion, kind, manifest } = object;
  return isApplied ? builtInInterpreter(apiVersion, kind).health(manifest) : undefined;
}

/** An MLService keeps the default before until the new one answers: only then what it says is about what was asked for. */
function releaseGap(manifest: JsonObject, status: JsonObject | undefined): string {
  const spec = isObject(manifest["spec"]) ? manifest["spec"] : {};
  const { default: wanted, canary } = spec;
  const seen = status?.["defaultRelease"];
  if (typeof wanted === "string" && typeof seen === "string" && wanted !== seen)
    return `release ${wanted} is not the default yet, ${seen} is`;
  const releases = status?.["releases"];
  if (typeof canary !== "string" || !Array.isArray(releases)) return "";
  const release = asObjects(releases).find(({ name }) => name === canary);
  if (release !== undefined && release["trafficPercent"] !== 0) return "";
  const message = release?.["message"];
  return `canary ${canary} gets no requests yet${typeof message === "string" && message !== "" ? `: ${message}` : ""}`;
}

/** Why a release that is tried in shadow cannot be: it must run beside the others. Empty when it does, or none is tried. */
export function triedGap(state: ObjectState, release: string | undefined): string {
  if (release === undefined || state.object.kind !== "MLService") return "";
  const found = asObjects(memberStatusOf(state)?.["releases"]).find(({ name }) => name === release);
  if (found === undefined) return `release ${release} is not there yet`;
  return found["ready"] === true ? "" : `release ${release}: ${orElse(asString(found["message"]), "is not ready")}`;
}

function orElse(text: string, other: string): string {
  return text === "" ? other : text;
}
