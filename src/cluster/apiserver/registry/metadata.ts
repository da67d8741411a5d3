import type { Faults } from "../../../kernel/kinds/index.js";
import { labelValueFaults, qualifiedNameFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { asList, asObject, asObjects, asString } from "./read.js";

const maximumAnnotationBytes = 256 * 1024;

/** Checks names, labels, annotations, owner references and finalizers. */
export function validateMetadata(
  object: JsonObject,
  nameFaults: (name: string) => readonly string[],
  faults: Faults,
): void {
  const metadata = asObject(object["metadata"]);
  validateName(metadata, nameFaults, faults);
  if (metadata["labels"] !== undefined) validateLabels(metadata["labels"], "metadata.labels", faults);
  if (metadata["annotations"] !== undefined)
    validateAnnotations(asObject(metadata["annotations"]), "metadata.annotations", faults);
  if (metadata["ownerReferences"] !== undefined) validateOwners(metadata["ownerReferences"], faults);
  const { generation } = metadata;
  if (typeof generation === "number" && generation < 0)
    faults.invalid("metadata.generation", generation, "must be greater than or equal to 0");
  const finalizers = asList(metadata["finalizers"]);
  for (const finalizer of finalizers)
    for (const fault of qualifiedNameFaults(asString(finalizer)))
      faults.invalid("metadata.finalizers", finalizer, fault);
  if (finalizers.includes("orphan") && finalizers.includes("foregroundDeletion"))
    faults.invalid(
      "metadata.finalizers",
      [...finalizers],
      "finalizer foregroundDeletion and orphan cannot be both set",
    );
}

/** Checks the metadata of a change: what may not change, and what every object's must be. */
export function validateMetadataChange(object: JsonObject, old: JsonObject, faults: Faults): void {
  checkUnchanged(object, old, faults);
  const metadata = asObject(object["metadata"]);
  validateLabels(metadata["labels"] ?? {}, "metadata.labels", faults);
  validateAnnotations(asObject(metadata["annotations"]), "metadata.annotations", faults);
  if (metadata["ownerReferences"] !== undefined) validateOwners(metadata["ownerReferences"], faults);
}

function validateName(metadata: JsonObject, nameFaults: (name: string) => readonly string[], faults: Faults): void {
  const prefix = asString(metadata["generateName"]);
  const name = asString(metadata["name"]);
  if (prefix !== "") {
    const masked = prefix.length > 1 && prefix.endsWith("-") ? `${prefix.slice(0, -2)}a` : prefix;
    for (const fault of nameFaults(masked)) faults.invalid("metadata.generateName", prefix, fault);
  }
  if (name === "") faults.required("metadata.name", "name or generateName is required");
  else for (const fault of nameFaults(name)) faults.invalid("metadata.name", name, fault);
}

/** Checks a map of labels, wherever it is. */
export function validateLabels(labels: Json, path: string, faults: Faults): void {
  const all = asObject(labels);
  for (const key in all) {
    const value = asString(all[key]);
    for (const fault of qualifiedNameFaults(key)) faults.invalid(path, key, fault);
    for (const fault of labelValueFaults(value)) faults.invalid(path, value, fault);
  }
}

/** Checks a map of annotations, wherever it is. */
export function validateAnnotations(annotations: JsonObject, path: string, faults: Faults): void {
  let bytes = 0;
  for (const key in annotations) {
    for (const fault of qualifiedNameFaults(key.toLowerCase())) faults.invalid(path, key, fault);
    bytes += key.length + asString(annotations[key]).length;
  }
  if (bytes > maximumAnnotationBytes) faults.tooLong(path, maximumAnnotationBytes);
}

function validateOwner(owner: JsonObject, path: string, faults: Faults): void {
  const apiVersion = asString(owner["apiVersion"]);
  if (apiVersion === "" || apiVersion.split("/").length > 2 || apiVersion.endsWith("/"))
    faults.invalid(`${path}.apiVersion`, apiVersion, "version must not be empty");
  for (const field of ["kind", "name", "uid"])
    if (asString(owner[field]) === "") faults.invalid(`${path}.${field}`, asString(owner[field]), "must not be empty");
  if (apiVersion === "v1" && owner["kind"] === "Event")
    faults.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner");
}

const standardFinalizers = new Set(["kubernetes", "orphan", "foregroundDeletion"]);

/** Native kinds: a finalizer is a standard one, or has its owner's domain. */
export function validateFinalizers(finalizers: readonly Json[], path: string, faults: Faults): void {
  for (const [index, finalizer] of finalizers.entries()) {
    const name = asString(finalizer);
    if (!isFinalizerName(name)) faults.invalid(`${path}[${index}]`, name, strangeFinalizer);
  }
}

/** What is wrong with a finalizer that is nobody's. */
export const strangeFinalizer = "name is neither a standard finalizer name nor is it fully qualified";

/** Whether a finalizer is one of the server's own, or says whose it is. */
export function isFinalizerName(name: string): boolean {
  return name.includes("/") || standardFinalizers.has(name);
}

function validateOwners(owners: Json, faults: Faults): void {
  const path = "metadata.ownerReferences";
  let first = "";
  for (const owner of asObjects(owners)) {
    validateOwner(owner, path, faults);
    if (owner["controller"] !== true) continue;
    const name = `${asString(owner["kind"])}/${asString(owner["name"])}`;
    if (first === "") first = name;
    else
      faults.invalid(
        path,
        owners,
        `Only one reference can have Controller set to true. Found "true" in references for ${first} and ${name}`,
      );
  }
}

/** Checks what may not change in metadata: once for all kinds and once for the kind, so that every fault is listed twice, as upstream. */
export function validateMetadataUpdate(object: JsonObject, old: JsonObject, faults: Faults, rounds = 2): void {
  for (let round = 0; round < rounds; round += 1) checkUnchanged(object, old, faults);
}

const unchanging = ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];

function checkUnchanged(object: JsonObject, old: JsonObject, faults: Faults): void {
  const metadata = asObject(object["metadata"]);
  const oldMetadata = asObject(old["metadata"]);
  for (const field of unchanging)
    if (!equalJson(metadata[field], oldMetadata[field]))
      faults.invalid(`metadata.${field}`, metadata[field], "field is immutable");
  if (oldMetadata["deletionTimestamp"] === undefined) return;
  const before = new Set(asList(oldMetadata["finalizers"]));
  const added = asList(metadata["finalizers"]).filter((finalizer) => !before.has(finalizer));
  if (added.length > 0) {
    const list = added.map((finalizer) => JSON.stringify(finalizer)).join(", ");
    faults.forbidden(
      "metadata.finalizers",
      `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`,
    );
  }
}
