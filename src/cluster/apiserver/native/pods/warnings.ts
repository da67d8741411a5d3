import type { Faults } from "../../../../kernel/kinds/index.js";
import { labelFaults, labelValueFaults } from "../../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asList, asNumber, asObject, asObjects, asString, at } from "../../registry/read.js";
import { warnOfAddress } from "../addresses.js";
import { isWhole, quantityOf, shownQuantity } from "../rules.js";
import { appArmorAnnotation } from "./annotations.js";
import { containersOf } from "./containers.js";
import { warnOfOverlaps } from "./overlaps.js";

const oldLabels: Readonly<Record<string, string>> = {
  "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
  "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
  "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
  "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
  "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
  "app.kubernetes.io/created-by": "deprecated since v1.9",
  "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
  "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
};

/** What is said of a node's label that has another name by now; nothing for others. */
export function oldLabelWords(label: string): string | undefined {
  return oldLabels[label];
}

const oldAnnotations: Readonly<Record<string, string>> = {
  "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
  "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
  "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
};

const oldVolumes: Readonly<Record<string, string>> = {
  photonPersistentDisk: "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+",
  gitRepo: "gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
  scaleIO: "scaleIO: deprecated in v1.16, non-functional in v1.22+",
  flocker: "flocker: deprecated in v1.22, non-functional in v1.25+",
  storageos: "storageOS: deprecated in v1.22, non-functional in v1.25+",
  quobyte: "quobyte: deprecated in v1.22, non-functional in v1.25+",
  glusterfs: "glusterfs: deprecated in v1.25, non-functional in v1.26+",
  cephfs: "cephfs: deprecated in v1.28, non-functional in v1.31+",
  rbd: "rbd: deprecated in v1.28, non-functional in v1.31+",
};

const nameWords =
  "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended:";

/** Warns of what a new pod's name does to its hostname. */
export function warnOfPodName(name: string, faults: Faults): void {
  const wrong = labelFaults(name);
  if (wrong.length > 0) faults.warn(`${nameWords} [${wrong.join(" ")}]`);
}

/** Warns of what a pod or template says that does not do what it seems to; `path` is that of the template, if it is one. */
export function warnOfPod(holder: JsonObject, path: string, faults: Faults): void {
  const [metadata, spec] = [asObject(holder["metadata"]), asObject(holder["spec"])];
  const prefix = path === "" ? "" : `${path}.`;
  const place = `${prefix}spec`;
  warnOfNodes(spec, place, faults);
  const annotations = asObject(metadata["annotations"]);
  for (const [key, words] of Object.entries(oldAnnotations))
    if (annotations[key] !== undefined) faults.warn(`${prefix}metadata.annotations[${key}]: ${words}`);
  warnOfVolumes(spec, place, faults);
  warnOfRepeated(spec, place, faults);
  warnOfBytes(asObject(spec["overhead"]), `${place}.overhead`, faults);
  warnOfProfiles(holder, prefix, faults);
  const containers = containersOf(spec, place);
  for (const [container, spot] of containers) warnOfContainer(container, spot, faults);
  warnOfPorts(containers, faults);
  const grace = asNumber(spec["terminationGracePeriodSeconds"]);
  if (grace !== undefined && grace < 0)
    faults.warn(
      `${place}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1`,
    );
  warnOfSelectors(spec, `${place}.affinity`, faults);
  for (const [index, server] of asList(at(spec, "dnsConfig", "nameservers")).entries())
    warnOfAddress(server, `${place}.dnsConfig.nameservers[${index}]`, faults);
  for (const [index, alias] of asObjects(spec["hostAliases"]).entries())
    warnOfAddress(alias["ip"], `${place}.hostAliases[${index}].ip`, faults);
}

const required = "requiredDuringSchedulingIgnoredDuringExecution";
const preferred = "preferredDuringSchedulingIgnoredDuringExecution";

function warnOfNodes(spec: JsonObject, place: string, faults: Faults): void {
  for (const key of Object.keys(asObject(spec["nodeSelector"])))
    if (oldLabels[key] !== undefined) faults.warn(`${place}.nodeSelector[${key}]: ${oldLabels[key]}`);
  const affinity = at(spec, "affinity", "nodeAffinity");
  const path = `${place}.affinity.nodeAffinity`;
  for (const [index, term] of asObjects(at(affinity, required, "nodeSelectorTerms")).entries())
    warnOfTerm(term, `${path}.${required}.nodeSelectorTerms[${index}]`, faults, false);
  for (const [index, term] of asObjects(at(affinity, preferred)).entries())
    warnOfTerm(asObject(term["preference"]), `${path}.${preferred}[${index}].preference`, faults, true);
  for (const [index, constraint] of asObjects(spec["topologySpreadConstraints"]).entries()) {
    const spot = `${place}.topologySpreadConstraints[${index}]`;
    const key = asString(constraint["topologyKey"]);
    if (oldLabels[key] !== undefined) faults.warn(`${spot}.topologyKey: ${key} is ${oldLabels[key]}`);
    if (constraint["labelSelector"] === undefined)
      faults.warn(`${spot}.labelSelector: a null labelSelector results in matching no pod`);
  }
}

/** Warns of a term of a node selector. */
export function warnOfTerm(term: JsonObject, path: string, faults: Faults, looksAtValues: boolean): void {
  for (const [index, expression] of asObjects(term["matchExpressions"]).entries()) {
    const key = asString(expression["key"]);
    const place = `${path}.matchExpressions[${index}]`;
    if (oldLabels[key] !== undefined) faults.warn(`${place}.key: ${key} is ${oldLabels[key]}`);
    if (looksAtValues)
      for (const [number, value] of asList(expression["values"]).map(asString).entries())
        for (const fault of labelValueFaults(value))
          faults.warn(`${place}.values[${number}]: ${value} is invalid, ${fault}`);
  }
}

function warnOfVolumes(spec: JsonObject, place: string, faults: Faults): void {
  for (const [index, volume] of asObjects(spec["volumes"]).entries()) {
    for (const [field, words] of Object.entries(oldVolumes))
      if (volume[field] !== undefined) faults.warn(`${place}.volumes[${index}].${words}`);
    const claim = at(volume, "ephemeral", "volumeClaimTemplate", "spec");
    if (claim !== undefined)
      warnOfClaim(asObject(claim), `${place}.volumes[${index}].ephemeral.volumeClaimTemplate.spec`, faults);
  }
  warnOfOverlaps(asObjects(spec["volumes"]), faults);
}

/** Warns of a claim for fractions of bytes. */
export function warnOfClaim(spec: JsonObject, path: string, faults: Faults): void {
  for (const field of ["requests", "limits"]) {
    const value = at(spec, "resources", field, "storage");
    const amount = quantityOf(value);
    if (amount !== undefined && !isWhole(amount))
      faults.warn(
        `${path}.resources.${field}[storage]: fractional byte value ${JSON.stringify(shownQuantity(amount))} is invalid, must be an integer`,
      );
  }
}

function warnOfRepeated(spec: JsonObject, place: string, faults: Faults): void {
  const repeated = (field: string, member: string, words: string): void => {
    const seen = new Set<Json | undefined>();
    for (const [index, item] of asObjects(spec[field]).entries()) {
      const value = asString(item[member]);
      if (seen.has(value))
        faults.warn(`${place}.${field}[${index}].${member}: duplicate ${words} ${JSON.stringify(value)}`);
      seen.add(value);
    }
  };
  repeated("hostAliases", "ip", "ip");
  repeated("imagePullSecrets", "name", "name");
  for (const [index, secret] of asObjects(spec["imagePullSecrets"]).entries())
    if (asString(secret["name"]) === "") faults.warn(`${place}.imagePullSecrets[${index}].name: invalid empty name ""`);
}

function warnOfBytes(amounts: JsonObject, path: string, faults: Faults): void {
  for (const name of ["memory", "ephemeral-storage"]) {
    const amount = quantityOf(amounts[name]);
    if (amount !== undefined && !isWhole(amount))
      faults.warn(
        `${path}[${name}]: fractional byte value ${JSON.stringify(shownQuantity(amount))} is invalid, must be an integer`,
      );
  }
}

const seccompOfPod = "seccomp.security.alpha.kubernetes.io/pod";
const seccompOfContainer = "container.seccomp.security.alpha.kubernetes.io/";

function warnOfProfiles(holder: JsonObject, prefix: string, faults: Faults): void {
  const spec = asObject(holder["spec"]);
  const annotations = asObject(at(holder, "metadata", "annotations"));
  const place = `${prefix}metadata.annotations`;
  const words = 'non-functional in v1.27+; use the "seccompProfile" field instead';
  if (at(spec, "securityContext", "seccompProfile") === undefined && annotations[seccompOfPod] !== undefined)
    faults.warn(`${place}[${seccompOfPod}]: ${words}`);
  for (const [container] of containersOf(spec, "")) {
    const [key, profile] = [
      seccompOfContainer + asString(container["name"]),
      appArmorAnnotation + asString(container["name"]),
    ];
    if (at(container, "securityContext", "seccompProfile") === undefined && annotations[key] !== undefined)
      faults.warn(`${place}[${key}]: ${words}`);
    const isTemplate = prefix !== "";
    if (
      isTemplate &&
      at(container, "securityContext", "appArmorProfile") === undefined &&
      annotations[profile] !== undefined
    )
      faults.warn(`${place}[${profile}]: deprecated since v1.30; use the "appArmorProfile" field instead`);
  }
}

function warnOfContainer(container: JsonObject, path: string, faults: Faults): void {
  for (const field of ["limits", "requests"])
    warnOfBytes(asObject(at(container, "resources", field)), `${path}.resources.${field}`, faults);
  const names = new Set<string>();
  for (const [index, variable] of asObjects(container["env"]).entries()) {
    const name = asString(variable["name"]);
    const extendsItself = asString(variable["value"]).includes(`$(${name})`) && variable["value"] !== `$(${name})`;
    if (names.has(name) && (variable["valueFrom"] !== undefined || !extendsItself))
      faults.warn(
        `${path}.env[${index}]: hides previous definition of ${JSON.stringify(name)}, which may be dropped when using apply`,
      );
    names.add(name);
  }
}

interface Port {
  readonly path: string;
  readonly port: number;
  readonly hostPort: number;
  readonly hostIp: string;
  readonly name: string;
  readonly protocol: string;
}

function warnOfPorts(containers: readonly (readonly [JsonObject, string])[], faults: Faults): void {
  const known: Port[] = [];
  for (const [container, place] of containers)
    for (const [index, value] of asObjects(container["ports"]).entries()) {
      const port: Port = {
        path: `${place}.ports[${index}]`,
        port: asNumber(value["containerPort"]) ?? 0,
        hostPort: asNumber(value["hostPort"]) ?? 0,
        hostIp: asString(value["hostIP"]),
        name: asString(value["name"]),
        protocol: asString(value["protocol"]),
      };
      if (port.hostIp !== "" && port.hostPort === 0)
        faults.warn(`${port.path}: hostIP set without hostPort: ${asGoStruct(port)}`);
      for (const other of known.filter((one) => one.port === port.port && one.protocol === port.protocol))
        warnOfPair(port, other, faults);
      known.push(port);
    }
  const names = new Map<string, string>();
  for (const { name, path } of known) {
    const other = names.get(name);
    if (name !== "" && other !== undefined)
      faults.warn(
        `${path}: duplicate port name ${JSON.stringify(name)} with ${other}, services and probes that select ports by name will use ${other}`,
      );
    else if (name !== "") names.set(name, path);
  }
}

function warnOfPair(port: Port, other: Port, faults: Faults): void {
  if (port.hostIp === other.hostIp && port.hostPort === other.hostPort)
    faults.warn(`${port.path}: duplicate port definition with ${other.path}`);
  else if (port.hostPort === 0 || other.hostPort === 0)
    faults.warn(`${port.path}: overlapping port definition with ${other.path}`);
  else if (port.hostPort === other.hostPort && (port.hostIp === "") !== (other.hostIp === ""))
    faults.warn(`${port.path}: dangerously ambiguous port definition with ${other.path}`);
}

/** Upstream prints its own struct. */
function asGoStruct({ name, hostPort, port, protocol, hostIp }: Port): string {
  return `{Name:${name} HostPort:${hostPort} ContainerPort:${port} Protocol:${protocol} HostIP:${hostIp}}`;
}

function warnOfSelectors(spec: JsonObject, path: string, faults: Faults): void {
  const words = "labelSelector: a null labelSelector results in matching no pod";
  for (const field of ["podAffinity", "podAntiAffinity"]) {
    const affinity = at(spec, "affinity", field);
    for (const [index, term] of asObjects(at(affinity, required)).entries())
      if (term["labelSelector"] === undefined) faults.warn(`${path}.${field}.${required}[${index}].${words}`);
    for (const [index, term] of asObjects(at(affinity, preferred)).entries())
      if (at(term, "podAffinityTerm", "labelSelector") === undefined)
        faults.warn(`${path}.${field}.${preferred}[${index}].podAffinityTerm.${words}`);
  }
}
