import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import type { Schema } from "../../../kernel/schema/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { ScalePaths } from "../types.js";
import { asObject, asObjects, asString } from "./read.js";
import { schemaOf } from "./schema-json.unsafe.js";

/** A printer column of a CRD. */
export interface CustomColumn {
  readonly name: string;
  readonly type: string;
  readonly format: string;
  readonly description: string;
  readonly priority: number;
  readonly jsonPath: string;
}

/** One served version of a CustomResourceDefinition, parsed. */
export interface CustomVersion {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly listKind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly storageVersion: string;
  readonly schema: Schema;
  /** Schema of the version in which objects are stored. */
  readonly storageSchema: Schema;
  readonly status: boolean;
  readonly scale: ScalePaths | undefined;
  readonly columns: readonly CustomColumn[];
  readonly selectableFields: readonly string[];
  /** Set if the version is deprecated: the warning that every answer carries. */
  readonly deprecation: string | undefined;
}

function texts(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : [];
}

/** The served versions of a CRD, best first (v2 before v1 before v1beta1). */
export function customVersions(definition: JsonObject): CustomVersion[] {
  const spec = asObject(definition["spec"]);
  const names = asObject(spec["names"]);
  const versions = asObjects(spec["versions"]);
  const stored = asObject(versions.find((version) => version["storage"] === true));
  const storage = asString(stored["name"]);
  return versions
    .filter((version) => version["served"] === true)
    .map((version) => ({
      group: asString(spec["group"]),
      version: asString(version["name"]),
      plural: asString(names["plural"]),
      singular: asString(names["singular"]),
      kind: asString(names["kind"]),
      listKind: asString(names["listKind"]),
      namespaced: spec["scope"] === "Namespaced",
      shortNames: texts(names["shortNames"]),
      categories: texts(names["categories"]),
      storageVersion: storage,
      schema: schemaIn(version),
      storageSchema: schemaIn(stored),
      status: isObject(asObject(version["subresources"])["status"]),
      scale: scalePaths(asObject(version["subresources"])["scale"]),
      columns: asObjects(version["additionalPrinterColumns"]).map(customColumn),
      selectableFields: asObjects(version["selectableFields"]).map((field) => asString(field["jsonPath"])),
      deprecation: deprecationOf(spec, version),
    }))
    .sort((a, b) => compareVersions(a.version, b.version));
}

function scalePaths(value: Json | undefined): ScalePaths | undefined {
  if (!isObject(value)) return undefined;
  return {
    specReplicasPath: asString(value["specReplicasPath"]),
    statusReplicasPath: asString(value["statusReplicasPath"]),
    labelSelectorPath: asString(value["labelSelectorPath"]),
  };
}

function customColumn(value: JsonObject): CustomColumn {
  return {
    name: asString(value["name"]),
    type: asString(value["type"]),
    format: asString(value["format"]),
    description: asString(value["description"]),
    priority: typeof value["priority"] === "number" ? value["priority"] : 0,
    jsonPath: asString(value["jsonPath"]),
  };
}

function schemaIn(version: JsonObject): Schema {
  return schemaOf(asObject(asObject(version["schema"])["openAPIV3Schema"]));
}

function deprecationOf(spec: JsonObject, version: JsonObject): string | undefined {
  if (version["deprecated"] !== true) return undefined;
  const own = asString(version["deprecationWarning"]);
  if (own !== "") return own;
  const group = asString(spec["group"]);
  const kind = asString(asObject(spec["names"])["kind"]);
  const name = asString(version["name"]);
  const better = asObjects(spec["versions"])
    .filter((one) => one["served"] === true && one["deprecated"] !== true)
    .map((one) => asString(one["name"]))
    .sort(compareVersions)
    .find((one) => compareVersions(one, name) < 0);
  const advice = better === undefined ? "" : `; use ${group}/${better} ${kind}`;
  return `${group}/${name} ${kind} is deprecated${advice}`;
}

/** Kubernetes' order of versions, best first: GA before beta before alpha, higher numbers first, other names last by alphabet. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parseVersion(a), parseVersion(b)];
  if (left === undefined || right === undefined)
    return left === right ? a.localeCompare(b) : left === undefined ? 1 : -1;
  return right.stage - left.stage || right.major - left.major || right.minor - left.minor;
}

function parseVersion(version: string): { stage: number; major: number; minor: number } | undefined {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
  if (match === null) return undefined;
  const stage = match[2] === undefined ? 2 : match[2] === "beta" ? 1 : 0;
  return { stage, major: Number(match[1]), minor: Number(match[3] ?? 0) };
}
