import type { Faults } from "../../../kernel/kinds/index.js";
import { pathSegmentFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asList, asObject, asObjects, asString } from "../registry/read.js";
import { validateSelector } from "./selectors.js";

const operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const scopes = ["*", "Cluster", "Namespaced"];

const isGiven = (value: Json | undefined): boolean => value !== undefined && value !== null;

/** Faults of a rule that says which requests are meant: of webhooks and of policies. */
export function validateRule(rule: JsonObject, path: string, faults: Faults): void {
  const texts = (field: string): string[] => asList(rule[field]).map(asString);
  checkTexts(texts("operations"), `${path}.operations`, "operations", faults);
  for (const [index, operation] of texts("operations").entries())
    if (!operations.includes(operation)) faults.unsupported(`${path}.operations[${index}]`, operation, operations);
  checkTexts(texts("apiGroups"), `${path}.apiGroups`, "API groups", faults);
  checkTexts(texts("apiVersions"), `${path}.apiVersions`, "API versions", faults);
  for (const [index, version] of texts("apiVersions").entries())
    if (version === "") faults.required(`${path}.apiVersions[${index}]`);
  checkResources(texts("resources"), `${path}.resources`, faults);
  if (isGiven(rule["scope"]) && !scopes.includes(asString(rule["scope"])))
    faults.unsupported(`${path}.scope`, rule["scope"], scopes);
}

function checkTexts(values: readonly string[], path: string, what: string, faults: Faults): void {
  if (values.length === 0) faults.required(path);
  if (values.length > 1 && values.includes("*"))
    faults.invalid(path, [...values], `if '*' is present, must not specify other ${what}`);
}

function checkResources(resources: readonly string[], path: string, faults: Faults): void {
  if (resources.length === 0) faults.required(path);
  const withAllSubresources = new Set<string>();
  const ofAllResources = new Set<string>();
  let isLastPlain = false;
  for (const [index, text] of resources.entries()) {
    if (text === "") {
      faults.required(`${path}[${index}]`);
      continue;
    }
    const slash = text.indexOf("/");
    if (slash < 0) {
      isLastPlain = text !== "*";
      continue;
    }
    const [resource, subresource] = [text.slice(0, slash), text.slice(slash + 1)];
    const place = `${path}[${index}]`;
    if (withAllSubresources.has(resource))
      faults.invalid(place, text, `if '${resource}/*' is present, must not specify ${text}`);
    if (ofAllResources.has(subresource))
      faults.invalid(place, text, `if '*/${subresource}' is present, must not specify ${text}`);
    if (subresource === "*") withAllSubresources.add(resource);
    if (resource === "*") ofAllResources.add(subresource);
  }
  if (resources.length > 1 && resources.includes("*/*"))
    faults.invalid(path, [...resources], "if '*/*' is present, must not specify other resources");
  if (resources.includes("*") && isLastPlain)
    faults.invalid(path, [...resources], "if '*' is present, must not specify other resources without subresources");
}

/** Faults of what a policy, or its binding, is about. */
export function validateMatchResources(match: JsonObject, path: string, faults: Faults): void {
  validateChoice(match, "matchPolicy", ["Equivalent", "Exact"], { path, faults });
  for (const field of ["namespaceSelector", "objectSelector"])
    if (!isGiven(match[field])) faults.required(`${path}.${field}`);
    else validateSelector(asObject(match[field]), `${path}.${field}`, faults);
  for (const field of ["resourceRules", "excludeResourceRules"])
    for (const [index, rule] of asObjects(match[field]).entries())
      checkNamedRule(rule, `${path}.${field}[${index}]`, faults);
}

function checkNamedRule(rule: JsonObject, path: string, faults: Faults): void {
  const names = asList(rule["resourceNames"]).map(asString);
  for (const [index, name] of names.entries()) {
    for (const fault of pathSegmentFaults(name)) faults.invalid(`${path}.resourceNames[${index}]`, name, fault);
    if (names.indexOf(name) < index) faults.duplicate(`${path}.resourceNames[${index}]`, name);
  }
  validateRule(rule, path, faults);
}

/** A field that holds one of some words. */
export function validateChoice(
  object: JsonObject,
  field: string,
  choices: readonly string[],
  { path, faults }: { readonly path: string; readonly faults: Faults },
): void {
  const value = object[field];
  if (isGiven(value) && !choices.includes(asString(value))) faults.unsupported(`${path}.${field}`, value, choices);
}
