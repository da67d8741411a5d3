import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { label1035Faults, qualifiedNameFaults } from "../registry/names.js";
import {
  asList,
  asNumber,
  asObject,
  asObjects,
  asString,
  at,
  ensureObject,
  isEmpty,
  setDefault,
  setDefaultText,
} from "../registry/read.js";
import { validateConditions } from "./admission-policies.js";

const operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const reviewVersions = ["v1", "v1beta1"];

function defaultWebhook(webhook: JsonObject, mutating: boolean): void {
  setDefaultText(webhook, "failurePolicy", "Fail");
  setDefaultText(webhook, "matchPolicy", "Equivalent");
  ensureObject(webhook, "namespaceSelector");
  ensureObject(webhook, "objectSelector");
  setDefault(webhook, "timeoutSeconds", 10);
  if (mutating) setDefaultText(webhook, "reinvocationPolicy", "Never");
  for (const rule of asObjects(webhook["rules"])) setDefaultText(rule, "scope", "*");
  const service = at(webhook, "clientConfig", "service");
  if (service !== undefined) setDefault(asObject(service), "port", 443);
}

function validateWebhook(webhook: JsonObject, path: string, faults: Faults): void {
  const name = asString(webhook["name"]);
  for (const fault of name === "" ? [] : qualifiedNameFaults(name)) faults.invalid(`${path}.name`, name, fault);
  if (name !== "" && name.split(".").length < 3)
    faults.invalid(`${path}.name`, name, "should be a domain with at least three segments separated by dots");
  const side = asString(webhook["sideEffects"]);
  if (side === "") faults.required(`${path}.sideEffects`, "must specify one of None, NoneOnDryRun");
  else if (side !== "None" && side !== "NoneOnDryRun")
    faults.unsupported(`${path}.sideEffects`, side, ["None", "NoneOnDryRun"]);
  const timeout = asNumber(webhook["timeoutSeconds"]);
  if (timeout !== undefined && (timeout < 1 || timeout > 30))
    faults.invalid(`${path}.timeoutSeconds`, timeout, "the timeout value must be between 1 and 30 seconds");
  const config = asObject(webhook["clientConfig"]);
  if ((config["url"] === undefined) === (config["service"] === undefined))
    faults.required(`${path}.clientConfig`, "exactly one of url or service is required");
  validateReviewVersions(asList(webhook["admissionReviewVersions"]), `${path}.admissionReviewVersions`, faults);
  for (const [index, rule] of asObjects(webhook["rules"]).entries())
    validateRule(rule, `${path}.rules[${index}]`, faults);
  validateConditions(webhook["matchConditions"], `${path}.matchConditions`, faults);
}

function validateReviewVersions(versions: readonly Json[], path: string, faults: Faults): void {
  if (versions.length === 0) faults.required(path, "must specify one of v1, v1beta1");
  else if (!versions.some((version) => reviewVersions.includes(asString(version))))
    faults.invalid(path, [...versions], "must include at least one of v1, v1beta1");
  const seen = new Set<string>();
  for (const [index, version] of versions.map(asString).entries()) {
    const place = `${path}[${index}]`;
    if (seen.has(version)) faults.invalid(place, version, "duplicate version");
    else for (const fault of label1035Faults(version)) faults.invalid(place, version, fault);
    seen.add(version);
  }
}

function validateRule(rule: JsonObject, path: string, faults: Faults): void {
  for (const field of ["operations", "apiGroups", "apiVersions", "resources"]) {
    if (isEmpty(rule[field])) faults.required(`${path}.${field}`);
    else if (asList(rule[field]).includes("*") && asList(rule[field]).length > 1 && field !== "resources")
      faults.invalid(
        `${path}.${field}`,
        rule[field],
        `if '*' is present, must not specify other ${field === "operations" ? "operations" : field === "apiGroups" ? "API groups" : "API versions"}`,
      );
  }
  for (const [index, operation] of asList(rule["operations"]).entries())
    if (!operations.includes(asString(operation)))
      faults.unsupported(`${path}.operations[${index}]`, operation, operations);
}

const webhooks = (mutating: boolean): Behaviour => ({
  generation: true,
  needsVersion: true,
  ownChecks: ["webhooks.rules.operations", "webhooks.sideEffects"],
  ownRequired: ["webhooks.sideEffects"],
  defaults(object) {
    for (const webhook of asObjects(object["webhooks"])) defaultWebhook(webhook, mutating);
  },
  validate(object, faults) {
    const names = new Set<string>();
    for (const [index, webhook] of asObjects(object["webhooks"]).entries()) {
      validateWebhook(webhook, `webhooks[${index}]`, faults);
      const reinvocation = webhook["reinvocationPolicy"];
      if (mutating && reinvocation !== undefined && reinvocation !== "Never" && reinvocation !== "IfNeeded")
        faults.unsupported(`webhooks[${index}].reinvocationPolicy`, reinvocation, ["IfNeeded", "Never"]);
      const name = asString(webhook["name"]);
      if (names.has(name)) faults.duplicate(`webhooks[${index}].name`, name);
      names.add(name);
    }
  },
  columns: [column("Webhooks", (object) => asList(object["webhooks"]).length, { type: "integer" })],
});

/** Configurations of admission webhooks. */
export const webhookBehaviours: BehaviourTable = {
  "admissionregistration.k8s.io/MutatingWebhookConfiguration": webhooks(true),
  "admissionregistration.k8s.io/ValidatingWebhookConfiguration": webhooks(false),
};
