import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { ResourceType } from "../types.js";
import { CustomType } from "./custom-type.js";
import { describedDefinition } from "./descriptions.js";
import { definitionNames } from "./native-resources.js";
import { pathsOf } from "./openapi-paths.js";
import { jsonOf } from "./schema-json.unsafe.js";

const referencePrefix = "#/components/schemas/";
const objectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const listMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
/** What requests and answers of every kind refer to. */
const shared = ["DeleteOptions", "Status", "Patch", "WatchEvent", "APIResourceList"].map(
  (name) => `io.k8s.apimachinery.pkg.apis.meta.v1.${name}`,
);

/** The OpenAPI v3 document of the resources of one group and version. */
export function documentFor(types: readonly ResourceType[], version: string): JsonObject {
  const schemas: Record<string, Json> = {};
  for (const name of shared) addNative(schemas, name);
  for (const type of types) {
    if (type instanceof CustomType) addCustom(schemas, type);
    else addNativeKind(schemas, type);
  }
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version },
    paths: pathsOf(types, "v3"),
    components: { schemas },
  };
}

function addNativeKind(schemas: Record<string, Json>, type: ResourceType): void {
  const names = definitionNames();
  const kinds = [
    `${type.group}/${type.version}/${type.kind}`,
    `${type.group}/${type.version}/${type.listKind}`,
    ...[...type.subresources.values()].map((sub) => `${sub.group}/${sub.version}/${sub.kind}`),
  ];
  for (const kind of kinds) {
    const name = names.get(kind);
    if (name !== undefined) addNative(schemas, name);
  }
}

/** Adds a definition and everything that it refers to. */
function addNative(schemas: Record<string, Json>, name: string): void {
  if (schemas[name] !== undefined) return;
  const json = describedDefinition(name);
  if (json === undefined) return;
  schemas[name] = json;
  forEachReference(json, (reference) => addNative(schemas, reference));
}

function forEachReference(value: Json, visit: (name: string) => void): void {
  if (Array.isArray(value)) for (const item of value) forEachReference(item, visit);
  else if (isObject(value))
    for (const [key, member] of Object.entries(value)) {
      if (key === "$ref" && typeof member === "string" && member.startsWith(referencePrefix))
        visit(member.slice(referencePrefix.length));
      else if (member !== undefined) forEachReference(member, visit);
    }
}

/** `com.example.v1.Widget` for group example.com. */
export function customDefinitionName(type: Pick<ResourceType, "group" | "version" | "kind">): string {
  return [...type.group.split(".").reverse(), type.version, type.kind].join(".");
}

/** The whole object's schema of a custom resource, with references that begin with `prefix`. */
export function customSchema(type: CustomType, prefix: string): JsonObject {
  const schema = jsonOf(type.definition.schema);
  const properties = isObject(schema["properties"]) ? schema["properties"] : {};
  return {
    ...schema,
    properties: {
      apiVersion: { type: "string", description: "Group and version of the schema that this object follows." },
      kind: { type: "string", description: "Kind of the object." },
      metadata: {
        allOf: [{ $ref: `${prefix}${objectMeta}` }],
        description: "Name, labels and what the server keeps of an object.",
      },
      ...Object.fromEntries(
        Object.entries(properties).filter(([name]) => !["apiVersion", "kind", "metadata"].includes(name)),
      ),
    },
    "x-kubernetes-group-version-kind": [{ group: type.group, version: type.version, kind: type.kind }],
  };
}

/** The schema of a list of custom resources. */
export function customListSchema(type: CustomType, prefix: string): JsonObject {
  return {
    type: "object",
    required: ["items"],
    description: `A list of ${type.kind}.`,
    properties: {
      apiVersion: { type: "string", description: "Group and version of the schema that this object follows." },
      items: {
        type: "array",
        items: { $ref: `${prefix}${customDefinitionName(type)}` },
        description: `The ${type.plural}.`,
      },
      kind: { type: "string", description: "Kind of the object." },
      metadata: { allOf: [{ $ref: `${prefix}${listMeta}` }], description: "What the server says of the list." },
    },
    "x-kubernetes-group-version-kind": [{ group: type.group, version: type.version, kind: type.listKind }],
  };
}

function addCustom(schemas: Record<string, Json>, type: CustomType): void {
  for (const name of [objectMeta, listMeta]) addNative(schemas, name);
  schemas[customDefinitionName(type)] = customSchema(type, referencePrefix);
  schemas[customDefinitionName({ kind: type.listKind, group: type.group, version: type.version })] = customListSchema(
    type,
    referencePrefix,
  );
  if (type.definition.scale !== undefined) addNative(schemas, "io.k8s.api.autoscaling.v1.Scale");
}
