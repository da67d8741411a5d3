import type { Faults } from "../../../../kernel/kinds/index.js";
import { labelFaults, subdomainFaults } from "../../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { validateAnnotations, validateLabels } from "../../registry/metadata.js";
import { asList, asNumber, asObject, asObjects, asString, at } from "../../registry/read.js";
import { checkAddress } from "../addresses.js";
import { follows, neededOneOf, optional, qualifiedName, within } from "../rules.js";
import { validateAnnotatedProfiles, validatePodAnnotations } from "./annotations.js";
import {
  containersOf,
  type PodContext,
  validateContainers,
  validateEphemeralContainers,
  validateHostNetworkPorts,
  validateInitContainers,
} from "./containers.js";
import { validateFileVolumes } from "./env.js";
import { validatePodResources, validateResources } from "./resources.js";
import { validateAffinity, validateGates, validateSpread, validateTolerations } from "./scheduling.js";
import { validateHostname, validateHostUsers, validatePodSecurity } from "./security.js";
import { type VolumeOwner, validateVolumes } from "./volumes.js";
import { validateHostProcess, validateOs } from "./windows.js";

const template: VolumeOwner = { isPod: false, podName: "" };

/** Checks a pod's spec; `owner` says whether it is a template's. */
export function validatePodSpec(spec: JsonObject, path: string, faults: Faults, owner: VolumeOwner = template): void {
  const volumes = validateVolumes(asObjects(spec["volumes"]), `${path}.volumes`, faults, owner);
  const claims = asObjects(spec["resourceClaims"]);
  const names = claims.map((one) => asString(one["name"])).filter((name) => name !== "");
  validateClaims(claims, `${path}.resourceClaims`, faults);
  const context: PodContext = { faults, path, spec, volumes, claims: names };
  const containers = containersOf(spec, path);
  validateContainers(context);
  validateInitContainers(context);
  validateEphemeralContainers(context);
  validatePodResources(spec, path, faults);
  validateHostNetworkPorts(spec, path, faults, owner.isPod);
  neededOneOf(spec["restartPolicy"], ["Always", "OnFailure", "Never"], `${path}.restartPolicy`, faults);
  const dnsPolicies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
  neededOneOf(spec["dnsPolicy"], dnsPolicies, `${path}.dnsPolicy`, faults);
  validateLabels(spec["nodeSelector"] ?? {}, `${path}.nodeSelector`, faults);
  validatePodSecurity(spec, path, faults);
  validateAffinity(asObject(spec["affinity"]), `${path}.affinity`, faults);
  validateDns(spec, `${path}.dnsConfig`, faults);
  for (const [index, gate] of asObjects(spec["readinessGates"]).entries())
    qualifiedName(gate["conditionType"], `${path}.readinessGates[${index}].conditionType`, faults);
  validateGates(asObjects(spec["schedulingGates"]), `${path}.schedulingGates`, faults);
  validateSpread(asObjects(spec["topologySpreadConstraints"]), `${path}.topologySpreadConstraints`, faults);
  validateHostProcess(spec, path, faults, containers);
  validateHostUsers(spec, path, faults, containers);
  validateHostname(spec, path, faults);
  validateRest(spec, path, faults);
  validateOs(spec, path, faults, containers);
  validateFileVolumes(containers, asObjects(spec["volumes"]), faults);
}

const longestDeadline = 2_147_483_647;

function validateRest(spec: JsonObject, path: string, faults: Faults): void {
  optional(subdomainFaults, spec["serviceAccountName"], `${path}.serviceAccountName`, faults);
  optional(subdomainFaults, spec["nodeName"], `${path}.nodeName`, faults);
  within(spec["activeDeadlineSeconds"], [1, longestDeadline], `${path}.activeDeadlineSeconds`, faults);
  optional(labelFaults, spec["hostname"], `${path}.hostname`, faults);
  optional(labelFaults, spec["subdomain"], `${path}.subdomain`, faults);
  validateTolerations(spec["tolerations"], `${path}.tolerations`, faults);
  for (const [index, alias] of asObjects(spec["hostAliases"]).entries()) {
    checkAddress(asString(alias["ip"]), `${path}.hostAliases[${index}].ip`, faults);
    for (const [place, name] of asList(alias["hostnames"]).entries())
      follows(subdomainFaults, asString(name), `${path}.hostAliases[${index}].hostnames[${place}]`, faults);
  }
  optional(subdomainFaults, spec["priorityClassName"], `${path}.priorityClassName`, faults);
  if (spec["runtimeClassName"] !== undefined)
    follows(subdomainFaults, asString(spec["runtimeClassName"]), `${path}.runtimeClassName`, faults);
  if (spec["preemptionPolicy"] !== undefined)
    neededOneOf(spec["preemptionPolicy"], ["PreemptLowerPriority", "Never"], `${path}.preemptionPolicy`, faults);
  if (spec["overhead"] !== undefined) validateResources({ limits: spec["overhead"] }, `${path}.overhead`, faults);
}

const mostNameservers = 3;
const mostSearches = 32;
const longestSearches = 2048;
const underscored = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
const searchFormat = `${underscored}(\\.${underscored})*`;
const searchPattern = new RegExp(`^${searchFormat}$`);

/** A domain to search in: a subdomain that may have underscores. */
function searchFaults(domain: string): string[] {
  const faults = domain.length > 253 ? ["must be no more than 253 characters"] : [];
  if (!searchPattern.test(domain))
    faults.push(
      `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${searchFormat}')`,
    );
  return faults;
}

function validateDns(spec: JsonObject, path: string, faults: Faults): void {
  const config = asObject(spec["dnsConfig"]);
  const servers = asList(config["nameservers"]);
  const searches = asList(config["searches"]).map(asString);
  if (spec["dnsPolicy"] === "None") {
    if (spec["dnsConfig"] === undefined) {
      faults.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
      return;
    }
    if (servers.length === 0) {
      faults.required(`${path}.nameservers`, "must provide at least one DNS nameserver when `dnsPolicy` is None");
      return;
    }
  }
  if (servers.length > mostNameservers)
    faults.invalid(`${path}.nameservers`, [...servers], `must not have more than ${mostNameservers} nameservers`);
  for (const [index, server] of servers.entries())
    checkAddress(asString(server), `${path}.nameservers[${index}]`, faults);
  if (searches.length > mostSearches)
    faults.invalid(`${path}.searches`, searches, `must not have more than ${mostSearches} search paths`);
  if (searches.join(" ").length > longestSearches)
    faults.invalid(
      `${path}.searches`,
      searches,
      `must not have more than ${longestSearches} characters (including spaces) in the search list`,
    );
  for (const [index, domain] of searches.entries())
    if (domain !== ".") follows(searchFaults, domain.replace(/\.$/, ""), `${path}.searches[${index}]`, faults);
  for (const [index, option] of asObjects(config["options"]).entries())
    if (asString(option["name"]) === "") faults.required(`${path}.options[${index}]`, "must not be empty");
}

function validateClaims(claims: readonly JsonObject[], path: string, faults: Faults): void {
  const names = new Set<string>();
  for (const [index, claim] of claims.entries()) {
    const place = `${path}[${index}]`;
    const name = asString(claim["name"]);
    if (name === "") faults.required(`${place}.name`);
    else if (names.has(name)) faults.duplicate(`${place}.name`, name);
    else follows(labelFaults, name, `${place}.name`, faults);
    names.add(name);
    const { resourceClaimName: own, resourceClaimTemplateName: made } = claim;
    if (own !== undefined && made !== undefined)
      faults.invalid(
        place,
        claim,
        "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
      );
    if (own === undefined && made === undefined)
      faults.invalid(place, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
    if (own !== undefined) follows(subdomainFaults, asString(own), `${place}.resourceClaimName`, faults);
    if (made !== undefined) follows(subdomainFaults, asString(made), `${place}.resourceClaimTemplateName`, faults);
  }
}

/** Checks a template of pods. */
export function validatePodTemplate(value: JsonObject, path: string, faults: Faults): void {
  const metadata = asObject(value["metadata"]);
  const spec = asObject(value["spec"]);
  validateLabels(metadata["labels"] ?? {}, `${path}.labels`, faults);
  validateAnnotations(asObject(metadata["annotations"]), `${path}.annotations`, faults);
  validatePodAnnotations(metadata, spec, `${path}.annotations`, faults);
  validatePodSpec(spec, `${path}.spec`, faults);
  validateAnnotatedProfiles(metadata, spec, `${path}.spec`, faults);
  if (asList(spec["ephemeralContainers"]).length > 0)
    faults.forbidden(`${path}.spec.ephemeralContainers`, "ephemeral containers not allowed in pod template");
}

/** Workloads that run for ever restart their containers always, and have no deadline; `kind` is upstream's word for them. */
export function validateEndlessTemplate(value: JsonObject, path: string, kind: string, faults: Faults): void {
  const policy = asString(at(value, "spec", "restartPolicy"));
  if (policy !== "Always") faults.unsupported(`${path}.spec.restartPolicy`, policy, ["Always"]);
  if (asNumber(at(value, "spec", "activeDeadlineSeconds")) !== undefined)
    faults.forbidden(`${path}.spec.activeDeadlineSeconds`, `activeDeadlineSeconds in ${kind} is not Supported`);
}
