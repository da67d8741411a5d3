import type { ServedResource } from "./discovery.js";

/** The API path of a resource's collection, or of one object. */
export function resourcePath(resource: ServedResource, namespace: string | undefined, name?: string): string {
  const root = resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope = resource.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${scope}/${resource.plural}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}

/** `deployment.apps/web`, as `-o name` prints it. */
export function resourceName(resource: ServedResource, name: string): string {
  return `${resource.singular || resource.plural}${resource.group === "" ? "" : `.${resource.group}`}/${name}`;
}
