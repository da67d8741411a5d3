import { label1035Faults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
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
  setDefaultText,
} from "../registry/read.js";
import { showLabels, textAt } from "./common.js";
import {
  isExternal,
  validateService,
  validateServiceStatus,
  validateServiceUpdate,
  warnOfService,
} from "./service-validation.js";

const affinitySeconds = 10_800;

function defaultService(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  setDefaultText(spec, "sessionAffinity", "None");
  if (spec["sessionAffinity"] === "None") delete spec["sessionAffinityConfig"];
  else if (spec["sessionAffinity"] === "ClientIP")
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
  if (isExternal(spec)) setDefaultText(spec, "externalTrafficPolicy", "Cluster");
  if (["NodePort", "LoadBalancer", "ClusterIP"].includes(asString(spec["type"])))
    setDefault(spec, "internalTrafficPolicy", "Cluster");
  // A name in another place has no traffic inside.
  else if (spec["type"] === "ExternalName") delete spec["internalTrafficPolicy"];
  if (spec["type"] !== "LoadBalancer") return;
  setDefault(spec, "allocateLoadBalancerNodePorts", true);
  for (const entry of asObjects(at(object, "status", "loadBalancer", "ingress")))
    if (asString(entry["ip"]) !== "") setDefault(entry, "ipMode", "VIP");
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
      ensureObject(object, "status")["loadBalancer"] = {};
  },
  complete: true,
  statusOnly: true,
  updateChecks: { "": [0, 1] },
  validateCreate(object, faults) {
    validateService(object, undefined, faults);
    warnOfService(object, faults);
  },
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") {
      validateServiceStatus(object, old, faults);
      return;
    }
    validateServiceUpdate(object, old, faults);
    validateService(object, old, faults);
    warnOfService(object, faults);
  },
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

/** Services. */
export const serviceBehaviours: BehaviourTable = { "/Service": service };
