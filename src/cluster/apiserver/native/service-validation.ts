import type { Faults } from "../../../kernel/kinds/index.js";
import { labelFaults, subdomainFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { validateLabels } from "../registry/metadata.js";
import { asList, asNumber, asObject, asObjects, asString, at } from "../registry/read.js";
import {
  checkAddress,
  checkEndpointAddress,
  checkNetwork,
  readAddress,
  warnOfAddress,
  warnOfNetwork,
} from "./addresses.js";
import { follows, neededOneOf, oneOf, portNumber, portNumberOrName, qualifiedName } from "./rules.js";
import { isHeadless, validateClusterAddresses } from "./service-addresses.js";

const sourceRanges = "service.beta.kubernetes.io/load-balancer-source-ranges";
const oldHints = "service.kubernetes.io/topology-aware-hints";
const hints = "service.kubernetes.io/topology-mode";
const longestAffinity = 86_400;
const onlyBalancers = "may only be used when `type` is 'LoadBalancer'";

/** Whether others than the cluster's own reach a Service. */
export function isExternal(spec: JsonObject): boolean {
  const type = spec["type"];
  return (
    type === "LoadBalancer" || type === "NodePort" || (type === "ClusterIP" && asList(spec["externalIPs"]).length > 0)
  );
}

/** Whether balancers ask nodes one by one whether they have endpoints. */
export function needsHealthPort(spec: JsonObject): boolean {
  return spec["type"] === "LoadBalancer" && spec["externalTrafficPolicy"] === "Local";
}

/** Checks a Service, new or changed; `old` may keep addresses that were taken long ago. */
export function validateService(object: JsonObject, old: JsonObject | undefined, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const oldSpec = old === undefined ? undefined : asObject(old["spec"]);
  const annotations = asObject(at(object, "metadata", "annotations"));
  const [mode, oldMode] = [annotations[hints], annotations[oldHints]];
  if (mode !== undefined && oldMode !== undefined && mode !== oldMode)
    faults.invalid(
      `metadata.annotations[${hints}]`,
      mode,
      `must match annotations[${oldHints}] when both are specified`,
    );
  validateType(spec, faults);
  validatePorts(spec, faults);
  validateLabels(spec["selector"] ?? {}, "spec.selector", faults);
  validateAffinity(spec, faults);
  validateClusterAddresses(spec, oldSpec, faults);
  for (const [index, address] of asList(spec["externalIPs"]).map(asString).entries()) {
    const place = `spec.externalIPs[${index}]`;
    if (checkAddress(address, place, faults, asList(oldSpec?.["externalIPs"])))
      checkEndpointAddress(address, place, faults);
  }
  neededOneOf(spec["type"], ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], "spec.type", faults);
  validateNodePorts(spec, faults);
  validateSourceRanges(object, old, faults);
  validateBalancer(spec, faults);
  validateTraffic(spec, faults);
}

function validateType(spec: JsonObject, faults: Faults): void {
  const type = asString(spec["type"]);
  const headless = isHeadless(spec);
  if (asList(spec["ports"]).length === 0 && !headless && type !== "ExternalName") faults.required("spec.ports");
  if (headless && (type === "LoadBalancer" || type === "NodePort"))
    faults.invalid("spec.clusterIPs[0]", "None", `may not be set to 'None' for ${type} services`);
  if (type !== "ExternalName") return;
  const words = "may not be set for ExternalName services";
  if (asList(spec["clusterIPs"]).length > 0) faults.forbidden("spec.clusterIPs", words);
  if (asList(spec["ipFamilies"]).length > 0) faults.forbidden("spec.ipFamilies", words);
  if (spec["ipFamilyPolicy"] !== undefined) faults.forbidden("spec.ipFamilyPolicy", words);
  const name = asString(spec["externalName"]).replace(/\.$/, "");
  if (name === "") faults.required("spec.externalName");
  else follows(subdomainFaults, name, "spec.externalName", faults);
}

function validatePorts(spec: JsonObject, faults: Faults): void {
  const ports = asObjects(spec["ports"]);
  const names = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const path = `spec.ports[${index}]`;
    const name = asString(port["name"]);
    if (name !== "") {
      follows(labelFaults, name, `${path}.name`, faults);
      if (names.has(name)) faults.duplicate(`${path}.name`, name);
      names.add(name);
    } else if (ports.length > 1) faults.required(`${path}.name`);
    portNumber(port["port"], `${path}.port`, faults);
    neededOneOf(port["protocol"], ["SCTP", "TCP", "UDP"], `${path}.protocol`, faults);
    portNumberOrName(port["targetPort"], `${path}.targetPort`, faults);
    if (port["appProtocol"] !== undefined) qualifiedName(port["appProtocol"], `${path}.appProtocol`, faults);
  }
}

function validateAffinity(spec: JsonObject, faults: Faults): void {
  const kind = spec["sessionAffinity"];
  const path = "spec.sessionAffinityConfig";
  const config = spec["sessionAffinityConfig"];
  neededOneOf(kind, ["ClientIP", "None"], "spec.sessionAffinity", faults);
  if (kind === "None" && config !== undefined) faults.forbidden(path, "must not be set when session affinity is None");
  if (kind !== "ClientIP") return;
  const words = "when session affinity type is ClientIP";
  const timeout = asNumber(at(config, "clientIP", "timeoutSeconds"));
  if (config === undefined) faults.required(path, words);
  else if (at(config, "clientIP") === undefined) faults.required(`${path}.clientIP`, words);
  else if (timeout === undefined) faults.required(`${path}.clientIP.timeoutSeconds`, words);
  else if (timeout <= 0 || timeout > longestAffinity)
    faults.invalid(
      `${path}.clientIP.timeoutSeconds`,
      timeout,
      `must be greater than 0 and less than ${longestAffinity}`,
    );
}

function validateNodePorts(spec: JsonObject, faults: Faults): void {
  const ports = asObjects(spec["ports"]);
  const onNodes = new Set<string>();
  const inside = new Set<string>();
  const number = (port: JsonObject): number => asNumber(port["nodePort"]) ?? 0;
  if (spec["type"] === "ClusterIP")
    for (const [index, port] of ports.entries())
      if (number(port) !== 0)
        faults.forbidden(`spec.ports[${index}].nodePort`, "may not be used when `type` is 'ClusterIP'");
  for (const [index, port] of ports.entries()) {
    const key = `${asString(port["protocol"])}/${number(port)}`;
    if (number(port) === 0) continue;
    if (onNodes.has(key)) faults.duplicate(`spec.ports[${index}].nodePort`, number(port));
    onNodes.add(key);
  }
  for (const [index, port] of ports.entries()) {
    const key = `${asString(port["protocol"])}/${asNumber(port["port"]) ?? 0}`;
    if (inside.has(key)) faults.duplicate(`spec.ports[${index}]`, identityOf(port));
    inside.add(key);
  }
}

/** The part of a port that must be its own, as upstream shows it: its own struct with the rest left empty. */
function identityOf(port: JsonObject): JsonObject {
  const { protocol = "", port: Port = 0 } = port;
  return { Name: "", Protocol: protocol, AppProtocol: null, Port, TargetPort: 0, NodePort: 0 };
}

function validateSourceRanges(object: JsonObject, old: JsonObject | undefined, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const ranges = asList(spec["loadBalancerSourceRanges"]).map((one) => asString(one).trim());
  const isBalancer = spec["type"] === "LoadBalancer";
  const annotated = at(object, "metadata", "annotations", sourceRanges);
  if (ranges.length > 0) {
    // As upstream writes it.
    const path = "spec.LoadBalancerSourceRanges";
    const before = asList(at(old, "spec", "loadBalancerSourceRanges")).map((one) => asString(one).trim());
    if (!isBalancer) faults.forbidden(path, onlyBalancers);
    for (const [index, range] of ranges.entries()) checkNetwork(range, `${path}[${index}]`, faults, before);
  } else if (annotated !== undefined) {
    const path = `metadata.annotations[${sourceRanges}]`;
    if (!isBalancer) faults.forbidden(path, onlyBalancers);
    const text = asString(annotated).trim();
    if (text !== "" && at(old, "metadata", "annotations", sourceRanges) !== annotated)
      for (const range of text.split(",")) checkNetwork(range.trim(), path, faults);
  }
}

function validateBalancer(spec: JsonObject, faults: Faults): void {
  const isBalancer = spec["type"] === "LoadBalancer";
  if (spec["allocateLoadBalancerNodePorts"] !== undefined && !isBalancer)
    faults.forbidden("spec.allocateLoadBalancerNodePorts", onlyBalancers);
  validateClass(spec, faults);
}

function validateClass(spec: JsonObject, faults: Faults): void {
  const name = spec["loadBalancerClass"];
  if (name === undefined) return;
  if (spec["type"] === "LoadBalancer") qualifiedName(name, "spec.loadBalancerClass", faults);
  else faults.forbidden("spec.loadBalancerClass", onlyBalancers);
}

function validateTraffic(spec: JsonObject, faults: Faults): void {
  const outside = spec["externalTrafficPolicy"];
  const path = "spec.externalTrafficPolicy";
  if (isExternal(spec)) neededOneOf(outside, ["Cluster", "Local"], path, faults);
  else if (asString(outside) !== "")
    faults.invalid(path, outside, "may only be set for externally-accessible services");
  const port = asNumber(spec["healthCheckNodePort"]) ?? 0;
  if (needsHealthPort(spec)) {
    if (port === 0) faults.required("spec.healthCheckNodePort");
    else portNumber(port, "spec.healthCheckNodePort", faults);
  } else if (port !== 0)
    faults.invalid(
      "spec.healthCheckNodePort",
      port,
      "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
    );
  const inside = spec["internalTrafficPolicy"];
  if (inside !== undefined) oneOf(inside, ["Cluster", "Local"], "spec.internalTrafficPolicy", faults);
  const known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
  if (spec["trafficDistribution"] !== undefined)
    oneOf(spec["trafficDistribution"], known, "spec.trafficDistribution", faults);
}

/** Checks what may change of a Service. */
export function validateServiceUpdate(object: JsonObject, old: JsonObject, faults: Faults): void {
  const [spec, before] = [asObject(object["spec"]), asObject(old["spec"])];
  if (spec["type"] !== "ExternalName" && before["type"] !== "ExternalName") {
    addressesStay(spec, before, faults);
    familiesStay(spec, before, faults);
  }
  const [now, then] = [spec["loadBalancerClass"], before["loadBalancerClass"]];
  if (spec["type"] === "LoadBalancer" && before["type"] === "LoadBalancer" && !equalJson(now, then))
    faults.invalid("spec.loadBalancerClass", now ?? null, "may not change once set");
  validateClass(spec, faults);
  if (needsHealthPort(spec) && needsHealthPort(before))
    if (spec["healthCheckNodePort"] !== before["healthCheckNodePort"])
      faults.forbidden("spec.healthCheckNodePort", "field is immutable");
}

const changed = "may not change once set";

function addressesStay(spec: JsonObject, before: JsonObject, faults: Faults): void {
  const [now, then] = [asList(spec["clusterIPs"]), asList(before["clusterIPs"])];
  const list = spec["clusterIPs"] ?? null;
  if (isHeadless(spec) && isHeadless(before)) return;
  if (now.length === then.length) {
    for (const [index, address] of then.entries())
      if (address !== now[index]) faults.invalid(`spec.clusterIPs[${index}]`, list, changed);
    return;
  }
  if (now.length === 0) faults.invalid("spec.clusterIPs[0]", list, "primary clusterIP can not be unset");
  else if (then.length > 0 && now[0] !== then[0]) faults.invalid("spec.clusterIPs[0]", list, changed);
  if (then.length > now.length && now.length === 1) released(spec, "secondary clusterIP", faults);
}

function released(spec: JsonObject, what: string, faults: Faults): void {
  if (spec["ipFamilyPolicy"] !== "SingleStack")
    faults.invalid(
      "spec.ipFamilyPolicy",
      spec["ipFamilyPolicy"] ?? null,
      `must be set to 'SingleStack' when releasing the ${what}`,
    );
}

function familiesStay(spec: JsonObject, before: JsonObject, faults: Faults): void {
  if (isHeadless(spec) || isHeadless(before)) return;
  const [now, then] = [asList(spec["ipFamilies"]), asList(before["ipFamilies"])];
  const path = "spec.ipFamilies[0]";
  const addresses = spec["clusterIPs"] ?? null;
  if (now.length === then.length) {
    for (const [index, family] of then.entries()) if (family !== now[index]) faults.invalid(path, [...now], changed);
    return;
  }
  if (then.length > now.length && asList(spec["clusterIPs"]).length === 0)
    faults.invalid(path, [...now], "primary ipFamily can not be unset");
  if (now.length > 0 && then.length > 0 && now[0] !== then[0]) faults.invalid(path, addresses, changed);
  if (then.length > now.length && now.length === 1) released(spec, "secondary ipFamily", faults);
}

/** Checks what is reported of a Service's balancers. */
export function validateServiceStatus(object: JsonObject, old: JsonObject, faults: Faults): void {
  const path = "status.loadBalancer.ingress";
  const entries = asObjects(at(object, "status", "loadBalancer", "ingress"));
  const before = asObjects(at(old, "status", "loadBalancer", "ingress")).map((one) => asString(one["ip"]));
  if (at(object, "spec", "type") !== "LoadBalancer" && entries.length > 0) {
    faults.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'");
    return;
  }
  for (const [index, entry] of entries.entries()) {
    const place = `${path}[${index}]`;
    const [address, mode] = [asString(entry["ip"]), entry["ipMode"]];
    if (address !== "") checkAddress(address, `${place}.ip`, faults, before);
    if (mode === undefined) {
      if (address !== "") faults.required(`${place}.ipMode`, "must be specified when `ip` is set");
    } else if (address === "") faults.forbidden(`${place}.ipMode`, "may not be specified when `ip` is not set");
    else oneOf(mode, ["Proxy", "VIP"], `${place}.ipMode`, faults);
    checkBalancerName(entry["hostname"], `${place}.hostname`, faults);
    warnOfAddress(address, place, faults);
  }
}

/** Checks the name by which a balancer is reached. */
export function checkBalancerName(value: Json | undefined, path: string, faults: Faults): void {
  const name = asString(value);
  if (name === "") return;
  follows(subdomainFaults, name, path, faults);
  if (readAddress(name) !== undefined) faults.invalid(path, name, "must be a DNS name, not an IP address");
}

/** Warns of what a Service says to no effect. */
export function warnOfService(object: JsonObject, faults: Faults): void {
  const spec = asObject(object["spec"]);
  if (at(object, "metadata", "annotations", oldHints) !== undefined)
    faults.warn(`annotation ${oldHints} is deprecated, please use ${hints} instead`);
  const first = asString(spec["clusterIP"]);
  if (first !== "" && first !== "None")
    for (const [index, address] of asList(spec["clusterIPs"]).entries())
      warnOfAddress(address, `spec.clusterIPs[${index}]`, faults);
  const externals = asList(spec["externalIPs"]);
  const balancer = asString(spec["loadBalancerIP"]);
  if (spec["type"] === "ClusterIP" && first === "None") {
    if (balancer !== "") faults.warn("spec.loadBalancerIP is ignored for headless services");
    if (externals.length > 0) faults.warn("spec.externalIPs is ignored for headless services");
    if (spec["sessionAffinity"] !== "None") faults.warn("spec.SessionAffinity is ignored for headless services");
  }
  for (const [index, address] of externals.entries()) warnOfAddress(address, `spec.externalIPs[${index}]`, faults);
  warnOfAddress(balancer, "spec.loadBalancerIP", faults);
  for (const [index, range] of asList(spec["loadBalancerSourceRanges"]).entries())
    warnOfNetwork(range, `spec.loadBalancerSourceRanges[${index}]`, faults);
  if (spec["type"] === "ExternalName") {
    if (externals.length > 0) faults.warn('spec.externalIPs is ignored when spec.type is "ExternalName"');
  } else if (asString(spec["externalName"]) !== "")
    faults.warn('spec.externalName is ignored when spec.type is not "ExternalName"');
}
