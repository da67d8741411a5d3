import type { Json } from "../../../kernel/kinds/object.js";
import type { Schema } from "../../../kernel/schema/index.js";
import { isNullList, isNullTime, keepsZero } from "./zero-values.js";

/** What a value of a schema is, resolved: references followed, wrappers taken off. Decoding, merging and printing walk these. */
export interface Shape {
  readonly type: ShapeType;
  /** Name of the Go struct upstream, for error messages; empty for anything else. */
  readonly name: string;
  readonly format: string;
  /** Fields by name: objects. */
  readonly fields: ReadonlyMap<string, FieldShape>;
  /** Shape of the values of free keys: objects and maps. */
  readonly values?: Shape;
  readonly items?: Shape;
  readonly listType: "atomic" | "set" | "map";
  readonly listKeys: readonly string[];
  /** Objects and maps that server-side apply replaces as a whole. */
  readonly atomic: boolean;
  /** Unknown fields stay. */
  readonly open: boolean;
  readonly embedded: boolean;
  readonly nullable: boolean;
  readonly enum?: readonly Json[];
}

/** `map` has free keys only; `any` is any JSON value. */
export type ShapeType =
  | "object"
  | "map"
  | "list"
  | "string"
  | "integer"
  | "number"
  | "boolean"
  | "quantity"
  | "intOrString"
  | "any";

/** A field of an object. */
export interface FieldShape {
  readonly name: string;
  readonly shape: Shape;
  readonly required: boolean;
  /** Native kinds: what an absent field is written as (fields that Go always writes). CRDs: the default, used for the keys of list maps. */
  readonly default?: Json;
  /** An empty value means the same as none and is left out. */
  readonly dropsZero: boolean;
  /** Strategic merge patch. */
  readonly mergeKey: string;
  readonly patchStrategies: readonly string[];
}

type MutableShape = { -readonly [K in keyof Shape]: Shape[K] };

const noFields: ReadonlyMap<string, FieldShape> = new Map();

function emptyShape(type: ShapeType): MutableShape {
  return {
    type,
    name: "",
    format: "",
    fields: noFields,
    listType: "atomic",
    listKeys: [],
    atomic: false,
    open: false,
    embedded: false,
    nullable: false,
  };
}

/** Any JSON value; server-side apply owns it as one. */
export const anyShape: Shape = emptyShape("any");

const referencePrefix = "#/components/schemas/";

/** Follows references of one document and gives each definition one shape, so that recursive kinds end. */
export class ShapeBuilder {
  readonly #definitions: Readonly<Record<string, Schema>>;
  readonly #native: boolean;
  readonly #known = new Map<string, Shape>();

  /** `native`: Go's rules for empty values hold (zero values vanish, structs are always written). */
  constructor(definitions: Readonly<Record<string, Schema>>, options: { readonly native: boolean }) {
    this.#definitions = definitions;
    this.#native = options.native;
  }

  /** Shape of a named definition; `anyShape` if there is none. */
  definition(name: string): Shape {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const schema = this.#definitions[name];
    if (schema === undefined) return anyShape;
    const shape = emptyShape("any");
    this.#known.set(name, shape);
    this.#fill(shape, schema, name);
    return shape;
  }

  /** Shape of a schema that may refer to definitions. */
  shape(schema: Schema): Shape {
    const reference = schema.$ref ?? (schema.allOf?.length === 1 ? schema.allOf[0]?.$ref : undefined);
    if (reference?.startsWith(referencePrefix)) {
      const target = this.definition(reference.slice(referencePrefix.length));
      return schema["x-kubernetes-map-type"] === "atomic" ? { ...target, atomic: true } : target;
    }
    const shape = emptyShape("any");
    this.#fill(shape, schema, "");
    return shape;
  }

  #fill(shape: MutableShape, schema: Schema, definition: string): void {
    shape.type = typeOf(schema, definition);
    shape.name = definition.slice(definition.lastIndexOf(".") + 1);
    shape.format = schema.format ?? "";
    shape.nullable = schema.nullable === true;
    shape.open = schema["x-kubernetes-preserve-unknown-fields"] === true || schema.additionalProperties === true;
    shape.embedded = schema["x-kubernetes-embedded-resource"] === true;
    shape.atomic = schema["x-kubernetes-map-type"] === "atomic";
    if (schema.enum !== undefined) shape.enum = schema.enum;
    if (typeof schema.additionalProperties === "object") shape.values = this.shape(schema.additionalProperties);
    if (schema.items !== undefined) shape.items = this.shape(schema.items);
    shape.listType = schema["x-kubernetes-list-type"] ?? "atomic";
    shape.listKeys = schema["x-kubernetes-list-map-keys"] ?? [];
    if (schema.properties !== undefined) {
      const required = new Set(schema.required ?? []);
      shape.fields = new Map(
        Object.entries(schema.properties).map(([name, property]) => [
          name,
          this.#field({ name, property, owner: shape.name, required: required.has(name) }),
        ]),
      );
    }
  }

  #field(input: { name: string; property: Schema; owner: string; required: boolean }): FieldShape {
    const { name, property, owner, required } = input;
    const shape = this.shape(property);
    return {
      name,
      shape,
      required,
      ...defaultOf(property, this.#native && (isNullTime(owner, name) || isNullList(owner, name))),
      dropsZero: this.#native && dropsZero({ ...input, type: shape.type }),
      mergeKey: property["x-kubernetes-patch-merge-key"] ?? "",
      patchStrategies: property["x-kubernetes-patch-strategy"]?.split(",") ?? [],
    };
  }
}

/** Whether a zero or empty value of a native field is as none. */
function dropsZero(field: {
  name: string;
  property: Schema;
  owner: string;
  required: boolean;
  type: ShapeType;
}): boolean {
  const { name, property, owner, required, type } = field;
  if (isNullList(owner, name)) return true;
  return !required && property.default === undefined && !keepsZero(owner, name, type);
}

function defaultOf(property: Schema, isNull: boolean): { default?: Json } {
  if (isNull) return { default: null };
  return property.default === undefined ? {} : { default: property.default };
}

function typeOf(schema: Schema, definition: string): ShapeType {
  if (definition.endsWith(".Quantity")) return "quantity";
  if (definition.endsWith(".IntOrString") || schema["x-kubernetes-int-or-string"] === true) return "intOrString";
  if (definition.endsWith(".FieldsV1") || definition.endsWith(".RawExtension")) return "any";
  switch (schema.type) {
    case "object":
      if (schema.properties === undefined && typeof schema.additionalProperties === "object") return "map";
      return "object";
    case "array":
      return "list";
    case undefined:
      return schema.properties === undefined ? "any" : "object";
    default:
      return schema.type;
  }
}
