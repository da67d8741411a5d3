import type { ApiClient } from "../../kernel/client/types.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { asObjects, didYouMean } from "../../kernel/schema/index.js";
import { UnknownTypeError } from "../errors.js";
import { parseJsonObject } from "../manifest/json.js";

/** One resource that a cluster serves, in its preferred version. */
export interface ServedResource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  /** What can be done with it; absent: not told. */
  readonly verbs?: readonly string[];
}

/** Everything a cluster serves, by aggregated discovery (KEP-3352). */
export async function discover(client: ApiClient): Promise<ServedResource[]> {
  const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
  const resources: ServedResource[] = [];
  for (const path of ["/api", "/apis"]) {
    const list = parseJsonObject(await client.json("GET", path, undefined, { headers: { accept } }));
    for (const group of asObjects(list?.["items"])) {
      resources.push(...resourcesOf(group));
    }
  }
  return resources;
}

function resourcesOf(group: JsonObject): ServedResource[] {
  const name = text(parseJsonObject(group["metadata"])?.["name"]);
  const seen = new Set<string>();
  const resources: ServedResource[] = [];
  for (const version of asObjects(group["versions"])) {
    for (const resource of asObjects(version["resources"])) {
      const plural = text(resource["resource"]);
      if (!seen.has(plural)) {
        seen.add(plural);
        resources.push({
          group: name,
          version: text(version["version"]),
          kind: text(parseJsonObject(resource["responseKind"])?.["kind"]),
          plural,
          singular: text(resource["singularResource"]),
          shortNames: texts(resource["shortNames"]),
          categories: texts(resource["categories"]),
          namespaced: resource["scope"] === "Namespaced",
          verbs: texts(resource["verbs"]),
        });
      }
    }
  }
  return resources;
}

/**
 * The resources that a word of the command line names: plural, singular, short name, kind, `plural.group` or a category; comma-separated.
 * Throws `UnknownTypeError` with a suggestion.
 */
export function resolveResources(words: string, served: readonly ServedResource[]): ServedResource[] {
  return words.split(",").flatMap((word) => resolveOne(word, served));
}

function resolveOne(word: string, served: readonly ServedResource[]): ServedResource[] {
  const wanted = word.toLowerCase();
  const dot = wanted.indexOf(".");
  const [name, group] = dot < 0 ? [wanted, undefined] : [wanted.slice(0, dot), wanted.slice(dot + 1)];
  const match = served.find(
    (resource) =>
      (group === undefined || resource.group === group || `${resource.version}.${resource.group}` === group) &&
      [resource.plural, resource.singular, resource.kind.toLowerCase(), ...resource.shortNames].includes(name),
  );
  if (match !== undefined) {
    return [match];
  }
  const category = served.filter((resource) => resource.categories.includes(wanted));
  if (category.length > 0) {
    return category;
  }
  const near = didYouMean(
    word,
    served.flatMap((resource) => [resource.plural, resource.singular, resource.kind, ...resource.shortNames]),
  );
  const hint =
    near === undefined
      ? "; hub and members serve different types: `--context` chooses the cluster"
      : `; did you mean ${JSON.stringify(near)}?`;
  throw new UnknownTypeError(`this cluster has no resource type ${JSON.stringify(word)}${hint}`);
}

function text(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

function texts(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
