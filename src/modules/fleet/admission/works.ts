import { Faults, type Json, type JsonObject } from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { isObject } from "../../../kernel/schema/index.js";
import { ClusterResourceBindingKind, ResourceBindingKind } from "../bindings/kinds.js";
import { asManifest, WORK_ID } from "../interpreters/index.js";
import { WorkKind } from "../kinds.js";
import { ACCEPTED, deniedFor, isUntouched, labelOf, metadataOf, objectIn, setLabel } from "./denial.js";

const DEPENDENCIES = "resourcebinding.karmada.io/dependencies";
const BINDINGS = [
  { kind: ResourceBindingKind, idLabel: "resourcebinding.karmada.io/permanent-id" },
  { kind: ClusterResourceBindingKind, idLabel: "clusterresourcebinding.karmada.io/permanent-id" },
] as const;

/** Completes Works and bindings: identifiers, and manifests without what only one server can mean. */
export function workAdmission(): ModuleAdmission[] {
  return [
    {
      kind: WorkKind,
      level: "continuum",
      complete: (object, old, { uuid }) => {
        const before = old === undefined ? "" : labelOf(old, WORK_ID);
        if (labelOf(object, WORK_ID) === "") setLabel(object, WORK_ID, before === "" ? uuid() : before);
        const workload = objectIn(objectIn(object, "spec"), "workload");
        const { manifests } = workload;
        // What is no object is for the schema to refuse.
        if (Array.isArray(manifests) && manifests.every(isObject))
          workload["manifests"] = manifests.map((manifest) => asManifest(manifest, labelOf(object, WORK_ID)));
      },
    },
    ...BINDINGS.map(
      ({ kind, idLabel }): ModuleAdmission => ({
        kind,
        level: "continuum",
        complete: (object, old, { uuid }) => {
          if (old === undefined && labelOf(object, idLabel) === "") setLabel(object, idLabel, uuid());
        },
        ...(kind === ResourceBindingKind
          ? { review: async (object, old) => (isUntouched(object, old) ? ACCEPTED : bindingReview(object)) }
          : {}),
      }),
    ),
  ];
}

function bindingReview(object: JsonObject): ReturnType<typeof deniedFor> {
  const faults = new Faults();
  const text = objectIn(metadataOf(object), "annotations")[DEPENDENCIES];
  if (typeof text === "string" && !isListOfObjects(text))
    faults.invalid(`metadata.annotations.${DEPENDENCIES}`, text, "annotation value must be a valid JSON");
  return deniedFor("resourcebinding.karmada.io", faults);
}

function isListOfObjects(text: string): boolean {
  try {
    const value: Json = JSON.parse(text);
    return value === null || (Array.isArray(value) && value.every(isObject));
  } catch {
    return false;
  }
}
