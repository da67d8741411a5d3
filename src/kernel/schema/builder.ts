import { InputError } from "../errors/index.js";
import type { Json, JsonObject } from "../kinds/object.js";
import { toJson } from "./json.js";
import type { Schema } from "./types.js";

/** Whether a field must be sent (`required`), may be absent (`optional`), or is filled in by the server (`defaulted`). */
export type Presence = "required" | "optional" | "defaulted";

/** Bounds of a number; both inclusive unless said otherwise. */
export interface NumberBounds {
  readonly min?: number;
  readonly max?: number;
  readonly exclusiveMin?: boolean;
  readonly exclusiveMax?: boolean;
  readonly multipleOf?: number;
  readonly format?: string;
}

/** Lengths count characters; `pattern` is an RE2-compatible regular expression that is not anchored by itself. */
export interface StringBounds {
  readonly min?: number;
  readonly max?: number;
  readonly pattern?: string;
  /** `date-time`, `byte`, `uri`, `ipv4`, … */
  readonly format?: string;
}

/** Numbers of items or of members. */
export interface SizeBounds {
  readonly min?: number;
  readonly max?: number;
}

/** A part of a kind: its schema and, at compile time, the type of its values. Immutable; each method returns another. */
export class Field<T, P extends Presence = "required"> {
  /** Never set; carries the type. */
  declare readonly type?: T;
  readonly schema: Schema;
  readonly presence: P;

  constructor(schema: Schema, presence: P) {
    this.schema = schema;
    this.presence = presence;
  }

  /** May be absent. */
  optional(): Field<T, "optional"> {
    return new Field<T, "optional">(this.schema, "optional");
  }

  /** May be left out by whoever writes; the server puts `value` there. */
  default(value: T): Field<T, "defaulted"> {
    return new Field<T, "defaulted">({ ...this.schema, default: toJson(value) }, "defaulted");
  }

  /** What the field means, for docs, `explain` and forms. */
  describe(description: string): Field<T, P> {
    return new Field<T, P>({ ...this.schema, description }, this.presence);
  }

  /** `null` is a value. */
  nullable(): Field<T | null, P> {
    return new Field<T | null, P>({ ...this.schema, nullable: true }, this.presence);
  }

  /** Adds schema keywords that have no method of their own. */
  extend(extra: Partial<Schema>): Field<T, P> {
    return new Field<T, P>({ ...this.schema, ...extra }, this.presence);
  }

  /** A rule in CEL, kept in the CRD (`x-kubernetes-validations`). */
  rule(rule: string, message: string): Field<T, P> {
    const rules = this.schema["x-kubernetes-validations"] ?? [];
    return this.extend({ "x-kubernetes-validations": [...rules, { rule, message }] });
  }
}

/** The fields of an object, by name. */
export type Fields = Readonly<Record<string, Field<unknown, Presence>>>;

type Simplify<T> = { [K in keyof T]: T[K] };
type OptionalNames<F extends Fields> = { [K in keyof F]: F[K]["presence"] extends "optional" ? K : never }[keyof F];

/** The type of an object as it is read: fields with defaults are there. */
export type ObjectOf<F extends Fields> = Simplify<
  { [K in Exclude<keyof F, OptionalNames<F>>]: Infer<F[K]> } & { [K in OptionalNames<F>]?: Infer<F[K]> }
>;

/** The TypeScript type of a field's values. */
export type Infer<F> = F extends { readonly type?: infer T } ? Exclude<T, undefined> : never;

/** A resource inside another one. */
export type EmbeddedResource = JsonObject & { apiVersion: string; kind: string; metadata?: JsonObject };

const required = <T>(schema: Schema): Field<T> => new Field<T>(schema, "required");

function numberSchema(type: "integer" | "number", bounds: NumberBounds): Schema {
  return {
    type,
    ...(bounds.format === undefined ? {} : { format: bounds.format }),
    ...(bounds.min === undefined ? {} : { minimum: bounds.min }),
    ...(bounds.max === undefined ? {} : { maximum: bounds.max }),
    ...(bounds.exclusiveMin === true ? { exclusiveMinimum: true } : {}),
    ...(bounds.exclusiveMax === true ? { exclusiveMaximum: true } : {}),
    ...(bounds.multipleOf === undefined ? {} : { multipleOf: bounds.multipleOf }),
  };
}

function stringSchema(bounds: StringBounds): Schema {
  return {
    type: "string",
    ...(bounds.format === undefined ? {} : { format: bounds.format }),
    ...(bounds.min === undefined ? {} : { minLength: bounds.min }),
    ...(bounds.max === undefined ? {} : { maxLength: bounds.max }),
    ...(bounds.pattern === undefined ? {} : { pattern: bounds.pattern }),
  };
}

function itemBounds(bounds: SizeBounds): Schema {
  return {
    ...(bounds.min === undefined ? {} : { minItems: bounds.min }),
    ...(bounds.max === undefined ? {} : { maxItems: bounds.max }),
  };
}

function objectSchema(fields: Fields): Schema {
  const properties: Record<string, Schema> = {};
  const names: string[] = [];
  for (const [name, field] of Object.entries(fields)) {
    properties[name] = field.schema;
    if (field.presence === "required") names.push(name);
  }
  return { type: "object", properties, ...(names.length === 0 ? {} : { required: names }) };
}

const quantityPattern =
  "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$";
const intOrStringSchema: Schema = {
  anyOf: [{ type: "integer" }, { type: "string" }],
  "x-kubernetes-int-or-string": true,
};

function conditionField(): Field<ConditionValue> {
  return required({
    type: "object",
    required: ["type", "status", "lastTransitionTime", "reason", "message"],
    properties: {
      type: { type: "string", maxLength: 316, description: "What this condition is about, in CamelCase." },
      status: { type: "string", enum: ["True", "False", "Unknown"], description: "Whether it holds." },
      reason: { type: "string", maxLength: 1024, description: "One CamelCase word for machines." },
      message: { type: "string", maxLength: 32_768, description: "A sentence for people." },
      lastTransitionTime: { type: "string", format: "date-time", description: "When the status last changed." },
      observedGeneration: {
        type: "integer",
        format: "int64",
        minimum: 0,
        description: "The generation it was seen for.",
      },
    },
  });
}

/** A condition as schemas describe it (metav1.Condition). */
export interface ConditionValue {
  type: string;
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
  lastTransitionTime: string;
  observedGeneration?: number;
}

function listMap<T>(item: Field<T>, keys: readonly string[], bounds: SizeBounds = {}): Field<T[]> {
  for (const key of keys) {
    const property = item.schema.properties?.[key];
    if (property === undefined) throw new InputError(`list map key ${JSON.stringify(key)} is no property of the item`);
  }
  return required({
    type: "array",
    items: item.schema,
    ...itemBounds(bounds),
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": keys,
  });
}

/**
 * Builds schemas with their types: `s.object({ replicas: s.integer({ min: 0 }).default(1) })`. Everything it emits is
 * structural in the sense of CustomResourceDefinitions.
 */
export const s = {
  string: (bounds: StringBounds = {}): Field<string> => required(stringSchema(bounds)),
  dateTime: (): Field<string> => required({ type: "string", format: "date-time" }),
  integer: (bounds: NumberBounds = {}): Field<number> =>
    required(numberSchema("integer", { format: "int64", ...bounds })),
  number: (bounds: NumberBounds = {}): Field<number> => required(numberSchema("number", bounds)),
  boolean: (): Field<boolean> => required({ type: "boolean" }),
  enum: <const V extends string>(...values: readonly V[]): Field<V> => required({ type: "string", enum: values }),
  /** An object with known fields; unknown ones are pruned. */
  object: <F extends Fields>(fields: F): Field<ObjectOf<F>> => required(objectSchema(fields)),
  /** An object whose known fields are checked and whose other fields are kept. */
  openObject: <F extends Fields>(fields: F): Field<ObjectOf<F> & JsonObject> =>
    required({ ...objectSchema(fields), "x-kubernetes-preserve-unknown-fields": true }),
  /** A list that server-side apply replaces as a whole. */
  array: <T>(item: Field<T>, bounds: SizeBounds = {}): Field<T[]> =>
    required({ type: "array", items: item.schema, ...itemBounds(bounds), "x-kubernetes-list-type": "atomic" }),
  /** A list of unique scalars, each owned by itself. */
  set: <T extends string | number>(item: Field<T>, bounds: SizeBounds = {}): Field<T[]> =>
    required({ type: "array", items: item.schema, ...itemBounds(bounds), "x-kubernetes-list-type": "set" }),
  /** A list of objects told apart by `keys`, each owned by itself. Throws `InputError` if a key is no property of the item. */
  listMap,
  /** Free keys, values of one shape. */
  map: <T>(value: Field<T>, bounds: SizeBounds = {}): Field<Record<string, T>> =>
    required({
      type: "object",
      additionalProperties: value.schema,
      ...(bounds.min === undefined ? {} : { minProperties: bounds.min }),
      ...(bounds.max === undefined ? {} : { maxProperties: bounds.max }),
    }),
  /** `8080` or `"http"`, `3` or `"25%"`. */
  intOrString: (): Field<number | string> => required(intOrStringSchema),
  /** `500m`, `2Gi`, `3`. */
  quantity: (): Field<number | string> => required({ ...intOrStringSchema, pattern: quantityPattern }),
  /** Any JSON value. */
  any: (): Field<Json> => required({ "x-kubernetes-preserve-unknown-fields": true }),
  /** Any JSON object. */
  preserveUnknown: (): Field<JsonObject> => required({ type: "object", "x-kubernetes-preserve-unknown-fields": true }),
  /** A whole resource: apiVersion and kind are required, everything else is kept. */
  embeddedResource: (): Field<EmbeddedResource> =>
    required({ type: "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true }),
  /** metav1.Condition list, keyed by type. */
  conditions: (): Field<ConditionValue[]> => listMap(conditionField(), ["type"]),
  /** metav1.LabelSelector. */
  labelSelector: (): Field<{
    matchLabels?: Record<string, string>;
    matchExpressions?: { key: string; operator: "In" | "NotIn" | "Exists" | "DoesNotExist"; values?: string[] }[];
  }> =>
    s
      .object({
        matchLabels: s.map(s.string()).optional().describe("Labels with exactly these values."),
        matchExpressions: s
          .array(
            s.object({
              key: s.string().describe("Name of a label."),
              operator: s.enum("In", "NotIn", "Exists", "DoesNotExist").describe("How it is looked at."),
              values: s.array(s.string()).optional().describe("With In and NotIn: the values."),
            }),
          )
          .optional()
          .describe("All must hold."),
      })
      .extend({ "x-kubernetes-map-type": "atomic" }),
} as const;
