import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObjects, asString, cloneObject, isObject } from "../../../kernel/schema/index.js";

/** Why there is no canary of a manifest, or the manifest with one. */
export type CanaryOutcome = { readonly manifest: JsonObject } | { readonly why: string };

/** What the new release of a step gets: a share of the requests, or only copies of them. */
export type StepShare = { readonly canaryPercent: number } | { readonly shadowPercent: number };

/**
 * An MLService between two revisions: releases of both, the old default, and the new default as canary with a share of the
 * requests, or without any when it only gets copies. Everything else is as in the new one. There is none where the default keeps its name: an address belongs to a release,
 * so both cannot run side by side. Pure.
 */
export function withCanary(from: JsonObject, to: JsonObject, share: StepShare): CanaryOutcome {
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
  const { canary: _canary, canaryTrafficPercent: _percent, ...rest } = cloneObject(newSpec);
  manifest["spec"] = {
    ...rest,
    releases: [cloneObject(before), ...others.map(cloneObject)],
    default: oldDefault,
    ...("canaryPercent" in share ? { canary: newDefault, canaryTrafficPercent: share.canaryPercent } : {}),
  };
  return { manifest };
}

/** The release that is tried in shadow between two revisions of an MLService; undefined when there is none. Pure. */
export function triedRelease(from: JsonObject, to: JsonObject): string | undefined {
  return "manifest" in withCanary(from, to, { shadowPercent: 1 }) ? asString(specOf(to)["default"]) : undefined;
}

function specOf(manifest: JsonObject): JsonObject {
  return isObject(manifest["spec"]) ? manifest["spec"] : {};
}
