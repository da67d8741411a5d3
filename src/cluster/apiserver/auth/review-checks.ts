import type { StatusCause } from "../../../kernel/errors/index.js";
import { qualifiedNameFaults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asObjects } from "../../../kernel/schema/index.js";
import { isObject, objectAt, stringAt, stringsAt } from "../fields.js";

/** What is wrong with a question of a SubjectAccessReview, in upstream's order. `withUser`: it says about whom. */
export function checkQuestion(spec: JsonObject, withUser: boolean): StatusCause[] {
  const causes = [...checkForms(spec)];
  if (withUser && stringAt(spec, "user") === "" && stringsAt(spec, "groups").length === 0)
    causes.push(invalid("spec.user", `"": at least one of user or group must be specified`));
  for (const name of ["fieldSelector", "labelSelector"] as const) {
    const selector = objectAt(spec, "resourceAttributes")[name];
    if (isObject(selector)) causes.push(...checkSelector(selector, `spec.resourceAttributes.${name}`, name));
  }
  return causes;
}

/** The additional rules of LocalSubjectAccessReview: the question is about the namespace of the path. */
export function checkLocalQuestion(object: JsonObject, namespace: string): StatusCause[] {
  const spec = objectAt(object, "spec");
  const path = spec["nonResourceAttributes"];
  const causes = [...checkQuestion(spec, true), ...checkEmptyMetadata(object, true)];
  const asked = stringAt(objectAt(spec, "resourceAttributes"), "namespace");
  if (isObject(spec["resourceAttributes"]) && asked !== namespace)
    causes.push(
      invalid("spec.resourceAttributes.namespace", `${JSON.stringify(asked)}: must match metadata.namespace`),
    );
  if (isObject(path))
    causes.push(invalid("spec.nonResourceAttributes", `${shownPath(path)}: disallowed on this kind of request`));
  return causes;
}

/** A question has no metadata, but for its namespace and for who wrote it. */
export function checkEmptyMetadata(object: JsonObject, hasNamespace: boolean): StatusCause[] {
  const metadata = objectAt(object, "metadata");
  const others = Object.keys(metadata).filter(
    (key) => key !== "managedFields" && !(hasNamespace && key === "namespace"),
  );
  if (others.length === 0) return [];
  const why = hasNamespace ? "must be empty except for namespace" : "must be empty";
  return [invalid("metadata", `${JSON.stringify(metadata)}: ${why}`)];
}

/** Selectors that are valid and cannot be used all the same: they are left out of the question. */
export function unusableSelectors(spec: JsonObject): string[] {
  return ["fieldSelector", "labelSelector"].flatMap((name) => {
    const requirements = asObjects(objectAt(objectAt(spec, "resourceAttributes"), name)["requirements"]);
    const unusable = requirements.filter((one) => !operators.has(stringAt(one, "operator")));
    if (unusable.length === 0) return [];
    const how = unusable.length === requirements.length ? "ignored" : "partially ignored";
    return [`spec.resourceAttributes.${name} ${how} due to parse error`];
  });
}

/** A field selector's equality terms as a query would have them. */
export function fieldSelectorOf(spec: JsonObject): string | undefined {
  const selector = objectAt(objectAt(spec, "resourceAttributes"), "fieldSelector");
  const raw = stringAt(selector, "rawSelector");
  if (raw !== "") return raw;
  const terms = asObjects(selector["requirements"]).flatMap((one) => {
    const values = stringsAt(one, "values");
    return stringAt(one, "operator") === "In" && values.length === 1 ? [`${stringAt(one, "key")}=${values[0]}`] : [];
  });
  return terms.length === 0 ? undefined : terms.join(",");
}

const operators = new Set(["In", "NotIn", "Exists", "DoesNotExist"]);

function checkForms(spec: JsonObject): StatusCause[] {
  const [resource, path] = [spec["resourceAttributes"], spec["nonResourceAttributes"]];
  if (isObject(resource) && isObject(path))
    return [
      invalid(
        "spec.nonResourceAttributes",
        `${shownPath(path)}: cannot be specified in combination with resourceAttributes`,
      ),
    ];
  if (isObject(resource) || isObject(path)) return [];
  const why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
  return [invalid("spec.resourceAttributes", `null: ${why}`)];
}

function checkSelector(selector: JsonObject, field: string, name: "fieldSelector" | "labelSelector"): StatusCause[] {
  const raw = stringAt(selector, "rawSelector");
  const requirements = asObjects(selector["requirements"]);
  if (raw !== "" && requirements.length > 0)
    return [
      invalid(`${field}.rawSelector`, `${JSON.stringify(raw)}: may not specified at the same time as requirements`),
    ];
  if (raw === "" && requirements.length === 0)
    return [required(`${field}.requirements`, `when ${field} is specified, requirements or rawSelector is required`)];
  return requirements.flatMap((one, index) => checkRequirement(one, `${field}.requirements[${index}]`, name));
}

function checkRequirement(requirement: JsonObject, field: string, name: "fieldSelector" | "labelSelector") {
  const causes: StatusCause[] = [];
  const [key, operator] = [stringAt(requirement, "key"), stringAt(requirement, "operator")];
  const count = stringsAt(requirement, "values").length;
  if (name === "fieldSelector" && key === "") causes.push(required(`${field}.key`, "must be specified"));
  if ((operator === "In" || operator === "NotIn") && count === 0)
    causes.push(required(`${field}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
  if ((operator === "Exists" || operator === "DoesNotExist") && count > 0)
    causes.push({
      reason: "FieldValueForbidden",
      message: "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
      field: `${field}.values`,
    });
  if (name === "labelSelector")
    for (const fault of qualifiedNameFaults(key))
      causes.push(invalid(`${field}.key`, `${JSON.stringify(key)}: ${fault}`));
  return causes;
}

function shownPath(path: JsonObject): string {
  return JSON.stringify({ Path: stringAt(path, "path"), Verb: stringAt(path, "verb") });
}

function invalid(field: string, text: string): StatusCause {
  return { reason: "FieldValueInvalid", message: `Invalid value: ${text}`, field };
}

function required(field: string, text: string): StatusCause {
  return { reason: "FieldValueRequired", message: `Required value: ${text}`, field };
}
