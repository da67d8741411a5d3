import type { ClusterAccess } from "../../../kernel/control/index.js";
import type { Json } from "../../../kernel/kinds/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { ClusterStatus } from "../kinds.js";

type Enablements = NonNullable<ClusterStatus["apiEnablements"]>;

/** What a member serves. */
export interface Discovered {
  readonly version: string | undefined;
  readonly enablements: Enablements;
  /** No group failed to answer. */
  readonly isComplete: boolean;
}

/** Reads a member's version and kinds: a request a group. Throws when its list of groups cannot be read. */
export async function discoverKinds(member: ClusterAccess, signal: AbortSignal): Promise<Discovered> {
  const get = (path: string): Promise<Json> => member.client.json("GET", path, undefined, { signal });
  const version = await get("/version");
  const groupVersions = ["v1", ...groupVersionsIn(await get("/apis"))];
  const enablements: Enablements = [];
  let isComplete = true;
  for (const groupVersion of groupVersions) {
    try {
      const resources = resourcesIn(await get(groupVersion === "v1" ? "/api/v1" : `/apis/${groupVersion}`));
      if (resources.length > 0) enablements.push({ groupVersion, resources });
    } catch (error) {
      if (signal.aborted) throw error;
      isComplete = false;
    }
  }
  return {
    version: isObject(version) && typeof version["gitVersion"] === "string" ? version["gitVersion"] : undefined,
    enablements: enablements.sort((a, b) => (a.groupVersion < b.groupVersion ? -1 : 1)),
    isComplete,
  };
}

function groupVersionsIn(list: Json): string[] {
  const groups = isObject(list) && Array.isArray(list["groups"]) ? list["groups"] : [];
  return groups.flatMap((group) => {
    const versions = isObject(group) && Array.isArray(group["versions"]) ? group["versions"] : [];
    return versions.flatMap((version) =>
      isObject(version) && typeof version["groupVersion"] === "string" ? [version["groupVersion"]] : [],
    );
  });
}

function resourcesIn(list: Json): { name: string; kind: string }[] {
  const resources = isObject(list) && Array.isArray(list["resources"]) ? list["resources"] : [];
  return resources.flatMap((resource) => {
    if (!isObject(resource)) return [];
    const { name, kind } = resource;
    return typeof name === "string" && typeof kind === "string" && !name.includes("/") ? [{ name, kind }] : [];
  });
}
