import type { Faults } from "../../../kernel/kinds/index.js";
import { label1035Faults, subdomainFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import { asList, asNumber, asObject, asObjects, asString, at, ensureObject, setDefault } from "../registry/read.js";
import { validateConditions } from "./admission-policies.js";
import { validateWebhookService, validateWebhookUrl } from "./client-configs.js";
import { validateChoice, validateRule } from "./match-rules.js";
import { validateSelector } from "./selectors.js";

const reviewVersions = ["v1", "v1beta1"];

function defaultWebhook(webhook: JsonObject, mutating: boolean): void {
  setDefault(webhook, "failurePolicy", "Fail");
  setDefault(webhook, "matchPolicy", "Equivalent");
  ensureObject(webhook, "namespaceSelector");
  ensureObject(webhook, "objectSelector");
  setDefault(webhook, "timeoutSeconds", 10);
  if (mutating) setDefault(webhook, "reinvocationPolicy", "Never");
  for (const rule of asObjects(webhook["rules"])) setDefault(rule, "scope", "*");
  const service = at(webhook, "clientConfig", "service");
  if (service !== undefined) setDefault(asObject(service), "port", 443);
}

function validateWebhook(webhook: JsonObject, path: string, mutating: boolean, faults: Faults): void {
  validateName(asString(webhook["name"]), `${path}.name`, faults);
  const place = { path, faults };
  for (const [index, rule] of asObjects(webhook["rules"]).entries())
    validateRule(rule, `${path}.rules[${index}]`, faults);
  validateChoice(webhook, "failurePolicy", ["Fail", "Ignore"], place);
  validateChoice(webhook, "matchPolicy", ["Equivalent", "Exact"], place);
  if (webhook["sideEffects"] === undefined || webhook["sideEffects"] === null)
    faults.required(`${path}.sideEffects`, "must specify one of None, NoneOnDryRun");
  validateChoice(webhook, "sideEffects", ["None", "NoneOnDryRun"], place);
  const timeout = asNumber(webhook["timeoutSeconds"]);
  if (timeout !== undefined && (timeout < 1 || timeout > 30))
    faults.invalid(`${path}.timeoutSeconds`, timeout, "the timeout value must be between 1 and 30 seconds");
  for (const field of ["namespaceSelector", "objectSelector"])
    if (isObject(webhook[field])) validateSelector(webhook[field], `${path}.${field}`, faults);
  if (mutating) validateChoice(webhook, "reinvocationPolicy", ["IfNeeded", "Never"], place);
  const config = asObject(webhook["clientConfig"]);
  const hasUrl = typeof config["url"] === "string";
  if (hasUrl === isObject(config["service"]))
    faults.required(`${path}.clientConfig`, "exactly one of url or service is required");
  else if (hasUrl) validateWebhookUrl(asString(config["url"]), `${path}.clientConfig.url`, faults);
  else validateWebhookService(asObject(config["service"]), `${path}.clientConfig.service`, faults);
  validateConditions(webhook["matchConditions"], `${path}.matchConditions`, faults);
  validateReviewVersions(asList(webhook["admissionReviewVersions"]), `${path}.admissionReviewVersions`, faults);
}

function validateName(name: string, path: string, faults: Faults): void {
  const found = subdomainFaults(name);
  if (name === "") faults.required(path);
  else if (found.length > 0) faults.invalid(path, name, found.join(","));
  else if (name.split(".").length < 3)
    faults.invalid(path, name, "should be a domain with at least three segments separated by dots");
}

function validateReviewVersions(versions: readonly Json[], path: string, faults: Faults): void {
  if (versions.length === 0) {
    faults.required(path, "must specify one of v1, v1beta1");
    return;
  }
  const seen = new Set<string>();
  for (const [index, version] of versions.map(asString).entries()) {
    const place = `${path}[${index}]`;
    if (seen.has(version)) faults.invalid(place, version, "duplicate version");
    else for (const fault of label1035Faults(version)) faults.invalid(place, version, fault);
    seen.add(version);
  }
  if (!versions.some((version) => reviewVersions.includes(asString(version))))
    faults.invalid(path, [...versions], "must include at least one of v1, v1beta1");
}

const webhooks = (mutating: boolean): Behaviour => ({
  generation: true,
  needsVersion: true,
  anyFinalizers: true,
  complete: true,
  defaults(object) {
    for (const webhook of asObjects(object["webhooks"])) defaultWebhook(webhook, mutating);
  },
  validate(object, faults) {
    const names = new Set<string>();
    for (const [index, webhook] of asObjects(object["webhooks"]).entries()) {
      validateWebhook(webhook, `webhooks[${index}]`, mutating, faults);
      const name = asString(webhook["name"]);
      if (name !== "" && names.has(name)) faults.duplicate(`webhooks[${index}].name`, name);
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
