/**
 * A ControllerRevision's data is free-form JSON for the API. These revisions were written by us from a validated template
 * (or adopted by our label and owner), so a mapping under spec.template is taken for one.
 */
import type { ControllerRevision, PodTemplateSpec } from "../../../kernel/kinds/index.js";
import { isObject, toJson } from "../../../kernel/schema/index.js";

/** The template that a revision recorded; `undefined` when its data holds none. */
export function templateOf(revision: ControllerRevision): PodTemplateSpec | undefined {
  const data = toJson(revision.data ?? {});
  const spec = isObject(data) ? data["spec"] : undefined;
  const template = isObject(spec) ? spec["template"] : undefined;
  if (!isObject(template)) return undefined;
  const { $patch: _patch, ...rest } = template;
  return rest as unknown as PodTemplateSpec;
}
