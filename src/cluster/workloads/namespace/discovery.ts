import type { ApiClient } from "../../../kernel/client/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Kind } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asObject, asString } from "../../../kernel/schema/index.js";

/** A resource that the API server serves, in the version that it prefers. */
export interface ServedResource extends Kind {
  readonly verbs: readonly string[];
}

/** What discovery found; `errors` names group versions that could not be read. */
export interface Discovered {
  readonly resources: readonly ServedResource[];
  readonly errors: readonly string[];
}

const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/** Every resource of the cluster once, in its preferred version: by aggregated discovery, or group by group where that is not served. */
export async function discoverResources(client: ApiClient): Promise<Discovered> {
  const headers = { accept: aggregated };
  const [core, groups] = [
    await client.json("GET", "/api", undefined, { headers }),
    await client.json("GET", "/apis", undefined, { headers }),
  ];
  if (fieldOf(core, "kind") === "APIGroupDiscoveryList" && fieldOf(groups, "kind") === "APIGroupDiscoveryList")
    return readAggregated([...listOf(core, "items"), ...listOf(groups, "items")]);
  return readGroups(client, listOf(groups, "groups"));
}

function readAggregated(groups: readonly JsonObject[]): Discovered {
  const resources = new Map<string, ServedResource>();
  for (const item of groups) {
    const group = textOf(asObject(item["metadata"]), "name");
    // The first version is the preferred one; later ones only add what it does not have.
    for (const version of listOf(item, "versions")) {
      for (const resource of listOf(version, "resources")) {
        const plural = textOf(resource, "resource");
        const id = `${group}/${plural}`;
        if (resources.has(id)) continue;
        resources.set(id, {
          group,
          version: textOf(version, "version"),
          kind: textOf(asObject(resource["responseKind"]), "kind"),
          plural,
          namespaced: textOf(resource, "scope") === "Namespaced",
          verbs: stringsOf(resource["verbs"]),
        });
      }
    }
  }
  return { resources: [...resources.values()], errors: [] };
}

async function readGroups(client: ApiClient, groups: readonly JsonObject[]): Promise<Discovered> {
  const preferred = groups.map((group) => textOf(asObject(group["preferredVersion"]), "groupVersion"));
  const resources: ServedResource[] = [];
  const errors: string[] = [];
  for (const groupVersion of ["v1", ...preferred]) {
    const path = groupVersion === "v1" ? "/api/v1" : `/apis/${groupVersion}`;
    try {
      const list = await client.json("GET", path);
      const [group = "", version = ""] = groupVersion === "v1" ? ["", "v1"] : groupVersion.split("/");
      for (const resource of listOf(list, "resources")) {
        const plural = textOf(resource, "name");
        if (plural.includes("/")) continue;
        const namespaced = resource["namespaced"] === true;
        const verbs = stringsOf(resource["verbs"]);
        resources.push({ group, version, kind: textOf(resource, "kind"), plural, namespaced, verbs });
      }
    } catch (error) {
      errors.push(`${groupVersion}: ${messageOf(error)}`);
    }
  }
  return { resources, errors };
}

function fieldOf(value: Json, field: string): Json | undefined {
  return asObject(value)[field];
}

function textOf(object: JsonObject, field: string): string {
  return asString(object[field]);
}

function listOf(value: Json, field: string): JsonObject[] {
  const list = fieldOf(value, field);
  return Array.isArray(list) ? list.map(asObject) : [];
}

function stringsOf(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
