/** The local models of a component's pods. */
import type { JsonObject } from "../../../../kernel/kinds/index.js";
import { asObject } from "../../../../kernel/schema/index.js";
import type { Fault } from "../../diagnosis.js";
import { annotationOf, KSERVE } from "../annotations.js";
import { COMPONENT_LABEL } from "../children.js";
import { fetchedBy } from "../credentials.js";
import type { InferenceService } from "../inference-service-kind.js";
import type { LocalModel } from "../storage.js";
import { deploymentsOf, type Tools } from "../tools.js";
import { matchModel } from "./match.js";
import { presenceLabel, volumeName } from "./names.js";
import { ensureVolume } from "./volumes.js";
import { homeOf, planIn, stateOn } from "./world.js";

/**
 * What a component's pods mount instead of fetching, by URI. A model that no node has yet is waited for by a service that has no pods, and is fetched as
 * ever by one that has.
 */
export async function localModelsFor(
  service: InferenceService,
  { component, spec }: { readonly component: string; readonly spec: JsonObject },
  tools: Tools,
): Promise<{ readonly byUri: Readonly<Record<string, LocalModel>> } | Fault> {
  const { context } = tools;
  const { informers, name: cluster } = context.cluster;
  const uris = fetchedBy(spec);
  const byUri: Record<string, LocalModel> = {};
  if (uris.length === 0) return { byUri };
  const plan = planIn(informers);
  if (plan.models.length === 0) return { byUri };
  for (const uri of uris) {
    const matched = matchModel(service, uri, plan);
    if (matched === undefined) continue;
    const { model, group, subPath } = matched;
    const states = group.nodes.map(({ metadata }) => stateOn(metadata.name, model, informers));
    if (!states.includes("ModelDownloaded")) {
      const runs = deploymentsOf(service, tools).some(
        ({ metadata }) => metadata.labels?.[COMPONENT_LABEL] === component,
      );
      if (runs) continue;
      const isFailed = states.length > 0 && states.every((state) => state === "ModelDownloadError");
      return {
        reason: isFailed ? "ModelDownloadFailed" : "Fetching",
        message: `cluster ${cluster}: ${model.kind} ${model.name} ${isFailed ? "could not be downloaded: see its status" : "is being downloaded"}; none of the ${states.length} nodes of group ${group.name} has it`,
      };
    }
    const namespace = service.metadata.namespace ?? "";
    const isReadOnly = namespace !== homeOf(model);
    await ensureVolume({ key: model.key, namespace, group: group.group, isReadOnly }, { context, isOurs: false });
    byUri[uri] = { claim: volumeName(model.key, group.name, namespace), subPath, label: presenceLabel(model.key) };
  }
  return { byUri };
}

/** The annotation that chooses a group of nodes, where no local model of that group is used. */
export function groupIgnored(service: InferenceService, spec: JsonObject, { context }: Tools): string[] {
  const group = annotationOf(service, KSERVE.nodeGroup);
  if (group === undefined) return [];
  const plan = planIn(context.cluster.informers);
  const uris = ["predictor", "transformer", "explainer"].flatMap((name) => fetchedBy(asObject(spec[name])));
  return uris.some((uri) => matchModel(service, uri, plan) !== undefined)
    ? []
    : [
        `annotation ${KSERVE.nodeGroup} (no LocalModelCache keeps its model in the group ${group}: pods go where the scheduler puts them)`,
      ];
}
