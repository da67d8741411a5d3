import type { StatusCause } from "../../../kernel/errors/index.js";
import { Faults, subdomainFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { apiVersionOf } from "../../../kernel/kinds/object.js";
import {
  applyDefaults,
  cloneObject,
  dropNulls,
  equalJson,
  hasDefaults,
  isComposite,
  isObject,
  JsonPath,
  prune,
  type Schema,
  showJson,
  toJsonObject,
  validateSchema,
} from "../../../kernel/schema/index.js";
import { type RuleSet, ruleSet } from "../cel/index.js";
import { createMerge } from "../merge/index.js";
import type {
  Decoded,
  MergeSchema,
  ResourceType,
  ScalePaths,
  SubresourceType,
  TableColumn,
  Verb,
  WriteContext,
} from "../types.js";
import { ageOf } from "./ages.js";
import type { Convert } from "./conversion.js";
import { checkCoordinates, unreadableMetadata } from "./custom-coordinates.js";
import type { CustomColumn, CustomVersion } from "./custom-definition.js";
import { decodeNative } from "./decode.js";
import { isFinalizerName, validateMetadata, validateMetadataUpdate } from "./metadata.js";
import { metadataSchema, objectMetaShape } from "./object-meta.js";
import { ratchet } from "./ratchet.js";
import { asList, asObject, asString } from "./read.js";
import { scaleFaults } from "./scale-faults.js";
import type { FieldShape, Shape } from "./shape.js";
import { ShapeBuilder } from "./shape.js";

const customVerbs: readonly Verb[] = [
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "create",
  "update",
  "watch",
];

/** A resource of a CustomResourceDefinition in one version. */
export class CustomType implements ResourceType {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly listKind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs = customVerbs;
  readonly subresources: ReadonlyMap<string, SubresourceType>;
  readonly storageVersion: string;
  readonly custom = true;
  readonly needsVersion = true;
  readonly selectableFieldNames: readonly string[];
  readonly columns: readonly TableColumn[];
  readonly merge: MergeSchema;
  readonly scale?: ScalePaths;
  readonly deprecation?: string;
  readonly definition: CustomVersion;
  readonly #convert: Convert | undefined;
  readonly #rules: RuleSet | undefined;
  readonly #selectable: readonly { name: string; path: JsonPath }[];
  /** A state may have parts of the one before it: besides the status nothing is filled in later, in place. */
  readonly #mayShare: boolean;
  /** The part of the schema by which a write of the status is judged. */
  readonly #statusSchema: Schema;
  readonly #cells: readonly ((object: JsonObject, now: number) => string | number | boolean | null)[];

  /** `convert`: between this version and the stored one; absent: they differ in `apiVersion` alone. */
  constructor(definition: CustomVersion, convert?: Convert) {
    this.definition = definition;
    this.#convert = convert;
    this.group = definition.group;
    this.version = definition.version;
    this.plural = definition.plural;
    this.singular = definition.singular;
    this.kind = definition.kind;
    this.listKind = definition.listKind;
    this.namespaced = definition.namespaced;
    this.shortNames = definition.shortNames;
    this.categories = definition.categories;
    this.storageVersion = definition.storageVersion;
    if (definition.scale !== undefined) this.scale = definition.scale;
    if (definition.deprecation !== undefined) this.deprecation = definition.deprecation;
    this.#mayShare = !hasDefaults({ ...definition.schema, properties: withoutStatus(definition.schema) });
    this.#statusSchema = statusPartOf(definition.schema);
    this.#rules = ruleSet(toJsonObject(definition.schema));
    this.subresources = subresourcesOf(definition);
    this.#selectable = definition.selectableFields.flatMap((text) => {
      const path = JsonPath.parse(text);
      return path === undefined ? [] : [{ name: text.replace(/^\./, ""), path }];
    });
    this.selectableFieldNames = [
      "metadata.name",
      ...(definition.namespaced ? ["metadata.namespace"] : []),
      ...this.#selectable.map((field) => field.name),
    ];
    const columns = definition.columns.length === 0 ? [defaultAge] : definition.columns;
    this.columns = [
      nameColumn,
      ...columns.map(({ name, type, format, description, priority }) => ({
        name,
        type,
        format,
        description,
        priority,
      })),
    ];
    this.#cells = columns.map(cellReader);
    let shape: Shape | undefined;
    this.merge = createMerge({
      // Most kinds of a cluster are never written there.
      get shape() {
        shape ??= customShape(definition);
        return shape;
      },
      group: this.group,
      version: this.version,
      kind: this.kind,
      supportsStrategic: false,
      isConvertible: true,
      hasStatus: definition.status,
      normalise: (object) => this.decode(object).object,
    });
  }

  decode(raw: JsonObject): Decoded {
    checkCoordinates(raw, this);
    const { apiVersion: _, kind: __, metadata, ...body } = raw;
    if (metadata !== undefined && metadata !== null && !isObject(metadata)) throw unreadableMetadata(metadata, this);
    const unknownFields = prune(this.definition.schema, body, "", { metadata: metadataSchema() }).sort();
    dropNulls(this.definition.schema, body);
    const decodedMeta = decodeNative(objectMetaShape(), asObject(metadata), this);
    return {
      object: { apiVersion: apiVersionOf(this), kind: this.kind, metadata: decodedMeta.object, ...body },
      unknownFields: [...decodedMeta.unknownFields.map((field) => `metadata.${field}`), ...unknownFields],
    };
  }

  applyDefaults(object: JsonObject): void {
    applyDefaults(this.definition.schema, object);
  }

  leftAloneBy(subresource: string): readonly string[] {
    return subresource === "status" ? specAlone : [];
  }

  prepareForCreate(object: JsonObject): void {
    if (this.definition.status) delete object["status"];
    asObject(object["metadata"])["generation"] = 1;
  }

  prepareForUpdate(object: JsonObject, old: JsonObject, context: WriteContext): void {
    if (context.subresource === "status") statusOnly(object, this.#mayShare ? old : cloneObject(old));
    else if (this.definition.status) {
      if (old["status"] === undefined) delete object["status"];
      else object["status"] = cloneField(old, "status");
    }
    const before = asObject(old["metadata"])["generation"];
    const generation = typeof before === "number" ? before : 0;
    const isSame = context.subresource === "status" || this.#sameBody(object, old);
    asObject(object["metadata"])["generation"] = isSame ? generation : generation + 1;
  }

  #sameBody(object: JsonObject, old: JsonObject): boolean {
    for (const field of new Set([...Object.keys(object), ...Object.keys(old)])) {
      if (field === "metadata" || field === "apiVersion" || (field === "status" && this.definition.status)) continue;
      if (!equalJson(object[field], old[field])) return false;
    }
    return true;
  }

  validateCreate(object: JsonObject, context?: WriteContext): StatusCause[] {
    const faults = new Faults();
    validateMetadata(object, subdomainFaults, faults);
    const bySchema = rooted(validateSchema(this.definition.schema, body(object)));
    const byScale = scaleFaults(this.definition.scale, object, "");
    const causes = this.#withRules([...faults.causes, ...bySchema, ...byScale], object);
    if (causes.length === 0) warnOfFinalizers(object, undefined, context);
    return causes;
  }

  validateUpdate(object: JsonObject, old: JsonObject, context?: WriteContext): StatusCause[] {
    const faults = new Faults();
    validateMetadataUpdate(object, old, faults);
    validateMetadata(object, subdomainFaults, faults);
    const isStatus = context?.subresource === "status";
    const schema = isStatus ? this.#statusSchema : this.definition.schema;
    const found = rooted(ratchet(validateSchema(schema, body(object)), object, old));
    const bySchema = isStatus ? ofStatus(found) : found;
    const byScale = scaleFaults(this.definition.scale, object, context?.subresource ?? "");
    const causes = this.#withRules([...faults.causes, ...bySchema, ...byScale], object, old);
    if (causes.length === 0 && context?.subresource === "") warnOfFinalizers(object, old, context);
    return causes;
  }

  /** Rules are run on what has the right types and sizes. */
  #withRules(causes: StatusCause[], object: JsonObject, old?: JsonObject): StatusCause[] {
    if (this.#rules === undefined) return causes;
    if (causes.some(({ reason }) => blocking.has(reason))) return [...causes, rulesNotChecked];
    return [...causes, ...this.#rules.validate(object, old)];
  }

  /** What this version does not know is pruned. */
  fromStorage(object: JsonObject): JsonObject | Promise<JsonObject> {
    const apiVersion = apiVersionOf(this);
    if (object["apiVersion"] === apiVersion) return object;
    if (this.#convert !== undefined)
      return this.#convert(object, apiVersion).then((converted) => this.decode(cloneObject(converted)).object);
    return this.decode({ ...cloneObject(object), apiVersion }).object;
  }

  /** What the stored version does not know is pruned, what it defaults is filled in, so that its readers find it. */
  toStorage(object: JsonObject): JsonObject | Promise<JsonObject> {
    const apiVersion = `${this.group}/${this.storageVersion}`;
    if (object["apiVersion"] === apiVersion) return object;
    if (this.#convert !== undefined)
      return this.#convert(object, apiVersion).then((converted) => this.#asStored(converted, apiVersion));
    return this.#asStored(object, apiVersion);
  }

  #asStored(object: JsonObject, apiVersion: string): JsonObject {
    const { apiVersion: _, kind: __, metadata, ...body } = cloneObject(object);
    prune(this.definition.storageSchema, body, "", { metadata: metadataSchema() });
    const converted: JsonObject = {
      apiVersion,
      kind: this.kind,
      ...(metadata === undefined ? {} : { metadata }),
      ...body,
    };
    applyDefaults(this.definition.storageSchema, converted);
    return converted;
  }

  selectableFields(object: JsonObject): Readonly<Record<string, string>> {
    const metadata = asObject(object["metadata"]);
    const fields: Record<string, string> = { "metadata.name": asString(metadata["name"]) };
    if (this.namespaced) fields["metadata.namespace"] = asString(metadata["namespace"]);
    for (const { name, path } of this.#selectable) {
      const [value] = path.read(object);
      fields[name] = value === undefined || value === null ? "" : showJson(value);
    }
    return fields;
  }

  cells(object: JsonObject, now: number): (string | number | boolean | null)[] {
    return [asString(asObject(object["metadata"])["name"]), ...this.#cells.map((cell) => cell(object, now))];
  }
}

function rooted(causes: readonly StatusCause[]): StatusCause[] {
  return causes.map((cause) => (isComposite(cause) || cause.field === "" ? { ...cause, field: "<nil>" } : cause));
}

/** Upstream refuses such finalizers on its own kinds alone. */
function warnOfFinalizers(object: JsonObject, old: JsonObject | undefined, context: WriteContext | undefined): void {
  const namesIn = (from: JsonObject | undefined): string[] =>
    asList(asObject(from?.["metadata"])["finalizers"]).map(asString);
  const before = new Set(namesIn(old));
  for (const name of [...new Set(namesIn(object))].filter((one) => !before.has(one)).sort()) {
    if (isFinalizerName(name)) continue;
    const path = name.includes(".") ? " including a path (/)" : "";
    context?.warn?.(
      `metadata.finalizers: ${JSON.stringify(name)}: prefer a domain-qualified finalizer name${path} to avoid accidental conflicts with other finalizer writers`,
    );
  }
}

/** A write of the status is looked at as if there were nothing else, and messages name what they are about from there on. */
function ofStatus(causes: readonly StatusCause[]): StatusCause[] {
  return causes
    .filter(({ field }) => /^status($|[.[])/.test(field))
    .map((cause) => ({ ...cause, message: cause.message.replace(/(?<=^|: )status\.?(?=\S* in body )/, "") }));
}

const rulesNotChecked: StatusCause = {
  reason: "FieldValueInvalid",
  field: "<nil>",
  message:
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
};

const blocking = new Set([
  "FieldValueRequired",
  "FieldValueTypeInvalid",
  "FieldValueTooLong",
  "FieldValueTooMany",
  "FieldValueNotSupported",
]);

function body(object: JsonObject): JsonObject {
  const { apiVersion: _, kind: __, metadata: ___, ...rest } = object;
  return rest;
}

function cloneField(object: JsonObject, field: string): Json | undefined {
  return cloneObject({ [field]: object[field] })[field];
}

const specAlone = ["spec"];

function withoutStatus({ properties = {} }: Schema): Record<string, Schema> {
  const { status: _status, ...rest } = properties;
  return rest;
}

/** Of a schema that says something of objects as a whole everything counts. */
function statusPartOf(schema: Schema): Schema {
  const { properties, allOf, anyOf, oneOf, not } = schema;
  const status = properties?.["status"];
  if (status === undefined || [allOf, anyOf, oneOf, not].some((part) => part !== undefined)) return schema;
  return { type: "object", properties: { status } };
}

/** A write to the status subresource: nothing else changes but ownership. The object gets the parts of `old`. */
function statusOnly(object: JsonObject, old: JsonObject): void {
  const status = object["status"];
  const { resourceVersion, managedFields } = asObject(object["metadata"]);
  for (const field of Object.keys(object)) delete object[field];
  const metadata = { ...asObject(old["metadata"]) };
  Object.assign(object, old, { metadata });
  for (const [field, value] of Object.entries({ resourceVersion, managedFields }))
    if (value === undefined) delete metadata[field];
    else metadata[field] = value;
  if (status === undefined) delete object["status"];
  else object["status"] = status;
}

const nameColumn: TableColumn = {
  name: "Name",
  type: "string",
  format: "name",
  description: "Name of the object, unique among its kind in the namespace.",
  priority: 0,
};

const defaultAge: CustomColumn = {
  name: "Age",
  type: "date",
  format: "",
  description: "Time since the object was created.",
  priority: 0,
  jsonPath: ".metadata.creationTimestamp",
};

function cellReader(column: CustomColumn): (object: JsonObject, now: number) => string | number | boolean | null {
  const path = JsonPath.parse(column.jsonPath);
  return (object, now) => {
    // Of several the first, as upstream.
    const [value] = path?.read(object) ?? [];
    if (value === undefined || value === null) return null;
    return column.type === "date" ? dateCell(value, now) : typedCell(column.type, value);
  };
}

function dateCell(value: Json, now: number): string {
  return typeof value === "string" && !Number.isNaN(Date.parse(value)) ? ageOf(value, now) : "<invalid>";
}

function typedCell(type: string, value: Json): string | number | boolean | null {
  switch (type) {
    case "integer":
      return typeof value === "number" ? Math.trunc(value) : null;
    case "number":
      return typeof value === "number" ? value : null;
    case "boolean":
      return typeof value === "boolean" ? value : null;
    default:
      return showJson(value);
  }
}

function subresourcesOf(definition: CustomVersion): ReadonlyMap<string, SubresourceType> {
  const { group, version, kind } = definition;
  const verbs = ["get", "patch", "update"];
  const found = new Map<string, SubresourceType>();
  if (definition.status) found.set("status", { name: "status", kind, group, version, verbs });
  if (definition.scale !== undefined)
    found.set("scale", { name: "scale", kind: "Scale", group: "autoscaling", version: "v1", verbs });
  return found;
}

function customShape(definition: CustomVersion): Shape {
  const root = new ShapeBuilder({}, { native: false }).shape({ ...definition.schema, type: "object" });
  const text: Shape = new ShapeBuilder({}, { native: false }).shape({ type: "string" });
  const field = (name: string, shape: Shape): [string, FieldShape] => [
    name,
    { name, shape, required: false, dropsZero: false, named: "", mergeKey: "", patchStrategies: [] },
  ];
  return {
    ...root,
    fields: new Map([
      ...root.fields,
      field("apiVersion", text),
      field("kind", text),
      field("metadata", objectMetaShape()),
    ]),
  };
}
