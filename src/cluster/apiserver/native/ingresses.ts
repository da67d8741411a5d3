import { isIP } from "node:net";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { labelFaults, pathSegmentFaults, portNameFaults, subdomainFaults } from "../registry/names.js";
import { asList, asNumber, asObject, asObjects, asString, at, isEmpty } from "../registry/read.js";
import { immutable, textAt } from "./common.js";

function validateClassAndTls(spec: JsonObject, faults: Faults): void {
  const className = spec["ingressClassName"];
  if (className !== undefined)
    for (const fault of subdomainFaults(asString(className))) faults.invalid("spec.ingressClassName", className, fault);
  for (const [index, tls] of asObjects(spec["tls"]).entries()) {
    for (const [place, host] of asList(tls["hosts"]).map(asString).entries())
      for (const fault of host.includes("*") ? wildcardFaults(host) : subdomainFaults(host))
        faults.invalid(`spec.tls[${index}].hosts[${place}]`, host, fault);
    const name = asString(tls["secretName"]);
    if (name !== "")
      for (const fault of subdomainFaults(name)) faults.invalid(`spec.tls[${index}].secretName`, name, fault);
  }
}

const ingress: Behaviour = {
  generation: true,
  ownRequired: ["spec.rules.http.paths.pathType"],
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    if (isEmpty(spec["rules"]) && spec["defaultBackend"] === undefined)
      faults.invalid("spec", null, "either `defaultBackend` or `rules` must be specified");
    if (spec["defaultBackend"] !== undefined) validateBackend(spec["defaultBackend"], "spec.defaultBackend", faults);
    validateClassAndTls(spec, faults);
    for (const [index, rule] of asObjects(spec["rules"]).entries()) validateRule(rule, `spec.rules[${index}]`, faults);
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

function wildcardFaults(host: string): string[] {
  return host.startsWith("*.") && subdomainFaults(host.slice(2)).length === 0 ? [] : [wildcardWords];
}

function validateRule(rule: JsonObject, path: string, faults: Faults): void {
  const host = asString(rule["host"]);
  if (isIP(host) !== 0) faults.invalid(`${path}.host`, host, "must be a DNS name, not an IP address");
  else if (host.includes("*")) {
    for (const fault of wildcardFaults(host)) faults.invalid(`${path}.host`, host, fault);
  } else if (host !== "") for (const fault of subdomainFaults(host)) faults.invalid(`${path}.host`, host, fault);
  if (rule["http"] === undefined) return;
  const paths = asObjects(at(rule, "http", "paths"));
  if (paths.length === 0) faults.required(`${path}.http.paths`);
  for (const [index, one] of paths.entries()) validatePath(one, `${path}.http.paths[${index}]`, faults);
}

function validatePath(one: JsonObject, path: string, faults: Faults): void {
  const type = asString(one["pathType"]);
  const value = asString(one["path"]);
  if (one["pathType"] === undefined) faults.required(`${path}.pathType`, "pathType must be specified");
  if ((type === "Exact" || type === "Prefix") && !value.startsWith("/"))
    faults.invalid(`${path}.path`, value, "must be an absolute path");
  for (const part of ["//", "/./", "/../", "%2f", "%2F"])
    if ((type === "Exact" || type === "Prefix") && value.includes(part))
      faults.invalid(`${path}.path`, value, `must not contain '${part}'`);
  validateBackend(one["backend"], `${path}.backend`, faults);
}

function validateBackend(backend: Json | undefined, path: string, faults: Faults): void {
  const service = at(backend, "service");
  if (service === undefined && at(backend, "resource") === undefined) {
    faults.invalid(path, "", "resource or service backend is required");
    return;
  }
  if (service === undefined) return;
  if (at(backend, "resource") !== undefined) faults.invalid(path, "", "cannot set both resource and service backends");
  const name = asString(at(service, "name"));
  if (name === "") faults.required(`${path}.service.name`);
  const [portName, number] = [asString(at(service, "port", "name")), asNumber(at(service, "port", "number")) ?? 0];
  if (portName === "" && number === 0) faults.required(`${path}.service.port`, "port name or number is required");
  else if (portName !== "" && number !== 0) faults.invalid(path, "", "cannot set both port name & port number");
  else if (portName !== "")
    for (const fault of portNameFaults(portName)) faults.invalid(`${path}.service.port.name`, portName, fault);
  else if (number < 1 || number > 65_535)
    faults.invalid(`${path}.service.port.number`, number, "must be between 1 and 65535, inclusive");
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
  const group = parameters["apiGroup"];
  if (group !== undefined)
    for (const fault of subdomainFaults(asString(group))) faults.invalid(`${path}.apiGroup`, group, fault);
  for (const field of ["kind", "name"]) {
    const value = asString(parameters[field]);
    if (value === "") faults.required(`${path}.${field}`);
    for (const fault of pathSegmentFaults(value)) faults.invalid(`${path}.${field}`, value, fault);
  }
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
