import type { Faults } from "../../../../kernel/kinds/index.js";
import { labelFaults, labelValueFaults, subdomainFaults } from "../../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asList, asNumber, asObject, asObjects, asString, at } from "../../registry/read.js";
import { follows, neededOneOf, oneOf, oneOfIfSet, qualifiedName } from "../rules.js";
import { validateSelector } from "../selectors.js";

const effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/** Checks a list of tolerations. */
export function validateTolerations(tolerations: Json | undefined, path: string, faults: Faults): void {
  for (const [index, toleration] of asObjects(tolerations).entries())
    validateToleration(toleration, `${path}[${index}]`, faults);
}

function validateToleration(toleration: JsonObject, path: string, faults: Faults): void {
  const [key, operator, value] = [
    asString(toleration["key"]),
    asString(toleration["operator"]),
    asString(toleration["value"]),
  ];
  const effect = asString(toleration["effect"]);
  if (key !== "") qualifiedName(key, `${path}.key`, faults);
  else if (operator !== "Exists")
    faults.invalid(
      `${path}.operator`,
      operator,
      'operator must be Exists when `key` is empty, which means "match all values and all keys"',
    );
  if (toleration["tolerationSeconds"] !== undefined && effect !== "NoExecute")
    faults.invalid(`${path}.effect`, effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
  if (operator === "" || operator === "Equal") {
    const wrong = labelValueFaults(value);
    if (wrong.length > 0) faults.invalid(`${path}.operator`, value, wrong.join(";"));
  } else if (operator === "Exists") {
    if (value !== "") faults.invalid(`${path}.operator`, value, "value must be empty when `operator` is 'Exists'");
  } else oneOf(operator, ["Equal", "Exists"], `${path}.operator`, faults);
  if (effect !== "") oneOf(effect, effects, `${path}.effect`, faults);
}

/** Checks a list of a node's taints. */
export function validateTaints(taints: Json | undefined, path: string, faults: Faults): void {
  const seen = new Set<string>();
  for (const [index, taint] of asObjects(taints).entries()) {
    const place = `${path}[${index}]`;
    const [key, value, effect] = [asString(taint["key"]), asString(taint["value"]), asString(taint["effect"])];
    qualifiedName(key, `${place}.key`, faults);
    const wrong = labelValueFaults(value);
    if (wrong.length > 0) faults.invalid(`${place}.value`, value, wrong.join(";"));
    neededOneOf(effect, effects, `${place}.effect`, faults);
    if (seen.has(`${effect} ${key}`))
      faults.duplicate(
        place,
        { Key: key, Value: value, Effect: effect, TimeAdded: taint["timeAdded"] ?? null },
        "taints must be unique by key and effect pair",
      );
    seen.add(`${effect} ${key}`);
  }
}

/** Whether values are checked: those of preferences are not, as they were not from the beginning. */
function validateNodeRequirement(requirement: JsonObject, path: string, faults: Faults, looksAtValues: boolean): void {
  const operator = asString(requirement["operator"]);
  const values = asList(requirement["values"]).map(asString);
  const place = `${path}.values`;
  if (operator === "In" || operator === "NotIn") {
    if (values.length === 0) faults.required(place, "must be specified when `operator` is 'In' or 'NotIn'");
  } else if (operator === "Exists" || operator === "DoesNotExist") {
    if (values.length > 0)
      faults.forbidden(place, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
  } else if (operator === "Gt" || operator === "Lt") {
    if (values.length !== 1) faults.required(place, "must be specified single value when `operator` is 'Lt' or 'Gt'");
  } else faults.invalid(`${path}.operator`, operator, "not a valid selector operator");
  qualifiedName(requirement["key"], `${path}.key`, faults);
  if (looksAtValues)
    for (const [index, value] of values.entries()) follows(labelValueFaults, value, `${place}[${index}]`, faults);
}

function validateFieldRequirement(requirement: JsonObject, path: string, faults: Faults): void {
  const [operator, key] = [asString(requirement["operator"]), asString(requirement["key"])];
  const values = asList(requirement["values"]).map(asString);
  if (operator !== "In" && operator !== "NotIn")
    faults.invalid(`${path}.operator`, operator, "not a valid selector operator");
  else if (values.length !== 1)
    faults.required(
      `${path}.values`,
      "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
    );
  if (key !== "metadata.name") faults.invalid(`${path}.key`, key, "not a valid field selector key");
  else
    for (const [index, value] of values.entries()) follows(subdomainFaults, value, `${path}.values[${index}]`, faults);
}

function validateNodeTerm(term: JsonObject, path: string, faults: Faults, looksAtValues: boolean): void {
  for (const [index, one] of asObjects(term["matchExpressions"]).entries())
    validateNodeRequirement(one, `${path}.matchExpressions[${index}]`, faults, looksAtValues);
  for (const [index, one] of asObjects(term["matchFields"]).entries())
    validateFieldRequirement(one, `${path}.matchFields[${index}]`, faults);
}

/** Checks a node selector: terms, one of which must hold. */
export function validateNodeSelector(selector: JsonObject, path: string, faults: Faults): void {
  const terms = asObjects(selector["nodeSelectorTerms"]);
  const place = `${path}.nodeSelectorTerms`;
  if (terms.length === 0) faults.required(place, "must have at least one node selector term");
  for (const [index, term] of terms.entries()) validateNodeTerm(term, `${place}[${index}]`, faults, true);
}

const required = "requiredDuringSchedulingIgnoredDuringExecution";
const preferred = "preferredDuringSchedulingIgnoredDuringExecution";

function weight(term: JsonObject, path: string, faults: Faults): void {
  const value = asNumber(term["weight"]) ?? 0;
  if (value < 1 || value > 100) faults.invalid(`${path}.weight`, value, "must be in the range 1-100");
}

/** Checks where a pod would like to be, and where not. */
export function validateAffinity(affinity: JsonObject, path: string, faults: Faults): void {
  const node = asObject(affinity["nodeAffinity"]);
  const nodePath = `${path}.nodeAffinity`;
  if (node[required] !== undefined) validateNodeSelector(asObject(node[required]), `${nodePath}.${required}`, faults);
  for (const [index, term] of asObjects(node[preferred]).entries()) {
    const place = `${nodePath}.${preferred}[${index}]`;
    weight(term, place, faults);
    validateNodeTerm(asObject(term["preference"]), `${place}.preference`, faults, false);
  }
  for (const field of ["podAffinity", "podAntiAffinity"]) {
    const pods = asObject(affinity[field]);
    for (const [index, term] of asObjects(pods[required]).entries())
      validatePodTerm(term, `${path}.${field}.${required}[${index}]`, faults);
    for (const [index, term] of asObjects(pods[preferred]).entries()) {
      const place = `${path}.${field}.${preferred}[${index}]`;
      weight(term, place, faults);
      validatePodTerm(asObject(term["podAffinityTerm"]), `${place}.podAffinityTerm`, faults);
    }
  }
}

function validatePodTerm(term: JsonObject, path: string, faults: Faults): void {
  const selector = term["labelSelector"];
  validateSelector(selector, `${path}.labelSelector`, faults);
  validateSelector(term["namespaceSelector"], `${path}.namespaceSelector`, faults);
  for (const name of asList(term["namespaces"])) follows(labelFaults, asString(name), `${path}.namespace`, faults);
  validateLabelKeys(term, path, faults);
  const topology = asString(term["topologyKey"]);
  if (topology === "") faults.required(`${path}.topologyKey`, "can not be empty");
  qualifiedName(topology, `${path}.topologyKey`, faults);
}

/** Checks the keys whose values are taken from the pod itself. */
function validateLabelKeys(holder: JsonObject, path: string, faults: Faults): void {
  const selector = holder["labelSelector"];
  const [same, other] = [asList(holder["matchLabelKeys"]), asList(holder["mismatchLabelKeys"])];
  for (const [field, keys] of [["matchLabelKeys", same] as const, ["mismatchLabelKeys", other] as const]) {
    if (keys.length === 0) continue;
    if (selector === undefined)
      faults.forbidden(`${path}.${field}`, "must not be specified when labelSelector is not set");
    else for (const [index, key] of keys.entries()) qualifiedName(key, `${path}.${field}[${index}]`, faults);
  }
  // As upstream: the index is that of the key in its list, at the path of what holds the list.
  const selected = new Set(Object.keys(asObject(at(selector, "matchLabels"))));
  for (const expression of asObjects(at(selector, "matchExpressions"))) {
    const key = asString(expression["key"]);
    const index = same.lastIndexOf(key);
    if (index >= 0 && selected.has(key))
      faults.invalid(`${path}[${index}]`, key, "exists in both matchLabelKeys and labelSelector");
    selected.add(key);
  }
  for (const [index, key] of same.entries())
    if (other.includes(key))
      faults.invalid(`${path}.matchLabelKeys[${index}]`, key, "exists in both matchLabelKeys and mismatchLabelKeys");
}

function aboveZero(value: number, path: string, faults: Faults): void {
  if (value <= 0) faults.invalid(path, value, "must be greater than zero");
}

/** Checks how pods are spread. */
export function validateSpread(constraints: readonly JsonObject[], path: string, faults: Faults): void {
  for (const [index, constraint] of constraints.entries()) {
    const place = `${path}[${index}]`;
    const [topology, action] = [asString(constraint["topologyKey"]), asString(constraint["whenUnsatisfiable"])];
    aboveZero(asNumber(constraint["maxSkew"]) ?? 0, `${place}.maxSkew`, faults);
    if (topology === "") faults.required(`${place}.topologyKey`, "can not be empty");
    oneOf(action, ["DoNotSchedule", "ScheduleAnyway"], `${place}.whenUnsatisfiable`, faults);
    const isRepeated = constraints
      .slice(index + 1)
      .some((one) => asString(one["topologyKey"]) === topology && asString(one["whenUnsatisfiable"]) === action);
    if (isRepeated) faults.duplicate(`${place}.{topologyKey, whenUnsatisfiable}`, `{${topology}, ${action}}`);
    const domains = asNumber(constraint["minDomains"]);
    if (domains !== undefined) {
      aboveZero(domains, `${place}.minDomains`, faults);
      if (action !== "DoNotSchedule")
        faults.invalid(
          `${place}.minDomains`,
          domains,
          `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${action}`,
        );
    }
    for (const field of ["nodeAffinityPolicy", "nodeTaintsPolicy"])
      oneOfIfSet(constraint[field], ["Honor", "Ignore"], `${place}.${field}`, faults);
    validateLabelKeys({ ...constraint, mismatchLabelKeys: [] }, place, faults);
    validateSelector(constraint["labelSelector"], `${place}.labelSelector`, faults);
  }
}

/** Checks what keeps a pod from being scheduled. */
export function validateGates(gates: readonly JsonObject[], path: string, faults: Faults): void {
  const seen = new Set<string>();
  for (const [index, gate] of gates.entries()) {
    const name = asString(gate["name"]);
    qualifiedName(name, `${path}[${index}]`, faults);
    if (seen.has(name)) faults.duplicate(`${path}[${index}]`, name);
    seen.add(name);
  }
}
