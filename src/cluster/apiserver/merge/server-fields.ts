import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asObject } from "../registry/read.js";
import { FieldSet } from "./field-set.js";

const serverFields = new FieldSet();
for (const field of ["apiVersion", "kind", "metadata"]) serverFields.insert([`f:${field}`]);
for (const field of [
  "name",
  "namespace",
  "creationTimestamp",
  "selfLink",
  "uid",
  "clusterName",
  "generation",
  "managedFields",
  "resourceVersion",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
])
  serverFields.insert(["f:metadata", `f:${field}`]);

/** Leaves out the fields that the server owns and nobody manages. */
export function stripServerFields(set: FieldSet): FieldSet {
  return set.difference(serverFields);
}

/** A copy without metadata.managedFields, which nobody owns. */
export function withoutManagedFields(object: JsonObject): JsonObject {
  const metadata = asObject(object["metadata"]);
  if (metadata["managedFields"] === undefined) return object;
  const { managedFields: _, ...rest } = metadata;
  return { ...object, metadata: rest };
}
