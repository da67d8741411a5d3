import { apiVersionOf, type JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, objectAt } from "../fields.js";
import type { Accepted } from "../request/negotiate.js";
import { encodeJson } from "../store/index.js";
import type { ResourceType, Stored } from "../types.js";

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
  return {
    kind: "PartialObjectMetadata",
    apiVersion: `meta.k8s.io/${version}`,
    metadata: objectAt(object, "metadata"),
  };
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
    columnDefinitions: about.withColumns ? type.columns.map((column) => ({ ...column })) : [],
    rows: objects.map((object) => ({
      cells: type.cells(object, about.now),
      object: rowObject(object, form),
    })),
  };
}

function rowObject(object: JsonObject, form: Extract<Form, { kind: "Table" }>): JsonObject | null {
  if (form.include === "None") return null;
  return form.include === "Object" ? object : partialMetadata(object, form.version);
}

const openings = new WeakMap<ResourceType, Buffer>();

/** `{"kind":"Pod","apiVersion":"v1",`: how stored bytes of a kind begin. */
function openingOf(type: ResourceType): Buffer {
  const known = openings.get(type);
  if (known !== undefined) return known;
  const opening = `{"kind":${JSON.stringify(type.kind)},"apiVersion":${JSON.stringify(apiVersionOf(type))},`;
  const made = Buffer.from(opening);
  openings.set(type, made);
  return made;
}

const brace = Buffer.from("{");

/** The bytes of a list's item: without kind and apiVersion in lists of native kinds, cut off the stored bytes and not encoded anew. */
export function itemPieces(type: ResourceType, stored: Stored): Uint8Array[] {
  if (type.custom) return [stored.bytes];
  const opening = openingOf(type);
  const bytes = Buffer.from(stored.bytes.buffer, stored.bytes.byteOffset, stored.bytes.byteLength);
  if (bytes.subarray(0, opening.length).equals(opening)) return [brace, bytes.subarray(opening.length)];
  return [encodeJson(withoutKind(stored.value))];
}

/** An object without kind and apiVersion. */
export function withoutKind(object: JsonObject): JsonObject {
  const { kind: _kind, apiVersion: _apiVersion, ...rest } = object;
  return isObject(rest) ? rest : {};
}
