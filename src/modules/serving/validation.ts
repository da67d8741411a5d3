/** What no schema can say about an MLService. */
import { releaseName, transformerName } from "./children.js";
import type { Fault } from "./diagnosis.js";
import type { MLService } from "./kinds.js";
import { ignoredInLogger } from "./log-wish.js";

/** The first contradiction in a spec. */
export function invalidSpec(service: MLService): Fault | undefined {
  const { spec, metadata } = service;
  const names = spec.releases.map(({ name }) => name);
  const invalid = (message: string): Fault => ({ reason: "InvalidSpec", message });
  if (!names.includes(spec.default))
    return invalid(`spec.default is ${spec.default}, but the releases are ${names.join(", ")}`);
  if (spec.canary !== undefined && !names.includes(spec.canary))
    return invalid(`spec.canary is ${spec.canary}, but the releases are ${names.join(", ")}`);
  const upside = spec.releases.find(
    ({ predictor: { minReplicas, maxReplicas = 0 } }) => maxReplicas > 0 && maxReplicas < minReplicas,
  );
  if (upside !== undefined)
    return invalid(`release ${upside.name}: maxReplicas is less than minReplicas; 0 or none is no limit`);
  if (spec.canary === spec.default) return invalid("spec.canary and spec.default name the same release");
  if ((spec.canary === undefined) !== (spec.canaryTrafficPercent === undefined))
    return invalid("spec.canary and spec.canaryTrafficPercent go together");
  const { transformer } = spec;
  if (
    transformer?.maxReplicas !== undefined &&
    transformer.maxReplicas > 0 &&
    transformer.maxReplicas < transformer.minReplicas
  )
    return invalid("transformer: maxReplicas is less than minReplicas; 0 or none is no limit");
  if (transformer !== undefined && transformerName(metadata.name).length > 63)
    return invalid(
      `${transformerName(metadata.name)} is longer than the 63 characters of a Service's name; shorten the MLService's name`,
    );
  const long = names.find((name) => releaseName(metadata.name, name).length > 63);
  if (long !== undefined)
    return invalid(
      `${releaseName(metadata.name, long)} is longer than the 63 characters of a Service's name; shorten the MLService's or the release's name`,
    );
  return undefined;
}

/** Fields that are accepted and have no effect here, each with what happens instead; `isBuiltIn` tells of a release or transformer by its name. */
export function ignoredFields({ spec, metadata }: MLService, isBuiltIn: (name: string) => boolean): string[] {
  const ignored: string[] = [];
  const { transformer } = spec;
  const front = transformerName(metadata.name);
  for (const what of ignoredInLogger(transformer?.logger, isBuiltIn(front))) ignored.push(`transformer: ${what}`);
  for (const { name, predictor } of spec.releases) {
    const at = `release ${name}:`;
    for (const what of ignoredInLogger(predictor.logger, isBuiltIn(name))) ignored.push(`${at} ${what}`);
    if (predictor.model.modelUri !== undefined) ignored.push(`${at} model.modelUri (of an older API; use storage)`);
    if (predictor.model.modelFormat !== undefined)
      ignored.push(`${at} model.modelFormat (the runtime is named by model.runtime)`);
  }
  return ignored;
}
