import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, stringsAt } from "../fields.js";
import type { AuthorizationAttributes } from "../types.js";

/** rbac/v1 PolicyRule with every list present. */
export interface Rule {
  readonly verbs: readonly string[];
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames: readonly string[];
  readonly nonResourceURLs: readonly string[];
}

/** The rules of a Role or ClusterRole as stored. */
export function rulesOf(role: JsonObject): Rule[] {
  const { rules } = role;
  if (!Array.isArray(rules)) return [];
  return rules.filter(isObject).map((rule) => ({
    verbs: stringsAt(rule, "verbs"),
    apiGroups: stringsAt(rule, "apiGroups"),
    resources: stringsAt(rule, "resources"),
    resourceNames: stringsAt(rule, "resourceNames"),
    nonResourceURLs: stringsAt(rule, "nonResourceURLs"),
  }));
}

/** Whether one rule allows the request. */
export function ruleAllows(rule: Rule, attributes: AuthorizationAttributes): boolean {
  if (!has(rule.verbs, attributes.verb)) return false;
  const path = attributes.nonResourcePath;
  if (path !== undefined) return rule.nonResourceURLs.some((pattern) => urlCovers(pattern, path));
  return (
    has(rule.apiGroups, attributes.group) &&
    resourceCovers(rule.resources, attributes.resource, attributes.subresource) &&
    (rule.resourceNames.length === 0 || rule.resourceNames.includes(attributes.name))
  );
}

/** What of `wanted` is not within `held`: single rights, put together where only the verb differs. */
export function missingRules(held: readonly Rule[], wanted: readonly Rule[]): Rule[] {
  const missing = wanted.flatMap(breakDown).filter((right) => !held.some((rule) => covers(rule, right)));
  return compact(missing);
}

/** One line for messages: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`. */
export function describeRule(rule: Rule): string {
  const parts: [string, readonly string[]][] = [
    ["APIGroups", rule.apiGroups],
    ["Resources", rule.resources],
    ["NonResourceURLs", rule.nonResourceURLs],
    ["ResourceNames", rule.resourceNames],
    ["Verbs", rule.verbs],
  ];
  const shown = parts
    .filter(([, values]) => values.length > 0)
    .map(([label, values]) => `${label}:${quoteList(values)}`);
  return `{${shown.join(", ")}}`;
}

/** `["a" "b"]`, as Go prints quoted lists. */
export function quoteList(values: readonly string[]): string {
  return `[${values.map((value) => JSON.stringify(value)).join(" ")}]`;
}

/** Rules that differ in nothing but verbs, put together. */
export function compact(rules: readonly Rule[]): Rule[] {
  const simple = new Map<string, { rule: Rule; verbs: string[] }>();
  const rest: Rule[] = [];
  for (const rule of rules) {
    const isSimple =
      rule.resources.length === 1 &&
      rule.apiGroups.length === 1 &&
      rule.resourceNames.length <= 1 &&
      rule.nonResourceURLs.length === 0;
    if (!isSimple) {
      rest.push(rule);
      continue;
    }
    const id = JSON.stringify([rule.apiGroups, rule.resources, rule.resourceNames]);
    const known = simple.get(id);
    if (known === undefined) simple.set(id, { rule, verbs: [...rule.verbs] });
    else known.verbs.push(...rule.verbs.filter((verb) => !known.verbs.includes(verb)));
  }
  return [...rest, ...[...simple.values()].map(({ rule, verbs }) => ({ ...rule, verbs }))];
}

function has(values: readonly string[], wanted: string): boolean {
  return values.includes("*") || values.includes(wanted);
}

function urlCovers(pattern: string, path: string): boolean {
  if (pattern === "*" || pattern === path) return true;
  return pattern.endsWith("*") && path.startsWith(pattern.slice(0, -1));
}

function resourceCovers(patterns: readonly string[], resource: string, subresource: string): boolean {
  if (patterns.includes("*")) return true;
  if (subresource === "") return patterns.includes(resource);
  return patterns.includes(`${resource}/${subresource}`) || patterns.includes(`*/${subresource}`);
}

/** Single rights: one group, resource, name and verb each. */
function breakDown(rule: Rule): Rule[] {
  const empty = { apiGroups: [], resources: [], resourceNames: [], nonResourceURLs: [] };
  const names: readonly (readonly string[])[] =
    rule.resourceNames.length === 0 ? [[]] : rule.resourceNames.map((name) => [name]);
  const rights: Rule[] = [];
  for (const group of rule.apiGroups)
    for (const resource of rule.resources)
      for (const resourceNames of names)
        for (const verb of rule.verbs)
          rights.push({ ...empty, apiGroups: [group], resources: [resource], resourceNames, verbs: [verb] });
  for (const url of rule.nonResourceURLs)
    for (const verb of rule.verbs) rights.push({ ...empty, nonResourceURLs: [url], verbs: [verb] });
  return rights;
}

function covers(held: Rule, right: Rule): boolean {
  const verb = right.verbs[0] ?? "";
  if (!has(held.verbs, verb)) return false;
  const url = right.nonResourceURLs[0];
  if (url !== undefined) return held.nonResourceURLs.some((pattern) => urlCovers(pattern, url));
  const [resource = "", subresource = ""] = (right.resources[0] ?? "").split("/");
  const isNamed =
    held.resourceNames.length === 0 || right.resourceNames.some((name) => held.resourceNames.includes(name));
  return (
    has(held.apiGroups, right.apiGroups[0] ?? "") && isNamed && resourceCovers(held.resources, resource, subresource)
  );
}
