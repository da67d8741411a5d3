import type { Faults, JsonObject } from "../../../kernel/kinds/index.js";
import type { AdmissionReview } from "../../../kernel/module/types.js";
import { equalJson, isObject } from "../../../kernel/schema/index.js";

/** Nothing against it. */
export const ACCEPTED: AdmissionReview = { faults: [], warnings: [] };

/** Refuses a write in the name of one of Karmada's webhooks. */
export function denied(webhook: string, message: string): AdmissionReview {
  return { ...ACCEPTED, denial: { webhook, message } };
}

/** Refuses for what was found, the faults in brackets when there are several; accepts where nothing was. */
export function deniedFor(webhook: string, faults: Faults): AdmissionReview {
  const texts = [...new Set(faults.causes.map(({ field, message }) => `${field}: ${message}`))];
  if (texts.length === 0) return { ...ACCEPTED, warnings: faults.warnings };
  return denied(webhook, texts.length === 1 ? (texts[0] ?? "") : `[${texts.join(", ")}]`);
}

/** A look that is spared where a write leaves labels, annotations and spec as they are, or the object goes: finalizers must always be writable. */
export function isUntouched(object: JsonObject, old: JsonObject | undefined): boolean {
  if (old === undefined) return false;
  const [now, before] = [metadataOf(object), metadataOf(old)];
  if (typeof now["deletionTimestamp"] === "string") return true;
  return (
    equalJson(object["spec"], old["spec"]) &&
    equalJson(now["labels"], before["labels"]) &&
    equalJson(now["annotations"], before["annotations"])
  );
}

/** An object's metadata; empty where there are none. */
export function metadataOf(object: JsonObject): JsonObject {
  return objectIn(object, "metadata");
}

/** A label of an object. */
export function labelOf(object: JsonObject | undefined, key: string): string {
  const value = objectIn(metadataOf(object ?? {}), "labels")[key];
  return typeof value === "string" ? value : "";
}

/** An object inside of one; empty where there is none. */
export function objectIn(object: JsonObject, field: string): JsonObject {
  const value = object[field];
  return isObject(value) ? value : {};
}

/** The objects of a list inside of one. */
export function objectsIn(object: JsonObject, field: string): JsonObject[] {
  const value = object[field];
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** A text; empty where there is none. */
export function textIn(object: JsonObject, field: string): string {
  const value = object[field];
  return typeof value === "string" ? value : "";
}

/** A number; undefined where there is none. */
export function numberIn(object: JsonObject, field: string): number | undefined {
  const value = object[field];
  return typeof value === "number" ? value : undefined;
}

/** Sets a label, in place. */
export function setLabel(object: JsonObject, key: string, value: string): void {
  const metadata = metadataOf(object);
  object["metadata"] = metadata;
  metadata["labels"] = { ...objectIn(metadata, "labels"), [key]: value };
}

/** Adds a finalizer that is not there yet, in place. */
export function addFinalizer(object: JsonObject, finalizer: string): void {
  const metadata = metadataOf(object);
  object["metadata"] = metadata;
  const present = Array.isArray(metadata["finalizers"]) ? metadata["finalizers"] : [];
  if (!present.includes(finalizer)) metadata["finalizers"] = [...present, finalizer];
}
