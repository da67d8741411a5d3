import { addQuantities, type Quantity, tryParseQuantity, zeroQuantity } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, objectAt, stringAt, stringsAt } from "../fields.js";
import { listPrefix } from "../store/keys.js";
import type { Store } from "../types.js";
import { type Amounts, addTo, amountsIn, containersIn, podAmounts, resourcesOf } from "./quantities.js";

/** A resource by its coordinates. */
export interface Resource {
  readonly group: string;
  readonly plural: string;
}

const one = tryParseQuantity("1") ?? zeroQuantity;
/** Names without `count/` that count objects of the core group. */
const counted = new Set([
  "configmaps",
  "persistentvolumeclaims",
  "replicationcontrollers",
  "resourcequotas",
  "secrets",
  "services",
]);
const computeNames = /^(requests|limits)\.|^(cpu|memory|ephemeral-storage|pods)$/;

/** The resource whose objects a quota's name is about; `undefined` for names that mean nothing. */
export function resourceOf(name: string): Resource | undefined {
  if (name.startsWith("count/")) {
    const [plural = "", ...group] = name.slice(6).split(".");
    return { group: group.join("."), plural };
  }
  if (name === "requests.storage" || name.includes(".storageclass.storage.k8s.io/"))
    return { group: "", plural: "persistentvolumeclaims" };
  if (name.startsWith("services.")) return { group: "", plural: "services" };
  if (counted.has(name)) return { group: "", plural: name };
  return computeNames.test(name) ? { group: "", plural: "pods" } : undefined;
}

/** What one object takes of quotas. */
export function usageOf({ group, plural }: Resource, object: JsonObject): Amounts {
  const label = group === "" ? plural : `${plural}.${group}`;
  const usage: Amounts = new Map([[`count/${label}`, one]]);
  if (group !== "") return usage;
  if (counted.has(plural)) usage.set(plural, one);
  if (plural === "pods") addTo(usage, podUsage(object));
  if (plural === "services") addTo(usage, serviceUsage(object));
  if (plural === "persistentvolumeclaims") addTo(usage, claimUsage(object));
  return usage;
}

interface ScopeTerm {
  readonly scopeName: string;
  readonly operator: string;
  readonly values: readonly string[];
}

/** Whether a pod, say, falls under a quota's scopes; quotas with scopes are about pods only. */
export function inScope(quota: JsonObject, { plural }: Resource, object: JsonObject): boolean {
  const spec = objectAt(quota, "spec");
  const selector = objectAt(spec, "scopeSelector")["matchExpressions"];
  const terms: ScopeTerm[] = [
    ...stringsAt(spec, "scopes").map((scopeName) => ({ scopeName, operator: "Exists", values: [] })),
    ...(Array.isArray(selector) ? selector.filter(isObject) : []).map((term) => ({
      scopeName: stringAt(term, "scopeName"),
      operator: stringAt(term, "operator"),
      values: stringsAt(term, "values"),
    })),
  ];
  if (terms.length === 0) return true;
  return plural === "pods" && terms.every((term) => scopeHolds(term, object));
}

/** Compute resources of a quota that a new pod's containers must speak of, and those that do not: `requests.cpu for: main`. */
export function unspecified(names: readonly string[], pod: JsonObject): string[] {
  const spec = objectAt(pod, "spec");
  const containers = [...containersIn(spec, "containers"), ...containersIn(spec, "initContainers")];
  return names.toSorted().flatMap((name) => {
    const [, what = "requests", resource = name] = /^(requests|limits)\.(.+)$/.exec(name) ?? [];
    if (!["cpu", "memory", "ephemeral-storage"].includes(resource) || resource === "ephemeral-storage") return [];
    const list = what === "limits" ? "limits" : "requests";
    if (resourcesOf(spec, list).has(resource)) return [];
    const silent = containers.filter((container) => !resourcesOf(container, list).has(resource));
    return silent.length === 0
      ? []
      : [`${name} for: ${silent.map((container) => stringAt(container, "name")).join(",")}`];
  });
}

/** What is used of a quota's hard limits, from the objects that are there. */
export function countUsage(store: Store, quota: JsonObject, namespace: string): Amounts {
  const names = Object.keys(objectAt(objectAt(quota, "spec"), "hard"));
  const used: Amounts = new Map();
  const resources = new Map(names.flatMap((name) => withId(resourceOf(name))));
  for (const resource of resources.values())
    for (const { value } of store.list(listPrefix(resource, namespace)).items)
      if (inScope(quota, resource, value)) addTo(used, usageOf(resource, value));
  return new Map(names.map((name) => [name, used.get(name) ?? zeroQuantity]));
}

/** With a key for maps. */
export function withId(resource: Resource | undefined): [string, Resource][] {
  return resource === undefined ? [] : [[`${resource.group}/${resource.plural}`, resource]];
}

function podUsage(pod: JsonObject): Amounts {
  const phase = stringAt(objectAt(pod, "status"), "phase");
  if (phase === "Succeeded" || phase === "Failed") return new Map();
  const spec = objectAt(pod, "spec");
  const usage: Amounts = new Map([["pods", one]]);
  const requests = podAmounts(spec, "requests");
  for (const [name, quantity] of requests) {
    usage.set(`requests.${name}`, quantity);
    if (["cpu", "memory", "ephemeral-storage"].includes(name)) usage.set(name, quantity);
  }
  for (const [name, quantity] of podAmounts(spec, "limits")) usage.set(`limits.${name}`, quantity);
  return usage;
}

function serviceUsage(service: JsonObject): Amounts {
  const spec = objectAt(service, "spec");
  const type = stringAt(spec, "type");
  const ports = Array.isArray(spec["ports"]) ? spec["ports"].length : 0;
  const usage: Amounts = new Map();
  if (type === "LoadBalancer") usage.set("services.loadbalancers", one);
  const hasNodePorts =
    type === "NodePort" || (type === "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] !== false);
  if (hasNodePorts) usage.set("services.nodeports", times(ports));
  return usage;
}

function claimUsage(claim: JsonObject): Amounts {
  const spec = objectAt(claim, "spec");
  const storage = resourcesOf(spec, "requests").get("storage");
  const usage: Amounts = new Map();
  const storageClass = stringAt(spec, "storageClassName");
  const prefix = `${storageClass}.storageclass.storage.k8s.io/`;
  if (storage !== undefined) usage.set("requests.storage", storage);
  if (storageClass === "") return usage;
  usage.set(`${prefix}persistentvolumeclaims`, one);
  if (storage !== undefined) usage.set(`${prefix}requests.storage`, storage);
  return usage;
}

function times(count: number): Quantity {
  let sum = zeroQuantity;
  for (let index = 0; index < count; index++) sum = addQuantities(sum, one);
  return sum;
}

function scopeHolds(term: ScopeTerm, pod: JsonObject): boolean {
  const spec = objectAt(pod, "spec");
  const deadline = spec["activeDeadlineSeconds"];
  switch (term.scopeName) {
    case "BestEffort":
      return isBestEffort(spec);
    case "NotBestEffort":
      return !isBestEffort(spec);
    case "Terminating":
      return typeof deadline === "number";
    case "NotTerminating":
      return typeof deadline !== "number";
    case "PriorityClass":
      return priorityHolds(term, stringAt(spec, "priorityClassName"));
    default:
      return false;
  }
}

function priorityHolds({ operator, values }: ScopeTerm, name: string): boolean {
  switch (operator) {
    case "In":
      return values.includes(name);
    case "NotIn":
      return !values.includes(name);
    case "Exists":
      return name !== "";
    default:
      return name === "";
  }
}

function isBestEffort(spec: JsonObject): boolean {
  const holders = [spec, ...containersIn(spec, "containers"), ...containersIn(spec, "initContainers")];
  return holders.every((holder) =>
    (["requests", "limits"] as const).every((what) =>
      [...amountsIn(objectAt(objectAt(holder, "resources"), what))].every(
        ([name, { nanos }]) => !["cpu", "memory"].includes(name) || nanos === 0n,
      ),
    ),
  );
}
