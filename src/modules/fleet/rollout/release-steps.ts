import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObjects, asString, cloneObject, isObject } from "../../../kernel/schema/index.js";

/** Why there is no canary of a manifest, or the manifest with one. */
export type CanaryOutcome = { readonly manifest: JsonObject } | { readonly why: string };

/**
 * An MLService between two revisions: releases of both, the old default, and the new default as canary with a share of the
 * requests. Everything else is as in the new one. There is none where the default keeps its name: an address belongs to a release,
 * so both cannot run side by side. Pure.
 */
export function withCanary(from: JsonObject, to: JsonObject, canaryPercent: number): CanaryOutcome {
  const [oldSpec, newSpec] = [specOf(from), specOf(to)];
  const [oldDefault, newDefault] = [asString(oldSpec["default"]), asString(newSpec["default"])];
  if (oldDefault === newDefault)
    return {
      why: `its default release ${newDefault} keeps its name; a release of another name could share the requests`,
    };
  const releases = asObjects(newSpec["releases"]);
  const before = asObjects(oldSpec["releases"]).find(({ name }) => name === oldDefault);
  if (before === undefined) return { why: `its release ${oldDefault} is not among the releases before` };
  if (!releases.some(({ name }) => name === newDefault))
    return { why: `its release ${newDefault} is not among its releases` };
  const others = releases.filter(({ name }) => name !== oldDefault);
  const manifest = cloneObject(to);
  manifest["spec"] = {
    ...cloneObject(newSpec),
    releases: [cloneObject(before), ...others.map(cloneObject)],
    default: oldDefault,
    canary: newDefault,
    canaryTrafficPercent: canaryPercent,
  };
  return { manifest };
}

function specOf(manifest: JsonObject): JsonObject {
  return isObject(manifest["spec"]) ? manifest["spec"] : {};
}
