import type { LabelSelector } from "kubernetes-types/meta/v1.js";
import { labelSelectorMatches } from "../../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { isObject, objectAt, stringAt, stringsAt } from "../../fields.js";
import { listPrefix, objectKey } from "../../store/keys.js";
import type { AdmissionRequest, Store } from "../../types.js";

/** One webhook of a configuration. */
export interface Webhook {
  readonly name: string;
  /** `<configuration>/<webhook>`. */
  readonly id: string;
  readonly spec: JsonObject;
}

export type WebhookKind = "mutatingwebhookconfigurations" | "validatingwebhookconfigurations";

const group = "admissionregistration.k8s.io";

/** The webhooks of all configurations, by the names of these, then in their order. */
export function webhooksOf(store: Store, kind: WebhookKind): Webhook[] {
  return store.list(listPrefix({ group, plural: kind }, "")).items.flatMap(({ value }) => {
    const owner = stringAt(objectAt(value, "metadata"), "name");
    const { webhooks } = value;
    if (!Array.isArray(webhooks)) return [];
    return webhooks.filter(isObject).map((spec) => {
      const name = stringAt(spec, "name");
      return { name, id: `${owner}/${name}`, spec };
    });
  });
}

/** Whether a webhook is to be asked about a request. */
export function matches(store: Store, { spec }: Webhook, request: AdmissionRequest): boolean {
  // Otherwise a webhook could keep itself from being removed.
  if (request.type.group === group) return false;
  const { rules } = spec;
  const isRuled = Array.isArray(rules) && rules.filter(isObject).some((rule) => ruleMatches(rule, spec, request));
  return isRuled && namespaceMatches(store, spec, request) && objectMatches(spec, request);
}

/** Whether a policy's (or binding's) match resources select a request; without rules of its own every resource counts. */
export function resourcesMatch(store: Store, spec: JsonObject, request: AdmissionRequest): boolean {
  if (request.type.group === group) return false;
  const matchesAny = (field: string): boolean | undefined => {
    const rules = spec[field];
    if (!Array.isArray(rules) || rules.length === 0) return undefined;
    return rules.filter(isObject).some((rule) => ruleMatches(rule, spec, request) && nameMatches(rule, request));
  };
  if (matchesAny("excludeResourceRules") === true || matchesAny("resourceRules") === false) return false;
  return namespaceMatches(store, spec, request) && objectMatches(spec, request);
}

function nameMatches(rule: JsonObject, { name }: AdmissionRequest): boolean {
  const names = stringsAt(rule, "resourceNames");
  return names.length === 0 || names.includes(name);
}

function ruleMatches(rule: JsonObject, spec: JsonObject, { type, operation, subresource }: AdmissionRequest): boolean {
  const scope = stringAt(rule, "scope");
  const isInScope = scope === "" || scope === "*" || (scope === "Namespaced") === type.namespaced;
  // Equivalent (the default): an object counts whichever of its versions is written.
  const isExact = stringAt(spec, "matchPolicy") === "Exact";
  return (
    isInScope &&
    has(rule, "operations", operation) &&
    has(rule, "apiGroups", type.group) &&
    (!isExact || has(rule, "apiVersions", type.version)) &&
    stringsAt(rule, "resources").some((pattern) => resourceMatches(pattern, type.plural, subresource))
  );
}

function has(rule: JsonObject, field: string, value: string): boolean {
  const values = stringsAt(rule, field);
  return values.includes("*") || values.includes(value);
}

/** `*` are all resources without subresources, `* / *` all, `pods/*` pods with all of theirs. */
function resourceMatches(pattern: string, plural: string, subresource: string): boolean {
  const [resource = "", sub = ""] = pattern.split("/");
  if (resource !== "*" && resource !== plural) return false;
  if (sub === "*") return true;
  return sub === subresource;
}

function namespaceMatches(store: Store, spec: JsonObject, request: AdmissionRequest): boolean {
  const selector = selectorAt(spec, "namespaceSelector");
  if (selector === undefined) return true;
  const { type, namespace, name } = request;
  const isNamespace = type.group === "" && type.plural === "namespaces";
  if (!type.namespaced && !isNamespace) return true;
  const about = isNamespace ? name : namespace;
  const given = isNamespace ? (request.object ?? request.old) : undefined;
  const found = given ?? store.get(objectKey({ group: "", plural: "namespaces" }, "", about))?.value;
  return labelSelectorMatches(selector, labelsOf(found));
}

function objectMatches(spec: JsonObject, { object, old }: AdmissionRequest): boolean {
  const selector = selectorAt(spec, "objectSelector");
  if (selector === undefined) return true;
  return [object, old].some((state) => state !== undefined && labelSelectorMatches(selector, labelsOf(state)));
}

/** Labels of an object. */
export function labelsOf(object: JsonObject | undefined): Record<string, string> {
  const labels = object === undefined ? {} : objectAt(objectAt(object, "metadata"), "labels");
  return Object.fromEntries(Object.keys(labels).map((key) => [key, stringAt(labels, key)]));
}

/** A selector that selects by something; an empty one selects everything. */
export function selectorAt(spec: JsonObject, field: string): LabelSelector | undefined {
  const selector = spec[field];
  if (!isObject(selector)) return undefined;
  const labels = objectAt(selector, "matchLabels");
  const expressions = selector["matchExpressions"];
  const matchExpressions = (Array.isArray(expressions) ? expressions.filter(isObject) : []).map((expression) => ({
    key: stringAt(expression, "key"),
    operator: stringAt(expression, "operator"),
    values: stringsAt(expression, "values"),
  }));
  const matchLabels = Object.fromEntries(Object.keys(labels).map((key) => [key, stringAt(labels, key)]));
  return { matchLabels, matchExpressions };
}
