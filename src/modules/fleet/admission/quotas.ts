import {
  addQuantities,
  compareQuantities,
  Faults,
  formatQuantity,
  type JsonObject,
  parseQuantity,
  qualifiedNameFaults,
  tryParseQuantity,
  zeroQuantity,
} from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { FederatedResourceQuotaKind } from "../clusters/quota-kind.js";
import { clusterNameFaults } from "./clusters.js";
import { ACCEPTED, deniedFor, isUntouched, metadataOf, objectIn, objectsIn, textIn } from "./denial.js";

const LONGEST_NAME = 63;
const COUNTED = new Set([
  "pods",
  "services",
  "replicationcontrollers",
  "resourcequotas",
  "secrets",
  "configmaps",
  "persistentvolumeclaims",
  "services.nodeports",
  "services.loadbalancers",
]);
const MEASURED = new Set([
  "cpu",
  "memory",
  "ephemeral-storage",
  "requests.cpu",
  "requests.memory",
  "requests.storage",
  "requests.ephemeral-storage",
  "limits.cpu",
  "limits.memory",
  "limits.ephemeral-storage",
]);
/** Resources of pods and nodes that no quota can be about. */
const OTHERS = new Set(["storage"]);

/** Checks federated quotas. */
export function quotaAdmission(): ModuleAdmission {
  return {
    kind: FederatedResourceQuotaKind,
    level: "continuum",
    review: async (object, old) =>
      isUntouched(object, old) ? ACCEPTED : deniedFor("federatedresourcequota.karmada.io", quotaFaults(object)),
  };
}

function quotaFaults(object: JsonObject): Faults {
  const faults = new Faults();
  const name = textIn(metadataOf(object), "name");
  if (name.length > LONGEST_NAME)
    faults.invalid("metadata.name", name, `must be no more than ${LONGEST_NAME} characters`);
  const spec = objectIn(object, "spec");
  const overall = objectIn(spec, "overall");
  listFaults(overall, "spec.overall", faults);
  const assignments = objectsIn(spec, "staticAssignments");
  for (const [index, assignment] of assignments.entries()) {
    const path = `spec.staticAssignments[${index}]`;
    const cluster = textIn(assignment, "clusterName");
    const wrong = clusterNameFaults(cluster);
    if (wrong.length > 0) faults.invalid(`${path}.clusterName`, cluster, wrong.join(","));
    listFaults(objectIn(assignment, "hard"), `${path}.hard`, faults);
  }
  for (const [resource, value] of sortedEntries(overall)) {
    const given = assignments
      .map((assignment) => amountIn(objectIn(assignment, "hard")[resource]))
      .reduce(addQuantities, zeroQuantity);
    const amount = amountIn(value);
    if (compareQuantities(amount, given) < 0)
      faults.invalid(`spec.overall[${resource}]`, formatQuantity(amount), "overall is less than assignments");
  }
  for (const [index, assignment] of assignments.entries()) {
    for (const [resource] of sortedEntries(objectIn(assignment, "hard")))
      if (overall[resource] === undefined)
        faults.invalid(
          `spec.staticAssignments[${index}].hard[${resource}]`,
          resource,
          "assignment resourceName is not exist in overall",
        );
  }
  return faults;
}

function listFaults(list: JsonObject, path: string, faults: Faults): void {
  for (const [resource, value] of sortedEntries(list)) {
    const place = `${path}[${resource}]`;
    nameFaults(resource, place, faults);
    const amount = amountIn(value);
    if (amount.nanos < 0n) faults.invalid(place, formatQuantity(amount), "must be greater than or equal to 0");
    if (isCounted(resource) && amount.nanos % 1_000_000_000n !== 0n)
      faults.invalid(place, formatQuantity(amount), "must be an integer");
  }
}

function nameFaults(resource: string, path: string, faults: Faults): void {
  const wrong = qualifiedNameFaults(resource);
  for (const fault of wrong) faults.invalid(path, resource, fault);
  if (resource.includes("/")) return;
  const isQuota = COUNTED.has(resource) || MEASURED.has(resource);
  if (wrong.length === 0 && !isQuota && !OTHERS.has(resource) && !resource.startsWith("hugepages-"))
    faults.invalid(path, resource, "must be a standard resource type or fully qualified");
  if (!isQuota && !/^(requests\.)?hugepages-/.test(resource))
    faults.invalid(path, resource, "must be a standard resource for quota");
}

function isCounted(resource: string): boolean {
  return COUNTED.has(resource) || resource.startsWith("count/");
}

function sortedEntries(object: JsonObject): [string, JsonObject[string]][] {
  return Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1));
}

function amountIn(value: JsonObject[string] | undefined): typeof zeroQuantity {
  const isAmount = typeof value === "string" || typeof value === "number";
  return (isAmount ? tryParseQuantity(value) : undefined) ?? parseQuantity("0");
}
