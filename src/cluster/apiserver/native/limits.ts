import { compareQuantities, type Quantity, quantityToNumber, tryParseQuantity } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { qualifiedNameFaults } from "../registry/names.js";
import { asObject, asObjects, asString, at } from "../registry/read.js";

/** What bounds a namespace: LimitRange and ResourceQuota. */

const standardLimitTypes = ["Container", "PersistentVolumeClaim", "Pod"];

const limitRange: Behaviour = {
  createsOnUpdate: true,
  ownRequired: ["spec.limits.type"],
  defaults(object) {
    for (const limit of asObjects(at(object, "spec", "limits")))
      if (limit["type"] === "Container") completeLimit(limit);
  },
  validate(object, faults) {
    const seen = new Set<string>();
    for (const [index, limit] of asObjects(at(object, "spec", "limits")).entries()) {
      const path = `spec.limits[${index}]`;
      const type = asString(limit["type"]);
      for (const fault of qualifiedNameFaults(type)) faults.invalid(`${path}.type`, type, fault);
      if (type !== "" && !type.includes("/") && !standardLimitTypes.includes(type))
        faults.invalid(`${path}.type`, type, "must be a standard limit type or fully qualified");
      if (seen.has(type)) faults.duplicate(`${path}.type`, type);
      seen.add(type);
      validateLimit(limit, path, faults);
    }
  },
};

/** What is left open follows from what is given: limits from the maximum, requests from limits, then from the minimum. */
function completeLimit(limit: JsonObject): void {
  const fill = (field: string, from: string) => {
    const source = asObject(limit[from]);
    const target = { ...asObject(limit[field]) };
    for (const [name, value] of Object.entries(source)) target[name] ??= value;
    if (Object.keys(target).length > 0) limit[field] = target;
  };
  fill("default", "max");
  fill("defaultRequest", "default");
  fill("defaultRequest", "min");
}

function validateLimit(limit: JsonObject, path: string, faults: Faults): void {
  const lists = ["default", "defaultRequest", "max", "min", "maxLimitRequestRatio"].map((field) =>
    asObject(limit[field]),
  );
  if (limit["type"] === "Pod")
    for (const field of ["default", "defaultRequest"])
      if (Object.keys(asObject(limit[field])).length > 0)
        faults.forbidden(`${path}.${field}`, "may not be specified when `type` is 'Pod'");
  if (
    limit["type"] === "PersistentVolumeClaim" &&
    at(limit, "min", "storage") === undefined &&
    at(limit, "max", "storage") === undefined
  )
    faults.required(path, "either minimum or maximum storage value is required, but neither was provided");
  const names = new Set(lists.flatMap((list) => Object.keys(list)));
  for (const name of names) validateBounds(limit, name, path, faults);
}

/** The words of the fields in messages. */
const words = {
  min: "min value",
  max: "max value",
  default: "default value",
  defaultRequest: "default request value",
} as const;
type Bound = keyof typeof words;

function validateBounds(limit: JsonObject, name: string, path: string, faults: Faults): void {
  const text = (field: string) => asString(asObject(limit[field])[name]);
  const amount = (field: string): Quantity | undefined => tryParseQuantity(text(field));
  /** `left` may not be above `right`; `field` is blamed, `shown` is its value in the message. */
  const order = (left: Bound, right: Bound, blame: { field: Bound; shown: Bound; rightWords?: string }) => {
    const [low, high] = [amount(left), amount(right)];
    if (low === undefined || high === undefined || compareQuantities(low, high) <= 0) return;
    const detail = `${words[left]} ${text(left)} is greater than ${blame.rightWords ?? words[right]} ${text(right)}`;
    faults.invalid(`${path}.${blame.field}[${name}]`, text(blame.shown), detail);
  };
  order("min", "max", { field: "min", shown: "min" });
  order("min", "defaultRequest", { field: "defaultRequest", shown: "defaultRequest" });
  order("defaultRequest", "max", { field: "defaultRequest", shown: "defaultRequest" });
  order("defaultRequest", "default", {
    field: "defaultRequest",
    shown: "defaultRequest",
    rightWords: "default limit value",
  });
  order("min", "default", { field: "default", shown: "min" });
  order("default", "max", { field: "default", shown: "max" });
  const ratio = amount("maxLimitRequestRatio");
  if (ratio === undefined) return;
  const blame = (detail: string) =>
    faults.invalid(`${path}.maxLimitRequestRatio[${name}]`, text("maxLimitRequestRatio"), detail);
  const [value, low, high] = [quantityToNumber(ratio), amount("min"), amount("max")];
  if (value < 1) blame(`ratio ${text("maxLimitRequestRatio")} is less than 1`);
  if (low === undefined || high === undefined || low.nanos === 0n) return;
  const most = quantityToNumber(high) / quantityToNumber(low);
  if (value > most) blame(`ratio ${text("maxLimitRequestRatio")} is greater than max/min = ${most.toFixed(6)}`);
}

const computeResources = /^((requests|limits)\.)?(cpu|memory|ephemeral-storage)$|^((requests|limits)\.)?hugepages-/;
const countedResources = new Set([
  "configmaps",
  "persistentvolumeclaims",
  "pods",
  "replicationcontrollers",
  "resourcequotas",
  "secrets",
  "services",
  "services.loadbalancers",
  "services.nodeports",
]);
const contraries = [
  ["BestEffort", "NotBestEffort"],
  ["Terminating", "NotTerminating"],
] as const;

const quotaScopes = new Set([
  "BestEffort",
  "CrossNamespacePodAffinity",
  "NotBestEffort",
  "NotTerminating",
  "PriorityClass",
  "Terminating",
  "VolumeAttributesClass",
]);

const resourceQuota: Behaviour = {
  ownChecks: ["spec.scopes"],
  columns: [
    column("Request", (object) => quotaWords(object, (name) => !name.startsWith("limits."))),
    column("Limit", (object) => quotaWords(object, (name) => name.startsWith("limits."))),
  ],
  validate(object, faults) {
    const hard = asObject(at(object, "spec", "hard"));
    for (const [name, value] of Object.entries(hard)) validateHard(name, asString(value), faults);
    const given = at(object, "spec", "scopes");
    const scopes = Array.isArray(given) ? given.map(asString) : [];
    const blame = (detail: string) => faults.invalid("spec.scopes", given, detail);
    for (const scope of scopes) {
      if (!quotaScopes.has(scope)) blame("unsupported scope");
      for (const name of Object.keys(hard))
        if (isStandardQuota(name) && !scopeCovers(scope, name)) blame("unsupported scope applied to resource");
    }
    if (contraries.some((pair) => pair.every((scope) => scopes.includes(scope)))) blame("conflicting scopes");
  },
  validateUpdate(object, old, faults) {
    const [now, before] = [at(object, "spec", "scopes"), at(old, "spec", "scopes")];
    if (!equalJson(now, before)) faults.invalid("spec.scopes", now ?? null, "field is immutable");
  },
};

function validateHard(name: string, text: string, faults: Faults): void {
  const field = `spec.hard[${name}]`;
  for (const fault of qualifiedNameFaults(name)) faults.invalid(field, name, fault);
  if (!name.includes("/") && !isStandardQuota(name))
    faults.invalid(field, name, "must be a standard resource for quota");
  const amount = tryParseQuantity(text);
  if (amount === undefined) return;
  if (amount.nanos < 0n) faults.invalid(field, text, "must be greater than or equal to 0");
  else if ((countedResources.has(name) || name.startsWith("count/")) && amount.nanos % 1_000_000_000n !== 0n)
    faults.invalid(field, text, "must be an integer");
}

function isStandardQuota(name: string): boolean {
  return computeResources.test(name) || countedResources.has(name) || name === "requests.storage";
}

/** Best-effort pods have no amounts to bound; the other scopes are about pods and what they use. */
function scopeCovers(scope: string, name: string): boolean {
  if (name === "pods") return true;
  return scope !== "BestEffort" && computeResources.test(name);
}

function quotaWords(object: JsonObject, wanted: (name: string) => boolean): string {
  const hard = asObject(at(object, "status", "hard"));
  const used = asObject(at(object, "status", "used"));
  return Object.keys(hard)
    .filter(wanted)
    .sort()
    .map((name) => `${name}: ${asString(used[name]) || "0"}/${asString(hard[name])}`)
    .join(", ");
}

/** Behaviour of what bounds namespaces. */
export const limitBehaviours: BehaviourTable = { "/LimitRange": limitRange, "/ResourceQuota": resourceQuota };
