import type { Faults } from "../../../kernel/kinds/index.js";
import { subdomainFaults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { cloneObject, equalJson } from "../../../kernel/schema/index.js";
import { asList, asObject, asObjects, asString, at } from "../registry/read.js";
import { checkQuantityAbove, immutableAt } from "./amounts.js";
import { checkAccessModes, checkNotNegative, checkVolumeMode } from "./claims.js";
import { textAt } from "./common.js";
import { validateNodeSelector } from "./pods/scheduling.js";
import { checkSources, persistentSources } from "./pods/volume-sources.js";
import { oldLabelWords, warnOfTerm } from "./pods/warnings.js";
import { isWhole, oneOf, optional, quantityOf, shownQuantity } from "./rules.js";

/** Where a volume's spec stands: in a volume of some name, or within something else. */
export interface VolumePlace {
  readonly path: string;
  readonly name: string;
  readonly isInline: boolean;
}

/** A volume of its own. */
export function volumeOf(object: JsonObject): VolumePlace {
  return { path: "spec", name: textAt(object, "metadata", "name"), isInline: false };
}

const inline = "in the context of inline volumes";

/** Checks what a volume is. */
export function validateVolumeSpec(spec: JsonObject, place: VolumePlace, faults: Faults): void {
  const { path, name, isInline } = place;
  if (isInline) {
    for (const field of ["claimRef", "capacity"])
      if (Object.keys(asObject(spec[field])).length > 0)
        faults.forbidden(`${path}.${field}`, `may not be specified ${inline}`);
    if (spec["csi"] === undefined) faults.required(`${path}.csi`, `has to be specified ${inline}`);
  }
  const modes = asList(spec["accessModes"]);
  if (modes.length === 0) faults.required(`${path}.accessModes`);
  checkAccessModes(modes, `${path}.accessModes`, faults);
  if (!isInline) validateCapacity(spec, `${path}.capacity`, faults);
  const policy = asString(spec["persistentVolumeReclaimPolicy"]);
  const policyPath = `${path}.persistentVolumeReclaimPolicy`;
  if (policy !== "" && isInline) {
    if (policy !== "Retain") faults.forbidden(policyPath, `may only be Retain ${inline}`);
  } else if (policy !== "") oneOf(policy, ["Delete", "Recycle", "Retain"], policyPath, faults);
  validateAffinity(spec, place, faults);
  const found = checkSources(spec, persistentSources, { path, faults, owner: name });
  if (found === "local" && spec["nodeAffinity"] === undefined)
    faults.required(`${path}.nodeAffinity`, "Local volume requires node affinity");
  const folder = textAt(spec, "hostPath", "path");
  if (spec["hostPath"] !== undefined && isRoot(folder) && policy === "Recycle")
    faults.forbidden(policyPath, "may not be 'recycle' for a hostPath mount of '/'");
  validateClasses(spec, place, faults);
}

const isRoot = (folder: string): boolean => folder.startsWith("/") && /^(\/|\.\/|\.$|\.\.\/|\.\.$)*$/.test(folder);

function validateCapacity(spec: JsonObject, path: string, faults: Faults): void {
  const capacity = asObject(spec["capacity"]);
  const names = Object.keys(capacity);
  if (names.length === 0) faults.required(path);
  if (names.length !== 1 || names[0] !== "storage") faults.unsupported(path, spec["capacity"] ?? null, ["storage"]);
  for (const [resource, value] of Object.entries(capacity)) {
    checkNotNegative(value, `${path}[${resource}]`, faults);
    checkQuantityAbove(value, `${path}[${resource}]`, faults);
  }
}

function validateAffinity(spec: JsonObject, { path, isInline }: VolumePlace, faults: Faults): void {
  const affinity = spec["nodeAffinity"];
  const place = `${path}.nodeAffinity`;
  if (affinity === undefined) return;
  if (isInline) faults.forbidden(place, `may not be specified ${inline}`);
  else if (at(affinity, "required") === undefined)
    faults.required(`${place}.required`, "must specify required node constraints");
  else validateNodeSelector(asObject(at(affinity, "required")), `${place}.required`, faults);
}

function validateClasses(spec: JsonObject, { path, isInline }: VolumePlace, faults: Faults): void {
  const name = asString(spec["storageClassName"]);
  if (name !== "" && isInline) faults.forbidden(`${path}.storageClassName`, `may not be specified ${inline}`);
  else optional(subdomainFaults, name, `${path}.storageClassName`, faults);
  const mode = spec["volumeMode"];
  if (isInline) {
    if (mode !== undefined && mode !== "Filesystem")
      faults.forbidden(`${path}.volumeMode`, `may not specify volumeMode other than Filesystem ${inline}`);
  } else checkVolumeMode(mode, `${path}.volumeMode`, faults);
  const attributes = spec["volumeAttributesClassName"];
  if (attributes === undefined || isInline) return;
  const place = `${path}.volumeAttributesClassName`;
  if (attributes === "") faults.required(place, "an empty string is disallowed");
  else optional(subdomainFaults, attributes, place, faults);
  if (spec["csi"] === undefined)
    faults.required(`${path}.csi`, "has to be specified when using volumeAttributesClassName");
}

/** The part of a volume's spec that says where the volume is. */
function sourceOf(spec: JsonObject): JsonObject {
  const known = persistentSources.map(([field]) => field);
  return Object.fromEntries(Object.entries(cloneObject(spec)).filter(([field]) => known.includes(field)));
}

const newLabels: Readonly<Record<string, string>> = {
  "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
  "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
  "beta.kubernetes.io/os": "kubernetes.io/os",
  "beta.kubernetes.io/arch": "kubernetes.io/arch",
  "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
};

/** The affinity with labels by the names that they have by now, where the other one has those. */
function renamed(affinity: JsonObject, other: JsonObject): JsonObject {
  const result = cloneObject(affinity);
  const expressions = (of: JsonObject): JsonObject[] =>
    asObjects(at(of, "required", "nodeSelectorTerms")).flatMap((term) => [...asObjects(term["matchExpressions"])]);
  const theirs = expressions(other);
  for (const [index, expression] of expressions(result).entries()) {
    const name = newLabels[asString(expression["key"])];
    if (name !== undefined && theirs[index]?.["key"] === name) expression["key"] = name;
  }
  return result;
}

/** Checks what may change of a volume. */
export function validateVolumeUpdate(object: JsonObject, old: JsonObject, faults: Faults): void {
  const [spec, before] = [asObject(object["spec"]), asObject(old["spec"])];
  const [source, oldSource] = [sourceOf(spec), sourceOf(before)];
  const isAdded = oldSource["csi"] !== undefined && at(oldSource, "csi", "controllerExpandSecretRef") === undefined;
  if (isAdded && source["csi"] !== undefined) delete asObject(source["csi"])["controllerExpandSecretRef"];
  if (!equalJson(source, oldSource))
    faults.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation\n");
  immutableAt("volumeMode", spec["volumeMode"], before["volumeMode"], faults);
  const affinity = before["nodeAffinity"];
  if (affinity !== undefined) {
    const isSame =
      spec["nodeAffinity"] !== undefined &&
      equalJson(spec["nodeAffinity"], renamed(asObject(affinity), asObject(spec["nodeAffinity"])));
    if (!isSame)
      faults.invalid(
        "nodeAffinity",
        spec["nodeAffinity"] ?? null,
        "field is immutable, except for updating from beta label to GA",
      );
  }
  if (before["volumeAttributesClassName"] !== undefined && spec["volumeAttributesClassName"] === undefined)
    faults.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden");
}

const oldAnnotations: readonly (readonly [string, string])[] = [
  [
    "volume.beta.kubernetes.io/storage-class",
    'metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "storageClassName" attribute instead',
  ],
  [
    "volume.beta.kubernetes.io/mount-options",
    'metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use "mountOptions" attribute instead',
  ],
];

const oldSources: Readonly<Record<string, string>> = {
  photonPersistentDisk: "deprecated in v1.11, non-functional in v1.16+",
  scaleIO: "deprecated in v1.16, non-functional in v1.22+",
  storageos: "deprecated in v1.22, non-functional in v1.25+",
  glusterfs: "deprecated in v1.25, non-functional in v1.26+",
  cephfs: "deprecated in v1.28, non-functional in v1.31+",
  rbd: "deprecated in v1.28, non-functional in v1.31+",
};

/** Warns of what a volume says that is no longer so. */
export function warnOfVolume(object: JsonObject, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const annotations = asObject(at(object, "metadata", "annotations"));
  for (const [key, words] of oldAnnotations) if (annotations[key] !== undefined) faults.warn(words);
  if (spec["persistentVolumeReclaimPolicy"] === "Recycle")
    faults.warn(
      "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
    );
  const terms = asObjects(at(spec, "nodeAffinity", "required", "nodeSelectorTerms"));
  for (const [index, term] of terms.entries())
    warnOfTerm(term, `spec.nodeAffinity.required.nodeSelectorTerms[${index}]`, faults, false);
  for (const [field, words] of Object.entries(oldSources))
    if (spec[field] !== undefined) faults.warn(`spec.${field === "storageos" ? "storageOS" : field}: ${words}`);
  const size = quantityOf(at(spec, "capacity", "storage"));
  if (size !== undefined && !isWhole(size))
    faults.warn(
      `spec.capacity[storage]: fractional byte value ${JSON.stringify(shownQuantity(size))} is invalid, must be an integer`,
    );
}

const withMountOptions =
  "gcePersistentDisk awsElasticBlockStore glusterfs nfs rbd quobyte iscsi cinder cephfs azureFile vsphereVolume azureDisk photonPersistentDisk".split(
    " ",
  );

/** Checks that options for mounting are those of a volume that is mounted with options. */
export function validateMountOptions(object: JsonObject, faults: Faults): void {
  const key = "volume.beta.kubernetes.io/mount-options";
  const spec = asObject(object["spec"]);
  if (at(object, "metadata", "annotations", key) === undefined) return;
  if (withMountOptions.every((field) => spec[field] === undefined))
    faults.forbidden(`metadata.annotations.${key}`, "may not specify mount options for this volume type");
}

/** Labels of nodes that storage is bound to, by names that they no longer have. */
export function warnOfTopologies(topologies: readonly JsonObject[], path: string, faults: Faults): void {
  for (const [index, term] of topologies.entries())
    for (const [place, expression] of asObjects(term["matchLabelExpressions"]).entries()) {
      const key = asString(expression["key"]);
      const words = oldLabelWords(key);
      if (words !== undefined) faults.warn(`${path}[${index}].matchLabelExpressions[${place}].key: ${key} is ${words}`);
    }
}
