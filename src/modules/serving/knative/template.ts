/** What a Revision's spec says, with defaults, and what is wrong with it. */
import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { readSettings } from "../autoscaling/index.js";
import type { TrafficTarget } from "./kinds.js";

const MAX_CONCURRENCY = 1000;
const MAX_TIMEOUT_S = 600;
const DEFAULT_TIMEOUT_S = 300;
const DEFAULT_PORT = 8080;
/** Ports of Knative's own container beside the user's; manifests that use them work nowhere else. */
const RESERVED_PORTS: ReadonlySet<number> = new Set([8012, 8013, 8022, 8112, 9090, 9091]);
const EXTRA_FIELDS = ["containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds"];

/** A Revision's spec, read. */
export interface RevisionParts {
  /** Without the fields that pods have not. */
  readonly pod: JsonObject;
  /** The container that gets the requests. */
  readonly main: string;
  readonly port: number;
  /** Its port says that it speaks HTTP/2 without TLS. */
  readonly isHttp2: boolean;
  readonly containerConcurrency: number;
  readonly timeoutMs: number;
  readonly responseStartMs: number;
  readonly idleMs: number;
  /** Path that says whether it is ready; undefined: it has no HTTP probe. */
  readonly healthPath: string | undefined;
}

/** Reads a spec that was completed and found to be right. */
export function readRevisionSpec(spec: JsonObject): RevisionParts {
  const pod = Object.fromEntries(Object.entries(spec).filter(([name]) => !EXTRA_FIELDS.includes(name)));
  const main = mainContainer(spec);
  const [port] = asObjects(main["ports"]);
  const probe = asObject(asObject(main["readinessProbe"])["httpGet"]);
  const seconds = (name: string, fallback: number): number => {
    const value = spec[name];
    return (typeof value === "number" ? value : fallback) * 1000;
  };
  const timeoutMs = seconds("timeoutSeconds", DEFAULT_TIMEOUT_S);
  const path = probe["path"];
  return {
    pod,
    main: asString(main["name"]),
    port: typeof port?.["containerPort"] === "number" ? port["containerPort"] : DEFAULT_PORT,
    isHttp2: port?.["name"] === "h2c",
    containerConcurrency: seconds("containerConcurrency", 0) / 1000,
    timeoutMs,
    responseStartMs: seconds("responseStartTimeoutSeconds", timeoutMs / 1000),
    idleMs: seconds("idleTimeoutSeconds", 0),
    healthPath: typeof path === "string" ? path : undefined,
  };
}

/** The one with a port; the only one, or the first, where none has. */
function mainContainer(spec: JsonObject): JsonObject {
  const containers = asObjects(spec["containers"]);
  return containers.find((container) => asObjects(container["ports"]).length > 0) ?? containers[0] ?? {};
}

/** Fills in what a spec leaves out, in place. What is not of the form is left for the check. */
export function completeSpec(spec: JsonObject): void {
  spec["containerConcurrency"] ??= 0;
  spec["timeoutSeconds"] ??= DEFAULT_TIMEOUT_S;
  spec["enableServiceLinks"] ??= false;
  const { containers } = spec;
  if (!Array.isArray(containers)) return;
  const objects = containers.filter(isObject);
  for (const [index, container] of objects.entries())
    container["name"] ??= objects.length === 1 ? "user-container" : `user-container-${index}`;
  const main = objects.find((container) => asObjects(container["ports"]).length > 0) ?? objects[0];
  if (main === undefined) return;
  main["readinessProbe"] ??= { successThreshold: 1, tcpSocket: { port: 0 } };
}

/** Collects what is wrong, with paths. */
export class Faults {
  readonly list: StatusCause[] = [];

  add(field: string, message: string, reason = "FieldValueInvalid"): void {
    this.list.push({ reason, field, message });
  }
}

/** What is wrong with a template. */
export function checkTemplate(template: JsonObject, path: string, faults: Faults): void {
  const annotations = asObject(asObject(template["metadata"])["annotations"]);
  const texts = Object.fromEntries(Object.entries(annotations).map(([name, value]) => [name, asString(value)]));
  for (const { annotation, message } of readSettings(texts, 0).faults)
    faults.add(`${path}.metadata.annotations[${annotation}]`, message);
  checkSpec(asObject(template["spec"]), `${path}.spec`, faults);
}

/** What is wrong with a Revision's spec. */
export function checkSpec(spec: JsonObject, path: string, faults: Faults): void {
  const containers = asObjects(spec["containers"]);
  if (containers.length === 0) faults.add(`${path}.containers`, "must have a container", "FieldValueRequired");
  for (const [index, container] of containers.entries())
    checkContainer(container, `${path}.containers[${index}]`, faults);
  const withPorts = containers.filter((container) => asObjects(container["ports"]).length > 0).length;
  if (containers.length > 1 && withPorts !== 1)
    faults.add(`${path}.containers`, "exactly one of several containers must have a port: it gets the requests");
  whole(spec, { name: "containerConcurrency", most: MAX_CONCURRENCY, path }, faults);
  for (const name of EXTRA_FIELDS.slice(1)) whole(spec, { name, most: MAX_TIMEOUT_S, path }, faults);
  const timeout = numberOr(spec["timeoutSeconds"], DEFAULT_TIMEOUT_S);
  for (const name of EXTRA_FIELDS.slice(2))
    if (numberOr(spec[name], 0) > timeout)
      faults.add(`${path}.${name}`, `must not be more than timeoutSeconds, which is ${timeout}`);
}

function checkContainer(container: JsonObject, path: string, faults: Faults): void {
  if (asString(container["image"]) === "") faults.add(`${path}.image`, "must name an image", "FieldValueRequired");
  const ports = asObjects(container["ports"]);
  if (ports.length > 1) faults.add(`${path}.ports`, "must have at most one port: it gets the requests");
  for (const port of ports) {
    const { containerPort, name } = port;
    if (typeof containerPort === "number" && RESERVED_PORTS.has(containerPort))
      faults.add(`${path}.ports[0].containerPort`, `${containerPort} is Knative's own; use another one`);
    if (name !== undefined && !["", "http1", "h2c", "user-port"].includes(asString(name)))
      faults.add(`${path}.ports[0].name`, 'must be "http1" or "h2c"');
  }
}

const numberOr = (value: unknown, fallback: number): number => (typeof value === "number" ? value : fallback);

function whole(
  spec: JsonObject,
  { name, most, path }: { readonly name: string; readonly most: number; readonly path: string },
  faults: Faults,
): void {
  const value = spec[name];
  if (value === undefined) return;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > most)
    faults.add(`${path}.${name}`, `must be a whole number from 0 to ${most}`);
}

/** What is wrong with shares; `isRoute`: they may, and must, name Configurations. */
export function checkTraffic(traffic: readonly TrafficTarget[], path: string, isRoute: boolean, faults: Faults): void {
  const tags = new Set<string>();
  for (const [index, target] of traffic.entries()) {
    const at = `${path}[${index}]`;
    checkTarget(target, at, isRoute, faults);
    const { tag } = target;
    if (tag !== undefined && tags.has(tag)) faults.add(`${at}.tag`, `"${tag}" is there twice`);
    if (tag !== undefined) tags.add(tag);
  }
  const sum = traffic.reduce((total, { percent = 0 }) => total + percent, 0);
  if (traffic.length > 0 && sum !== 100) faults.add(path, `the percents add up to ${sum}; they must add up to 100`);
}

function checkTarget(target: TrafficTarget, at: string, isRoute: boolean, faults: Faults): void {
  const { revisionName = "", configurationName = "", latestRevision, url } = target;
  if (url !== undefined && url !== "") faults.add(`${at}.url`, "is for statuses; leave it out", "FieldValueForbidden");
  if (revisionName !== "" && latestRevision === true)
    faults.add(`${at}.latestRevision`, "must not be true where revisionName is set");
  if (!isRoute && configurationName !== "")
    faults.add(`${at}.configurationName`, "is for Routes; a Service has one Configuration", "FieldValueForbidden");
  if (isRoute && (revisionName === "") === (configurationName === ""))
    faults.add(at, "must have either revisionName or configurationName");
  if (revisionName === "" && latestRevision === false)
    faults.add(`${at}.latestRevision`, "must be true, or left out, where no revisionName is set");
}
