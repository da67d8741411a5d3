import type { Faults } from "../../../kernel/kinds/index.js";
import {
  label1035Faults,
  labelFaults,
  pathSegmentFaults,
  portNameFaults,
  subdomainFaults,
} from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import { asList, asNumber, asObject, asObjects, asString, at, isEmpty, setDefault } from "../registry/read.js";
import { checkAddress, readAddress, warnOfAddress } from "./addresses.js";
import { immutable, textAt } from "./common.js";
import { follows, needed, optional, portNumber } from "./rules.js";
import { checkBalancerName } from "./service-validation.js";

function validateTlsAndClass(spec: JsonObject, faults: Faults): void {
  for (const [index, tls] of asObjects(spec["tls"]).entries()) {
    for (const [place, host] of asList(tls["hosts"]).map(asString).entries())
      follows(hostFaults, host, `spec.tls[${index}].hosts[${place}]`, faults);
    optional(subdomainFaults, tls["secretName"], `spec.tls[${index}].secretName`, faults);
  }
  const className = spec["ingressClassName"];
  if (className !== undefined) follows(subdomainFaults, asString(className), "spec.ingressClassName", faults);
}

const oldClass = "kubernetes.io/ingress.class";

function validateIngressStatus(object: JsonObject, old: JsonObject, faults: Faults): void {
  const before = asObjects(at(old, "status", "loadBalancer", "ingress")).map((one) => asString(one["ip"]));
  for (const [index, entry] of asObjects(at(object, "status", "loadBalancer", "ingress")).entries()) {
    const path = `status.loadBalancer.ingress[${index}]`;
    const address = asString(entry["ip"]);
    if (address !== "") checkAddress(address, `${path}.ip`, faults, before);
    checkBalancerName(entry["hostname"], `${path}.hostname`, faults);
    warnOfAddress(address, path, faults);
  }
}

const ingress: Behaviour = {
  generation: true,
  complete: true,
  statusOnly: true,
  validateCreate(object, faults) {
    const annotated = at(object, "metadata", "annotations", oldClass);
    if (annotated === undefined) return;
    const name = at(object, "spec", "ingressClassName");
    if (name !== undefined && name !== annotated)
      faults.invalid(`annotations.${oldClass}`, annotated, "must match `ingressClassName` when both are specified");
    if (name === undefined)
      faults.warn(`annotation "${oldClass}" is deprecated, please use 'spec.ingressClassName' instead`);
  },
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") validateIngressStatus(object, old, faults);
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    if (isEmpty(spec["rules"]) && spec["defaultBackend"] === undefined)
      faults.invalid("spec", spec["rules"] ?? null, "either `defaultBackend` or `rules` must be specified");
    if (spec["defaultBackend"] !== undefined) validateBackend(spec["defaultBackend"], "spec.defaultBackend", faults);
    for (const [index, rule] of asObjects(spec["rules"]).entries()) validateRule(rule, `spec.rules[${index}]`, faults);
    validateTlsAndClass(spec, faults);
  },
  columns: [
    column(
      "Class",
      (object) =>
        textAt(object, "spec", "ingressClassName") ||
        asString(asObject(at(object, "metadata", "annotations"))["kubernetes.io/ingress.class"]) ||
        "<none>",
    ),
    column("Hosts", hosts),
    column("Address", (object) =>
      asObjects(at(object, "status", "loadBalancer", "ingress"))
        .map((one) => asString(one["ip"]) || asString(one["hostname"]))
        .join(","),
    ),
    column("Ports", (object) => (isEmpty(at(object, "spec", "tls")) ? "80" : "80, 443")),
  ],
};

function hosts(object: JsonObject): string {
  const names = asObjects(at(object, "spec", "rules"))
    .map((rule) => asString(rule["host"]))
    .filter((host) => host !== "");
  if (names.length === 0) return "*";
  return names.length > 3 ? `${names.slice(0, 3).join(",")} + ${names.length - 3} more...` : names.join(",");
}

const wildcardWords =
  "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const longestHost = 253;

function hostFaults(host: string): readonly string[] {
  if (!host.includes("*")) return subdomainFaults(host);
  const faults = host.length > longestHost ? [`must be no more than ${longestHost} characters`] : [];
  return /^\*\.[a-z\d]([-a-z\d]*[a-z\d])?(\.[a-z\d]([-a-z\d]*[a-z\d])?)*$/.test(host)
    ? faults
    : [...faults, wildcardWords];
}

function validateRule(rule: JsonObject, path: string, faults: Faults): void {
  const host = asString(rule["host"]);
  if (readAddress(host) !== undefined) faults.invalid(`${path}.host`, host, "must be a DNS name, not an IP address");
  optional(hostFaults, host, `${path}.host`, faults);
  if (rule["http"] === undefined) return;
  const paths = asObjects(at(rule, "http", "paths"));
  if (paths.length === 0) faults.required(`${path}.http.paths`);
  for (const [index, one] of paths.entries()) validatePath(one, `${path}.http.paths[${index}]`, faults);
}

function validatePath(one: JsonObject, path: string, faults: Faults): void {
  if (one["pathType"] === undefined) {
    faults.required(`${path}.pathType`, "pathType must be specified");
    return;
  }
  const type = asString(one["pathType"]);
  const value = asString(one["path"]);
  const isStrict = type === "Exact" || type === "Prefix";
  if (isStrict || (type === "ImplementationSpecific" && value !== ""))
    if (!value.startsWith("/")) faults.invalid(`${path}.path`, value, "must be an absolute path");
  if (isStrict) {
    for (const part of ["//", "/./", "/../", "%2f", "%2F"])
      if (value.includes(part)) faults.invalid(`${path}.path`, value, `must not contain '${part}'`);
    for (const part of ["/..", "/."])
      if (value.endsWith(part)) faults.invalid(`${path}.path`, value, `cannot end with '${part}'`);
  } else if (type !== "ImplementationSpecific")
    faults.unsupported(`${path}.pathType`, type, ["Exact", "ImplementationSpecific", "Prefix"]);
  validateBackend(one["backend"], `${path}.backend`, faults);
}

function validateBackend(backend: Json | undefined, path: string, faults: Faults): void {
  const [service, resource] = [at(backend, "service"), at(backend, "resource")];
  if (service !== undefined && resource !== undefined)
    faults.invalid(path, "", "cannot set both resource and service backends");
  else if (resource !== undefined) validateResource(asObject(resource), `${path}.resource`, faults);
  else if (service === undefined) faults.invalid(path, "", "resource or service backend is required");
  else validateServiceBackend(asObject(service), path, faults);
}

function validateServiceBackend(service: JsonObject, path: string, faults: Faults): void {
  const name = needed(service, "name", `${path}.service`, faults);
  if (name !== "") follows(label1035Faults, name, `${path}.service.name`, faults);
  const [portName, number] = [asString(at(service, "port", "name")), asNumber(at(service, "port", "number")) ?? 0];
  if (portName !== "" && number !== 0) faults.invalid(path, "", "cannot set both port name & port number");
  else if (portName !== "") follows(portNameFaults, portName, `${path}.service.port.name`, faults);
  else if (number !== 0) portNumber(number, `${path}.service.port.number`, faults);
  else faults.required(path, "port name or number is required");
}

/** A reference to an object in the same namespace. */
function validateResource(reference: JsonObject, path: string, faults: Faults): void {
  const group = reference["apiGroup"];
  if (typeof group === "string") follows(subdomainFaults, group, `${path}.apiGroup`, faults);
  for (const field of ["kind", "name"]) {
    const value = needed(reference, field, path, faults);
    if (value !== "") follows(pathSegmentFaults, value, `${path}.${field}`, faults);
  }
}

const longestController = 250;
const pathWords = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";

function validateController(controller: string, faults: Faults): void {
  const path = "spec.controller";
  if (controller.length > longestController) faults.tooLong(path, longestController);
  const slash = controller.indexOf("/");
  const [host, rest] = [controller.slice(0, slash), controller.slice(slash + 1)];
  if (controller === "") faults.required(path);
  else if (slash <= 0 || rest === "")
    faults.invalid(path, controller, 'must be a domain-prefixed path (such as "acme.io/foo")');
  else {
    for (const fault of subdomainFaults(host)) faults.invalid(path, host, fault);
    if (!/^[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$/.test(rest)) faults.invalid(path, rest, pathWords);
  }
}

function validateClass(spec: JsonObject, faults: Faults): void {
  validateController(asString(spec["controller"]), faults);
  if (spec["parameters"] === undefined) return;
  const [parameters, path] = [asObject(spec["parameters"]), "spec.parameters"];
  validateResource(parameters, path, faults);
  const [scope, namespace] = [asString(parameters["scope"]), parameters["namespace"]];
  if (parameters["scope"] === undefined) faults.required(`${path}.scope`);
  else if (scope !== "Cluster" && scope !== "Namespace")
    faults.unsupported(`${path}.scope`, scope, ["Cluster", "Namespace"]);
  else if (scope === "Cluster" && namespace !== undefined)
    faults.forbidden(`${path}.namespace`, "`parameters.scope` is set to 'Cluster'");
  else if (scope === "Namespace" && namespace === undefined)
    faults.required(`${path}.namespace`, "`parameters.scope` is set to 'Namespace'");
  else if (scope === "Namespace")
    for (const fault of labelFaults(asString(namespace))) faults.invalid(`${path}.namespace`, namespace, fault);
}

/** Ingresses and their classes. */
export const ingressBehaviours: BehaviourTable = {
  "networking.k8s.io/Ingress": ingress,
  "networking.k8s.io/IngressClass": {
    complete: true,
    generation: true,
    defaults(object) {
      const parameters = at(object, "spec", "parameters");
      if (parameters !== undefined) setDefault(asObject(parameters), "scope", "Cluster");
    },
    validate: (object, faults) => validateClass(asObject(object["spec"]), faults),
    validateUpdate: (object, old, faults) => immutable(object, old, ["spec", "controller"], faults),
    columns: [
      column("Controller", (object) => textAt(object, "spec", "controller")),
      column("Parameters", (object) => {
        const parameters = at(object, "spec", "parameters");
        if (parameters === undefined) return "<none>";
        const group = textAt(object, "spec", "parameters", "apiGroup");
        return `${textAt(object, "spec", "parameters", "kind")}${group === "" ? "" : `.${group}`}/${textAt(object, "spec", "parameters", "name")}`;
      }),
    ],
  },
};
