import type { Faults } from "../../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asNumber, asObject, asObjects, asString, at, isEmpty } from "../../registry/read.js";
import { needed, nonNegative, oneOf, portNumber, portNumberOrName } from "../rules.js";
import { signals, windowsSignals } from "./signals.js";

/** What the checks of probes and hooks need to know of the pod. */
export interface HookContext {
  readonly path: string;
  readonly faults: Faults;
  readonly graceSeconds: number | undefined;
  readonly os: string | undefined;
}

/** Checks the probes and hooks of a container that runs on. */
export function validateProbes(container: JsonObject, context: HookContext): void {
  const lifecycle = asObject(container["lifecycle"]);
  for (const hook of ["postStart", "preStop"])
    if (lifecycle[hook] !== undefined)
      validateHandler(asObject(lifecycle[hook]), { ...context, path: `${context.path}.lifecycle.${hook}` }, hooks);
  validateStopSignal(lifecycle, context);
  for (const field of ["livenessProbe", "readinessProbe", "startupProbe"])
    if (container[field] !== undefined)
      validateProbe(asObject(container[field]), field, { ...context, path: `${context.path}.${field}` });
}

const onlyRestarted = "may not be set for init containers without restartPolicy=Always";

/** Reports the probes and hooks of a container that ends. */
export function forbidProbes(container: JsonObject, path: string, faults: Faults): void {
  for (const field of ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"])
    if (container[field] !== undefined) faults.forbidden(`${path}.${field}`, onlyRestarted);
}

function validateStopSignal(lifecycle: JsonObject, { path, faults, os }: HookContext): void {
  const signal = lifecycle["stopSignal"];
  if (signal === undefined) return;
  const place = `${path}.lifecycle.stopSignal`;
  if (os === undefined) faults.forbidden(place, "may not be set for containers with empty `spec.os.name`");
  else if (os === "windows") oneOf(signal, windowsSignals, place, faults);
  else if (os === "linux") oneOf(signal, signals, place, faults);
}

const numbers = ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];

function validateProbe(probe: JsonObject, field: string, context: HookContext): void {
  const { path, faults } = context;
  validateHandler(probe, context, probeHandlers);
  for (const name of numbers) nonNegative(probe, name, path, faults);
  const grace = asNumber(probe["terminationGracePeriodSeconds"]);
  const place = `${path}.terminationGracePeriodSeconds`;
  if (grace !== undefined && grace <= 0) faults.invalid(place, grace, "must be greater than 0");
  if (field === "readinessProbe") {
    if (grace !== undefined) faults.invalid(place, grace, "must not be set for readinessProbes");
  } else if (asNumber(probe["successThreshold"]) !== 1)
    faults.invalid(`${path}.successThreshold`, probe["successThreshold"] ?? 0, "must be 1");
}

type HandlerCheck = (action: JsonObject, context: HookContext) => void;

const exec: HandlerCheck = (action, { path, faults }) => {
  if (isEmpty(action["command"])) faults.required(`${path}.command`);
};

const headerWords =
  "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";

const httpGet: HandlerCheck = (action, { path, faults }) => {
  needed(action, "path", path, faults);
  portNumberOrName(action["port"], `${path}.port`, faults);
  oneOf(action["scheme"], ["HTTP", "HTTPS"], `${path}.scheme`, faults);
  for (const header of asObjects(action["httpHeaders"])) {
    const name = asString(header["name"]);
    if (!/^[-A-Za-z0-9]+$/.test(name)) faults.invalid(`${path}.httpHeaders`, name, headerWords);
  }
};

const tcpSocket: HandlerCheck = (action, { path, faults }) => portNumberOrName(action["port"], `${path}.port`, faults);
const grpc: HandlerCheck = (action, { path, faults }) => portNumber(action["port"], `${path}.port`, faults);

const sleep: HandlerCheck = (action, { path, faults, graceSeconds }) => {
  const seconds = asNumber(at(action, "seconds")) ?? 0;
  if (graceSeconds !== undefined && (seconds < 0 || seconds > graceSeconds))
    faults.invalid(path, seconds, `must be non-negative and less than terminationGracePeriodSeconds (${graceSeconds})`);
};

const probeHandlers: readonly (readonly [string, HandlerCheck])[] = [
  ["exec", exec],
  ["httpGet", httpGet],
  ["tcpSocket", tcpSocket],
  ["grpc", grpc],
];
const hooks: readonly (readonly [string, HandlerCheck])[] = [
  ["exec", exec],
  ["httpGet", httpGet],
  ["tcpSocket", tcpSocket],
  ["sleep", sleep],
];

function validateHandler(
  handler: JsonObject,
  context: HookContext,
  known: readonly (readonly [string, HandlerCheck])[],
): void {
  const { path, faults } = context;
  const [first, ...more] = known.filter(([name]) => handler[name] !== undefined);
  if (first === undefined) {
    faults.required(path, "must specify a handler type");
    return;
  }
  const [name, check] = first;
  check(asObject(handler[name]), { ...context, path: `${path}.${name}` });
  for (const [other] of more) faults.forbidden(`${path}.${other}`, "may not specify more than 1 handler type");
}
