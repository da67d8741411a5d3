import { compareQuantities, formatQuantity, type Quantity, quantityToNumber } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { forbidden } from "../failures.js";
import { isObject, metadataOf, objectAt, stringAt } from "../fields.js";
import { listPrefix } from "../store/keys.js";
import type { AdmissionPlugin, AdmissionRequest, Store } from "../types.js";
import { type Amounts, amountsIn, containersIn, podAmounts, resourcesOf } from "./quantities.js";

const limitRanges = { group: "", plural: "limitranges" };
const annotation = "kubernetes.io/limit-ranger";

/** Fills in the defaults of a namespace's LimitRanges and holds pods and claims to their bounds. */
export function limitRanger(store: Store): AdmissionPlugin {
  const rangesIn = (namespace: string) =>
    store.list(listPrefix(limitRanges, namespace)).items.map(({ value }) => value);
  return {
    name: "LimitRanger",
    mutate(request) {
      const pod = newPod(request);
      if (pod === undefined) return;
      const notes: string[] = [];
      for (const range of rangesIn(request.namespace)) fillDefaults(pod, limitsOf(range, "Container"), notes);
      if (notes.length === 0) return;
      const metadata = metadataOf(pod);
      const text = `LimitRanger plugin set: ${notes.join("; ")}`;
      metadata["annotations"] = { ...objectAt(metadata, "annotations"), [annotation]: text };
    },
    validate(request) {
      const { type, object, operation, subresource, namespace } = request;
      if (type.group !== "" || object === undefined || subresource !== "") return;
      const isClaim = type.plural === "persistentvolumeclaims" && (operation === "CREATE" || operation === "UPDATE");
      const pod = newPod(request);
      if (!isClaim && pod === undefined) return;
      const problems = rangesIn(namespace).flatMap((range) =>
        pod === undefined ? claimProblems(object, range) : podProblems(pod, range),
      );
      if (problems.length === 0) return;
      const why = problems.length === 1 ? (problems[0] ?? "") : `[${problems.join(", ")}]`;
      throw forbidden({ group: "", plural: type.plural }, request.name, why);
    },
  };
}

function newPod({ type, operation, subresource, object }: AdmissionRequest): JsonObject | undefined {
  const isNew = type.group === "" && type.plural === "pods" && operation === "CREATE" && subresource === "";
  return isNew ? object : undefined;
}

function limitsOf(range: JsonObject, type: string): JsonObject[] {
  const { limits } = objectAt(range, "spec");
  return Array.isArray(limits) ? limits.filter(isObject).filter((limit) => limit["type"] === type) : [];
}

function fillDefaults(pod: JsonObject, limits: readonly JsonObject[], notes: string[]): void {
  const spec = objectAt(pod, "spec");
  for (const limit of limits) {
    for (const field of ["containers", "initContainers"] as const) {
      const label = field === "containers" ? "container" : "init container";
      for (const container of containersIn(spec, field)) {
        const about = `${label} ${stringAt(container, "name")}`;
        noteSet(fill(container, "requests", objectAt(limit, "defaultRequest")), `request for ${about}`, notes);
        noteSet(fill(container, "limits", objectAt(limit, "default")), `limit for ${about}`, notes);
      }
    }
  }
}

/** Names that were set. */
function fill(container: JsonObject, what: "requests" | "limits", defaults: JsonObject): string[] {
  const given = objectAt(objectAt(container, "resources"), what);
  const missing = Object.keys(defaults).filter((name) => given[name] === undefined);
  if (missing.length === 0) return [];
  const added = Object.fromEntries(missing.map((name) => [name, defaults[name]]));
  container["resources"] = { ...objectAt(container, "resources"), [what]: { ...given, ...added } };
  return missing.toSorted();
}

function noteSet(names: readonly string[], about: string, notes: string[]): void {
  if (names.length > 0) notes.push(`${names.join(", ")} ${about}`);
}

function podProblems(pod: JsonObject, range: JsonObject): string[] {
  const spec = objectAt(pod, "spec");
  const holders = [...containersIn(spec, "containers"), ...containersIn(spec, "initContainers")];
  const ofContainers = limitsOf(range, "Container").flatMap((limit) =>
    holders.flatMap((holder) =>
      check("Container", limit, { requests: resourcesOf(holder, "requests"), limits: resourcesOf(holder, "limits") }),
    ),
  );
  const whole = { requests: podAmounts(spec, "requests"), limits: podAmounts(spec, "limits") };
  return [...ofContainers, ...limitsOf(range, "Pod").flatMap((limit) => check("Pod", limit, whole))];
}

function claimProblems(claim: JsonObject, range: JsonObject): string[] {
  const requests = resourcesOf(objectAt(claim, "spec"), "requests");
  return limitsOf(range, "PersistentVolumeClaim").flatMap((limit) => [
    ...bound("minimum", "PersistentVolumeClaim", amountsIn(objectAt(limit, "min")), { requests, limits: new Map() }),
    ...[...amountsIn(objectAt(limit, "max"))].flatMap(([name, most]) => {
      const asked = requests.get(name);
      if (asked === undefined || compareQuantities(asked, most) <= 0) return [];
      return [
        `maximum ${name} usage per PersistentVolumeClaim is ${formatQuantity(most)}, but request is ${formatQuantity(asked)}`,
      ];
    }),
  ]);
}

interface Held {
  readonly requests: Amounts;
  readonly limits: Amounts;
}

function check(type: string, limit: JsonObject, held: Held): string[] {
  return [
    ...bound("minimum", type, amountsIn(objectAt(limit, "min")), held),
    ...bound("maximum", type, amountsIn(objectAt(limit, "max")), held),
    ...[...amountsIn(objectAt(limit, "maxLimitRequestRatio"))].flatMap(([name, most]) => ratio(type, name, most, held)),
  ];
}

function bound(side: "minimum" | "maximum", type: string, bounds: Amounts, held: Held): string[] {
  const sign = side === "minimum" ? -1 : 1;
  return [...bounds].flatMap(([name, value]) => {
    const request = held.requests.get(name);
    const limit = held.limits.get(name);
    const exceeds = (amount: Quantity | undefined) =>
      amount !== undefined && compareQuantities(amount, value) * sign > 0;
    const start = `${side} ${name} usage per ${type} is ${formatQuantity(value)}`;
    if (side === "minimum") {
      if (request === undefined) return [`${start}. No request is specified`];
      if (exceeds(request)) return [`${start}, but request is ${formatQuantity(request)}`];
      return limit !== undefined && exceeds(limit) ? [`${start}, but limit is ${formatQuantity(limit)}`] : [];
    }
    if (limit === undefined) return [`${start}. No limit is specified`];
    if (exceeds(limit)) return [`${start}, but limit is ${formatQuantity(limit)}`];
    return request !== undefined && exceeds(request) ? [`${start}, but request is ${formatQuantity(request)}`] : [];
  });
}

function ratio(type: string, name: string, most: Quantity, { requests, limits }: Held): string[] {
  const [request, limit] = [requests.get(name), limits.get(name)];
  const start = `${name} max limit to request ratio per ${type} is ${formatQuantity(most)}`;
  if (request === undefined || request.nanos === 0n) return [`${start}, but no request is specified or request is 0`];
  if (limit === undefined || limit.nanos === 0n) return [`${start}, but no limit is specified or limit is 0`];
  const found = quantityToNumber(limit) / quantityToNumber(request);
  return found > quantityToNumber(most) ? [`${start}, but provided ratio is ${found.toFixed(6)}`] : [];
}
