import type { Faults } from "../../../kernel/kinds/index.js";
import { labelFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { ageColumn, column, nameColumn } from "../registry/columns.js";
import { isFinalizerName, strangeFinalizer } from "../registry/metadata.js";
import {
  asList,
  asNumber,
  asObject,
  asObjects,
  asString,
  at,
  ensureObject,
  setDefault,
  setDefaultText,
} from "../registry/read.js";
import { checkNetwork, readNetwork, warnOfNetwork } from "./addresses.js";
import { roundAmounts } from "./amounts.js";
import { alignSources, validateClaimSpec, validateClaimStatus, validateClaimUpdate } from "./claims.js";
import { textAt } from "./common.js";
import { checkResourceAmount } from "./pods/resources.js";
import { validateTaints } from "./pods/scheduling.js";
import { warnOfClaim } from "./pods/warnings.js";
import { qualifiedName } from "./rules.js";
import { validateMountOptions, validateVolumeSpec, validateVolumeUpdate, volumeOf, warnOfVolume } from "./volumes.js";

const nameLabel = "kubernetes.io/metadata.name";
const orNone = (text: string): string => (text === "" ? "<none>" : text);

function checkFinalizers(object: JsonObject, faults: Faults, isIndexed: boolean): void {
  const path = "spec.finalizers";
  for (const [index, finalizer] of asList(at(object, "spec", "finalizers")).entries()) {
    const where = isIndexed ? `${path}[${index}]` : path;
    qualifiedName(finalizer, where, faults);
    if (!isFinalizerName(asString(finalizer))) faults.invalid(where, asString(finalizer), strangeFinalizer);
  }
}

const namespace: Behaviour = {
  resets: { finalize: [["status"]] },
  nameFaults: labelFaults,
  defaults: (object) => {
    const metadata = ensureObject(object, "metadata");
    const name = asString(metadata["name"]);
    if (name !== "") ensureObject(metadata, "labels")[nameLabel] = name;
    setDefaultText(ensureObject(object, "status"), "phase", "Active");
  },
  initialStatus: () => ({ phase: "Active" }),
  complete: true,
  updateChecks: { status: [0, 1], finalize: [0, 1] },
  validateCreate: (object, faults) => checkFinalizers(object, faults, false),
  statusOnly: true,
  validateUpdate(object, _old, faults, context) {
    if (context.subresource === "finalize") checkFinalizers(object, faults, true);
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

function validateAmounts(object: JsonObject, faults: Faults): void {
  for (const field of ["capacity", "allocatable"])
    for (const [name, value] of Object.entries(asObject(at(object, "status", field))))
      checkResourceAmount(name, value, `status.${field}.${name}`, faults);
}

function validateNode(object: JsonObject, faults: Faults): void {
  validateTaints(at(object, "spec", "taints"), "metadata.taints", faults);
  validateAmounts(object, faults);
  const swap = asNumber(at(object, "status", "nodeInfo", "swap", "capacity"));
  if (swap !== undefined && swap <= 0)
    faults.invalid("metadata.nodeSwapStatus.capacity", swap, "must be greater than zero");
  const ranges = asList(at(object, "spec", "podCIDRs")).map(asString);
  for (const [index, range] of ranges.entries()) checkNetwork(range, `spec.podCIDRs[${index}]`, faults);
  if (ranges.length < 2) return;
  const families = ranges.map((range) => readNetwork(range)?.address.family);
  if (families.includes(undefined)) {
    const bad = ranges[families.indexOf(undefined)] ?? "";
    faults.internal(
      "spec.podCIDRs",
      `invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[${families.indexOf(undefined)}]: <nil> (invalid CIDR address: ${bad})`,
    );
  }
  if (!(families.includes(4) && families.includes(6)) || ranges.length > 2)
    faults.invalid("spec.podCIDRs", ranges, "may specify no more than one CIDR for each IP family");
}

function validateNodeChange(object: JsonObject, old: JsonObject, faults: Faults): void {
  validateAmounts(object, faults);
  const seen = new Set<string>();
  for (const [index, address] of asObjects(at(object, "status", "addresses")).entries()) {
    const key = `${asString(address["type"])} ${asString(address["address"])}`;
    if (seen.has(key)) faults.duplicate(`status.addresses[${index}]`, address);
    seen.add(key);
  }
  const [ranges, before] = [asList(at(object, "spec", "podCIDRs")), asList(at(old, "spec", "podCIDRs"))];
  const words = 'node updates may not change podCIDR except from "" to valid';
  if (before.length > 0 && ranges.length !== before.length) faults.forbidden("spec.podCIDRs", words);
  else
    for (const [index, range] of before.entries())
      if (range !== ranges[index]) faults.forbidden("spec.podCIDRs", words);
  const provider = textAt(old, "spec", "providerID");
  if (provider !== "" && provider !== textAt(object, "spec", "providerID"))
    faults.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid');
  validateTaints(at(object, "spec", "taints"), "metadata.taints", faults);
  if (textAt(object, "spec", "externalID") !== textAt(old, "spec", "externalID"))
    faults.forbidden("spec.externalID", "may not be updated");
}

function warnOfNode(object: JsonObject, faults: Faults): void {
  if (at(object, "spec", "configSource") !== undefined) faults.warn("spec.configSource: the feature is removed");
  if (textAt(object, "spec", "externalID") !== "")
    faults.warn("spec.externalID: this field is deprecated, and is unused by Kubernetes");
  for (const [index, range] of asList(at(object, "spec", "podCIDRs")).entries())
    warnOfNetwork(range, `spec.podCIDRs[${index}]`, faults);
}

const node: Behaviour = {
  complete: true,
  statusOnly: true,
  keepsStatusOnCreate: true,
  defaults(object) {
    const status = asObject(object["status"]);
    if (status["capacity"] !== undefined && status["allocatable"] === undefined)
      status["allocatable"] = { ...asObject(status["capacity"]) };
    for (const field of ["capacity", "allocatable"]) roundAmounts(status, [field]);
    alignRanges(object);
  },
  // What came to nothing is taken away, unless it is there already.
  prepare(object, old, { subresource }) {
    const [spec, status] = [asObject(object["spec"]), asObject(object["status"])];
    if (subresource === "" && at(old, "spec", "configSource") === undefined) delete spec["configSource"];
    if ((old === undefined || subresource === "status") && at(old, "status", "config") === undefined)
      delete status["config"];
  },
  validate: validateNode,
  validateCreate: warnOfNode,
  validateUpdate(object, old, faults, { subresource }) {
    validateNodeChange(object, old, faults);
    if (subresource === "") warnOfNode(object, faults);
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

const oldClassName = "volume.beta.kubernetes.io/storage-class";

function warnOfOwnClaim(object: JsonObject, faults: Faults): void {
  if (at(object, "metadata", "annotations", oldClassName) !== undefined)
    faults.warn(
      `metadata.annotations[${oldClassName}]: deprecated since v1.8; use "storageClassName" attribute instead`,
    );
  warnOfClaim(asObject(object["spec"]), "spec", faults);
}

const claim: Behaviour = {
  complete: true,
  statusOnly: true,
  checkedTwice: "spec",
  updateChecks: { "": [2, 1] },
  defaults(object) {
    const spec = ensureObject(object, "spec");
    setDefault(spec, "volumeMode", "Filesystem");
    roundAmounts(spec["resources"], ["limits", "requests"]);
    roundAmounts(object["status"], ["capacity", "allocatedResources"]);
    setDefaultText(ensureObject(object, "status"), "phase", "Pending");
  },
  initialStatus: () => ({ phase: "Pending" }),
  prepare(object, old, { subresource }) {
    if (subresource === "") alignSources(asObject(object["spec"]), asObject(at(old, "spec")));
  },
  validate: (object, faults) => validateClaimSpec(asObject(object["spec"]), "spec", faults),
  validateCreate: warnOfOwnClaim,
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") validateClaimStatus(object, faults);
    else {
      validateClaimUpdate(object, old, faults);
      warnOfOwnClaim(object, faults);
    }
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

/** When a volume came into its phase, where whoever writes the status does not say. */
function stampPhase(status: JsonObject, before: JsonObject, now: string): void {
  const field = "lastPhaseTransitionTime";
  const isSame = status["phase"] === before["phase"];
  if (isSame && status[field] === undefined && before[field] !== undefined) status[field] = before[field];
  if (!isSame && (status[field] === undefined || status[field] === before[field])) status[field] = now;
}

const volume: Behaviour = {
  complete: true,
  statusOnly: true,
  checkedTwice: "spec",
  updateChecks: { "": [2, 0] },
  defaults(object) {
    const spec = ensureObject(object, "spec");
    setDefaultText(ensureObject(object, "status"), "phase", "Pending");
    setDefaultText(spec, "persistentVolumeReclaimPolicy", "Retain");
    setDefault(spec, "volumeMode", "Filesystem");
    roundAmounts(spec, ["capacity"]);
    if (spec["hostPath"] !== undefined) setDefault(asObject(spec["hostPath"]), "type", "");
  },
  prepare(object, old, { now }) {
    if (old === undefined) object["status"] = { phase: "Pending", lastPhaseTransitionTime: now };
    else stampPhase(asObject(object["status"]), asObject(old["status"]), now);
  },
  validate: (object, faults) => validateVolumeSpec(asObject(object["spec"]), volumeOf(object), faults),
  validateCreate(object, faults) {
    validateMountOptions(object, faults);
    warnOfVolume(object, faults);
  },
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") return;
    validateMountOptions(object, faults);
    validateVolumeUpdate(object, old, faults);
    warnOfVolume(object, faults);
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
    complete: true,
    anyFinalizers: true,
    updateChecks: { "": [0, 1] },
    prepare(object) {
      // Coordinated election is off in this version.
      for (const field of ["strategy", "preferredHolder"]) delete asObject(object["spec"])[field];
    },
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
