import type { Faults } from "../../../../kernel/kinds/index.js";
import { compareQuantities, labelFaults, type Quantity, qualifiedNameFaults } from "../../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asList, asObject, asObjects, asString } from "../../registry/read.js";
import { follows, isWhole, quantityOf, shownQuantity, wholeUnits } from "../rules.js";

const set = (names: string): ReadonlySet<string> => new Set(names.split(" "));

const computeNames = "cpu memory ephemeral-storage";
const quotaNames =
  `${computeNames} requests.cpu requests.memory requests.storage requests.ephemeral-storage limits.cpu limits.memory limits.ephemeral-storage ` +
  "pods resourcequotas services replicationcontrollers secrets persistentvolumeclaims configmaps services.nodeports services.loadbalancers";
const containerNames = set(computeNames);
const quotaResources = set(quotaNames);
const standardNames = set(`${quotaNames} storage`);
const counted = set(
  "pods resourcequotas services replicationcontrollers secrets configmaps persistentvolumeclaims services.nodeports services.loadbalancers",
);

const isHugePages = (name: string): boolean => name.startsWith("hugepages-");
const isQuotaHugePages = (name: string): boolean => isHugePages(name) || name.startsWith("requests.hugepages-");
const isNative = (name: string): boolean => !name.includes("/") || name.includes("kubernetes.io/");

/** Whether nodes may have less of a resource than its pods may use. */
export function allowsOvercommit(name: string): boolean {
  return isNative(name) && !isHugePages(name);
}

/** Whether a quota may bound a resource by this name, without a domain. */
export function isQuotaResource(name: string): boolean {
  return quotaResources.has(name) || isQuotaHugePages(name);
}

/** A resource of the cluster's own makers, with their domain. */
function isExtended(name: string): boolean {
  return !isNative(name) && !name.startsWith("requests.") && qualifiedNameFaults(`requests.${name}`).length === 0;
}

/** Checks the name of any resource. Returns whether it is one. */
export function checkResourceName(name: string, path: string, faults: Faults): boolean {
  const wrong = qualifiedNameFaults(name);
  for (const fault of wrong) faults.invalid(path, name, fault);
  if (wrong.length > 0) return false;
  if (name.includes("/") || standardNames.has(name) || isQuotaHugePages(name)) return true;
  faults.invalid(path, name, "must be a standard resource type or fully qualified");
  return false;
}

/** Checks the name of a resource that containers use. */
export function checkContainerResourceName(name: string, path: string, faults: Faults): void {
  checkResourceName(name, path, faults);
  if (name.split("/").length === 1) {
    if (!containerNames.has(name) && !isHugePages(name))
      faults.invalid(path, name, "must be a standard resource for containers");
  } else if (!isNative(name) && !isExtended(name))
    faults.invalid(path, name, "doesn't follow extended resource name standard");
}

/** Checks the name of a resource that quotas bound. */
export function checkQuotaResourceName(name: string, path: string, faults: Faults): void {
  checkResourceName(name, path, faults);
  if (name.split("/").length === 1 && !isQuotaResource(name))
    faults.invalid(path, name, "must be a standard resource for quota");
}

function checkPodResourceName(name: string, path: string, faults: Faults): void {
  if (!checkResourceName(name, path, faults)) return;
  if (name !== "cpu" && name !== "memory" && !isHugePages(name))
    faults.unsupported(path, name, ["cpu", "hugepages-", "memory"]);
}

/** Checks an amount of a resource: not negative, and whole where the resource comes in pieces. */
export function checkResourceAmount(name: string, value: Json | undefined, path: string, faults: Faults): void {
  const amount = quantityOf(value);
  if (amount === undefined) return;
  if (amount.nanos < 0n) faults.invalid(path, value, "must be greater than or equal to 0");
  if ((counted.has(name) || isExtended(name)) && !isWhole(amount)) faults.invalid(path, value, "must be an integer");
}

function isDivisible(name: string, amount: Quantity): boolean {
  const size = quantityOf(name.slice("hugepages-".length));
  if (size === undefined || size.nanos <= 0n || !isWhole(size)) return false;
  return wholeUnits(amount) % wholeUnits(size) === 0n;
}

interface Checking {
  readonly faults: Faults;
  readonly checkName: (name: string, path: string, faults: Faults) => void;
}

function checkAmounts(amounts: JsonObject, path: string, { faults, checkName }: Checking): void {
  for (const [name, value] of Object.entries(amounts)) {
    const place = `${path}[${name}]`;
    checkName(name, place, faults);
    checkResourceAmount(name, value, place, faults);
    const amount = quantityOf(value);
    if (isHugePages(name) && amount !== undefined && !isDivisible(name, amount))
      faults.invalid(place, value, `${shownQuantity(amount)} is not positive integer multiple of ${name}`);
  }
}

function checkRequest(
  name: string,
  requests: JsonObject,
  limits: JsonObject,
  at: { path: string; faults: Faults },
): void {
  const { path, faults } = at;
  const [asked, limit] = [quantityOf(requests[name]), quantityOf(limits[name])];
  if (limits[name] === undefined) {
    if (!allowsOvercommit(name))
      faults.required(`${path}.limits`, "Limit must be set for non overcommitable resources");
    return;
  }
  if (asked === undefined || limit === undefined) return;
  const order = compareQuantities(asked, limit);
  if (order !== 0 && !allowsOvercommit(name))
    faults.invalid(`${path}.requests`, requests[name], `must be equal to ${name} limit of ${shownQuantity(limit)}`);
  else if (order > 0)
    faults.invalid(
      `${path}.requests`,
      requests[name],
      `must be less than or equal to ${name} limit of ${shownQuantity(limit)}`,
    );
}

const isCompute = (name: string): boolean => name === "cpu" || name === "memory";

function checkRequirements(resources: JsonObject, path: string, checking: Checking): void {
  const { faults } = checking;
  const [limits, requests] = [asObject(resources["limits"]), asObject(resources["requests"])];
  checkAmounts(limits, `${path}.limits`, checking);
  checkAmounts(requests, `${path}.requests`, checking);
  for (const name of Object.keys(requests)) checkRequest(name, requests, limits, { path, faults });
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  if (names.some(isHugePages) && !names.some(isCompute)) faults.forbidden(path, "HugePages require cpu or memory");
}

/** Checks what a container asks for and may use; `claims` are the names of its pod's resource claims. */
export function validateResources(
  resources: JsonObject,
  path: string,
  faults: Faults,
  claims: readonly string[] = [],
): void {
  checkRequirements(resources, path, { faults, checkName: checkContainerResourceName });
  checkClaims(asObjects(resources["claims"]), claims, `${path}.claims`, faults);
}

/** Checks a claim that is not there as a whole yet; returns what it is known by from now on. */
function checkClaim(
  name: string,
  request: string,
  seen: ReadonlySet<string>,
  { place, faults }: { readonly place: string; readonly faults: Faults },
): string {
  if (request !== "") follows(labelFaults, request, `${place}.request`, faults);
  const key = request === "" ? name : `${name}/${request}`;
  if (seen.has(key)) faults.duplicate(place, key);
  else if (request === "") for (const other of seen) if (other.startsWith(`${name}/`)) faults.duplicate(place, name);
  return key;
}

function checkClaims(list: readonly JsonObject[], known: readonly string[], path: string, faults: Faults): void {
  const seen = new Set<string>();
  for (const [index, claim] of list.entries()) {
    const [name, request, place] = [asString(claim["name"]), asString(claim["request"]), `${path}[${index}]`];
    if (name === "") {
      faults.required(place);
      continue;
    }
    if (seen.has(name)) faults.duplicate(place, name);
    else seen.add(checkClaim(name, request, seen, { place, faults }));
    const words = known.length === 0 ? " which is empty" : `: ${[...known].sort().join(", ")}`;
    if (!known.includes(name))
      faults.notFound(place, name, `must be one of the names in pod.spec.resourceClaims${words}`);
  }
}

/** Checks what a pod as a whole asks for and may use. */
export function validatePodResources(spec: JsonObject, path: string, faults: Faults): void {
  if (spec["resources"] === undefined) return;
  const resources = asObject(spec["resources"]);
  const place = `${path}.resources`;
  if (asObject(spec["os"])["name"] === "windows") {
    faults.forbidden(place, "may not be set for a windows pod");
    return;
  }
  if (asList(resources["claims"]).length > 0)
    faults.forbidden(`${place}.claims`, "claims may not be set for Resources at pod-level");
  const claims = asObjects(spec["resourceClaims"]).map((claim) => asString(claim["name"]));
  checkRequirements(resources, place, { faults, checkName: checkPodResourceName });
  checkClaims(asObjects(resources["claims"]), claims, `${place}.claims`, faults);
  const [requests, limits] = [asObject(resources["requests"]), asObject(resources["limits"])];
  for (const [name, sum] of aggregate(spec, "requests")) {
    const pod = quantityOf(requests[name]);
    if (pod !== undefined && compareQuantities(sum, pod) > 0)
      faults.invalid(
        `${place}.requests[${name}]`,
        requests[name],
        `must be greater than or equal to aggregate container requests of ${shownQuantity(sum)}`,
      );
  }
  for (const [name, sum] of aggregate(spec, "limits")) {
    const pod = quantityOf(limits[name]);
    if (isHugePages(name) && pod !== undefined && compareQuantities(sum, pod) > 0)
      faults.invalid(
        `${place}.limits[${name}]`,
        limits[name],
        `must be greater than or equal to aggregate container limits of ${shownQuantity(sum)}`,
      );
  }
  checkContainerLimits(spec, limits, place, faults);
}

function checkContainerLimits(spec: JsonObject, limits: JsonObject, path: string, faults: Faults): void {
  for (const [index, container] of asObjects(spec["containers"]).entries())
    for (const [name, value] of Object.entries(asObject(asObject(container["resources"])["limits"]))) {
      const [own, pod] = [quantityOf(value), quantityOf(limits[name])];
      if (own !== undefined && pod !== undefined && compareQuantities(own, pod) > 0)
        faults.invalid(
          `${path}.containers[${index}][${name}].limits`,
          value,
          `must be less than or equal to pod limits of ${shownQuantity(pod)}`,
        );
    }
}

/** What all containers of a pod ask for or may use together: those that run at the same time. */
export function aggregate(spec: JsonObject, field: "requests" | "limits"): Map<string, Quantity> {
  const amounts = (container: JsonObject): Map<string, Quantity> => {
    const result = new Map<string, Quantity>();
    for (const [name, value] of Object.entries(asObject(asObject(container["resources"])[field]))) {
      const amount = quantityOf(value);
      if (amount !== undefined) result.set(name, amount);
    }
    return result;
  };
  const total = new Map<string, Quantity>();
  for (const container of asObjects(spec["containers"])) add(total, amounts(container));
  const sidecars = new Map<string, Quantity>();
  const highest = new Map<string, Quantity>();
  for (const container of asObjects(spec["initContainers"])) {
    const own = amounts(container);
    if (container["restartPolicy"] === "Always") {
      add(total, own);
      add(sidecars, own);
      raise(highest, sidecars);
    } else {
      add(own, sidecars);
      raise(highest, own);
    }
  }
  raise(total, highest);
  return total;
}

function add(into: Map<string, Quantity>, more: ReadonlyMap<string, Quantity>): void {
  for (const [name, amount] of more) {
    const before = into.get(name);
    into.set(name, before === undefined ? amount : { ...before, nanos: before.nanos + amount.nanos });
  }
}

function raise(into: Map<string, Quantity>, others: ReadonlyMap<string, Quantity>): void {
  for (const [name, amount] of others) {
    const before = into.get(name);
    if (before === undefined || compareQuantities(amount, before) > 0) into.set(name, amount);
  }
}
