import type { Faults } from "../../../kernel/kinds/index.js";
import { compareQuantities, labelFaults, type Quantity, subdomainFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneObject, equalJson } from "../../../kernel/schema/index.js";
import { asList, asObject, asString, at, ensureObject } from "../registry/read.js";
import { checkQuantityAbove, checkResourceKey, immutableAt } from "./amounts.js";
import { checkResourceAmount } from "./pods/resources.js";
import { follows, needed, oneOf, oneOfIfSet, optional, quantityOf } from "./rules.js";
import { validateSelector } from "./selectors.js";

const accessModes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const volumeModes = ["Block", "Filesystem"];

/** Checks how a volume may be mounted. */
export function checkAccessModes(modes: readonly Json[], path: string, faults: Faults): void {
  for (const mode of modes) oneOf(mode, accessModes, path, faults);
  const known = modes.filter((mode) => accessModes.includes(asString(mode)));
  if (known.includes("ReadWriteOncePod") && known.some((mode) => mode !== "ReadWriteOncePod"))
    faults.forbidden(path, "may not use ReadWriteOncePod with other access modes");
}

/** Checks whether a volume is a disk or a folder. */
export function checkVolumeMode(mode: Json | undefined, path: string, faults: Faults): void {
  oneOfIfSet(mode, volumeModes, path, faults);
}

/** Checks the spec of a claim: of a PersistentVolumeClaim, or of a template for some. `old` may keep its api groups. */
export function validateClaimSpec(spec: JsonObject, path: string, faults: Faults, old?: JsonObject): void {
  const modes = asList(spec["accessModes"]);
  if (modes.length === 0) faults.required(`${path}.accessModes`, "at least 1 access mode is required");
  validateSelector(spec["selector"], `${path}.selector`, faults);
  checkAccessModes(modes, `${path}.accessModes`, faults);
  const size = at(spec, "resources", "requests", "storage");
  const place = `${path}.resources[storage]`;
  if (size === undefined) faults.required(place);
  else if (checkQuantityAbove(size, place, faults)) checkResourceAmount("storage", size, place, faults);
  optional(subdomainFaults, spec["storageClassName"], `${path}.storageClassName`, faults);
  checkVolumeMode(spec["volumeMode"], `${path}.volumeMode`, faults);
  checkDataSources(spec, path, faults, old);
  optional(subdomainFaults, spec["volumeAttributesClassName"], `${path}.volumeAttributesClassName`, faults);
}

function checkDataSources(spec: JsonObject, path: string, faults: Faults, old: JsonObject | undefined): void {
  const { dataSource: source, dataSourceRef: reference } = spec;
  const keeps = ["dataSource", "dataSourceRef"].some((field) => typeof at(old, field, "apiGroup") === "string");
  if (source !== undefined) checkDataSource(asObject(source), `${path}.dataSource`, faults, keeps);
  if (reference !== undefined) {
    checkDataSource(asObject(reference), `${path}.dataSourceRef`, faults, keeps);
    optional(labelFaults, at(reference, "namespace"), `${path}.dataSourceRef.namespace`, faults);
  }
  // As upstream: what is shown is the path, as its own type prints it.
  if (source === undefined || reference === undefined) return;
  if (asString(at(reference, "namespace")) !== "")
    faults.invalid(path, {}, "may not be specified when dataSourceRef.namespace is specified");
  else if (["apiGroup", "kind", "name"].some((field) => at(source, field) !== at(reference, field)))
    faults.invalid(path, {}, "must match dataSourceRef");
}

function checkDataSource(source: JsonObject, path: string, faults: Faults, keepsGroup: boolean): void {
  needed(source, "name", path, faults);
  const kind = needed(source, "kind", path, faults);
  const group = asString(source["apiGroup"]);
  if (group === "" && kind !== "PersistentVolumeClaim")
    faults.invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
  if (group !== "" && !keepsGroup) follows(subdomainFaults, group, `${path}.apiGroup`, faults);
}

const annotation = "volume.beta.kubernetes.io/storage-class";

const none: Quantity = { nanos: 0n, format: "DecimalSI" };

/** Checks what may change of a claim. */
export function validateClaimUpdate(object: JsonObject, old: JsonObject, faults: Faults): void {
  const [spec, before] = [cloneObject(asObject(object["spec"])), cloneObject(asObject(old["spec"]))];
  const shown: Pair = [annotationOf(object), annotationOf(old)];
  if (asString(before["volumeName"]) === "") copy(spec, before, "volumeName");
  settleClass(spec, before, shown, faults);
  if (at(object, "status", "phase") === "Bound") {
    const size = at(before, "resources", "requests", "storage");
    const requests = ensureObject(ensureObject(spec, "resources"), "requests");
    if (size !== undefined) requests["storage"] = size;
    copy(before, spec, "volumeAttributesClassName");
  }
  if (!equalJson(spec, before))
    faults.forbidden(
      "spec",
      "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n",
    );
  checkSize(object, old, faults);
  immutableAt("volumeMode", at(object, "spec", "volumeMode"), at(old, "spec", "volumeMode"), faults);
  checkAttributesClass(object, old, faults);
}

type Pair = readonly [string | undefined, string | undefined];

/** The class may move from the annotation, or from nowhere, to its field. */
function settleClass(spec: JsonObject, before: JsonObject, [shown, shownBefore]: Pair, faults: Faults): void {
  const [now, then] = [spec["storageClassName"], before["storageClassName"]];
  if (
    shownBefore !== undefined &&
    then === undefined &&
    now === shownBefore &&
    (shown ?? shownBefore) === shownBefore
  ) {
    delete spec["storageClassName"];
    return;
  }
  if ((shown ?? "") !== (shownBefore ?? ""))
    faults.invalid(`metadata.annotations.${annotation}`, shown ?? "", "field is immutable");
  if (now !== undefined && then === undefined && (shownBefore === undefined || now === shownBefore))
    before["storageClassName"] = now;
}

function checkSize(object: JsonObject, old: JsonObject, faults: Faults): void {
  const size = quantityOf(at(object, "spec", "resources", "requests", "storage")) ?? none;
  const sizeBefore = quantityOf(at(old, "spec", "resources", "requests", "storage")) ?? none;
  const real = quantityOf(at(old, "status", "capacity", "storage")) ?? none;
  if (compareQuantities(size, sizeBefore) < 0 && compareQuantities(size, real) <= 0)
    faults.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
}

function checkAttributesClass(object: JsonObject, old: JsonObject, faults: Faults): void {
  const name = at(object, "spec", "volumeAttributesClassName");
  const current = at(old, "status", "currentVolumeAttributesClassName");
  if (name === at(old, "spec", "volumeAttributesClassName") || current === undefined) return;
  const place = "spec.volumeAttributesClassName";
  const words = "is forbidden when status.currentVolumeAttributesClassName is not nil";
  if (name === undefined) faults.forbidden(place, `update to nil ${words}`);
  else if (name === "") faults.forbidden(place, `update to empty string ${words}`);
}

function copy(from: JsonObject, to: JsonObject, field: string): void {
  const value = from[field];
  if (value === undefined) delete to[field];
  else to[field] = value;
}

function annotationOf(object: JsonObject): string | undefined {
  const value = at(object, "metadata", "annotations", annotation);
  return typeof value === "string" ? value : undefined;
}

const resizeStates = [
  "ControllerResizeInProgress",
  "ControllerResizeInfeasible",
  "NodeResizeInProgress",
  "NodeResizeInfeasible",
  "NodeResizePending",
];

/** Checks the status of a claim. */
export function validateClaimStatus(object: JsonObject, faults: Faults): void {
  if (asList(at(object, "spec", "accessModes")).length === 0) faults.required("Spec.accessModes");
  const status = asObject(object["status"]);
  for (const [name, value] of Object.entries(asObject(status["capacity"])))
    checkNotNegative(value, `status.capacity[${name}]`, faults);
  const states = "status.allocatedResourceStatuses";
  for (const [name, value] of Object.entries(asObject(status["allocatedResourceStatuses"]))) {
    checkResourceKey(name, states, faults);
    if (!resizeStates.includes(asString(value))) faults.unsupported(states, name, resizeStates);
  }
  for (const [name, value] of Object.entries(asObject(status["allocatedResources"]))) {
    const place = `status.allocatedResources[${name}]`;
    if (!checkResourceKey(name, "status.allocatedResources", faults)) continue;
    if (checkNotNegative(value, place, faults)) checkResourceAmount("storage", value, place, faults);
  }
}

/** An amount of storage. Returns whether it is one. */
export function checkNotNegative(value: Json | undefined, path: string, faults: Faults): boolean {
  const amount = quantityOf(value);
  if (amount === undefined || amount.nanos > -1_000_000_000n) return true;
  faults.invalid(path, Number(amount.nanos / 1_000_000_000n), "must be a valid resource quantity");
  return false;
}

/** The source of a claim has two names: what is said by the one goes for the other. */
export function alignSources(spec: JsonObject, old: JsonObject): void {
  const isUsed = old["dataSourceRef"] !== undefined;
  // Sources in other namespaces are off in this version.
  if (!isUsed && asString(at(spec, "dataSourceRef", "namespace")) !== "") delete spec["dataSourceRef"];
  const isNew = !isUsed && old["dataSource"] === undefined && spec["dataSourceRef"] === undefined;
  if (isNew && !isKnownSource(asObject(spec["dataSource"]))) delete spec["dataSource"];
  const [one, other] = [spec["dataSource"], spec["dataSourceRef"]];
  if (one !== undefined && other === undefined) spec["dataSourceRef"] = cloneObject(asObject(one));
  else if (one === undefined && other !== undefined && asString(at(other, "namespace")) === "") {
    const { apiGroup, kind = "", name = "" } = asObject(other);
    spec["dataSource"] = { ...(apiGroup === undefined ? {} : { apiGroup }), kind, name };
  }
}

/** By its older name, a source is a claim or a snapshot. */
function isKnownSource(source: JsonObject): boolean {
  const group = asString(source["apiGroup"]);
  if (source["kind"] === "PersistentVolumeClaim") return group === "";
  return source["kind"] === "VolumeSnapshot" && group === "snapshot.storage.k8s.io";
}
