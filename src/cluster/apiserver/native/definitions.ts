import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { setTerminating, storeVersions } from "../registry/definition-status.js";
import { cleanupFinalizer } from "../registry/definitions.js";
import type { Faults } from "../registry/faults.js";
import { label1035Faults, subdomainFaults } from "../registry/names.js";
import {
  asList,
  asObject,
  asObjects,
  asString,
  at,
  ensureObject,
  isEmpty,
  setDefault,
  setDefaultText,
} from "../registry/read.js";
import { immutable } from "./common.js";
import { validateStructure } from "./structural.js";

const columnTypes = ["boolean", "date", "integer", "number", "string"];
const protectedGroup = /(^|\.)(k8s\.io|kubernetes\.io)$/;
const approval = "api-approved.kubernetes.io";

function defaultDefinition(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  const names = ensureObject(spec, "names");
  const kind = asString(names["kind"]);
  setDefaultText(names, "singular", kind.toLowerCase());
  if (kind !== "") setDefaultText(names, "listKind", `${kind}List`);
  const conversion = ensureObject(spec, "conversion");
  setDefaultText(conversion, "strategy", "None");
  const service = at(conversion, "webhook", "clientConfig", "service");
  if (isObject(service)) setDefault(service, "port", 443);
}

function validateDefinition(object: JsonObject, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const names = asObject(spec["names"]);
  const group = asString(spec["group"]);
  const name = asString(at(object, "metadata", "name"));
  if (name !== `${asString(names["plural"])}.${group}`)
    faults.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group');
  if (group !== "") {
    const groupFaults = subdomainFaults(group);
    for (const fault of groupFaults) faults.invalid("spec.group", group, fault);
    if (groupFaults.length === 0 && !group.includes("."))
      faults.invalid("spec.group", group, "should be a domain with at least one dot");
    if (protectedGroup.test(group)) validateApproval(asObject(at(object, "metadata", "annotations"))[approval], faults);
  }
  if (!["Cluster", "Namespaced"].includes(asString(spec["scope"])) && asString(spec["scope"]) !== "")
    faults.unsupported("spec.scope", spec["scope"], ["Cluster", "Namespaced"]);
  validateNames(names, "spec.names", faults);
  validateVersions(spec, asList(at(object, "status", "storedVersions")), faults);
  const strategy = asString(at(spec, "conversion", "strategy"));
  if (!["None", "Webhook"].includes(strategy))
    faults.unsupported("spec.conversion.strategy", strategy, ["None", "Webhook"]);
  else if (strategy === "Webhook") {
    if (isEmpty(at(spec, "conversion", "webhook", "conversionReviewVersions")))
      faults.required("spec.conversion.conversionReviewVersions");
    if (isEmpty(at(spec, "conversion", "webhook", "clientConfig")))
      faults.required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook");
  }
  if (spec["preserveUnknownFields"] === true)
    faults.invalid(
      "spec.preserveUnknownFields",
      true,
      "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
    );
}

function validateApproval(value: Json | undefined, faults: Faults): void {
  const see = "see https://github.com/kubernetes/enhancements/pull/1111";
  const path = `metadata.annotations[${approval}]`;
  const text = asString(value);
  if (text === "") faults.required(path, `protected groups must have approval annotation "${approval}", ${see}`);
  else if (!text.startsWith("unapproved") && !/^https?:\/\/[^/]/.test(text))
    faults.invalid(
      path,
      text,
      `protected groups must have approval annotation "${approval}" with either a URL or a reason starting with "unapproved", ${see}`,
    );
}

function validateNames(names: JsonObject, path: string, faults: Faults): void {
  const check = (value: Json | undefined, place: string): void => {
    const text = asString(value);
    if (text !== "") for (const fault of label1035Faults(text)) faults.invalid(place, text, fault);
  };
  for (const field of ["plural", "singular"]) check(names[field], `${path}.${field}`);
  if (asString(names["singular"]) === "") faults.required(`${path}.singular`);
  for (const field of ["kind", "listKind"]) {
    const text = asString(names[field]);
    if (text !== "")
      for (const fault of label1035Faults(text.toLowerCase())) faults.invalid(`${path}.${field}`, text, fault);
    else if (field === "listKind") faults.required(`${path}.listKind`);
  }
  for (const field of ["shortNames", "categories"])
    for (const [index, value] of asList(names[field]).entries()) check(value, `${path}.${field}[${index}]`);
  if (asString(names["kind"]) !== "" && names["kind"] === names["listKind"])
    faults.invalid(`${path}.listKind`, names["listKind"], "kind and listKind may not be the same");
}

function validateVersions(spec: JsonObject, stored: readonly Json[], faults: Faults): void {
  const versions = asObjects(spec["versions"]);
  const names = new Set<string>();
  for (const [index, version] of versions.entries()) {
    const name = asString(version["name"]);
    for (const fault of name === "" ? [] : label1035Faults(name))
      faults.invalid(`spec.versions[${index}].name`, name, fault);
    names.add(name);
    // With one version upstream reports as if it were the top-level field of old.
    validateVersion(version, versions.length === 1 ? "spec" : `spec.versions[${index}]`, index, faults);
  }
  if (names.size < versions.length)
    faults.invalid("spec.versions", versions.map(goVersion), "must contain unique version names");
  const storage = versions.filter((version) => version["storage"] === true);
  if (storage.length !== 1)
    faults.invalid(
      "spec.versions",
      Array.isArray(spec["versions"]) ? versions.map(goVersion) : null,
      "must have exactly one version marked as storage version",
    );
  if (stored.length === 0)
    faults.invalid(
      "status.storedVersions",
      stored.length === 0 ? null : [...stored],
      "must have at least one stored version",
    );
  for (const [index, name] of stored.entries())
    if (!names.has(asString(name)))
      faults.invalid(
        `status.storedVersions[${index}]`,
        name,
        `missing from spec.versions; ${asString(name)} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in ${asString(name)} and removes ${asString(name)} from status.storedVersions`,
      );
  const last = asString(storage.at(-1)?.["name"]);
  if (stored.length > 0 && last !== "" && !stored.includes(last))
    faults.invalid("status.storedVersions", [...stored], `must have the storage version ${last}`);
}

/** The version as upstream's internal struct prints. */
function goVersion(version: JsonObject): JsonObject {
  return {
    Name: asString(version["name"]),
    Served: version["served"] === true,
    Storage: version["storage"] === true,
    Deprecated: version["deprecated"] === true,
    DeprecationWarning: version["deprecationWarning"] ?? null,
    Schema: null,
    Subresources: version["subresources"] ?? null,
    AdditionalPrinterColumns: version["additionalPrinterColumns"] ?? null,
    SelectableFields: version["selectableFields"] ?? null,
  };
}

function validateVersion(version: JsonObject, path: string, index: number, faults: Faults): void {
  const schema = at(version, "schema", "openAPIV3Schema");
  if (!isObject(schema)) faults.required(`spec.versions[${index}].schema.openAPIV3Schema`);
  else
    validateStructure(
      schema,
      path === "spec" ? "spec.validation.openAPIV3Schema" : `${path}.schema.openAPIV3Schema`,
      faults,
    );
  for (const [place, one] of asObjects(version["additionalPrinterColumns"]).entries())
    validateColumn(one, `${path}.additionalPrinterColumns[${place}]`, faults);
  validateSelectable(version, path, faults);
  const scale = at(version, "subresources", "scale");
  if (!isObject(scale)) return;
  for (const [field, prefix] of Object.entries({ specReplicasPath: ".spec.", statusReplicasPath: ".status." }))
    if (!asString(scale[field]).startsWith(prefix) && asString(scale[field]) !== "")
      faults.invalid(
        `${path}.subresources.scale.${field}`,
        scale[field],
        `should be a json path under ${prefix.slice(0, -1)}`,
      );
}

function validateColumn(column: JsonObject, path: string, faults: Faults): void {
  const type = asString(column["type"]);
  const jsonPath = asString(column["jsonPath"]);
  for (const [field, shown] of Object.entries({ name: "name", type: "type", jsonPath: "JSONPath" }))
    if (asString(column[field]) === "") faults.required(`${path}.${shown}`);
  if (!columnTypes.includes(type) && type !== "")
    faults.invalid(`${path}.type`, type, `must be one of ${columnTypes.join(",")}`);
  if (jsonPath !== "" && !jsonPath.startsWith("."))
    faults.invalid(`${path}.JSONPath`, jsonPath, "must be a simple json path starting with .");
}

function validateSelectable(version: JsonObject, path: string, faults: Faults): void {
  const seen = new Set<string>();
  for (const [index, field] of asObjects(version["selectableFields"]).entries()) {
    const jsonPath = asString(field["jsonPath"]);
    const place = `${path}.selectableFields[${index}].jsonPath`;
    if (seen.has(jsonPath)) faults.duplicate(place, jsonPath);
    seen.add(jsonPath);
    let schema: Json | undefined = at(version, "schema", "openAPIV3Schema");
    for (const name of jsonPath.split(".").slice(1)) schema = at(schema, "properties", name);
    if (!isObject(schema)) faults.invalid(place, jsonPath, "is an invalid path: does not refer to a valid field");
    else if (!["string", "boolean", "integer"].includes(asString(schema["type"])))
      faults.invalid(
        place,
        jsonPath,
        "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
      );
  }
}

const definition: Behaviour = {
  generation: true,
  ownChecks: ["spec.versions.schema.openAPIV3Schema"],
  ownRequired: ["name", "type", "jsonPath"].map((field) => `spec.versions.additionalPrinterColumns.${field}`),
  defaults: defaultDefinition,
  initialStatus(object) {
    const status: JsonObject = { conditions: null, acceptedNames: { plural: "", kind: "" } };
    storeVersions(object, status);
    if (status["storedVersions"] === undefined) status["storedVersions"] = null;
    return status;
  },
  prepare(object, old, context) {
    if (old !== undefined && context.subresource === "") storeVersions(object, ensureObject(object, "status"));
  },
  deletion: {
    returnsObject: true,
    isHeld: (object) => at(object, "metadata", "deletionTimestamp") === undefined,
    begin: beginDeletion,
  },
  validate: validateDefinition,
  validateUpdate(object, old, faults) {
    const established = asObjects(at(old, "status", "conditions")).some(
      (one) => one["type"] === "Established" && one["status"] === "True",
    );
    if (!established) return;
    immutable(object, old, ["spec", "scope"], faults);
    immutable(object, old, ["spec", "names", "kind"], faults);
  },
};

function beginDeletion(object: JsonObject): void {
  const metadata = ensureObject(object, "metadata");
  // As upstream: only the time is set, and the generation stays.
  delete metadata["deletionGracePeriodSeconds"];
  if (typeof metadata["generation"] === "number") metadata["generation"] -= 1;
  const finalizers = asList(metadata["finalizers"]);
  if (!finalizers.includes(cleanupFinalizer)) metadata["finalizers"] = [...finalizers, cleanupFinalizer];
  setTerminating(object, "True", {
    reason: "InstanceDeletionPending",
    message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    now: asString(metadata["deletionTimestamp"]),
  });
}

/** CustomResourceDefinitions. */
export const definitionBehaviours: BehaviourTable = { "apiextensions.k8s.io/CustomResourceDefinition": definition };
