import type { Faults } from "../../../kernel/kinds/index.js";
import {
  compareQuantities,
  type Quantity,
  qualifiedNameFaults,
  quantityToNumber,
  tryParseQuantity,
} from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import { asList, asObject, asObjects, asString, at } from "../registry/read.js";
import { roundAmounts } from "./amounts.js";
import {
  allowsOvercommit,
  checkContainerResourceName,
  checkQuotaResourceName,
  checkResourceAmount,
  checkResourceName,
  isQuotaResource,
} from "./pods/resources.js";

/** What bounds a namespace: LimitRange and ResourceQuota. */

const standardLimitTypes = ["Container", "PersistentVolumeClaim", "Pod"];

const limitRange: Behaviour = {
  createsOnUpdate: true,
  complete: true,
  updateChecks: { "": [1, 0] },
  defaults(object) {
    for (const limit of asObjects(at(object, "spec", "limits"))) {
      roundAmounts(limit, ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]);
      if (limit["type"] === "Container") completeLimit(limit);
    }
  },
  // Who gives no name gets one.
  prepare(object, old) {
    const metadata = asObject(object["metadata"]);
    if (old === undefined && asString(metadata["name"]) === "") metadata["name"] = metadata["uid"] ?? "";
  },
  validate(object, faults) {
    const seen = new Set<string>();
    for (const [index, limit] of asObjects(at(object, "spec", "limits")).entries()) {
      const path = `spec.limits[${index}]`;
      const type = asString(limit["type"]);
      const wrong = qualifiedNameFaults(type);
      for (const fault of wrong) faults.invalid(`${path}.type`, type, fault);
      if (wrong.length === 0 && !type.includes("/") && !standardLimitTypes.includes(type))
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
  const isPod = limit["type"] === "Pod";
  const checkName = isPod || limit["type"] === "Container" ? checkContainerResourceName : checkResourceName;
  const names = new Set<string>();
  const note = (field: string): void => {
    for (const name of Object.keys(asObject(limit[field]))) {
      checkName(name, `${path}.${field}[${name}]`, faults);
      names.add(name);
    }
  };
  for (const field of ["max", "min"]) note(field);
  for (const field of ["default", "defaultRequest"])
    if (!isPod) note(field);
    else if (Object.keys(asObject(limit[field])).length > 0)
      faults.forbidden(`${path}.${field}`, "may not be specified when `type` is 'Pod'");
  const isStorage = at(limit, "min", "storage") !== undefined || at(limit, "max", "storage") !== undefined;
  if (limit["type"] === "PersistentVolumeClaim" && !isStorage)
    faults.required(`${path}.limits`, "either minimum or maximum storage value is required, but neither was provided");
  note("maxLimitRequestRatio");
  const bounds = isPod ? { ...limit, default: {}, defaultRequest: {} } : limit;
  for (const name of names) validateBounds(bounds, name, path, faults);
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
  const [granted, asked] = [amount("default"), amount("defaultRequest")];
  if (
    !allowsOvercommit(name) &&
    granted !== undefined &&
    asked !== undefined &&
    compareQuantities(granted, asked) !== 0
  )
    faults.invalid(
      `${path}.defaultRequest[${name}]`,
      text("defaultRequest"),
      `default value ${text("default")} must equal to defaultRequest value ${text("defaultRequest")} in ${name}`,
    );
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

const contraries = [
  ["BestEffort", "NotBestEffort"],
  ["Terminating", "NotTerminating"],
] as const;

const ofPods = new Set("pods cpu memory limits.cpu limits.memory requests.cpu requests.memory".split(" "));
const ofClaims = new Set(["persistentvolumeclaims", "requests.storage"]);
/** What each scope is about: quotas of this scope bound nothing else. */
const scopes: Readonly<Record<string, ReadonlySet<string>>> = {
  BestEffort: new Set(["pods"]),
  CrossNamespacePodAffinity: ofPods,
  NotBestEffort: ofPods,
  NotTerminating: ofPods,
  PriorityClass: ofPods,
  Terminating: ofPods,
  VolumeAttributesClass: ofClaims,
};
const onlyExists = new Set([
  "BestEffort",
  "NotBestEffort",
  "Terminating",
  "NotTerminating",
  "CrossNamespacePodAffinity",
]);

function validateAmounts(amounts: Json | undefined, path: string, faults: Faults): void {
  for (const [name, value] of Object.entries(asObject(amounts))) {
    checkQuotaResourceName(name, `${path}[${name}]`, faults);
    checkResourceAmount(name, value, `${path}[${name}]`, faults);
  }
}

const resourceQuota: Behaviour = {
  complete: true,
  statusOnly: true,
  updateChecks: { "": [0, 1] },
  defaults(object) {
    roundAmounts(object["spec"], ["hard"]);
    roundAmounts(object["status"], ["hard", "used"]);
  },
  columns: [
    column("Request", (object) => quotaWords(object, (name) => !name.startsWith("limits."))),
    column("Limit", (object) => quotaWords(object, (name) => name.startsWith("limits."))),
  ],
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    validateAmounts(spec["hard"], "spec.hard", faults);
    validateScopes(spec, faults);
    if (spec["scopeSelector"] !== undefined) validateScopeSelector(spec, faults);
  },
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") {
      for (const field of ["hard", "used"]) validateAmounts(at(object, "status", field), `status.${field}`, faults);
      return;
    }
    const named = (one: JsonObject): string[] => [...new Set(asList(at(one, "spec", "scopes")).map(asString))].sort();
    if (!equalJson(named(object), named(old)))
      faults.invalid("spec.scopes", at(object, "spec", "scopes") ?? null, "field is immutable");
  },
};

/** Names of what a quota bounds, of those that have no domain, in order. */
const boundNames = (spec: JsonObject): string[] => Object.keys(asObject(spec["hard"])).filter(isQuotaResource).sort();

function validateScopes(spec: JsonObject, faults: Faults): void {
  const given = spec["scopes"];
  const list = asList(given).map(asString);
  const blame = (detail: string) => faults.invalid("spec.scopes", given, detail);
  for (const scope of list) {
    const covered = scopes[scope];
    if (covered === undefined) blame("unsupported scope");
    for (const name of boundNames(spec))
      if (covered !== undefined && !covered.has(name)) blame("unsupported scope applied to resource");
  }
  if (list.length === 0) return;
  if (contraries.some((pair) => pair.every((scope) => list.includes(scope)))) blame("conflicting scopes");
}

function validateOperator(operator: string, values: readonly Json[], path: string, faults: Faults): void {
  if (operator === "In" || operator === "NotIn") {
    if (values.length === 0)
      faults.required(
        `${path}.values`,
        "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
      );
  } else if (operator === "Exists" || operator === "DoesNotExist") {
    if (values.length > 0)
      faults.invalid(
        `${path}.values`,
        [...values],
        "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
      );
  } else faults.invalid(`${path}.operator`, operator, "not a valid selector operator");
}

function validateScopeSelector(spec: JsonObject, faults: Faults): void {
  const path = "spec.scopeSelector.matchExpressions";
  const list = asObjects(at(spec, "scopeSelector", "matchExpressions"));
  for (const requirement of list) {
    const [scope, operator] = [asString(requirement["scopeName"]), asString(requirement["operator"])];
    const covered = scopes[scope];
    if (covered === undefined) faults.invalid(`${path}.scopeName`, scope, "unsupported scope");
    for (const name of boundNames(spec))
      if (covered !== undefined && !covered.has(name))
        faults.invalid(path, spec["scopeSelector"], "unsupported scope applied to resource");
    if (onlyExists.has(scope) && operator !== "Exists")
      faults.invalid(
        `${path}.operator`,
        operator,
        "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
      );
    validateOperator(operator, asList(requirement["values"]), path, faults);
  }
  const names = list.map((one) => asString(one["scopeName"]));
  if (contraries.some((pair) => pair.every((scope) => names.includes(scope))))
    faults.invalid(path, spec["scopes"] ?? null, "conflicting scopes");
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
