import { isIP } from "node:net";
import { tryParseQuantity } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { ageColumn, column, nameColumn } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { validateFinalizers } from "../registry/metadata.js";
import { labelFaults, labelValueFaults, qualifiedNameFaults } from "../registry/names.js";
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
import { textAt } from "./common.js";

const nameLabel = "kubernetes.io/metadata.name";
const orNone = (text: string): string => (text === "" ? "<none>" : text);

const namespace: Behaviour = {
  nameFaults: labelFaults,
  defaults: (object) => {
    const metadata = ensureObject(object, "metadata");
    const name = asString(metadata["name"]);
    if (name !== "") ensureObject(metadata, "labels")[nameLabel] = name;
  },
  initialStatus: () => ({ phase: "Active" }),
  validate: (object, faults) =>
    validateFinalizers(asList(at(object, "spec", "finalizers")), "spec.finalizers", faults, false),
  validateUpdate(object, _old, faults, context) {
    if (context.subresource !== "status") return;
    const phase = textAt(object, "status", "phase");
    const isDeleted = at(object, "metadata", "deletionTimestamp") !== undefined;
    if (!isDeleted && phase !== "Active")
      faults.invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty");
    if (isDeleted && phase !== "Terminating")
      faults.invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
  },
  prepare(object, old, context) {
    const metadata = asObject(object["metadata"]);
    ensureObject(metadata, "labels")[nameLabel] = asString(metadata["name"]);
    if (context.subresource === "finalize") return;
    const spec = ensureObject(object, "spec");
    if (old !== undefined) object["spec"] = asObject(old["spec"]);
    else if (!asList(spec["finalizers"]).includes("kubernetes"))
      spec["finalizers"] = [...asList(spec["finalizers"]), "kubernetes"];
  },
  subresourceFields: {
    finalize: [
      ["spec", "finalizers"],
      ["metadata", "finalizers"],
    ],
  },
  selectable: { "status.phase": (object) => textAt(object, "status", "phase") },
  columns: [column("Status", (object) => textAt(object, "status", "phase"))],
};

function nodeStatus(object: JsonObject): string {
  const ready = asObjects(at(object, "status", "conditions")).find((one) => one["type"] === "Ready");
  const words = [ready === undefined ? "Unknown" : ready["status"] === "True" ? "Ready" : "NotReady"];
  if (at(object, "spec", "unschedulable") === true) words.push("SchedulingDisabled");
  return words.join(",");
}

function nodeRoles(object: JsonObject): string {
  const prefix = "node-role.kubernetes.io/";
  const labels = asObject(at(object, "metadata", "labels"));
  const roles = Object.entries(labels).flatMap(([key, value]) => {
    if (key.startsWith(prefix) && key.length > prefix.length) return [key.slice(prefix.length)];
    return key === "kubernetes.io/role" && value !== "" ? [asString(value)] : [];
  });
  return orNone([...new Set(roles)].sort().join(","));
}

const nodeAddress = (object: JsonObject, type: string): string =>
  orNone(asString(asObjects(at(object, "status", "addresses")).find((one) => one["type"] === type)?.["address"]));

/** The one range of pods is the first of several; where they differ, the one counts. */
function alignRanges(object: JsonObject): void {
  const spec = asObject(object["spec"]);
  const one = asString(spec["podCIDR"]);
  const [first] = asList(spec["podCIDRs"]);
  if (one === "") {
    if (first !== undefined) spec["podCIDR"] = first;
  } else if (first !== one) spec["podCIDRs"] = [one];
}

const taintEffects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

function validateNode(object: JsonObject, faults: Faults): void {
  const seen = new Set<string>();
  for (const [index, taint] of asObjects(at(object, "spec", "taints")).entries()) {
    const path = `metadata.taints[${index}]`;
    const [key, value, effect] = ["key", "value", "effect"].map((field) => asString(taint[field]));
    for (const fault of qualifiedNameFaults(key ?? "")) faults.invalid(`${path}.key`, key, fault);
    const wrong = labelValueFaults(value ?? "");
    if (wrong.length > 0) faults.invalid(`${path}.value`, value, wrong.join(";"));
    if (effect === "") faults.required(`${path}.effect`);
    else if (!taintEffects.includes(effect ?? "")) faults.unsupported(`${path}.effect`, effect, taintEffects);
    const pair = `${effect} ${key}`;
    if (seen.has(pair)) faults.duplicate(path, taint, "taints must be unique by key and effect pair");
    seen.add(pair);
  }
  for (const [index, range] of asList(at(object, "spec", "podCIDRs"))
    .map(asString)
    .entries())
    validateRange(range, `spec.podCIDRs[${index}]`, faults);
}

function validateRange(range: string, path: string, faults: Faults): void {
  const [address = "", bits = ""] = range.split("/");
  const width = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1;
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > width)
    faults.invalid(path, range, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
}

const node: Behaviour = {
  ownChecks: ["spec.taints.effect"],
  ownRequired: ["spec.taints.key", "spec.taints.effect"],
  keepsStatusOnCreate: true,
  defaults(object) {
    const status = asObject(object["status"]);
    if (!isEmpty(status["capacity"])) {
      const allocatable = ensureObject(status, "allocatable");
      for (const [name, value] of Object.entries(asObject(status["capacity"])))
        if (value !== undefined) setDefault(allocatable, name, value);
    }
    alignRanges(object);
  },
  validate: validateNode,
  validateUpdate(object, old, faults) {
    const before = asList(at(old, "spec", "podCIDRs"));
    if (before.length > 0 && !equalJson(at(object, "spec", "podCIDRs"), at(old, "spec", "podCIDRs")))
      faults.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid');
    const provider = textAt(old, "spec", "providerID");
    if (provider !== "" && provider !== textAt(object, "spec", "providerID"))
      faults.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid');
  },
  selectable: { "spec.unschedulable": (object) => String(at(object, "spec", "unschedulable") === true) },
  columns: [
    column("Status", nodeStatus),
    column("Roles", nodeRoles),
    nameColumn,
    ageColumn,
    column("Version", (object) => textAt(object, "status", "nodeInfo", "kubeletVersion")),
    column("Internal-IP", (object) => nodeAddress(object, "InternalIP"), { wide: true }),
    column("External-IP", (object) => nodeAddress(object, "ExternalIP"), { wide: true }),
    column("OS-Image", (object) => textAt(object, "status", "nodeInfo", "osImage") || "<unknown>", { wide: true }),
    column("Kernel-Version", (object) => textAt(object, "status", "nodeInfo", "kernelVersion") || "<unknown>", {
      wide: true,
    }),
    column(
      "Container-Runtime",
      (object) => textAt(object, "status", "nodeInfo", "containerRuntimeVersion") || "<unknown>",
      { wide: true },
    ),
  ],
};
const [statusColumn, rolesColumn, , , ...restOfNode] = node.columns ?? [];
const orderedNode: Behaviour = {
  ...node,
  allColumns: true,
  columns: [nameColumn, statusColumn, rolesColumn, ageColumn, ...restOfNode].filter((one) => one !== undefined),
};

const modes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const shortModes: Readonly<Record<string, string>> = {
  ReadWriteOnce: "RWO",
  ReadOnlyMany: "ROX",
  ReadWriteMany: "RWX",
  ReadWriteOncePod: "RWOP",
};
const showModes = (list: Json | undefined): string =>
  asList(list)
    .map((mode) => shortModes[asString(mode)] ?? asString(mode))
    .join(",");

const claim: Behaviour = {
  ownChecks: ["spec.accessModes"],
  defaults(object) {
    setDefaultText(ensureObject(object, "spec"), "volumeMode", "Filesystem");
    setDefaultText(ensureObject(object, "status"), "phase", "Pending");
  },
  initialStatus: () => ({ phase: "Pending" }),
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    if (isEmpty(spec["accessModes"])) faults.required("spec.accessModes", "at least 1 access mode is required");
    for (const mode of asList(spec["accessModes"]))
      if (!modes.includes(asString(mode))) faults.unsupported("spec.accessModes", mode, modes);
    const size = at(spec, "resources", "requests", "storage");
    if (size === undefined) faults.required("spec.resources[storage]");
    else if ((tryParseQuantity(asString(size))?.nanos ?? 0n) <= 0n)
      faults.invalid("spec.resources[storage]", size, "must be greater than zero");
  },
  validateUpdate(object, old, faults) {
    const fixed = (one: JsonObject): JsonObject => {
      const {
        resources: _,
        volumeAttributesClassName: __,
        volumeName,
        storageClassName,
        ...rest
      } = asObject(one["spec"]);
      const unbound = at(old, "spec", "volumeName") === undefined;
      return unbound && at(old, "spec", "storageClassName") === undefined
        ? rest
        : { ...rest, ...(unbound ? {} : { volumeName }), storageClassName };
    };
    if (!equalJson(fixed(object), fixed(old)))
      faults.forbidden(
        "spec",
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
      );
  },
  columns: [
    column("Status", (object) =>
      at(object, "metadata", "deletionTimestamp") === undefined ? textAt(object, "status", "phase") : "Terminating",
    ),
    column("Volume", (object) => textAt(object, "spec", "volumeName")),
    column("Capacity", (object) => textAt(object, "status", "capacity", "storage")),
    column("Access Modes", (object) => showModes(at(object, "status", "accessModes"))),
    column("StorageClass", (object) => textAt(object, "spec", "storageClassName")),
    column("VolumeAttributesClass", (object) => textAt(object, "spec", "volumeAttributesClassName") || "<unset>"),
    column("VolumeMode", (object) => textAt(object, "spec", "volumeMode") || "<unset>", { wide: true }),
  ],
};

const volumeSources = (
  "hostPath gcePersistentDisk awsElasticBlockStore glusterfs nfs rbd quobyte cephfs iscsi cinder fc flocker azureFile vsphereVolume " +
  "azureDisk photonPersistentDisk portworxVolume scaleIO local storageos csi"
).split(" ");

/** When a volume came into its phase, where whoever writes the status does not say. */
function stampPhase(status: JsonObject, before: JsonObject, now: string): void {
  const field = "lastPhaseTransitionTime";
  const isSame = status["phase"] === before["phase"];
  if (isSame && status[field] === undefined && before[field] !== undefined) status[field] = before[field];
  if (!isSame && (status[field] === undefined || status[field] === before[field])) status[field] = now;
}

const volume: Behaviour = {
  checkedTwice: "all",
  defaults(object) {
    const spec = ensureObject(object, "spec");
    setDefaultText(ensureObject(object, "status"), "phase", "Pending");
    setDefaultText(spec, "persistentVolumeReclaimPolicy", "Retain");
    setDefaultText(spec, "volumeMode", "Filesystem");
    if (spec["hostPath"] !== undefined) setDefault(asObject(spec["hostPath"]), "type", "");
  },
  prepare(object, old, { now }) {
    if (old === undefined) object["status"] = { phase: "Pending", lastPhaseTransitionTime: now };
    else stampPhase(asObject(object["status"]), asObject(old["status"]), now);
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    if (isEmpty(spec["accessModes"])) faults.required("spec.accessModes");
    if (isEmpty(spec["capacity"])) faults.required("spec.capacity");
    const capacities = Object.keys(asObject(spec["capacity"]));
    if (capacities.length !== 1 || capacities[0] !== "storage")
      faults.unsupported("spec.capacity", spec["capacity"] ?? null, ["storage"]);
    const [first, ...more] = volumeSources.filter((source) => spec[source] !== undefined);
    if (first === undefined) faults.required("spec", "must specify a volume type");
    for (const source of more) faults.forbidden(`spec.${source}`, "may not specify more than 1 volume type");
  },
  columns: [
    column("Capacity", (object) => textAt(object, "spec", "capacity", "storage")),
    column("Access Modes", (object) => showModes(at(object, "spec", "accessModes"))),
    column("Reclaim Policy", (object) => textAt(object, "spec", "persistentVolumeReclaimPolicy")),
    column("Status", (object) =>
      at(object, "metadata", "deletionTimestamp") === undefined ? textAt(object, "status", "phase") : "Terminating",
    ),
    column("Claim", (object) =>
      [textAt(object, "spec", "claimRef", "namespace"), textAt(object, "spec", "claimRef", "name")]
        .filter((part) => part !== "")
        .join("/"),
    ),
    column("StorageClass", (object) => textAt(object, "spec", "storageClassName")),
    column("VolumeAttributesClass", (object) => textAt(object, "spec", "volumeAttributesClassName") || "<unset>"),
    column("Reason", (object) => textAt(object, "status", "reason")),
    column("VolumeMode", (object) => textAt(object, "spec", "volumeMode") || "<unset>", { wide: true }),
  ],
};

/** What clusters are made of: namespaces, nodes, volumes, leases. */
export const clusterBehaviours: BehaviourTable = {
  "/Namespace": namespace,
  "/Node": orderedNode,
  "/PersistentVolumeClaim": claim,
  "/PersistentVolume": volume,
  "coordination.k8s.io/Lease": {
    createsOnUpdate: true,
    needsVersion: true,
    validate(object, faults) {
      const seconds = asNumber(at(object, "spec", "leaseDurationSeconds"));
      if (seconds !== undefined && seconds <= 0)
        faults.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0");
      const transitions = asNumber(at(object, "spec", "leaseTransitions"));
      if (transitions !== undefined && transitions < 0)
        faults.invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0");
    },
    columns: [column("Holder", (object) => textAt(object, "spec", "holderIdentity"))],
  },
};
