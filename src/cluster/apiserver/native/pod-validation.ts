import { compareQuantities, tryParseQuantity } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { Faults } from "../registry/faults.js";
import { validateLabels } from "../registry/metadata.js";
import {
  configKeyFaults,
  labelFaults,
  portNameFaults,
  qualifiedNameFaults,
  subdomainFaults,
} from "../registry/names.js";
import { asList, asNumber, asObject, asObjects, asString, at, isEmpty } from "../registry/read.js";
import { nonNegative } from "./common.js";
import { validateProbes } from "./probe-validation.js";

const restartPolicies = ["Always", "OnFailure", "Never"];

/**
 * Checks a pod spec, in pods and in templates; `path` is that of the spec. `claims` are the volumes that a StatefulSet
 * will add from its claim templates.
 */
export function validatePodSpec(spec: JsonObject, path: string, faults: Faults, claims: readonly string[] = []): void {
  const volumes = validateVolumes(spec["volumes"], `${path}.volumes`, faults);
  for (const claim of claims) volumes.add(claim);
  const names = new Set<string>();
  const policy = asString(spec["restartPolicy"]);
  if (policy !== "" && !restartPolicies.includes(policy))
    faults.unsupported(`${path}.restartPolicy`, policy, restartPolicies);
  if (isEmpty(spec["containers"])) faults.required(`${path}.containers`);
  for (const field of ["containers", "initContainers"]) {
    for (const [index, container] of asObjects(spec[field]).entries())
      validateContainer(container, `${path}.${field}[${index}]`, {
        faults,
        volumes,
        names,
        init: field === "initContainers",
      });
  }
  if (spec["dnsPolicy"] === "None" && isEmpty(at(spec, "dnsConfig", "nameservers")))
    faults.required(`${path}.dnsConfig`, "must provide `dnsConfig` when `dnsPolicy` is None");
  nonNegative(spec, "terminationGracePeriodSeconds", path, faults);
  const deadline = asNumber(spec["activeDeadlineSeconds"]);
  if (deadline !== undefined && (deadline < 1 || deadline > 2_147_483_647))
    faults.invalid(`${path}.activeDeadlineSeconds`, deadline, "must be between 1 and 2147483647, inclusive");
  for (const field of ["serviceAccountName", "nodeName", "priorityClassName"]) validateName(spec, field, path, faults);
  for (const field of ["hostname", "subdomain"]) {
    const value = asString(spec[field]);
    if (value !== "") for (const fault of labelFaults(value)) faults.invalid(`${path}.${field}`, value, fault);
  }
  validateTolerations(spec["tolerations"], `${path}.tolerations`, faults);
}

/** Checks a list of tolerations. */
export function validateTolerations(tolerations: Json | undefined, path: string, faults: Faults): void {
  for (const [index, toleration] of asObjects(tolerations).entries())
    validateToleration(toleration, `${path}[${index}]`, faults);
}

function validateName(spec: JsonObject, field: string, path: string, faults: Faults): void {
  const value = asString(spec[field]);
  if (value !== "") for (const fault of subdomainFaults(value)) faults.invalid(`${path}.${field}`, value, fault);
}

function validateToleration(toleration: JsonObject, path: string, faults: Faults): void {
  const operator = asString(toleration["operator"]);
  const key = asString(toleration["key"]);
  if (key !== "") for (const fault of qualifiedNameFaults(key)) faults.invalid(`${path}.key`, key, fault);
  if (key === "" && operator !== "Exists")
    faults.invalid(
      `${path}.operator`,
      operator,
      'operator must be Exists when `key` is empty, which means "match all values and all keys"',
    );
  if (operator === "Exists" && asString(toleration["value"]) !== "")
    faults.invalid(`${path}.operator`, toleration["value"], "value must be empty when `operator` is 'Exists'");
  if (toleration["tolerationSeconds"] !== undefined && toleration["effect"] !== "NoExecute")
    faults.invalid(
      `${path}.effect`,
      asString(toleration["effect"]),
      "effect must be 'NoExecute' when `tolerationSeconds` is set",
    );
}

function validateVolumes(volumes: Json | undefined, path: string, faults: Faults): Set<string> {
  const names = new Set<string>();
  for (const [index, volume] of asObjects(volumes).entries()) {
    const name = asString(volume["name"]);
    const place = `${path}[${index}]`;
    for (const fault of name === "" ? [] : labelFaults(name)) faults.invalid(`${place}.name`, name, fault);
    if (names.has(name)) faults.duplicate(`${place}.name`, name);
    names.add(name);
    validateSource(volume, place, faults);
  }
  return names;
}

function validateSource(volume: JsonObject, path: string, faults: Faults): void {
  const [first, ...more] = volumeSources.filter((source) => volume[source] !== undefined);
  if (first === undefined) faults.required(path, "must specify a volume type");
  for (const source of more) faults.forbidden(`${path}.${source}`, "may not specify more than 1 volume type");
  const hostPath = asString(at(volume, "hostPath", "path"));
  if (hostPath.split("/").includes("..")) faults.invalid(`${path}.hostPath.path`, hostPath, "must not contain '..'");
  for (const [source, field] of Object.entries({ secret: "secretName", configMap: "name" })) {
    if (volume[source] === undefined) continue;
    if (asString(at(volume, source, field)) === "") faults.required(`${path}.${source}.${field}`);
    validateItems(at(volume, source, "items"), `${path}.${source}.items`, faults);
  }
}

/** In the order in which upstream looks at them. */
const volumeSources = (
  "emptyDir hostPath gitRepo gcePersistentDisk awsElasticBlockStore secret nfs iscsi glusterfs persistentVolumeClaim rbd cinder " +
  "cephfs flocker downwardAPI fc configMap azureFile vsphereVolume quobyte azureDisk photonPersistentDisk portworxVolume scaleIO " +
  "storageos projected csi ephemeral image"
).split(" ");

function validateItems(items: Json | undefined, path: string, faults: Faults): void {
  for (const [index, item] of asObjects(items).entries()) {
    const target = asString(item["path"]);
    if (target.startsWith("/")) faults.invalid(`${path}[${index}].path`, target, "must be a relative path");
    if (target.split("/").includes("..")) faults.invalid(`${path}[${index}].path`, target, "must not contain '..'");
    const mode = asNumber(item["mode"]);
    if (mode !== undefined && (mode < 0 || mode > 0o777))
      faults.invalid(`${path}[${index}].mode`, mode, "must be a number between 0 and 0777 (octal), both inclusive");
  }
}

interface ContainerContext {
  readonly faults: Faults;
  readonly volumes: ReadonlySet<string>;
  readonly names: Set<string>;
  readonly init: boolean;
}

function validateContainer(container: JsonObject, path: string, context: ContainerContext): void {
  const { faults, names, init } = context;
  const name = asString(container["name"]);
  for (const fault of name === "" ? [] : labelFaults(name)) faults.invalid(`${path}.name`, name, fault);
  if (names.has(name) && name !== "") faults.duplicate(`${path}.name`, name);
  names.add(name);
  const image = asString(container["image"]);
  if (image === "") faults.required(`${path}.image`);
  else if (image !== image.trim())
    faults.invalid(`${path}.image`, image, "must not have leading or trailing whitespace");
  validatePorts(container["ports"], `${path}.ports`, faults);
  validateEnv(container["env"], `${path}.env`, faults);
  validateMounts(container, path, context);
  validateResources(asObject(container["resources"]), `${path}.resources`, faults);
  const sidecar = init && container["restartPolicy"] === "Always";
  if (!init && container["restartPolicy"] !== undefined)
    faults.forbidden(`${path}.restartPolicy`, "may not be set for non-init containers");
  validateProbes(container, path, { faults, allowed: !init || sidecar });
}

function validatePorts(ports: Json | undefined, path: string, faults: Faults): void {
  const names = new Set<string>();
  for (const [index, port] of asObjects(ports).entries()) {
    const name = asString(port["name"]);
    if (name !== "") {
      for (const fault of portNameFaults(name)) faults.invalid(`${path}[${index}].name`, name, fault);
      if (names.has(name)) faults.duplicate(`${path}[${index}].name`, name);
      names.add(name);
    }
    if ((port["containerPort"] ?? 0) === 0) faults.required(`${path}[${index}].containerPort`);
    else portInRange(port["containerPort"], `${path}[${index}].containerPort`, faults);
    portInRange(port["hostPort"], `${path}[${index}].hostPort`, faults);
  }
}

function portInRange(value: Json | undefined, path: string, faults: Faults): void {
  if (typeof value === "number" && (value < 1 || value > 65_535))
    faults.invalid(path, value, "must be between 1 and 65535, inclusive");
}

const fieldPaths = new Set(
  "metadata.name metadata.namespace metadata.uid spec.nodeName spec.serviceAccountName status.hostIP status.hostIPs status.podIP status.podIPs".split(
    " ",
  ),
);

function validateEnv(env: Json | undefined, path: string, faults: Faults): void {
  for (const [index, variable] of asObjects(env).entries()) {
    const place = `${path}[${index}]`;
    const name = asString(variable["name"]);
    if (name !== "" && (name.includes("=") || !/^[ -~]+$/.test(name)))
      faults.invalid(
        `${place}.name`,
        name,
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
      );
    if (variable["valueFrom"] !== undefined)
      validateEnvSource(asObject(variable["valueFrom"]), `${place}.valueFrom`, {
        faults,
        hasValue: asString(variable["value"]) !== "",
      });
  }
}

function validateEnvSource(
  from: JsonObject,
  path: string,
  { faults, hasValue }: { readonly faults: Faults; readonly hasValue: boolean },
): void {
  const sources = Object.keys(from);
  if (sources.length === 0)
    faults.invalid(
      path,
      "",
      "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
    );
  if (hasValue) faults.invalid(path, "", "may not be specified when `value` is not empty");
  else if (sources.length > 1) faults.invalid(path, "", "may not have more than one field specified at a time");
  const fieldPath = asString(at(from, "fieldRef", "fieldPath"));
  if (
    fieldPath !== "" &&
    !fieldPaths.has(fieldPath) &&
    !/^metadata\.(labels|annotations)(\['[^']+'\])?$/.test(fieldPath)
  )
    faults.invalid(
      `${path}.fieldRef.fieldPath`,
      fieldPath,
      `error converting fieldPath: field label not supported: ${fieldPath}`,
    );
  for (const source of ["configMapKeyRef", "secretKeyRef"]) {
    const key = asString(at(from, source, "key"));
    for (const fault of key === "" ? [] : configKeyFaults(key)) faults.invalid(`${path}.${source}.key`, key, fault);
  }
}

function validateMounts(container: JsonObject, path: string, { faults, volumes }: ContainerContext): void {
  const paths = new Set<string>();
  for (const [index, mount] of asObjects(container["volumeMounts"]).entries()) {
    const place = `${path}.volumeMounts[${index}]`;
    const name = asString(mount["name"]);
    const target = asString(mount["mountPath"]);
    if (name !== "" && !volumes.has(name)) faults.notFound(`${place}.name`, name);
    if (paths.has(target) && target !== "") faults.invalid(`${place}.mountPath`, target, "must be unique");
    paths.add(target);
    for (const field of ["subPath", "subPathExpr"]) {
      const value = asString(mount[field]);
      if (value.startsWith("/")) faults.invalid(`${place}.${field}`, value, "must be a relative path");
      if (value.split("/").includes("..")) faults.invalid(`${place}.${field}`, value, "must not contain '..'");
    }
  }
}

const wholeOnly = (name: string): boolean => name.includes("/") || name.startsWith("hugepages-");

/** Checks requests and limits. */
export function validateResources(resources: JsonObject, path: string, faults: Faults): void {
  const limits = asObject(resources["limits"]);
  const requests = asObject(resources["requests"]);
  for (const [field, quantities] of Object.entries({ limits, requests }))
    for (const [name, value] of Object.entries(quantities))
      validateQuantity(name, value, `${path}.${field}[${name}]`, faults);
  for (const [name, request] of Object.entries(requests)) {
    const [asked, limit] = [quantityOf(request), quantityOf(limits[name])];
    if (asked === undefined || limit === undefined) continue;
    if (name.includes("/") && compareQuantities(asked, limit) !== 0)
      faults.invalid(
        `${path}.requests`,
        request,
        `must be equal to ${name} limit of ${String(asString(limits[name]))}`,
      );
    else if (compareQuantities(asked, limit) > 0)
      faults.invalid(
        `${path}.requests`,
        request,
        `must be less than or equal to ${name} limit of ${asString(limits[name])}`,
      );
  }
}

function quantityOf(value: Json | undefined): ReturnType<typeof tryParseQuantity> {
  return typeof value === "string" || typeof value === "number" ? tryParseQuantity(value) : undefined;
}

function validateQuantity(name: string, value: Json | undefined, path: string, faults: Faults): void {
  for (const fault of qualifiedNameFaults(name)) faults.invalid(path, name, fault);
  const quantity = quantityOf(value);
  if (quantity === undefined) return;
  if (quantity.nanos < 0n) faults.invalid(path, value, "must be greater than or equal to 0");
  if (wholeOnly(name) && quantity.nanos % 1_000_000_000n !== 0n) faults.invalid(path, value, "must be an integer");
}

/** Whether a label selector is one: keys, operators and values fit. */
export function validateSelector(selector: Json | undefined, path: string, faults: Faults): void {
  for (const [index, requirement] of asObjects(at(selector, "matchExpressions")).entries()) {
    const place = `${path}.matchExpressions[${index}]`;
    const operator = asString(requirement["operator"]);
    const values = asList(requirement["values"]);
    if ((operator === "In" || operator === "NotIn") && values.length === 0)
      faults.required(`${place}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
    else if ((operator === "Exists" || operator === "DoesNotExist") && values.length > 0)
      faults.forbidden(`${place}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    else if (!["In", "NotIn", "Exists", "DoesNotExist"].includes(operator))
      faults.invalid(`${place}.operator`, operator, "not a valid selector operator");
    const key = asString(requirement["key"]);
    if (key !== "") for (const fault of qualifiedNameFaults(key)) faults.invalid(`${place}.key`, key, fault);
  }
  const labels = at(selector, "matchLabels");
  if (labels !== undefined) validateLabels(labels, `${path}.matchLabels`, faults);
  if (selector !== undefined && !isObject(selector)) faults.invalid(path, selector, "must be a label selector");
}
