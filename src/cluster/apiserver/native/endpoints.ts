import type { Faults } from "../../../kernel/kinds/index.js";
import { labelFaults, labelValueFaults, subdomainFaults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import { validateLabels } from "../registry/metadata.js";
import {
  asList,
  asNumber,
  asObject,
  asObjects,
  asString,
  at,
  isEmpty,
  setDefault,
  setDefaultText,
} from "../registry/read.js";
import { checkAddress, checkEndpointAddress, readAddress, warnOfAddress } from "./addresses.js";
import { follows, neededOneOf, optional, portNumber, qualifiedName } from "./rules.js";

const protocols = ["SCTP", "TCP", "UDP"];

function validateAddress(address: JsonObject, path: string, faults: Faults, mayBeOwn: boolean): void {
  const ip = asString(address["ip"]);
  checkAddress(ip, `${path}.ip`, faults);
  optional(labelFaults, address["hostname"], `${path}.hostname`, faults);
  if (address["nodeName"] !== undefined)
    follows(subdomainFaults, asString(address["nodeName"]), `${path}.nodeName`, faults);
  // As upstream: what is no address is reported once as one, once as an endpoint's.
  checkEndpointAddress(ip, `${path}.ip`, faults, mayBeOwn);
}

function validatePort(port: JsonObject, path: string, faults: Faults, isNamed: boolean): void {
  const name = asString(port["name"]);
  if (name === "" && isNamed) faults.required(`${path}.name`);
  optional(labelFaults, name, `${path}.name`, faults);
  portNumber(port["port"], `${path}.port`, faults);
  neededOneOf(port["protocol"], protocols, `${path}.protocol`, faults);
  if (port["appProtocol"] !== undefined) qualifiedName(port["appProtocol"], `${path}.appProtocol`, faults);
}

function validateSubsets(object: JsonObject, faults: Faults): void {
  // Where the API itself is: a cluster on one machine offers it there.
  const isApi = at(object, "metadata", "namespace") === "default" && at(object, "metadata", "name") === "kubernetes";
  for (const [index, subset] of asObjects(object["subsets"]).entries()) {
    const path = `subsets[${index}]`;
    if (isEmpty(subset["addresses"]) && isEmpty(subset["notReadyAddresses"]))
      faults.required(path, "must specify `addresses` or `notReadyAddresses`");
    for (const field of ["addresses", "notReadyAddresses"])
      for (const [place, address] of asObjects(subset[field]).entries())
        validateAddress(address, `${path}.${field}[${place}]`, faults, isApi);
    const ports = asObjects(subset["ports"]);
    for (const [place, port] of ports.entries())
      validatePort(port, `${path}.ports[${place}]`, faults, ports.length > 1);
  }
}

const managedBy = "endpointslice.kubernetes.io/managed-by";
const controllers = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

function warnOfSubsets(object: JsonObject, faults: Faults): void {
  if (at(object, "metadata", "labels", "endpoints.kubernetes.io/managed-by") === "endpoint-controller") return;
  for (const [index, subset] of asObjects(object["subsets"]).entries())
    for (const field of ["addresses", "notReadyAddresses"])
      for (const [place, address] of asObjects(subset[field]).entries())
        warnOfAddress(address["ip"], `subsets[${index}].${field}[${place}].ip`, faults);
}

const endpoints: Behaviour = {
  createsOnUpdate: true,
  complete: true,
  deprecation: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
  defaults(object) {
    for (const subset of asObjects(object["subsets"]))
      for (const port of asObjects(subset["ports"])) setDefaultText(port, "protocol", "TCP");
  },
  validateCreate(object, faults) {
    validateSubsets(object, faults);
    warnOfSubsets(object, faults);
  },
  validateUpdate(object, old, faults) {
    // What is as it was may stay, whatever it is.
    if (!equalJson(object["subsets"], old["subsets"])) validateSubsets(object, faults);
    warnOfSubsets(object, faults);
  },
  columns: [
    column("Endpoints", (object) => {
      if (isEmpty(object["subsets"])) return "<none>";
      const all = asObjects(object["subsets"]).flatMap((subset) => {
        const addresses = asObjects(subset["addresses"]).map((address) => asString(address["ip"]));
        const ports = asObjects(subset["ports"]).map((port) => String(asNumber(port["port"]) ?? 0));
        if (ports.length === 0) return addresses;
        return ports.flatMap((port) =>
          addresses.map((address) => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`)),
        );
      });
      return cut(all, 3);
    }),
  ],
};

/** At most `limit` of a list, and how many more. */
function cut(list: readonly string[], limit: number): string {
  return list.length <= limit ? list.join(",") : `${list.slice(0, limit).join(",")} + ${list.length - limit} more...`;
}

const most = { endpoints: 1000, addresses: 100, ports: 20_000, hints: 8, labels: 16 };

function validateSlicePorts(ports: readonly JsonObject[], faults: Faults): void {
  if (ports.length > most.ports) {
    faults.tooMany("ports", ports.length, most.ports);
    return;
  }
  const names = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const path = `ports[${index}]`;
    const name = asString(port["name"]);
    optional(labelFaults, name, `${path}.name`, faults);
    if (names.has(name)) faults.duplicate(`${path}.name`, name);
    names.add(name);
    if (port["protocol"] === undefined) faults.required(`${path}.protocol`);
    else if (!protocols.includes(asString(port["protocol"])))
      faults.unsupported(`${path}.protocol`, port["protocol"], protocols);
    if (port["appProtocol"] !== undefined) qualifiedName(port["appProtocol"], `${path}.appProtocol`, faults);
  }
}

function validateEndpoints(object: JsonObject, faults: Faults): void {
  const list = asObjects(object["endpoints"]);
  if (list.length > most.endpoints) {
    faults.tooMany("endpoints", list.length, most.endpoints);
    return;
  }
  const type = asString(object["addressType"]);
  for (const [index, endpoint] of list.entries()) validateEndpoint(endpoint, type, `endpoints[${index}]`, faults);
}

function validateEndpoint(endpoint: JsonObject, type: string, path: string, faults: Faults): void {
  const addresses = asList(endpoint["addresses"]).map(asString);
  const place = `${path}.addresses`;
  if (addresses.length === 0) faults.required(place, "must contain at least 1 address");
  if (addresses.length > most.addresses) faults.tooMany(place, addresses.length, most.addresses);
  for (const [index, address] of addresses.entries())
    addressChecks[type]?.(address, `${place}[${index}]`, place, faults);
  if (endpoint["nodeName"] !== undefined)
    follows(subdomainFaults, asString(endpoint["nodeName"]), `${path}.nodeName`, faults);
  const topology = asObject(endpoint["deprecatedTopology"]);
  if (Object.keys(topology).length > most.labels)
    faults.tooMany(`${path}.deprecatedTopology`, Object.keys(topology).length, most.labels);
  validateLabels(topology, `${path}.deprecatedTopology`, faults);
  if (endpoint["hostname"] !== undefined)
    follows(labelFaults, asString(endpoint["hostname"]), `${path}.hostname`, faults);
  if (endpoint["hints"] !== undefined) validateHints(asObject(endpoint["hints"]), `${path}.hints`, faults);
}

type AddressCheck = (address: string, path: string, list: string, faults: Faults) => void;

/**
 * By the slice's type; the family is reported at the path of the list, as upstream. The machine's own addresses are taken
 * here: what a cluster on one machine has to offer is there.
 */
const addressChecks: Readonly<Record<string, AddressCheck>> = {
  IPv4(address, path, list, faults) {
    if (!checkAddress(address, path, faults)) return;
    if (readAddress(address)?.family !== 4) faults.invalid(list, address, "must be an IPv4 address");
    checkEndpointAddress(address, path, faults, true);
  },
  IPv6(address, path, list, faults) {
    if (!checkAddress(address, path, faults)) return;
    const read = readAddress(address);
    if (read?.isStandard === false) {
      const isMapped = address.includes(":");
      faults.invalid(path, address, isMapped ? "must not be an IPv4-mapped IPv6 address" : "must not have leading 0s");
    } else if (read?.canonical !== address)
      faults.invalid(path, address, `must be in canonical form (${JSON.stringify(read?.canonical)})`);
    else {
      if (read.family !== 6) faults.invalid(list, address, "must be an IPv6 address");
      checkEndpointAddress(address, path, faults, true);
    }
  },
  FQDN(address, path, _, faults) {
    const name = address.replace(/\.$/, "");
    const wrong = subdomainFaults(name);
    if (address === "") faults.required(path);
    else if (wrong.length > 0) faults.invalid(path, name, wrong.join(","));
    else if (!name.includes("."))
      faults.invalid(path, name, "should be a domain with at least two segments separated by dots");
    else
      for (const label of name.split(".")) {
        const odd = labelFaults(label);
        if (odd.length === 0) continue;
        faults.invalid(path, label, odd.join(","));
        return;
      }
  },
};

function validateHints(hints: JsonObject, path: string, faults: Faults): void {
  const grammars = { forZones: labelValueFaults, forNodes: subdomainFaults };
  for (const [field, grammar] of Object.entries(grammars)) {
    const list = asObjects(hints[field]);
    if (list.length > most.hints) {
      faults.tooMany(`${path}.${field}`, list.length, most.hints);
      return;
    }
    const names = new Set<string>();
    for (const [index, one] of list.entries()) {
      const name = asString(one["name"]);
      const place = `${path}.${field}[${index}].name`;
      if (names.has(name)) faults.duplicate(place, name);
      names.add(name);
      follows(grammar, name, place, faults);
    }
  }
}

function warnOfEndpoints(object: JsonObject, faults: Faults): void {
  if (controllers.includes(asString(at(object, "metadata", "labels", managedBy)))) return;
  for (const [index, endpoint] of asObjects(object["endpoints"]).entries())
    for (const [place, address] of asList(endpoint["addresses"]).entries())
      warnOfAddress(address, `endpoints[${index}].addresses[${place}]`, faults);
}

/** Topology of endpoints is a thing of older versions: what is sent again is dropped, but for the node's name. */
function dropTopology(object: JsonObject, old: JsonObject | undefined): void {
  if (old !== undefined && equalJson(object["endpoints"], old["endpoints"])) return;
  for (const endpoint of asObjects(object["endpoints"])) delete endpoint["deprecatedTopology"];
}

const endpointSlice: Behaviour = {
  generation: "once",
  complete: true,
  updateChecks: { "": [1, 0] },
  defaults(object) {
    for (const port of asObjects(object["ports"])) {
      setDefault(port, "name", "");
      setDefault(port, "protocol", "TCP");
    }
  },
  prepare(object, old) {
    if (old !== undefined) {
      const body = (one: JsonObject): JsonObject => ({
        addressType: one["addressType"] ?? "",
        endpoints: one["endpoints"] ?? [],
        ports: one["ports"] ?? [],
        labels: at(one, "metadata", "labels") ?? {},
      });
      const generation = asNumber(at(old, "metadata", "generation")) ?? 0;
      const raised = equalJson(body(object), body(old)) ? generation : generation + 1;
      if (raised > 0) asObject(object["metadata"])["generation"] = raised;
    }
    dropTopology(object, old);
  },
  validate(object, faults) {
    neededOneOf(object["addressType"], ["FQDN", "IPv4", "IPv6"], "addressType", faults);
    validateSlicePorts(asObjects(object["ports"]), faults);
  },
  validateCreate(object, faults) {
    validateEndpoints(object, faults);
    if (object["addressType"] === "FQDN") faults.warn("spec.addressType: FQDN endpoints are deprecated");
    warnOfEndpoints(object, faults);
  },
  validateUpdate(object, old, faults) {
    if (!equalJson(object["endpoints"], old["endpoints"])) validateEndpoints(object, faults);
    if (object["addressType"] !== old["addressType"])
      faults.invalid("addressType", object["addressType"] ?? "", "field is immutable");
    warnOfEndpoints(object, faults);
  },
  columns: [
    column("AddressType", (object) => asString(object["addressType"])),
    column(
      "Ports",
      (object) =>
        cut(
          asObjects(object["ports"]).map((port) => (port["port"] === undefined ? "*" : String(asNumber(port["port"])))),
          3,
        ) || "<unset>",
    ),
    column(
      "Endpoints",
      (object) =>
        cut(
          asObjects(object["endpoints"]).flatMap((one) => asList(one["addresses"]).map(asString)),
          3,
        ) || "<unset>",
    ),
  ],
};

/** Where Services' traffic goes. */
export const endpointBehaviours: BehaviourTable = {
  "/Endpoints": endpoints,
  "discovery.k8s.io/EndpointSlice": endpointSlice,
};
