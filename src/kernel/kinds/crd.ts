import type { Schema } from "../schema/index.js";
import { toJsonObject } from "../schema/index.js";
import type { KindDefinition, PrinterColumn } from "./define.js";
import type { JsonObject } from "./object.js";

const known = new WeakMap<KindDefinition, JsonObject>();

/** The CustomResourceDefinition (apiextensions.k8s.io/v1) of a kind, ready to be applied. It is the same object each time: nobody changes it. */
export function toCrd(definition: KindDefinition): JsonObject {
  const made = known.get(definition) ?? crdOf(definition);
  known.set(definition, made);
  return made;
}

function crdOf(definition: KindDefinition): JsonObject {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${definition.plural}.${definition.group}` },
    spec: {
      group: definition.group,
      scope: definition.namespaced ? "Namespaced" : "Cluster",
      names: {
        kind: definition.kind,
        listKind: `${definition.kind}List`,
        plural: definition.plural,
        singular: definition.singular,
        ...(definition.shortNames.length === 0 ? {} : { shortNames: [...definition.shortNames] }),
        ...(definition.categories.length === 0 ? {} : { categories: [...definition.categories] }),
      },
      versions: [
        crdVersion(definition, definition.version, definition.schema),
        ...(definition.otherVersions ?? []).map(({ version, schema }) => crdVersion(definition, version, schema)),
      ],
    },
  };
}

function crdVersion(definition: KindDefinition, version: string, schema: Schema): JsonObject {
  const { properties, ...root } = schema;
  return {
    name: version,
    served: true,
    storage: version === definition.version,
    schema: {
      openAPIV3Schema: toJsonObject({
        ...root,
        properties: {
          apiVersion: { type: "string" },
          kind: { type: "string" },
          metadata: { type: "object" },
          ...properties,
        },
      }),
    },
    ...subresources(definition),
    ...(definition.printerColumns.length === 0
      ? {}
      : { additionalPrinterColumns: definition.printerColumns.map(column) }),
  };
}

function subresources(definition: KindDefinition): JsonObject {
  if (!definition.statusSubresource && definition.scale === undefined) return {};
  return {
    subresources: {
      ...(definition.statusSubresource ? { status: {} } : {}),
      ...(definition.scale === undefined ? {} : { scale: toJsonObject(definition.scale) }),
    },
  };
}

function column(printerColumn: PrinterColumn): JsonObject {
  const { name, type, jsonPath, description, priority } = printerColumn;
  return {
    name,
    type,
    jsonPath,
    ...(description === undefined ? {} : { description }),
    ...(priority === undefined ? {} : { priority }),
  };
}
