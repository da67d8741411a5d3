/** Which InferenceService is served from which local model. Pure. */
import { asString } from "../../../../kernel/schema/index.js";
import { annotationOf, KSERVE, saysYes } from "../annotations.js";
import type { InferenceService } from "../inference-service-kind.js";
import { type LocalPlan, type PlacedModel, planFaults, type WantedModel } from "./plan.js";

/** A local model, and what of it a URI means. */
export interface MatchedModel extends PlacedModel {
  /** Path below the model's folder; empty for all of it. */
  readonly subPath: string;
}

/**
 * The local model for a URI: one of the service's namespace before one of all, the longest source first. `undefined` when there is none, or the service
 * wants none; a model that has no place is none.
 */
export function matchModel(service: InferenceService, uri: string, plan: LocalPlan): MatchedModel | undefined {
  if (saysYes(service, KSERVE.disableLocalModel)) return undefined;
  const wantedGroup = asString(annotationOf(service, KSERVE.nodeGroup));
  const source = uri.replace(/\/+$/, "");
  const fitting = foldersOf(source)
    .flatMap((folder) => plan.byUri.get(folder) ?? [])
    .filter(({ namespace }) => namespace === undefined || namespace === service.metadata.namespace)
    .sort(
      (a, b) => Number(a.namespace === undefined) - Number(b.namespace === undefined) || b.uri.length - a.uri.length,
    );
  for (const model of fitting) {
    const group = placeOf(model, wantedGroup, plan);
    if (group !== undefined) return { model, group, subPath: source.slice(model.uri.length + 1) };
  }
  return undefined;
}

/** A URI, and what it lies in: each is the beginning of it up to a slash. */
export function foldersOf(uri: string): string[] {
  const source = uri.replace(/\/+$/, "");
  // Longer ones are no model's: a bound on what hostile ones cost.
  if (source.length > 4096) return [source];
  return [...[...source.matchAll(/\//g)].map(({ index }) => source.slice(0, index)), source];
}

function placeOf(model: WantedModel, wanted: string, plan: LocalPlan): PlacedModel["group"] | undefined {
  const name = wanted === "" ? model.groups[0] : model.groups.find((one) => one === wanted);
  const group = name === undefined ? undefined : plan.groups.get(name);
  if (group === undefined) return undefined;
  return planFaults(plan, { ...model, groups: [group.name] }).length === 0 ? group : undefined;
}
