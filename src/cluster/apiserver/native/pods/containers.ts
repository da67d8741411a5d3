import type { Faults } from "../../../../kernel/kinds/index.js";
import { labelFaults, portNameFaults } from "../../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asList, asNumber, asObject, asObjects, asString, at, isEmpty } from "../../registry/read.js";
import { needed, neededOneOf, oneOf, optional, within } from "../rules.js";
import { validateEnv, validateEnvFrom } from "./env.js";
import { validateMounts } from "./mounts.js";
import { forbidProbes, type HookContext, validateProbes } from "./probes.js";
import { validateResources } from "./resources.js";
import { validateSecurityContext } from "./security.js";

/** What checks of containers need to know of their pod. */
export interface PodContext {
  readonly faults: Faults;
  /** Path of the pod's spec. */
  readonly path: string;
  readonly spec: JsonObject;
  readonly volumes: ReadonlyMap<string, JsonObject>;
  /** Names of the pod's resource claims. */
  readonly claims: readonly string[];
}

/** All containers of a pod with their paths, in the order in which upstream visits them. */
export function containersOf(spec: JsonObject, path: string): (readonly [JsonObject, string])[] {
  return ["initContainers", "containers", "ephemeralContainers"].flatMap((field) =>
    asObjects(spec[field]).map((container, index) => [container, `${path}.${field}[${index}]`] as const),
  );
}

const ports: readonly [number, number] = [1, 65_535];

function validatePorts(list: readonly JsonObject[], path: string, faults: Faults): void {
  const names = new Set<string>();
  for (const [index, port] of list.entries()) {
    const place = `${path}[${index}]`;
    const name = asString(port["name"]);
    const wrong = name === "" ? [] : portNameFaults(name);
    for (const fault of wrong) faults.invalid(`${place}.name`, name, fault);
    if (name !== "" && wrong.length === 0) {
      if (names.has(name)) faults.duplicate(`${place}.name`, name);
      names.add(name);
    }
    if ((asNumber(port["containerPort"]) ?? 0) === 0) faults.required(`${place}.containerPort`);
    else within(port["containerPort"], ports, `${place}.containerPort`, faults);
    if (port["hostPort"] !== 0) within(port["hostPort"], ports, `${place}.hostPort`, faults);
    neededOneOf(port["protocol"], ["SCTP", "TCP", "UDP"], `${place}.protocol`, faults);
  }
}

function validateResizePolicy(
  policies: readonly JsonObject[],
  path: string,
  faults: Faults,
  podPolicy: Json | undefined,
): void {
  const seen = new Set<string>();
  for (const [index, policy] of policies.entries()) {
    const [resource, restart] = [asString(policy["resourceName"]), asString(policy["restartPolicy"])];
    if (seen.has(resource)) faults.duplicate(`${path}[${index}]`, resource);
    seen.add(resource);
    neededOneOf(resource, ["cpu", "memory"], path, faults);
    neededOneOf(restart, ["NotRequired", "RestartContainer"], path, faults);
    if (podPolicy === "Never" && restart !== "NotRequired")
      faults.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'");
  }
}

function validateCommon(container: JsonObject, path: string, context: PodContext): void {
  const { faults, spec } = context;
  optional(labelFaults, needed(container, "name", path, faults), `${path}.name`, faults);
  needed(container, "image", path, faults);
  const messages = ["File", "FallbackToLogsOnError"];
  neededOneOf(container["terminationMessagePolicy"], messages, `${path}.terminationMessagePolicy`, faults);
  validatePorts(asObjects(container["ports"]), `${path}.ports`, faults);
  validateEnv(asObjects(container["env"]), `${path}.env`, faults);
  validateEnvFrom(asObjects(container["envFrom"]), `${path}.envFrom`, faults);
  validateMounts(container, { path, faults, volumes: context.volumes });
  neededOneOf(container["imagePullPolicy"], ["Always", "IfNotPresent", "Never"], `${path}.imagePullPolicy`, faults);
  validateResources(asObject(container["resources"]), `${path}.resources`, faults, context.claims);
  validateResizePolicy(asObjects(container["resizePolicy"]), `${path}.resizePolicy`, faults, spec["restartPolicy"]);
  validateSecurityContext(container["securityContext"], `${path}.securityContext`, faults, spec["hostUsers"] !== false);
}

const restartPolicies = ["Always", "Never", "OnFailure"];

/** Checks when a container is started again, which may be said of containers one by one. */
function validateRestart(container: JsonObject, path: string, faults: Faults): void {
  const policy = container["restartPolicy"];
  const rules = asObjects(container["restartPolicyRules"]);
  if (policy !== undefined) oneOf(policy, restartPolicies, `${path}.restartPolicy`, faults);
  else if (rules.length > 0)
    faults.required(`${path}.restartPolicy`, "must specify restartPolicy when restart rules are used");
  if (rules.length > 20) faults.tooLong(`${path}.restartPolicyRules`, 20);
  for (const [index, rule] of rules.entries()) {
    const place = `${path}.restartPolicyRules[${index}]`;
    oneOf(rule["action"], ["Restart"], `${place}.action`, faults);
    if (rule["exitCodes"] === undefined) faults.required(`${place}.exitCodes`, "must be specified");
    else {
      oneOf(at(rule, "exitCodes", "operator"), ["In", "NotIn"], `${place}.exitCodes.operator`, faults);
      if (asList(at(rule, "exitCodes", "values")).length > 255) faults.tooLong(`${place}.exitCodes.values`, 255);
    }
  }
}

/** Ports of the machine that are asked for twice. */
function validateHostPorts(containers: readonly JsonObject[], path: string, faults: Faults): void {
  const taken = new Set<string>();
  for (const [index, container] of containers.entries())
    for (const [place, port] of asObjects(container["ports"]).entries()) {
      const number = asNumber(port["hostPort"]) ?? 0;
      if (number === 0) continue;
      const key = `${asString(port["protocol"])}/${asString(port["hostIP"])}/${number}`;
      if (taken.has(key)) faults.duplicate(`${path}[${index}].ports[${place}].hostPort`, key);
      taken.add(key);
    }
}

function hookContext(context: PodContext, path: string): HookContext {
  const { spec, faults } = context;
  const os = spec["os"] === undefined ? undefined : asString(at(spec, "os", "name"));
  return { path, faults, os, graceSeconds: asNumber(spec["terminationGracePeriodSeconds"]) };
}

/** Checks the containers that make the pod what it is. */
export function validateContainers(context: PodContext): void {
  const { faults, spec } = context;
  const path = `${context.path}.containers`;
  const containers = asObjects(spec["containers"]);
  if (containers.length === 0) {
    faults.required(path);
    return;
  }
  const names = new Set<string>();
  for (const [index, container] of containers.entries()) {
    const place = `${path}[${index}]`;
    const name = asString(container["name"]);
    validateCommon(container, place, context);
    if (names.has(name)) faults.duplicate(`${place}.name`, name);
    names.add(name);
    validateProbes(container, hookContext(context, place));
    validateRestart(container, place, faults);
  }
  validateHostPorts(containers, path, faults);
}

/** Checks the containers that run before the others, or beside them. */
export function validateInitContainers(context: PodContext): void {
  const { faults, spec } = context;
  const names = new Set(asObjects(spec["containers"]).map((one) => asString(one["name"])));
  for (const [index, container] of asObjects(spec["initContainers"]).entries()) {
    const place = `${context.path}.initContainers[${index}]`;
    const name = asString(container["name"]);
    validateCommon(container, place, context);
    const isSidecar = container["restartPolicy"] === "Always";
    if (!isSidecar && container["restartPolicy"] !== undefined) validateRestart(container, place, faults);
    if (isSidecar && asObjects(container["restartPolicyRules"]).length > 0)
      faults.forbidden(
        `${place}.restartPolicyRules`,
        "restartPolicyRules are not allowed for init containers with restart policy Always",
      );
    if (names.has(name)) faults.duplicate(`${place}.name`, name);
    else if (name !== "") names.add(name);
    // As upstream: each is looked at as if it were the first.
    validateHostPorts([container], `${context.path}.initContainers`, faults);
    if (isSidecar) validateProbes(container, hookContext(context, place));
    else forbidProbes(container, place, faults);
  }
}

const forbiddenInEphemeral = [
  "ports",
  "resources",
  "livenessProbe",
  "readinessProbe",
  "startupProbe",
  "lifecycle",
  "resizePolicy",
  "restartPolicy",
  "restartPolicyRules",
];

/** Checks containers that came later to have a look. */
export function validateEphemeralContainers(context: PodContext): void {
  const { faults, spec } = context;
  const others = ["containers", "initContainers"].flatMap((field) =>
    asObjects(spec[field]).map((one) => asString(one["name"])),
  );
  const names = new Set(others);
  for (const [index, container] of asObjects(spec["ephemeralContainers"]).entries()) {
    const place = `${context.path}.ephemeralContainers[${index}]`;
    const name = asString(container["name"]);
    validateCommon(container, place, context);
    validateImagePadding(container, place, faults);
    if (names.has(name)) faults.duplicate(`${place}.name`, name);
    names.add(name);
    const target = asString(container["targetContainerName"]);
    if (target !== "" && !others.includes(target)) faults.notFound(`${place}.targetContainerName`, target);
    forbidInEphemeral(container, place, faults);
  }
}

function forbidInEphemeral(container: JsonObject, place: string, faults: Faults): void {
  const words = "cannot be set for an Ephemeral Container";
  for (const field of forbiddenInEphemeral)
    if (container[field] !== undefined && !isEmpty(container[field])) faults.forbidden(`${place}.${field}`, words);
  for (const [number, mount] of asObjects(container["volumeMounts"]).entries())
    for (const field of ["subPath", "subPathExpr"])
      if (asString(mount[field]) !== "") faults.forbidden(`${place}.volumeMounts[${number}].${field}`, words);
}

/** Pods' images have no blanks around them; templates' may have. */
export function validateImagePadding(container: JsonObject, path: string, faults: Faults): void {
  const image = asString(container["image"]);
  if (image.trim() !== image) faults.invalid(`${path}.image`, image, "must not have leading or trailing whitespace");
}

/** On the machine's network, its ports are the containers'. */
export function validateHostNetworkPorts(spec: JsonObject, path: string, faults: Faults, isPod: boolean): void {
  if (spec["hostNetwork"] !== true) return;
  for (const [index, container] of asObjects(spec["containers"]).entries())
    for (const [place, port] of asObjects(container["ports"]).entries()) {
      const [host, own] = [asNumber(port["hostPort"]) ?? 0, asNumber(port["containerPort"]) ?? 0];
      if ((isPod || host !== 0) && host !== own)
        faults.invalid(
          `${path}.containers[${index}].ports[${place}].hostPort`,
          host,
          "must match `containerPort` when `hostNetwork` is true",
        );
    }
}
