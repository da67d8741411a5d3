import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../../src/kernel/assets/index.js";
import type { Json, JsonObject } from "../../../src/kernel/kinds/object.js";
import { type Chance, labelKeyFor, numberFor, oddValues, quantityFor, textFor } from "./chance.js";
import { type Sample, widgetDefinition } from "./samples.js";

/** The part of a schema that made-up values need. */
export interface Schema {
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly Json[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly allOf?: readonly Schema[];
  readonly $ref?: string;
  readonly "x-kubernetes-int-or-string"?: boolean;
}

const file = join(packageRoot(), "assets", "kubernetes-1.34", "schemas.json");
const definitions = (JSON.parse(readFileSync(file, "utf8")) as { schemas: Record<string, Schema> }).schemas;
const prefix = "#/components/schemas/";

/** A schema with what it refers to, and the name of that. */
function resolve(schema: Schema): { schema: Schema; name: string } {
  const reference = schema.$ref ?? schema.allOf?.[0]?.$ref;
  if (reference === undefined) return { schema, name: "" };
  const name = reference.slice(prefix.length);
  return { schema: definitions[name] ?? {}, name };
}

/** The schema of a sample's kind. */
export function schemaOf(sample: Sample): Schema {
  if (sample.schema !== undefined) return sample.schema as Schema;
  if (sample.kind === "Widget") {
    const spec = widgetDefinition["spec"] as unknown as { versions: { schema: { openAPIV3Schema: Schema } }[] };
    return spec.versions[0]?.schema.openAPIV3Schema ?? {};
  }
  const [group, version] = sample.apiVersion.includes("/") ? sample.apiVersion.split("/") : ["core", sample.apiVersion];
  const area =
    group === "apiextensions.k8s.io" ? "apiextensions-apiserver.pkg.apis.apiextensions" : `api.${group?.split(".")[0]}`;
  const name = `io.k8s.${area}.${version}.${sample.kind}`;
  const schema = definitions[name];
  if (schema === undefined) throw new Error(`no schema ${name}`);
  return schema;
}

/** A value that a schema allows, or nearly. */
export function made(chance: Chance, of: Schema, field: string, depth: number): Json {
  const { schema, name } = resolve(of);
  if (name.endsWith(".Quantity")) return quantityFor(chance);
  if (name.endsWith(".IntOrString") || schema["x-kubernetes-int-or-string"] === true)
    return chance.maybe(0.5)
      ? numberFor(chance, "int32")
      : chance.pick(["http", "50%", "0%", "150%", "", "x y", "-1", "80", "100%", "a%"]);
  if (schema.enum !== undefined && schema.enum.length > 0)
    return chance.maybe(0.8) ? chance.pick(schema.enum) : chance.pick(["", "Bogus", 1]);
  switch (schema.type) {
    case "string":
      return textFor(chance, field, schema.format ?? "");
    case "integer":
      return numberFor(chance, schema.format ?? "int64");
    case "number":
      return chance.pick([0, 1, -1.5, 0.5, 100]);
    case "boolean":
      return chance.maybe(0.5);
    case "array":
      return Array.from(
        {
          length: chance.weighted([
            [1, 0],
            [6, 1],
            [3, 2],
          ]),
        },
        () => made(chance, schema.items ?? {}, field, depth + 1),
      );
    default:
      return madeObject(chance, schema, { depth, kind: name.slice(name.lastIndexOf(".") + 1) });
  }
}

/** Fields of which docs/kubernetes-differences.md says that they are treated otherwise here. */
const leftOut: Readonly<Record<string, readonly string[]>> = {
  Container: ["restartPolicy", "restartPolicyRules"],
  Lifecycle: ["stopSignal"],
  PodSpec: ["hostnameOverride"],
  EnvVarSource: ["fileKeyRef"],
  Volume: ["image"],
  VolumeProjection: ["clusterTrustBundle", "podCertificate"],
  RollingUpdateStatefulSetStrategy: ["maxUnavailable"],
  HPAScalingRules: ["tolerance"],
};

function madeObject(chance: Chance, schema: Schema, { depth, kind }: { depth: number; kind: string }): Json {
  const result = freeMembers(chance, schema, depth);
  if (schema.properties === undefined)
    return Object.keys(result).length > 0 ? result : chance.pick<Json>([{}, { a: 1 }, { a: { b: ["c"] } }]);
  const required = new Set(schema.required ?? []);
  for (const [name, property] of Object.entries(schema.properties)) {
    if (leftOut[kind]?.includes(name) === true) continue;
    const share = required.has(name) ? 0.93 : depth > 3 ? 0.08 : 0.25;
    if (chance.maybe(share) && (depth < 6 || required.has(name)))
      result[name] = made(chance, property, name, depth + 1);
    if (depth > 12) break;
  }
  return result;
}

function freeMembers(chance: Chance, { additionalProperties: values }: Schema, depth: number): JsonObject {
  const result: JsonObject = {};
  if (typeof values !== "object") return result;
  for (let count = chance.int(3); count > 0; count -= 1) {
    const key = chance.maybe(0.5) ? chance.pick(["cpu", "memory", "a", "k"]) : labelKeyFor(chance);
    result[key] = made(chance, values, "value", depth + 1);
  }
  return result;
}

/** A place in an object that a schema knows. */
interface Place {
  readonly holder: JsonObject;
  readonly field: string;
  readonly schema: Schema;
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Walks down from an object to some field: present ones are preferred, so that depths are reached. */
function place(chance: Chance, object: JsonObject, schema: Schema): Place | undefined {
  let holder = object;
  let known = resolve(schema).schema;
  let left: readonly string[] = ["apiVersion", "kind", "metadata", "status"];
  for (let depth = 0; depth < 14; depth += 1) {
    const all = Object.keys(known.properties ?? {}).filter(
      (name) => !left.includes(name) || (depth > 0 && name in holder),
    );
    const present = Object.keys(holder).filter(
      (name) => all.includes(name) || typeof known.additionalProperties === "object",
    );
    const names = present.length > 0 && chance.maybe(depth === 0 ? 0.9 : 0.6) ? present : all;
    if (names.length === 0) return undefined;
    const field = chance.pick(names);
    const below =
      known.properties?.[field] ?? (typeof known.additionalProperties === "object" ? known.additionalProperties : {});
    left = leftOutOf(below);
    const next = descend(chance, holder[field], resolve(below).schema);
    if (next === undefined || chance.maybe(depth === 0 ? 0.03 : 0.2)) return { holder, field, schema: below };
    holder = next.holder;
    known = next.schema;
  }
  return undefined;
}

/** Fields that a value, or the items of a list, shall not get. */
function leftOutOf(schema: Schema): readonly string[] {
  const { schema: known, name } = resolve(schema);
  const kind = known.items === undefined ? name : resolve(known.items).name;
  return leftOut[kind.slice(kind.lastIndexOf(".") + 1)] ?? [];
}

function descend(
  chance: Chance,
  value: Json | undefined,
  schema: Schema,
): { holder: JsonObject; schema: Schema } | undefined {
  if (isObject(value)) return { holder: value, schema };
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const item = chance.pick(value);
  return isObject(item) ? { holder: item, schema: resolve(schema.items ?? {}).schema } : undefined;
}

/** Changes an object of a sample's kind in one way, in place. */
export function mutate(chance: Chance, object: JsonObject, sample: Sample): void {
  if (chance.maybe(0.1)) {
    mutateMetadata(chance, object);
    return;
  }
  const at = place(chance, object, schemaOf(sample));
  if (at === undefined) return;
  const { holder, field, schema } = at;
  const kind = chance.weighted([
    [55, "set"],
    [14, "remove"],
    [8, "odd"],
    [6, "unknown"],
    [7, "repeat"],
    [4, "null"],
    [6, "empty"],
  ] as const);
  const value = holder[field];
  if (kind === "remove") delete holder[field];
  else if (kind === "odd") holder[field] = chance.pick(oddValues);
  else if (kind === "unknown") holder[chance.pick(["bogus", "Spec", "nam", "xyz"])] = chance.pick(oddValues);
  else if (kind === "null") holder[field] = null;
  else if (kind === "empty") holder[field] = Array.isArray(value) ? [] : isObject(value) ? {} : "";
  else if (kind === "repeat" && Array.isArray(value) && value.length > 0)
    value.push(structuredClone(chance.pick(value)));
  else if (kind === "repeat" && resolve(schema).schema.type === "array")
    holder[field] = [made(chance, resolve(schema).schema.items ?? {}, field, 4)];
  else holder[field] = made(chance, schema, field, 3);
}

/** A wrong or a rare thing in metadata. */
function mutateMetadata(chance: Chance, object: JsonObject): void {
  const metadata = isObject(object["metadata"]) ? object["metadata"] : {};
  object["metadata"] = metadata;
  const owner = { apiVersion: "v1", kind: "ConfigMap", name: "o", uid: "u" };
  const values: readonly (readonly [string, readonly Json[]])[] = [
    [
      "labels",
      [
        { a: "b" },
        { "": "x" },
        { a: "b c" },
        { "a/b/c": "d" },
        { a: 1 },
        null,
        { a: null },
        [],
        { ["a".repeat(64)]: "x" },
        { a: "x".repeat(64) },
      ],
    ],
    ["annotations", [{ a: "b" }, { "bad key": "x" }, { A: "b" }, { a: 1 }, { "example.com/a": "x y" }]],
    ["finalizers", [["example.com/f"], ["bad"], ["kubernetes"], [""], ["a/b/c"], "x"]],
    [
      "ownerReferences",
      [
        [owner],
        [{ ...owner, controller: true, blockOwnerDeletion: true }],
        [{ ...owner, uid: "" }],
        [{}],
        [owner, owner],
        [{ ...owner, apiVersion: "a/b/c" }],
        [{ ...owner, kind: "Event", apiVersion: "v1" }],
      ],
    ],
    ["generateName", ["a-", "A", "", "-", "a".repeat(70)]],
    ["namespace", ["other", "", "default"]],
    ["resourceVersion", ["1", "x", "", "0", 5]],
    ["uid", ["u", "", "00000000-0000-0000-0000-000000000000"]],
    ["generation", [5, -1, "x"]],
    ["creationTimestamp", ["2020-01-01T00:00:00Z", null, "x"]],
    ["deletionTimestamp", ["2020-01-01T00:00:00Z"]],
    ["deletionGracePeriodSeconds", [5]],
    ["selfLink", ["/x"]],
    [
      "managedFields",
      [
        [],
        [{ manager: "m", operation: "Update", apiVersion: "v1", fieldsType: "FieldsV1", fieldsV1: {} }],
        [{ manager: "m" }],
        [{ operation: "Bogus", fieldsType: "FieldsV1" }],
      ],
    ],
    ["name", ["other", "", "A", "a_b", "a.b", "-", "a".repeat(254), "a/b", 1, "a".repeat(64)]],
    ["bogus", [1, null]],
  ];
  const [field, list] = chance.pick(values);
  metadata[field] = chance.pick(list);
}
