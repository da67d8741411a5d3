import { BlockList, isIP, isIPv4 } from "node:net";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { portNameFaults } from "../registry/names.js";
import {
  asList,
  asNumber,
  asObject,
  asObjects,
  asString,
  at,
  ensureObject,
  isEmpty,
  setDefaultText,
} from "../registry/read.js";
import { showSelector } from "./common.js";
import { validateSelector } from "./selectors.js";

const cidrWords = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

interface Cidr {
  readonly address: string;
  readonly bits: number;
}

function parseCidr(text: string): Cidr | undefined {
  const [address = "", bits = "", ...rest] = text.split("/");
  const width = isIPv4(address) ? 32 : 128;
  if (rest.length > 0 || isIP(address) === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > width) return undefined;
  return { address, bits: Number(bits) };
}

function validatePeer(peer: JsonObject, path: string, faults: Faults): void {
  const fields = ["podSelector", "namespaceSelector", "ipBlock"].filter((field) => peer[field] !== undefined);
  if (fields.length === 0) faults.required(path, "must specify a peer");
  if (peer["ipBlock"] !== undefined && fields.length > 1)
    faults.forbidden(path, "may not specify both ipBlock and another peer");
  for (const field of ["podSelector", "namespaceSelector"]) validateSelector(peer[field], `${path}.${field}`, faults);
  if (peer["ipBlock"] === undefined) return;
  const cidr = asString(at(peer, "ipBlock", "cidr"));
  const block = parseCidr(cidr);
  if (block === undefined) {
    faults.invalid(`${path}.ipBlock.cidr`, cidr, cidrWords);
    return;
  }
  for (const [index, value] of asList(at(peer, "ipBlock", "except")).entries()) {
    const place = `${path}.ipBlock.except[${index}]`;
    const hole = parseCidr(asString(value));
    if (hole === undefined) faults.invalid(place, value, cidrWords);
    else if (!isInside(hole, block)) faults.invalid(place, value, "must be a strict subset of `cidr`");
  }
}

function isInside(inner: Cidr, outer: Cidr): boolean {
  const family = isIPv4(outer.address) ? "ipv4" : "ipv6";
  if (family !== (isIPv4(inner.address) ? "ipv4" : "ipv6") || inner.bits <= outer.bits) return false;
  const list = new BlockList();
  list.addSubnet(outer.address, outer.bits, family);
  return list.check(inner.address, family);
}

function validatePort(port: JsonObject, path: string, faults: Faults): void {
  const value = port["port"];
  if (typeof value === "number" && (value < 1 || value > 65_535))
    faults.invalid(`${path}.port`, value, "must be between 1 and 65535, inclusive");
  if (typeof value === "string")
    for (const fault of portNameFaults(value)) faults.invalid(`${path}.port`, value, fault);
  const end = asNumber(port["endPort"]);
  if (end === undefined) return;
  if (value === undefined) faults.invalid(`${path}.endPort`, end, "may not be specified when `port` is not specified");
  else if (typeof value === "string")
    faults.invalid(`${path}.endPort`, end, "may not be specified when `port` is non-numeric");
  else if (typeof value === "number" && end < value)
    faults.invalid(`${path}.endPort`, value, "must be greater than or equal to `port`");
}

const policyTypes = ["Ingress", "Egress"];

const networkPolicy: Behaviour = {
  checkedTwice: "spec",
  generation: true,
  ownChecks: ["spec.policyTypes"],
  defaults(object) {
    const spec = ensureObject(object, "spec");
    for (const rule of [...asObjects(spec["ingress"]), ...asObjects(spec["egress"])])
      for (const port of asObjects(rule["ports"])) setDefaultText(port, "protocol", "TCP");
    if (isEmpty(spec["policyTypes"])) spec["policyTypes"] = isEmpty(spec["egress"]) ? ["Ingress"] : [...policyTypes];
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    validateSelector(spec["podSelector"], "spec.podSelector", faults);
    for (const [direction, peers] of Object.entries({ ingress: "from", egress: "to" }))
      for (const [index, rule] of asObjects(spec[direction]).entries()) {
        const path = `spec.${direction}[${index}]`;
        for (const [place, port] of asObjects(rule["ports"]).entries())
          validatePort(port, `${path}.ports[${place}]`, faults);
        for (const [place, peer] of asObjects(rule[peers]).entries())
          validatePeer(peer, `${path}.${peers}[${place}]`, faults);
      }
    for (const [index, type] of asList(spec["policyTypes"]).entries())
      if (!policyTypes.includes(asString(type))) faults.unsupported(`spec.policyTypes[${index}]`, type, policyTypes);
  },
  columns: [column("Pod-Selector", (object) => showSelector(at(object, "spec", "podSelector")))],
};

/** Network policies. */
export const networkPolicyBehaviours: BehaviourTable = { "networking.k8s.io/NetworkPolicy": networkPolicy };
