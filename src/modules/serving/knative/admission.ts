/** What Knative's kinds are completed with and refused for as they are written. */
import type { JsonObject, Kind } from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { asObject, asObjects, asString, equalJson, isObject } from "../../../kernel/schema/index.js";
import { parseDurationMs } from "../autoscaling/index.js";
import {
  ConfigurationKind,
  KNATIVE_ANNOTATIONS,
  KNATIVE_LABELS,
  KnativeServiceKind,
  RevisionKind,
  RouteKind,
} from "./kinds.js";
import { checkSpec, checkTemplate, checkTraffic, completeSpec, Faults } from "./template.js";

type Check = (object: JsonObject, old: JsonObject | undefined, faults: Faults) => void;

/** Admission of all four kinds in member clusters. */
export function knativeAdmission(): readonly ModuleAdmission[] {
  return [
    admission(KnativeServiceKind, completeService, (object, old, faults) => {
      checkOwn(object, old, faults);
      checkTemplateOf(object, old, faults);
      checkTraffic(targetsOf(object), "spec.traffic", false, faults);
    }),
    admission(ConfigurationKind, completeTemplate, checkTemplateOf),
    admission(
      RouteKind,
      () => undefined,
      (object, old, faults) => {
        checkOwn(object, old, faults);
        checkTraffic(targetsOf(object), "spec.traffic", true, faults);
      },
    ),
    admission(
      RevisionKind,
      (object) => completeSpec(asObject(object["spec"])),
      (object, old, faults) => {
        const spec = asObject(object["spec"]);
        if (old === undefined) checkSpec(spec, "spec", faults);
        else if (!equalJson(spec, asObject(old["spec"])))
          faults.add(
            "spec",
            "a Revision never changes; change the template of its Configuration",
            "FieldValueForbidden",
          );
      },
    ),
  ];
}

function admission(kind: Kind, complete: (object: JsonObject) => void, check: Check): ModuleAdmission {
  return {
    kind,
    level: "cluster",
    complete,
    review: async (object, old) => {
      const faults = new Faults();
      if (old === undefined || !equalJson(object["spec"] ?? {}, old["spec"] ?? {}) || !sameMarks(object, old))
        check(object, old, faults);
      return { faults: faults.list, warnings: [] };
    },
  };
}

const annotationsOf = (object: JsonObject): JsonObject => asObject(asObject(object["metadata"])["annotations"]);
const labelsOf = (object: JsonObject): JsonObject => asObject(asObject(object["metadata"])["labels"]);
const sameMarks = (a: JsonObject, b: JsonObject): boolean =>
  equalJson(annotationsOf(a), annotationsOf(b)) && equalJson(labelsOf(a), labelsOf(b));

function completeTemplate(object: JsonObject): void {
  const template = asObject(object["spec"])["template"];
  if (isObject(template) && isObject(template["spec"])) completeSpec(template["spec"]);
}

function completeService(object: JsonObject): void {
  completeTemplate(object);
  const { spec } = object;
  if (!isObject(spec)) return;
  const { traffic } = spec;
  if (!Array.isArray(traffic) || traffic.length === 0) spec["traffic"] = [{ latestRevision: true, percent: 100 }];
  else
    for (const target of traffic.filter(isObject))
      target["latestRevision"] ??= target["revisionName"] === undefined || target["revisionName"] === "";
}

function targetsOf(object: JsonObject) {
  return asObjects(asObject(object["spec"])["traffic"]).map((target) => {
    const { percent, latestRevision, tag, url } = target;
    return {
      revisionName: asString(target["revisionName"]),
      configurationName: asString(target["configurationName"]),
      ...(typeof percent === "number" ? { percent } : {}),
      ...(typeof latestRevision === "boolean" ? { latestRevision } : {}),
      ...(typeof tag === "string" && tag !== "" ? { tag } : {}),
      ...(typeof url === "string" ? { url } : {}),
    };
  });
}

/** The name, who may see it, and annotations that belong elsewhere. */
function checkOwn(object: JsonObject, _old: JsonObject | undefined, faults: Faults): void {
  const { name } = asObject(object["metadata"]);
  if (typeof name === "string" && !/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name))
    faults.add(
      "metadata.name",
      "must be lower-case letters, digits and dashes, begin with a letter and have at most 63 characters",
    );
  const visibility = labelsOf(object)[KNATIVE_LABELS.visibility];
  if (visibility !== undefined && visibility !== "cluster-local")
    faults.add(`metadata.labels[${KNATIVE_LABELS.visibility}]`, "must be cluster-local, or not be there");
  for (const annotation of Object.keys(annotationsOf(object)))
    if (annotation.startsWith("autoscaling.knative.dev/"))
      faults.add(`metadata.annotations[${annotation}]`, "belongs under spec.template.metadata.annotations");
  const duration = annotationsOf(object)[KNATIVE_ANNOTATIONS.rolloutDuration];
  if (duration === undefined) return;
  const durationMs = parseDurationMs(asString(duration));
  if (durationMs === undefined || durationMs < 0 || durationMs % 1000 !== 0)
    faults.add(
      `metadata.annotations[${KNATIVE_ANNOTATIONS.rolloutDuration}]`,
      "must be a duration of whole seconds such as 120s",
    );
}

function checkTemplateOf(object: JsonObject, old: JsonObject | undefined, faults: Faults): void {
  const template = asObject(asObject(object["spec"])["template"]);
  checkTemplate(template, "spec.template", faults);
  const name = asString(asObject(template["metadata"])["name"]);
  if (name === "") return;
  const own = asString(asObject(object["metadata"])["name"]);
  const at = "spec.template.metadata.name";
  if (own !== "" && !name.startsWith(`${own}-`)) faults.add(at, `"${name}" must begin with "${own}-"`);
  const before = asObject(asObject(old?.["spec"])["template"]);
  if (asString(asObject(before["metadata"])["name"]) === name && !equalJson(before, template))
    faults.add(at, `Revision "${name}" is made already and never changes: give another name, or none`);
}
