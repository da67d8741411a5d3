import type { Json } from "../../../kernel/kinds/object.js";
import type { Schema } from "../../../kernel/schema/index.js";
import { goField } from "./zero-values.js";

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
  /** What counts for an absent field that is a key of a list map. */
  readonly keyDefault?: Json;
  /** An empty value means the same as none and is left out. */
  readonly dropsZero: boolean;
  /** Native kinds: Go's name of the field's type where it has one of its own (`v1.Protocol`); else empty. */
  readonly named: string;
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
      const mapType = schema["x-kubernetes-map-type"];
      return mapType === undefined ? target : { ...target, atomic: mapType === "atomic" };
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
          this.#field({ name, property, definition, required: required.has(name) }),
        ]),
      );
    }
  }

  #field(input: { name: string; property: Schema; definition: string; required: boolean }): FieldShape {
    const { name, property, definition, required } = input;
    const shape = this.shape(property);
    const go = this.#native ? nativeField(definition, name, shape) : { default: property.default, dropsZero: false };
    const value = go.default === undefined ? nonZero(property.default) : go.default;
    return {
      name,
      shape,
      required,
      ...(value === undefined ? {} : { default: value }),
      ...(property.default === undefined ? {} : { keyDefault: property.default }),
      dropsZero: go.dropsZero,
      named: this.#native ? goField(definition, name).named : "",
      mergeKey: property["x-kubernetes-patch-merge-key"] ?? "",
      patchStrategies: property["x-kubernetes-patch-strategy"]?.split(",") ?? [],
    };
  }
}

/** What an absent field of a native kind is written as, and whether a zero is as none. */
function nativeField(definition: string, name: string, shape: Shape): { default?: Json; dropsZero: boolean } {
  const { isPlain, isAlwaysZero, isNull } = goField(definition, name);
  const isList = shape.type === "list" || shape.type === "map";
  // Stored as protobuf, which knows no empty lists; definitions are stored as JSON, what authenticates not at all.
  const isProtobuf = !/^io\.k8s\.(apiextensions|api\.authentication)/.test(definition);
  if (isNull && (isList || shape.format === "date-time")) return { default: null, dropsZero: isList && isProtobuf };
  if (isNull && name === "apiGroup") return { default: null, dropsZero: false };
  if (!isAlwaysZero) return { dropsZero: isPlain };
  const zero = zeroes[shape.type];
  return zero === undefined ? { dropsZero: false } : { default: zero, dropsZero: false };
}

const zeroes: Readonly<Partial<Record<ShapeType, Json>>> = { string: "", integer: 0, number: 0, boolean: false };

/** Go leaves optional zeroes out: only other defaults of the schema are written. */
function nonZero(value: Json | undefined): Json | undefined {
  return value === "" || value === 0 || value === false ? undefined : value;
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
