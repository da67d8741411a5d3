import type { Faults } from "../../../kernel/kinds/index.js";
import { portNameFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
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
} from "../registry/read.js";
import { checkNetwork, maskedText, type Network, readNetwork, warnOfNetwork } from "./addresses.js";
import { showSelector } from "./common.js";
import { follows, needed, oneOf, oneOfIfSet, portNumber } from "./rules.js";
import { validateSelector } from "./selectors.js";

function validatePeer(peer: JsonObject, path: string, faults: Faults): void {
  const fields = ["podSelector", "namespaceSelector", "ipBlock"].filter((field) => peer[field] !== undefined);
  for (const field of ["podSelector", "namespaceSelector"]) validateSelector(peer[field], `${path}.${field}`, faults);
  if (peer["ipBlock"] !== undefined) validateBlock(asObject(peer["ipBlock"]), `${path}.ipBlock`, faults);
  if (fields.length === 0) faults.required(path, "must specify a peer");
  if (peer["ipBlock"] !== undefined && fields.length > 1)
    faults.forbidden(path, "may not specify both ipBlock and another peer");
}

function validateBlock(block: JsonObject, path: string, faults: Faults): void {
  const cidr = needed(block, "cidr", path, faults);
  if (cidr === "") return;
  checkNetwork(cidr, `${path}.cidr`, faults);
  const whole = readNetwork(cidr);
  if (whole === undefined) return;
  for (const [index, value] of asList(block["except"]).map(asString).entries()) {
    const place = `${path}.except[${index}]`;
    checkNetwork(value, place, faults);
    const hole = readNetwork(value);
    if (hole !== undefined && !isInside(hole, whole)) faults.invalid(place, value, "must be a strict subset of `cidr`");
  }
}

function isInside(inner: Network, outer: Network): boolean {
  if (inner.address.family !== outer.address.family || inner.bits <= outer.bits) return false;
  return maskedText(inner.address, outer.bits) === maskedText(outer.address, outer.bits);
}

const protocols = ["TCP", "UDP", "SCTP"];

function validatePort(port: JsonObject, path: string, faults: Faults): void {
  oneOfIfSet(port["protocol"], protocols, `${path}.protocol`, faults);
  const value = port["port"];
  const end = asNumber(port["endPort"]);
  if (value === undefined) {
    if (end !== undefined) faults.invalid(`${path}.endPort`, end, "may not be specified when `port` is not specified");
  } else if (typeof value === "string") {
    if (end !== undefined) faults.invalid(`${path}.endPort`, end, "may not be specified when `port` is non-numeric");
    follows(portNameFaults, value, `${path}.port`, faults);
  } else {
    portNumber(value, `${path}.port`, faults);
    if (end === undefined) return;
    if (end < (asNumber(value) ?? 0))
      faults.invalid(`${path}.endPort`, value, "must be greater than or equal to `port`");
    portNumber(end, `${path}.endPort`, faults);
  }
}

const policyTypes = ["Ingress", "Egress"];

function validateTypes(types: readonly Json[], faults: Faults): void {
  const path = "spec.policyTypes";
  if (types.length > policyTypes.length) faults.invalid(path, [...types], "may not specify more than two policyTypes");
  else for (const [index, type] of types.entries()) oneOf(type, policyTypes, `${path}[${index}]`, faults);
}

/** The blocks of addresses that a policy names, and where it does. */
function blocksOf(spec: JsonObject): [JsonObject, string][] {
  return Object.entries({ ingress: "from", egress: "to" }).flatMap(([direction, peers]) =>
    asObjects(spec[direction]).flatMap((rule, index) =>
      asObjects(rule[peers]).flatMap((peer, place): [JsonObject, string][] =>
        peer["ipBlock"] === undefined
          ? []
          : [[asObject(peer["ipBlock"]), `spec.${direction}[${index}].${peers}[${place}].ipBlock`]],
      ),
    ),
  );
}

const networkPolicy: Behaviour = {
  checkedTwice: "spec",
  generation: true,
  complete: true,
  defaults(object) {
    const spec = ensureObject(object, "spec");
    for (const rule of [...asObjects(spec["ingress"]), ...asObjects(spec["egress"])])
      for (const port of asObjects(rule["ports"])) setDefault(port, "protocol", "TCP");
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
    validateTypes(asList(spec["policyTypes"]), faults);
    for (const [block, path] of blocksOf(spec)) {
      warnOfNetwork(block["cidr"], `${path}.cidr`, faults);
      for (const [index, hole] of asList(block["except"]).entries())
        warnOfNetwork(hole, `${path}.except[${index}]`, faults);
    }
  },
  columns: [column("Pod-Selector", (object) => showSelector(at(object, "spec", "podSelector")))],
};

/** Network policies. */
export const networkPolicyBehaviours: BehaviourTable = { "networking.k8s.io/NetworkPolicy": networkPolicy };
