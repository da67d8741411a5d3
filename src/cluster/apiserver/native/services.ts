import { isIP, isIPv4, isIPv6 } from "node:net";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { validateLabels } from "../registry/metadata.js";
import {
  label1035Faults,
  labelFaults,
  portNameFaults,
  qualifiedNameFaults,
  subdomainFaults,
} from "../registry/names.js";
import {
  asList,
  asNumber,
  asObject,
  asObjects,
  asString,
  at,
  ensureObject,
  isEmpty,
  setDefault,
  setDefaultText,
} from "../registry/read.js";
import { showLabels, textAt } from "./common.js";

const affinitySeconds = 10_800;
const ipWords = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const loopbackWords = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
const isLoopback = (ip: string): boolean => ip.startsWith("127.") || ip === "::1";
const portWords = "must be between 1 and 65535, inclusive";

function defaultService(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  setDefaultText(spec, "sessionAffinity", "None");
  if (spec["sessionAffinity"] === "None") delete spec["sessionAffinityConfig"];
  else
    setDefault(
      ensureObject(ensureObject(spec, "sessionAffinityConfig"), "clientIP"),
      "timeoutSeconds",
      affinitySeconds,
    );
  setDefaultText(spec, "type", "ClusterIP");
  for (const port of asObjects(spec["ports"])) {
    setDefaultText(port, "protocol", "TCP");
    if (isEmpty(port["targetPort"]) || port["targetPort"] === 0) port["targetPort"] = port["port"];
  }
  const external = spec["type"] === "NodePort" || spec["type"] === "LoadBalancer";
  if (external || (spec["type"] === "ClusterIP" && !isEmpty(spec["externalIPs"])))
    setDefaultText(spec, "externalTrafficPolicy", "Cluster");
  if (external || spec["type"] === "ClusterIP") setDefaultText(spec, "internalTrafficPolicy", "Cluster");
  if (spec["type"] === "LoadBalancer") setDefault(spec, "allocateLoadBalancerNodePorts", true);
  for (const entry of asObjects(at(object, "status", "loadBalancer", "ingress")))
    if (asString(entry["ip"]) !== "") setDefaultText(entry, "ipMode", "VIP");
}

function validateService(object: JsonObject, faults: Faults): void {
  const spec = asObject(object["spec"]);
  if (spec["type"] === "ExternalName") validateExternalName(asString(spec["externalName"]), faults);
  else if (isEmpty(spec["ports"]) && spec["clusterIP"] !== "None") faults.required("spec.ports");
  validatePorts(asObjects(spec["ports"]), faults);
  if (spec["selector"] !== undefined) validateLabels(spec["selector"], "spec.selector", faults);
  validateAddresses(object, spec, faults);
  const timeout = asNumber(at(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds"));
  if (timeout !== undefined && (timeout <= 0 || timeout > 86_400))
    faults.invalid(
      "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
      timeout,
      "must be greater than 0 and less than 86400",
    );
  const reachable = spec["type"] === "NodePort" || spec["type"] === "LoadBalancer" || !isEmpty(spec["externalIPs"]);
  if (!reachable && spec["externalTrafficPolicy"] !== undefined)
    faults.invalid(
      "spec.externalTrafficPolicy",
      spec["externalTrafficPolicy"],
      "may only be set for externally-accessible services",
    );
}

function validateExternalName(name: string, faults: Faults): void {
  if (name === "") faults.required("spec.externalName");
  else for (const fault of subdomainFaults(name.replace(/\.$/, ""))) faults.invalid("spec.externalName", name, fault);
}

function validateAddresses(object: JsonObject, spec: JsonObject, faults: Faults): void {
  for (const [index, ip] of asList(spec["clusterIPs"]).entries())
    if (ip !== "None" && isIP(asString(ip)) === 0) faults.invalid(`spec.clusterIPs[${index}]`, ip, ipWords);
  for (const [index, ip] of asList(spec["externalIPs"]).entries()) {
    if (isIP(asString(ip)) === 0) faults.invalid(`spec.externalIPs[${index}]`, ip, ipWords);
    else if (isLoopback(asString(ip))) faults.invalid(`spec.externalIPs[${index}]`, ip, loopbackWords);
  }
  for (const [index, entry] of asObjects(at(object, "status", "loadBalancer", "ingress")).entries())
    if (asString(entry["ip"]) !== "" && isIP(asString(entry["ip"])) === 0)
      faults.invalid(`status.loadBalancer.ingress[${index}].ip`, entry["ip"], ipWords);
}

function validatePorts(ports: readonly JsonObject[], faults: Faults): void {
  const names = new Set<string>();
  const numbers = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const path = `spec.ports[${index}]`;
    const name = asString(port["name"]);
    if (name === "" && ports.length > 1) faults.required(`${path}.name`);
    if (name !== "" && names.has(name)) faults.duplicate(`${path}.name`, name);
    names.add(name);
    validatePort(port, path, faults);
    const identity = `${asString(port["protocol"])}/${String(asNumber(port["port"]))}`;
    if (numbers.has(identity)) faults.duplicate(path, identityOf(port));
    numbers.add(identity);
  }
}

/** The part of a port that must be its own, as upstream shows it: its own struct with the rest left empty. */
function identityOf(port: JsonObject): JsonObject {
  const { protocol = "", port: Port = 0 } = port;
  return { Name: "", Protocol: protocol, AppProtocol: null, Port, TargetPort: 0, NodePort: 0 };
}

function validatePort(port: JsonObject, path: string, faults: Faults): void {
  const name = asString(port["name"]);
  for (const fault of name === "" ? [] : labelFaults(name)) faults.invalid(`${path}.name`, name, fault);
  validateNumber(port["port"] ?? 0, `${path}.port`, faults);
  const target = port["targetPort"];
  if (typeof target === "string")
    for (const fault of portNameFaults(target)) faults.invalid(`${path}.targetPort`, target, fault);
  else validateNumber(target ?? 0, `${path}.targetPort`, faults);
}

function validateNumber(value: Json, path: string, faults: Faults): void {
  if (typeof value === "number" && (value < 1 || value > 65_535)) faults.invalid(path, value, portWords);
}

function validateServiceUpdate(object: JsonObject, old: JsonObject, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const oldSpec = asObject(old["spec"]);
  const both = spec["type"] !== "ExternalName" && oldSpec["type"] !== "ExternalName";
  const before = asList(oldSpec["clusterIPs"]);
  if (both && before.length > 0 && !equalJson(asList(spec["clusterIPs"])[0], before[0]))
    faults.invalid("spec.clusterIPs[0]", spec["clusterIPs"] ?? null, "may not change once set");
  if (
    spec["type"] === "LoadBalancer" &&
    oldSpec["type"] === "LoadBalancer" &&
    !equalJson(spec["loadBalancerClass"], oldSpec["loadBalancerClass"])
  )
    faults.invalid("spec.loadBalancerClass", spec["loadBalancerClass"] ?? null, "may not change once set");
}

function showPorts(object: JsonObject): string {
  const ports = asObjects(at(object, "spec", "ports")).map((port) => {
    const node = asNumber(port["nodePort"]) ?? 0;
    return `${String(asNumber(port["port"]))}${node > 0 ? `:${node}` : ""}/${asString(port["protocol"])}`;
  });
  return ports.length === 0 ? "<none>" : ports.join(",");
}

function externalAddress(object: JsonObject): string {
  const spec = asObject(object["spec"]);
  const own = asList(spec["externalIPs"]).map(asString);
  if (spec["type"] === "ExternalName") return asString(spec["externalName"]);
  if (spec["type"] !== "LoadBalancer") return own.length === 0 ? "<none>" : own.join(",");
  const given = asObjects(at(object, "status", "loadBalancer", "ingress")).map(
    (one) => asString(one["ip"]) || asString(one["hostname"]),
  );
  return [...given, ...own].length === 0 ? "<pending>" : [...given, ...own].join(",");
}

const service: Behaviour = {
  createsOnUpdate: true,
  nameFaults: label1035Faults,
  defaults: defaultService,
  prepare(object, old, context) {
    // A status of balancers means nothing for services of other types.
    if (context.subresource === "" && old !== undefined && at(object, "spec", "type") !== "LoadBalancer")
      object["status"] = { loadBalancer: {} };
  },
  validate: validateService,
  validateUpdate: validateServiceUpdate,
  selectable: {
    "spec.clusterIP": (object) => textAt(object, "spec", "clusterIP"),
    "spec.type": (object) => textAt(object, "spec", "type"),
  },
  columns: [
    column("Type", (object) => textAt(object, "spec", "type")),
    column("Cluster-IP", (object) => textAt(object, "spec", "clusterIP") || "<none>"),
    column("External-IP", externalAddress),
    column("Port(s)", showPorts),
    column("Selector", (object) => showLabels(at(object, "spec", "selector")), { wide: true }),
  ],
};

/** Addresses that no endpoint can have, first match counts. */
function validateEndpointIp(ip: string, path: string, faults: Faults): void {
  if (isIP(ip) === 0) {
    // As upstream: once as an address, once as an address of an endpoint.
    faults.invalid(path, ip, ipWords);
    faults.invalid(path, ip, "must be a valid IP address");
  } else if (ip === "0.0.0.0" || /^[0:]+$/.test(ip)) faults.invalid(path, ip, `may not be unspecified (${ip})`);
  else if (isLoopback(ip)) faults.invalid(path, ip, loopbackWords);
  else if (/^169\.254\./.test(ip) || /^fe[89ab]/i.test(ip))
    faults.invalid(path, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  else if (/^224\.0\.0\./.test(ip) || /^ff02:/i.test(ip))
    faults.invalid(path, ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

function validateEndpointAddress(address: JsonObject, path: string, faults: Faults): void {
  const [hostname, node] = [asString(address["hostname"]), address["nodeName"]];
  if (hostname !== "") for (const fault of labelFaults(hostname)) faults.invalid(`${path}.hostname`, hostname, fault);
  if (node !== undefined)
    for (const fault of subdomainFaults(asString(node))) faults.invalid(`${path}.nodeName`, node, fault);
  validateEndpointIp(asString(address["ip"]), `${path}.ip`, faults);
}

function validateEndpointPort(
  port: JsonObject,
  path: string,
  { faults, isNamed }: { faults: Faults; isNamed: boolean },
): void {
  const [name, number, protocol] = [asString(port["name"]), asNumber(port["port"]) ?? 0, asString(port["protocol"])];
  if (name === "" && isNamed) faults.required(`${path}.name`);
  for (const fault of name === "" ? [] : labelFaults(name)) faults.invalid(`${path}.name`, name, fault);
  if (number < 1 || number > 65_535) faults.invalid(`${path}.port`, number, "must be between 1 and 65535, inclusive");
  if (!["TCP", "UDP", "SCTP"].includes(protocol))
    faults.unsupported(`${path}.protocol`, protocol, ["SCTP", "TCP", "UDP"]);
  const app = port["appProtocol"];
  if (app !== undefined)
    for (const fault of qualifiedNameFaults(asString(app))) faults.invalid(`${path}.appProtocol`, app, fault);
}

const endpoints: Behaviour = {
  createsOnUpdate: true,
  complete: true,
  deprecation: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
  defaults(object) {
    for (const subset of asObjects(object["subsets"]))
      for (const port of asObjects(subset["ports"])) setDefaultText(port, "protocol", "TCP");
  },
  validate(object, faults) {
    for (const [index, subset] of asObjects(object["subsets"]).entries()) {
      if (isEmpty(subset["addresses"]) && isEmpty(subset["notReadyAddresses"]))
        faults.required(`subsets[${index}]`, "must specify `addresses` or `notReadyAddresses`");
      for (const field of ["addresses", "notReadyAddresses"])
        for (const [place, address] of asObjects(subset[field]).entries())
          validateEndpointAddress(address, `subsets[${index}].${field}[${place}]`, faults);
      const ports = asObjects(subset["ports"]);
      for (const [place, port] of ports.entries())
        validateEndpointPort(port, `subsets[${index}].ports[${place}]`, { faults, isNamed: ports.length > 1 });
    }
  },
  columns: [
    column("Endpoints", (object) => {
      const all = asObjects(object["subsets"]).flatMap((subset) =>
        asObjects(subset["addresses"]).flatMap((address) => {
          const ports = asObjects(subset["ports"]);
          if (ports.length === 0) return [asString(address["ip"])];
          return ports.map((port) => `${asString(address["ip"])}:${String(asNumber(port["port"]))}`);
        }),
      );
      return cut(all, 3);
    }),
  ],
};

/** At most `limit` of a list, and how many more. */
function cut(list: readonly string[], limit: number): string {
  if (list.length === 0) return "<none>";
  return list.length <= limit ? list.join(",") : `${list.slice(0, limit).join(",")} + ${list.length - limit} more...`;
}

const endpointSlice: Behaviour = {
  generation: true,
  defaults(object) {
    for (const port of asObjects(object["ports"])) {
      setDefault(port, "name", "");
      setDefaultText(port, "protocol", "TCP");
    }
  },
  validate(object, faults) {
    const type = asString(object["addressType"]);
    for (const [index, endpoint] of asObjects(object["endpoints"]).entries())
      validateEndpoint(endpoint, type, `endpoints[${index}]`, faults);
    const names = new Set<string>();
    for (const [index, port] of asObjects(object["ports"]).entries()) {
      const name = asString(port["name"]);
      if (names.has(name)) faults.duplicate(`ports[${index}].name`, name);
      names.add(name);
      if (name !== "") for (const fault of labelFaults(name)) faults.invalid(`ports[${index}].name`, name, fault);
    }
  },
  validateUpdate(object, old, faults) {
    if (object["addressType"] !== old["addressType"])
      faults.invalid("addressType", object["addressType"], "field is immutable");
  },
  columns: [
    column("AddressType", (object) => asString(object["addressType"])),
    column("Ports", (object) =>
      cut(
        asObjects(object["ports"]).map((port) => (port["port"] === undefined ? "*" : String(asNumber(port["port"])))),
        3,
      ).replace("<none>", "<unset>"),
    ),
    column("Endpoints", (object) =>
      cut(
        asObjects(object["endpoints"]).flatMap((one) => asList(one["addresses"]).map(asString)),
        3,
      ).replace("<none>", "<unset>"),
    ),
  ],
};

function validateEndpoint(endpoint: JsonObject, type: string, path: string, faults: Faults): void {
  const addresses = asList(endpoint["addresses"]);
  if (addresses.length === 0) faults.required(`${path}.addresses`, "must contain at least 1 address");
  if (addresses.length > 100) faults.tooMany(`${path}.addresses`, addresses.length, 100);
  for (const [index, value] of addresses.entries()) {
    const address = asString(value);
    if (type === "IPv4" && !isIPv4(address)) faults.invalid(`${path}.addresses`, address, "must be an IPv4 address");
    else if (type === "IPv6" && !isIPv6(address))
      faults.invalid(`${path}.addresses`, address, "must be an IPv6 address");
    else if (type === "FQDN")
      for (const fault of subdomainFaults(address)) faults.invalid(`${path}.addresses[${index}]`, address, fault);
  }
}

/** Services and their endpoints. */
export const serviceBehaviours: BehaviourTable = {
  "/Service": service,
  "/Endpoints": endpoints,
  "discovery.k8s.io/EndpointSlice": endpointSlice,
};
