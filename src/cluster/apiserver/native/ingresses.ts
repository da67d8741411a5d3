import { isIP } from "node:net";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { portNameFaults, subdomainFaults } from "../registry/names.js";
import { asNumber, asObject, asObjects, asString, at, isEmpty } from "../registry/read.js";
import { textAt } from "./common.js";

const ingress: Behaviour = {
  generation: true,
  ownRequired: ["spec.rules.http.paths.pathType"],
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    if (isEmpty(spec["rules"]) && spec["defaultBackend"] === undefined)
      faults.invalid("spec", null, "either `defaultBackend` or `rules` must be specified");
    if (spec["defaultBackend"] !== undefined) validateBackend(spec["defaultBackend"], "spec.defaultBackend", faults);
    for (const [index, tls] of asObjects(spec["tls"]).entries()) {
      const name = asString(tls["secretName"]);
      if (name !== "")
        for (const fault of subdomainFaults(name)) faults.invalid(`spec.tls[${index}].secretName`, name, fault);
    }
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

function validateRule(rule: JsonObject, path: string, faults: Faults): void {
  const host = asString(rule["host"]);
  if (isIP(host) !== 0) faults.invalid(`${path}.host`, host, "must be a DNS name, not an IP address");
  else if (host.includes("*")) {
    if (!host.startsWith("*.") || subdomainFaults(host.slice(2)).length > 0)
      faults.invalid(`${path}.host`, host, wildcardWords);
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

/** Ingresses and their classes. */
export const ingressBehaviours: BehaviourTable = {
  "networking.k8s.io/Ingress": ingress,
  "networking.k8s.io/IngressClass": {
    generation: true,
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
