import type { Faults } from "../../../kernel/kinds/index.js";
import { label1035Faults, subdomainFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson, isObject } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { setTerminating, storeVersions } from "../registry/definition-status.js";
import { cleanupFinalizer } from "../registry/definitions.js";
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
import { validateWebhookService, validateWebhookUrl } from "./client-configs.js";
import { immutable } from "./common.js";
import { validateDefinitionSchema, whyUnstructured } from "./schema-rules.js";

const protectedGroup = /(^|\.)(k8s\.io|kubernetes\.io)$/;
const approval = "api-approved.kubernetes.io";

function defaultDefinition(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  const names = ensureObject(spec, "names");
  const kind = asString(names["kind"]);
  setDefaultText(names, "singular", kind.toLowerCase());
  if (kind !== "") setDefaultText(names, "listKind", `${kind}List`);
  if (spec["conversion"] === undefined || spec["conversion"] === null) spec["conversion"] = { strategy: "None" };
  const service = at(spec, "conversion", "webhook", "clientConfig", "service");
  if (isObject(service)) setDefault(service, "port", 443);
}

function validateDefinition(object: JsonObject, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const names = asObject(spec["names"]);
  const group = asString(spec["group"]);
  const name = asString(at(object, "metadata", "name"));
  if (name !== `${asString(names["plural"])}.${group}`)
    faults.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group');
  validateGroup(group, faults);
  const scope = asString(spec["scope"]);
  if (scope === "") faults.required("spec.scope");
  else if (scope !== "Cluster" && scope !== "Namespaced")
    faults.unsupported("spec.scope", scope, ["Cluster", "Namespaced"]);
  validateVersions(spec["versions"], faults);
  for (const field of ["plural", "singular", "kind", "listKind"])
    if (asString(names[field]) === "") faults.required(`spec.names.${field}`);
  validateNames(names, "spec.names", faults);
  validateShared(asObjects(spec["versions"]), faults);
  const strategy = at(spec, "conversion", "strategy");
  if (spec["preserveUnknownFields"] === true && strategy !== "None")
    faults.invalid("spec.conversion.strategy", strategy, "must be None if spec.preserveUnknownFields is true");
  validateConversion(asObject(spec["conversion"]), faults);
  validateNames(asObject(at(object, "status", "acceptedNames")), "status.acceptedNames", faults);
  validateStored(asObjects(spec["versions"]), asList(at(object, "status", "storedVersions")), faults);
  if (spec["preserveUnknownFields"] === true)
    faults.invalid(
      "spec.preserveUnknownFields",
      true,
      "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
    );
}

function validateGroup(group: string, faults: Faults): void {
  const groupFaults = group === "" ? [] : subdomainFaults(group);
  if (group === "") faults.required("spec.group");
  else if (groupFaults.length > 0) faults.invalid("spec.group", group, groupFaults.join(","));
  else if (!group.includes(".")) faults.invalid("spec.group", group, "should be a domain with at least one dot");
}

/** Groups of the community need a word of approval, once one of theirs is made or the word changes. */
function validateApproval(object: JsonObject, old: JsonObject | undefined, faults: Faults): void {
  if (!protectedGroup.test(asString(at(object, "spec", "group")))) return;
  const read = (of: JsonObject): string => asString(asObject(at(of, "metadata", "annotations"))[approval]);
  const state = (text: string): string =>
    text === ""
      ? "missing"
      : text.startsWith("unapproved")
        ? "bypassed"
        : /^https?:\/\/[^/]/.test(text)
          ? "approved"
          : "invalid";
  const text = read(object);
  if (old !== undefined && state(read(old)) === state(text)) return;
  const see = "see https://github.com/kubernetes/enhancements/pull/1111";
  const path = `metadata.annotations[${approval}]`;
  const must = `protected groups must have approval annotation "${approval}"`;
  if (text === "") faults.required(path, `${must}, ${see}`);
  else if (state(text) === "invalid")
    faults.invalid(path, text, `${must} with either a URL or a reason starting with "unapproved", ${see}`);
}

function validateNames(names: JsonObject, path: string, faults: Faults): void {
  const check = (value: string, place: string): void => {
    const found = label1035Faults(value);
    if (found.length > 0) faults.invalid(place, value, found.join(","));
  };
  for (const field of ["plural", "singular"]) {
    const text = asString(names[field]);
    if (text !== "") check(text, `${path}.${field}`);
  }
  for (const field of ["kind", "listKind"]) {
    const text = asString(names[field]);
    const found = text === "" ? [] : label1035Faults(text.toLowerCase());
    if (found.length > 0)
      faults.invalid(`${path}.${field}`, text, `may have mixed case, but should otherwise match: ${found.join(",")}`);
  }
  for (const [index, value] of asList(names["shortNames"]).entries())
    check(asString(value), `${path}.shortNames[${index}]`);
  if (asString(names["kind"]) !== "" && names["kind"] === names["listKind"])
    faults.invalid(`${path}.listKind`, names["listKind"], "kind and listKind may not be the same");
  for (const [index, value] of asList(names["categories"]).entries())
    check(asString(value), `${path}.categories[${index}]`);
}

/** What versions may say, each for itself; what all of them say alike upstream keeps once, above them, and reports there. */
const shared = ["schema", "subresources", "additionalPrinterColumns", "selectableFields"] as const;

function isShared(versions: readonly JsonObject[], field: (typeof shared)[number]): boolean {
  const first = versions[0]?.[field];
  return versions.every((version) => equalJson(version[field] ?? null, first ?? null));
}

const hasStatus = (version: JsonObject): boolean => isObject(at(version, "subresources", "status"));

function validateVersions(given: Json | undefined, faults: Faults): void {
  const versions = asObjects(given);
  const own = Object.fromEntries(shared.map((field) => [field, !isShared(versions, field)]));
  const lacksSchema = versions.every((version) => !isObject(at(version, "schema", "openAPIV3Schema")));
  for (const [index, version] of versions.entries())
    if ((own["schema"] === true || lacksSchema) && !isObject(at(version, "schema", "openAPIV3Schema")))
      faults.required(`spec.versions[${index}].schema.openAPIV3Schema`);
  const names = new Set<string>();
  for (const [index, version] of versions.entries()) {
    names.add(asString(version["name"]));
    validateVersion(version, `spec.versions[${index}]`, own, faults);
  }
  if (names.size < versions.length)
    faults.invalid("spec.versions", versions.map(goVersion), "must contain unique version names");
  if (versions.filter((version) => version["storage"] === true).length !== 1)
    faults.invalid(
      "spec.versions",
      given === undefined ? null : versions.map(goVersion),
      "must have exactly one version marked as storage version",
    );
  const first = asString(versions[0]?.["name"]);
  const firstFaults = first === "" ? [] : label1035Faults(first);
  if (firstFaults.length > 0) faults.invalid("spec.version", first, firstFaults.join(","));
}

/** `own`: what is reported of this version, and not of all. */
function validateVersion(
  version: JsonObject,
  path: string,
  own: Readonly<Record<string, boolean>>,
  faults: Faults,
): void {
  const name = asString(version["name"]);
  const found = label1035Faults(name);
  if (found.length > 0) faults.invalid(`${path}.name`, name, found.join(","));
  for (const fault of deprecationFaults(version))
    faults.invalid(`${path}.deprecationWarning`, version["deprecationWarning"], fault);
  if (own["schema"] === true) validateSchemaOf(version, `${path}.schema`, hasStatus(version), faults);
  if (own["subresources"] === true) validateScale(version, `${path}.subresources`, faults);
  if (own["additionalPrinterColumns"] === true) validateColumns(version, path, faults);
  if (own["selectableFields"] === true)
    validateSelectable(
      version,
      path,
      faults,
      own["schema"] === true ? undefined : "may only be set when `version.schema.openAPIV3Schema` is not included",
    );
}

/** What all versions have alike. */
function validateShared(versions: readonly JsonObject[], faults: Faults): void {
  const [version] = versions;
  if (version === undefined) return;
  const isAlike = (field: (typeof shared)[number]): boolean => isShared(versions, field);
  if (isAlike("schema")) validateSchemaOf(version, "spec.validation", versions.some(hasStatus), faults);
  if (isAlike("subresources")) validateScale(version, "spec.subresources", faults);
  if (isAlike("additionalPrinterColumns")) validateColumns(version, "spec", faults);
  if (isAlike("selectableFields"))
    validateSelectable(
      version,
      "spec",
      faults,
      isAlike("schema") ? undefined : "may only be set when validations.schema is included",
    );
}

function deprecationFaults(version: JsonObject): string[] {
  const text = version["deprecationWarning"];
  if (typeof text !== "string") return [];
  if (version["deprecated"] !== true) return ["can only be set for deprecated versions"];
  const found: string[] = [];
  if (Buffer.byteLength(text) > 256) found.push("must be <= 256 characters long");
  if (text === "") found.push("must not be an empty string");
  const odd = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.exec(text);
  if (odd !== null)
    found.push(
      `must only contain printable UTF-8 characters; non-printable character found at index ${Buffer.byteLength(text.slice(0, odd.index))}`,
    );
  return found;
}

function validateSchemaOf(version: JsonObject, path: string, status: boolean, faults: Faults): void {
  const schema = at(version, "schema", "openAPIV3Schema");
  if (isObject(schema)) validateDefinitionSchema(schema, `${path}.openAPIV3Schema`, { faults, hasStatus: status });
}

function validateStored(versions: readonly JsonObject[], stored: readonly Json[], faults: Faults): void {
  const path = "status.storedVersions";
  if (stored.length === 0) {
    faults.invalid(path, null, "must have at least one stored version");
    return;
  }
  const left = new Set(stored.map(asString));
  for (const version of versions) {
    const name = asString(version["name"]);
    // A name that comes twice is found but once.
    if (!left.delete(name) && version["storage"] === true)
      faults.invalid(path, [...stored], `must have the storage version ${name}`);
  }
  for (const [index, name] of stored.map(asString).entries())
    if (left.has(name))
      faults.invalid(
        `${path}[${index}]`,
        name,
        `missing from spec.versions; ${name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in ${name} and removes ${name} from status.storedVersions`,
      );
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

function validateScale(version: JsonObject, path: string, faults: Faults): void {
  const scale = at(version, "subresources", "scale");
  if (!isObject(scale)) return;
  const check = (field: string, roots: readonly string[], where: string): void => {
    const text = asString(scale[field]);
    const place = `${path}.scale.${field}`;
    if (text === "" && field === "labelSelectorPath") return;
    if (text === "") faults.required(place);
    else if (!text.startsWith(".")) faults.invalid(place, text, "must be a simple json path starting with .");
    else if (!roots.some((root) => text.startsWith(root)))
      faults.invalid(place, text, `should be a json path under ${where}`);
  };
  check("specReplicasPath", [".spec."], ".spec");
  check("statusReplicasPath", [".status."], ".status");
  check("labelSelectorPath", [".spec.", ".status."], "either .spec or .status");
}

const columnTypes = "boolean,date,integer,number,string";
const columnFormats = "byte,date,date-time,double,float,int32,int64,password";

function validateColumns(version: JsonObject, path: string, faults: Faults): void {
  for (const [index, column] of asObjects(version["additionalPrinterColumns"]).entries()) {
    const place = `${path}.additionalPrinterColumns[${index}]`;
    const [type, format, jsonPath] = [column["type"], column["format"], column["jsonPath"]].map(asString);
    if (asString(column["name"]) === "") faults.required(`${place}.name`);
    if (type === "") faults.required(`${place}.type`, `must be one of ${columnTypes}`);
    else if (!columnTypes.split(",").includes(type ?? ""))
      faults.invalid(`${place}.type`, type, `must be one of ${columnTypes}`);
    if (format !== "" && !columnFormats.split(",").includes(format ?? ""))
      faults.invalid(`${place}.format`, format, `must be one of ${columnFormats}`);
    if (jsonPath === "") faults.required(`${place}.JSONPath`);
    else if (jsonPath?.startsWith(".") === false)
      faults.invalid(`${place}.JSONPath`, jsonPath, "must be a simple json path starting with .");
  }
}

/** `lacking`: why there is no schema to look at. */
function validateSelectable(version: JsonObject, path: string, faults: Faults, lacking: string | undefined): void {
  const fields = asObjects(version["selectableFields"]);
  const schema = at(version, "schema", "openAPIV3Schema");
  if (fields.length === 0) return;
  if (lacking !== undefined || !isObject(schema)) {
    faults.invalid(`${path}.selectableFields`, "", lacking ?? "may only be set when validations.schema is included");
    return;
  }
  const unstructured = whyUnstructured(schema);
  if (unstructured !== undefined) faults.invalid(`${path}.schema.openAPIV3Schema`, "", unstructured);
  const seen = new Set<string>();
  for (const [index, field] of unstructured === undefined ? fields.entries() : []) {
    const jsonPath = asString(field["jsonPath"]);
    const place = `${path}.selectableFields[${index}].jsonPath`;
    if (jsonPath === "") {
      faults.required(place);
      continue;
    }
    const found = fieldAt(schema, jsonPath);
    if (typeof found === "string") {
      faults.invalid(place, jsonPath, `is an invalid path: ${found}`);
      continue;
    }
    if (jsonPath.startsWith(".metadata.") || jsonPath === ".metadata")
      faults.invalid(place, jsonPath, "must not point to fields in metadata");
    if (!["string", "boolean", "integer"].includes(asString(found["type"])))
      faults.invalid(
        place,
        jsonPath,
        "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
      );
    if (seen.has(jsonPath)) faults.duplicate(place, jsonPath);
    seen.add(jsonPath);
  }
  if (seen.size > maxSelectable) faults.tooMany(`${path}.selectableFields`, seen.size, maxSelectable);
}

const maxSelectable = 8;

/** The schema of a field, or why the path leads nowhere. */
function fieldAt(schema: JsonObject, jsonPath: string): JsonObject | string {
  const tokens = jsonPath.match(/[.[\]]|[^.[\]]+/g) ?? [];
  let found = schema;
  for (let index = 0; index < tokens.length; index += 2) {
    const sign = tokens[index] ?? "";
    const name = tokens[index + 1];
    if (sign === "[") return "array notation is not allowed";
    if (sign !== ".") return `expected [ or . but got: ${sign}`;
    if (name === undefined) return "unexpected end of JSON path";
    const child = isEmpty(found["properties"]) ? found["additionalProperties"] : asObject(found["properties"])[name];
    if (!isObject(child)) return "does not refer to a valid field";
    found = child;
  }
  return found;
}

const reviewVersions = ["v1", "v1beta1"];

function validateConversion(conversion: JsonObject, faults: Faults): void {
  const path = "spec.conversion";
  const strategy = asString(conversion["strategy"]);
  if (strategy === "") faults.required(`${path}.strategy`);
  else if (strategy !== "None" && strategy !== "Webhook")
    faults.unsupported(`${path}.strategy`, strategy, ["None", "Webhook"]);
  const config = at(conversion, "webhook", "clientConfig");
  const versions = asList(at(conversion, "webhook", "conversionReviewVersions")).map(asString);
  if (strategy !== "Webhook") {
    const why = "should not be set when strategy is not set to Webhook";
    if (isObject(config)) faults.forbidden(`${path}.webhookClientConfig`, why);
    if (versions.length > 0) faults.forbidden(`${path}.conversionReviewVersions`, why);
    return;
  }
  if (!isObject(config)) faults.required(`${path}.webhookClientConfig`, "required when strategy is set to Webhook");
  else if ((typeof config["url"] === "string") === isObject(config["service"]))
    faults.required(`${path}.webhookClientConfig`, "exactly one of url or service is required");
  else if (isObject(config["service"]))
    validateWebhookService(config["service"], `${path}.webhookClientConfig.service`, faults);
  else validateWebhookUrl(asString(config["url"]), `${path}.webhookClientConfig.url`, faults);
  validateReviewVersions(versions, `${path}.conversionReviewVersions`, faults);
}

function validateReviewVersions(versions: readonly string[], path: string, faults: Faults): void {
  if (versions.length === 0) {
    faults.required(path);
    return;
  }
  for (const [index, version] of versions.entries())
    if (versions.indexOf(version) < index) faults.invalid(`${path}[${index}]`, version, "duplicate version");
    else for (const fault of label1035Faults(version)) faults.invalid(`${path}[${index}]`, version, fault);
  if (!versions.some((version) => reviewVersions.includes(version)))
    faults.invalid(path, [...versions], `must include at least one of ${reviewVersions.join(", ")}`);
}

const definition: Behaviour = {
  anyFinalizers: true,
  resets: { status: [["metadata"], ["spec"]] },
  generation: true,
  complete: true,
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
  validateCreate: (object, faults) => validateApproval(object, undefined, faults),
  validateUpdate(object, old, faults) {
    validateApproval(object, old, faults);
    immutable(object, old, ["spec", "group"], faults);
    immutable(object, old, ["spec", "names", "plural"], faults);
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
