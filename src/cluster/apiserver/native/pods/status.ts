import type { Faults } from "../../../../kernel/kinds/index.js";
import { subdomainFaults } from "../../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asList, asNumber, asObject, asObjects, asString, at } from "../../registry/read.js";
import { checkAddress, isDualStack } from "../addresses.js";
import { follows, oneOf, qualifiedName, within } from "../rules.js";
import { validateAnnotationUpdates } from "./annotations.js";

const ids: readonly [number, number] = [0, 2_147_483_647];
const ownConditions = ["PodScheduled", "Ready", "Initialized"];

/** Checks what is reported of a pod. */
export function validatePodStatus(object: JsonObject, old: JsonObject, faults: Faults): void {
  const [status, before, spec] = [asObject(object["status"]), asObject(old["status"]), asObject(object["spec"])];
  validateAnnotationUpdates(object, old, faults);
  for (const [index, condition] of asObjects(status["conditions"]).entries()) {
    const place = `status.conditions[${index}]`;
    observed(condition, place, faults);
    if (!ownConditions.includes(asString(condition["type"]))) qualifiedName(condition["type"], `${place}.Type`, faults);
  }
  const nominated = asString(status["nominatedNodeName"]);
  if (nominated !== "" && nominated !== asString(before["nominatedNodeName"]))
    follows(subdomainFaults, nominated, "status.nominatedNodeName", faults);
  observed(status, "status", faults);
  if (asString(status["qosClass"]) !== asString(before["qosClass"]))
    faults.invalid("status.qosClass", asString(status["qosClass"]), "field is immutable");
  validateStates(status, before, asObject(old["spec"]), faults);
  validateClaims(status, spec, faults);
  validateAddresses(status, before, faults);
  const os = spec["os"] === undefined ? "linux" : asString(at(spec, "os", "name"));
  for (const field of lists)
    for (const [index, container] of asObjects(status[field]).entries())
      validateUser(container["user"], os, `status.${field}[${index}].user`, faults);
  validateAllocated(status, spec, faults);
}

const lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];

function observed(holder: JsonObject, path: string, faults: Faults): void {
  const generation = asNumber(holder["observedGeneration"]);
  if (generation !== undefined && generation < 0)
    faults.invalid(`${path}.observedGeneration`, generation, "must be a non-negative integer");
}

/** What has ended for good does not run again. */
function validateStates(status: JsonObject, before: JsonObject, spec: JsonObject, faults: Faults): void {
  const policy = asString(spec["restartPolicy"]);
  const sidecars = new Set(
    asObjects(spec["initContainers"])
      .filter((one) => one["restartPolicy"] === "Always")
      .map((one) => one["name"]),
  );
  for (const field of lists) {
    const mayRestart = (one: JsonObject): boolean => {
      if (field === "ephemeralContainerStatuses") return false;
      if (policy === "Always" || (field === "initContainerStatuses" && sidecars.has(one["name"]))) return true;
      return policy === "OnFailure" && (asNumber(at(one, "state", "terminated", "exitCode")) ?? 0) !== 0;
    };
    for (const [index, one] of asObjects(before[field]).entries()) {
      if (at(one, "state", "terminated") === undefined || mayRestart(one)) continue;
      for (const now of asObjects(status[field]))
        if (now["name"] === one["name"] && at(now, "state", "terminated") === undefined)
          faults.forbidden(`status.${field}[${index}].state`, "may not be transitioned to non-terminated state");
    }
  }
}

function validateClaims(status: JsonObject, spec: JsonObject, faults: Faults): void {
  const known = asObjects(spec["resourceClaims"]).map((one) => asString(one["name"]));
  const seen = new Set<string>();
  for (const [index, claim] of asObjects(status["resourceClaimStatuses"]).entries()) {
    const place = `status.resourceClaimStatuses[${index}].name`;
    const name = asString(claim["name"]);
    if (!known.includes(name)) faults.invalid(place, name, "must match the name of an entry in `spec.resourceClaims`");
    if (seen.has(name)) faults.duplicate(place, name);
    seen.add(name);
    if (claim["resourceClaimName"] !== undefined)
      follows(subdomainFaults, asString(claim["resourceClaimName"]), place, faults);
  }
}

function validateAddresses(status: JsonObject, before: JsonObject, faults: Faults): void {
  const addresses = (holder: JsonObject, field: string): string[] =>
    asObjects(holder[field]).map((one) => asString(one["ip"]));
  for (const field of ["podIPs", "hostIPs"]) {
    const now = addresses(status, field);
    const [first] = now;
    if (field === "hostIPs" && first !== undefined && asString(status["hostIP"]) !== first)
      faults.invalid("status.hostIPs[0].ip", first, "must be equal to `hostIP`");
    const old = addresses(before, field);
    for (const [index, address] of now.entries()) checkAddress(address, `status.${field}[${index}]`, faults, old);
    if (now.length > 1 && (!isDualStack(now) || now.length > 2))
      faults.invalid(`status.${field}`, status[field], "may specify no more than one IP for each IP family");
  }
}

function validateUser(user: Json | undefined, os: string, path: string, faults: Faults): void {
  const linux = at(user, "linux");
  if (linux === undefined) return;
  if (os === "windows") faults.forbidden(`${path}.linux`, "cannot be set for a windows pod");
  if (os !== "linux") return;
  for (const field of ["uid", "gid"]) within(at(linux, field) ?? 0, ids, `${path}.linux.${field}`, faults);
  for (const [index, group] of asList(at(linux, "supplementalGroups")).entries())
    within(group, ids, `${path}.linux.supplementalGroups[${index}]`, faults);
}

function validateAllocated(status: JsonObject, spec: JsonObject, faults: Faults): void {
  for (const [field, containers] of [
    ["containerStatuses", asObjects(spec["containers"])],
    ["initContainerStatuses", asObjects(spec["initContainers"])],
  ] as const)
    for (const [index, one] of asObjects(status[field]).entries()) {
      const container = containers.find((other) => other["name"] === one["name"]);
      for (const [place, resource] of asObjects(one["allocatedResourcesStatus"]).entries())
        validateHealth(resource, container, `status.${field}[${index}].allocatedResourcesStatus[${place}]`, faults);
    }
  for (const [index, one] of asObjects(status["ephemeralContainerStatuses"]).entries())
    if (asList(one["allocatedResourcesStatus"]).length > 0)
      faults.forbidden(
        `status.ephemeralContainerStatuses[${index}].allocatedResourcesStatus`,
        "must not be specified in container status",
      );
}

function validateHealth(resource: JsonObject, container: JsonObject | undefined, path: string, faults: Faults): void {
  const name = asString(resource["name"]);
  if (container !== undefined) {
    const claims = asObjects(at(container, "resources", "claims")).map((claim) => {
      const request = asString(claim["request"]);
      return `claim:${asString(claim["name"])}${request === "" ? "" : `/${request}`}`;
    });
    const isClaim = name.startsWith("claim:");
    const known = isClaim ? claims : Object.keys(asObject(at(container, "resources", "requests")));
    if (!known.includes(name))
      faults.invalid(
        `${path}.name`,
        name,
        isClaim
          ? "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty"
          : "must match one of the container's resource requests",
      );
  }
  const seen = new Set<string>();
  for (const [index, one] of asObjects(resource["resources"]).entries()) {
    const place = `${path}.resources[${index}]`;
    oneOf(one["health"], ["Healthy", "Unhealthy", "Unknown"], `${place}.health`, faults);
    const id = asString(one["resourceID"]);
    if (seen.has(id)) faults.duplicate(`${place}.resourceID`, id);
    seen.add(id);
  }
}
