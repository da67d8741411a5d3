import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import type { Accepted } from "../request/negotiate.js";
import type { ResourceType } from "../types.js";

/** How objects are shown: as they are, as rows of a table, or as their metadata. */
export type Form =
  | { readonly kind: "Object" }
  | { readonly kind: "Table"; readonly version: string; readonly include: "None" | "Metadata" | "Object" }
  | { readonly kind: "PartialObjectMetadata"; readonly version: string };

/** The form that a request's Accept header and `includeObject` ask for. */
export function formOf(accepted: Accepted, query: URLSearchParams): Form {
  if (accepted.as === undefined) return { kind: "Object" };
  const { kind, version } = accepted.as;
  if (kind !== "Table") return { kind: "PartialObjectMetadata", version };
  const include = query.get("includeObject") ?? "";
  return { kind, version, include: include === "None" || include === "Object" ? include : "Metadata" };
}

/** An object reduced to its metadata. */
export function partialMetadata(object: JsonObject, version: string): JsonObject {
  const metadata = objectAt(object, "metadata");
  const added = object["apiVersion"] === "apps/v1" ? addedAnnotations[stringAt(object, "kind")] : undefined;
  return {
    kind: "PartialObjectMetadata",
    apiVersion: `meta.k8s.io/${version}`,
    metadata: added === undefined ? metadata : withoutAnnotation(metadata, added),
  };
}

/** Annotations that a field of upstream's own struct becomes where an object of apps/v1 is shown as a whole. */
const addedAnnotations: Readonly<Record<string, string>> = { DaemonSet: "deprecated.daemonset.template.generation" };

function withoutAnnotation({ annotations, ...metadata }: JsonObject, name: string): JsonObject {
  if (!isObject(annotations)) return metadata;
  const { [name]: _, ...rest } = annotations;
  return Object.keys(rest).length === 0 ? metadata : { ...metadata, annotations: rest };
}

/** A Table of these objects; `withColumns` false leaves out the column definitions (later events of a watch). */
export function tableOf(
  type: ResourceType,
  objects: readonly JsonObject[],
  form: Extract<Form, { kind: "Table" }>,
  about: { readonly now: number; readonly metadata: JsonObject; readonly withColumns: boolean },
): JsonObject {
  return {
    kind: "Table",
    apiVersion: `meta.k8s.io/${form.version}`,
    metadata: about.metadata,
    columnDefinitions: about.withColumns ? type.columns.map((column) => ({ ...column })) : null,
    rows: objects.map((object) => tableRow(type, object, form, about.now)),
  };
}

/** One row of a Table. */
export function tableRow(
  type: ResourceType,
  object: JsonObject,
  form: Extract<Form, { kind: "Table" }>,
  now: number,
): JsonObject {
  return { cells: type.cells(object, now), object: rowObject(object, form) };
}

function rowObject(object: JsonObject, form: Extract<Form, { kind: "Table" }>): JsonObject | null {
  if (form.include === "None") return null;
  return form.include === "Object" ? object : partialMetadata(object, form.version);
}

/** An object without kind and apiVersion. */
export function withoutKind(object: JsonObject): JsonObject {
  const { kind: _kind, apiVersion: _apiVersion, ...rest } = object;
  return isObject(rest) ? rest : {};
}
