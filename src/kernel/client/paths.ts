import type { Kind } from "../kinds/index.js";
import { localFailure } from "./failures.js";
import type { ApplyOptions, ListOptions, WatchOptions, WriteOptions } from "./types.js";

/** `/api/v1` or `/apis/<group>/<version>`. */
export function groupPath(kind: Pick<Kind, "group" | "version">): string {
  return kind.group === "" ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
}

/** Path of all objects of a kind, everywhere or in one namespace. */
export function collectionPath(kind: Kind, namespace: string | undefined): string {
  const scope = kind.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${groupPath(kind)}${scope}/${kind.plural}`;
}

/** Path of one object. Throws when a namespace is needed and missing, or the name is empty (it would name the collection). */
export function objectPath(kind: Kind, name: string, namespace: string | undefined, subresource?: string): string {
  if (name === "") throw localFailure(400, `a ${kind.kind} must be named by a name that is not empty`);
  if (kind.namespaced && (namespace === undefined || namespace === "")) {
    throw localFailure(400, `${kind.kind} "${name}": a namespace is required`);
  }
  const tail = subresource === undefined ? "" : `/${subresource}`;
  return `${collectionPath(kind, namespace)}/${encodeURIComponent(name)}${tail}`;
}

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** Appends a query; undefined members are left out. */
export function withQuery(path: string, query: Query): string {
  const plain = plainQuery(query);
  if (plain !== undefined) return plain === "" ? path : `${path}?${plain}`;
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value));
  const text = parameters.toString();
  return text === "" ? path : `${path}?${text}`;
}

const needsNoEscape = /^[\w.*-]*$/;

/** A query in which nothing must be escaped; `undefined` for others. */
function plainQuery(query: Query): string | undefined {
  let text = "";
  for (const name in query) {
    const value = query[name];
    if (value === undefined) continue;
    if (typeof value === "string" && !needsNoEscape.test(value)) return undefined;
    text += `${text === "" ? "" : "&"}${name}=${value}`;
  }
  return text;
}

/** Query of a list. */
export function listQuery(options: ListOptions): Query {
  return {
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
    limit: options.limit,
    continue: options.continue,
    resourceVersion: options.resourceVersion,
    resourceVersionMatch: options.resourceVersionMatch,
  };
}

/** Query of a watch. Bookmarks are asked for unless refused. */
export function watchQuery(options: WatchOptions): Query {
  return {
    watch: true,
    allowWatchBookmarks: options.allowWatchBookmarks ?? true,
    timeoutSeconds: options.timeoutSeconds,
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
    resourceVersion: options.resourceVersion,
  };
}

/** Query of a write. */
export function writeQuery(options: WriteOptions & Partial<ApplyOptions>): Query {
  return {
    fieldManager: options.fieldManager,
    fieldValidation: options.fieldValidation,
    dryRun: options.dryRun === true ? "All" : undefined,
    force: options.force,
  };
}
