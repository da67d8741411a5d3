import type { Json } from "../../../kernel/kinds/object.js";
import { parseApiVersion } from "../../../kernel/kinds/object.js";
import { behaviours } from "../native/index.js";
import type { SubresourceType, Verb } from "../types.js";
import { nativeAssets } from "./native-assets.js";
import type { NativeResource } from "./native-type.js";
import { NativeType } from "./native-type.js";
import { asObject, asObjects, asString } from "./read.js";
import { ShapeBuilder } from "./shape.js";

const verbs: readonly Verb[] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

let types: readonly NativeType[] | undefined;

/** Every native resource that discovery lists. Constant, shared by all API servers of the process. */
export function nativeTypes(): readonly NativeType[] {
  types ??= readTypes();
  return types;
}

function readTypes(): readonly NativeType[] {
  const { discovery, schemas } = nativeAssets();
  const builder = new ShapeBuilder(schemas, { native: true });
  const definitions = definitionNames();
  const lists: [string, Json | undefined][] = [
    ["v1", discovery["api/v1"]],
    ...Object.entries(asObject(discovery["resources"])),
  ];
  const found: NativeType[] = [];
  for (const [apiVersion, list] of lists)
    for (const resource of readResources(apiVersion, list)) {
      const definition = definitions.get(`${resource.group}/${resource.version}/${resource.kind}`);
      if (definition === undefined) continue;
      found.push(
        new NativeType(
          resource,
          builder.definition(definition),
          behaviours[`${resource.group}/${resource.kind}`] ?? {},
        ),
      );
    }
  return found;
}

/** Versions in which upstream still takes a body that it no longer serves. */
const alsoTaken: Readonly<Record<string, readonly string[]>> = { "policy/Eviction": ["policy/v1beta1"] };

/** Kinds of former versions that upstream can still read, though it refuses them then. */
const formerVersions: Readonly<Record<string, readonly string[]>> = {
  apps: ["v1beta1", "v1beta2"],
  autoscaling: ["v2beta1", "v2beta2"],
  batch: ["v1beta1"],
  policy: ["v1beta1"],
};

function isKnown(group: string, version: string, kind: string): boolean {
  const known = definitionNames();
  if (known.has(`${group}/${version}/${kind}`)) return true;
  return formerVersions[group]?.includes(version) === true && known.has(`${group}/v1/${kind}`);
}

const bodies = new Map<string, NativeType>();

/** The type of bodies that subresources take and no resource is of: Scale, Eviction, Binding, TokenRequest. `isOfCustom`: the resources are definitions'. */
export function bodyType(group: string, version: string, kind: string, isOfCustom = false): NativeType {
  const definition = `${group}/${version}/${kind}`;
  const key = `${isOfCustom ? "custom" : ""} ${definition}`;
  const known = bodies.get(key);
  if (known !== undefined) return known;
  const builder = new ShapeBuilder(nativeAssets().schemas, { native: true });
  const type = new NativeType(
    {
      group,
      version,
      kind,
      plural: kind,
      singular: "",
      namespaced: true,
      shortNames: [],
      categories: [],
      verbs: [],
      subresources: new Map(),
      storageVersion: version,
      alsoTaken: alsoTaken[`${group}/${kind}`] ?? [],
      isKnown,
      isOfCustom,
    },
    builder.definition(definitionNames().get(definition) ?? ""),
    behaviours[`${isOfCustom ? "custom " : ""}${group}/${kind}`] ?? {},
  );
  bodies.set(key, type);
  return type;
}

let names: ReadonlyMap<string, string> | undefined;

/** Definition names by `group/version/Kind`. */
export function definitionNames(): ReadonlyMap<string, string> {
  if (names !== undefined) return names;
  const found = new Map<string, string>();
  for (const [name, schema] of Object.entries(nativeAssets().schemas))
    for (const gvk of schema["x-kubernetes-group-version-kind"] ?? [])
      found.set(`${gvk.group}/${gvk.version}/${gvk.kind}`, name);
  names = found;
  return found;
}

/** Versions in which resources with several served versions are kept. */
const storageVersions: Readonly<Record<string, string>> = { "autoscaling/horizontalpodautoscalers": "v2" };

/** Resources that are another group's too: one object, seen from both. */
const storageGroups: Readonly<Record<string, string>> = { "events.k8s.io/events": "" };

function readResources(apiVersion: string, list: Json | undefined): NativeResource[] {
  const { group, version } = parseApiVersion(apiVersion);
  const entries = asObjects(asObject(list)["resources"]);
  return entries
    .filter((entry) => !asString(entry["name"]).includes("/"))
    .map((entry) => {
      const plural = asString(entry["name"]);
      const storageGroup = storageGroups[`${group}/${plural}`];
      return {
        ...(storageGroup === undefined ? {} : { storageGroup }),
        group,
        version,
        plural,
        singular: asString(entry["singularName"]),
        kind: asString(entry["kind"]),
        namespaced: entry["namespaced"] === true,
        shortNames: texts(entry["shortNames"]),
        categories: texts(entry["categories"]),
        verbs: texts(entry["verbs"]).flatMap((name) => verbs.filter((verb) => verb === name)),
        subresources: new Map(
          entries
            .filter((other) => asString(other["name"]).startsWith(`${plural}/`))
            .map((other): [string, SubresourceType] => {
              const name = asString(other["name"]).slice(plural.length + 1);
              const own = asString(other["group"]) !== "" || other["version"] !== undefined;
              return [
                name,
                {
                  name,
                  kind: asString(other["kind"]),
                  group: own ? asString(other["group"]) : group,
                  version: own ? asString(other["version"]) : version,
                  verbs: texts(other["verbs"]),
                },
              ];
            }),
        ),
        storageVersion: storageVersions[`${group}/${plural}`] ?? version,
        isKnown,
      };
    });
}

function texts(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : [];
}
