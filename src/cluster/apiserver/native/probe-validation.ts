import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Faults } from "../registry/faults.js";
import { portNameFaults } from "../registry/names.js";
import { asNumber, asObject, asString, at, isEmpty } from "../registry/read.js";

const handlers = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

/** Checks the probes and hooks of a container; `allowed` is false for init containers, which have none. */
export function validateProbes(
  container: JsonObject,
  path: string,
  context: { readonly faults: Faults; readonly allowed: boolean },
): void {
  for (const field of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    const probe = container[field];
    if (probe === undefined) continue;
    if (!context.allowed)
      context.faults.forbidden(`${path}.${field}`, "may not be set for init containers without restartPolicy=Always");
    else validateProbe(asObject(probe), `${path}.${field}`, field, context.faults);
  }
  for (const hook of ["postStart", "preStop"]) {
    const handler = at(container, "lifecycle", hook);
    if (handler === undefined) continue;
    if (context.allowed) validateHandler(asObject(handler), `${path}.lifecycle.${hook}`, context.faults);
    else
      context.faults.forbidden(`${path}.lifecycle`, "may not be set for init containers without restartPolicy=Always");
  }
}

function validateProbe(probe: JsonObject, path: string, field: string, faults: Faults): void {
  validateHandler(probe, path, faults);
  for (const name of [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
  ]) {
    const value = asNumber(probe[name]);
    if (value !== undefined && value < 0)
      faults.invalid(`${path}.${name}`, value, "must be greater than or equal to 0");
  }
  const successes = asNumber(probe["successThreshold"]);
  if (field !== "readinessProbe" && successes !== undefined && successes > 1)
    faults.invalid(`${path}.successThreshold`, successes, "must be 1");
}

function validateHandler(handler: JsonObject, path: string, faults: Faults): void {
  const [first, ...more] = handlers.filter((name) => handler[name] !== undefined);
  if (first === undefined) {
    faults.required(path, "must specify a handler type");
    return;
  }
  for (const name of more) faults.forbidden(`${path}.${name}`, "may not specify more than 1 handler type");
  if (first === "exec" && isEmpty(at(handler, "exec", "command"))) faults.required(`${path}.exec.command`);
  if (first === "httpGet" || first === "tcpSocket")
    validatePort(asObject(handler[first]), `${path}.${first}.port`, faults);
}

function validatePort(action: JsonObject, path: string, faults: Faults): void {
  const port = action["port"];
  if (typeof port === "number" || port === undefined) {
    if (port === undefined || port < 1 || port > 65_535)
      faults.invalid(path, port ?? 0, "must be between 1 and 65535, inclusive");
  } else for (const fault of portNameFaults(asString(port))) faults.invalid(path, port, fault);
}
