import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { apiVersionOf } from "../../../kernel/kinds/object.js";
import type { ResourceType } from "../types.js";
import { CustomType } from "./custom-type.js";
import { definitionNames } from "./native-resources.js";
import { customDefinitionName } from "./openapi-document.js";

/** `v3` has schemas under media types, `v2` (Swagger) has them under the answer. */
export type Dialect = "v2" | "v3";

/** One operation of a path. */
interface Operation {
  readonly type: ResourceType;
  readonly method: "get" | "post" | "put" | "patch" | "delete";
  /** `list`, `post`, `deletecollection`, … */
  readonly action: string;
  /** Definition of what comes back. */
  readonly answer: string;
  readonly dialect: Dialect;
  readonly scoped: boolean;
  /** Ends the operation's name: `Status`, say. */
  readonly suffix: string;
}

/** `components/schemas` or `definitions`. */
export function referenceTo(definition: string, dialect: Dialect): JsonObject {
  return { $ref: `${dialect === "v3" ? "#/components/schemas/" : "#/definitions/"}${definition}` };
}

/** Paths with their operations: what clients look up by group, version and kind. */
export function pathsOf(types: readonly ResourceType[], dialect: Dialect): JsonObject {
  const paths: Record<string, Json> = {};
  for (const type of types) addPaths(paths, type, dialect);
  return paths;
}

function addPaths(paths: Record<string, Json>, type: ResourceType, dialect: Dialect): void {
  const root = type.group === "" ? `/api/${type.version}` : `/apis/${apiVersionOf(type)}`;
  const scope = type.namespaced ? `${root}/namespaces/{namespace}` : root;
  const verbs = new Set<string>(type.verbs);
  const base = { type, dialect, scoped: type.namespaced, suffix: "" };
  const own = definitionOf(type, type.kind, type);
  const list = definitionOf(type, type.listKind, type);
  const collection: Operation[] = [];
  if (verbs.has("list")) collection.push({ ...base, method: "get", action: "list", answer: list });
  if (verbs.has("create")) collection.push({ ...base, method: "post", action: "post", answer: own });
  if (verbs.has("deletecollection"))
    collection.push({ ...base, method: "delete", action: "deletecollection", answer: statusDefinition });
  paths[`${scope}/${type.plural}`] = pathItem(collection, type.namespaced ? ["namespace"] : []);
  if (type.namespaced && verbs.has("list"))
    paths[`${root}/${type.plural}`] = pathItem(
      [{ ...base, method: "get", action: "list", answer: list, scoped: false, suffix: "ForAllNamespaces" }],
      [],
    );
  const names = [...(type.namespaced ? ["namespace"] : []), "name"];
  const item = operationsOf(type.verbs, { ...base, answer: own });
  if (item.length > 0) paths[`${scope}/${type.plural}/{name}`] = pathItem(item, names);
  for (const sub of type.subresources.values()) {
    const answer = definitionOf(type, sub.kind, sub);
    const suffix = sub.name.charAt(0).toUpperCase() + sub.name.slice(1);
    paths[`${scope}/${type.plural}/{name}/${sub.name}`] = pathItem(
      operationsOf(sub.verbs, { ...base, answer, suffix }),
      names,
    );
  }
}

const statusDefinition = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const deleteOptions = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const patchDefinition = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

function definitionOf(
  type: ResourceType,
  kind: string,
  of: { readonly group: string; readonly version: string },
): string {
  if (type instanceof CustomType && of.group === type.group)
    return customDefinitionName({ group: type.group, version: type.version, kind });
  return definitionNames().get(`${of.group}/${of.version}/${kind}`) ?? statusDefinition;
}

function operationsOf(verbs: readonly string[], base: Omit<Operation, "method" | "action">): Operation[] {
  const found: Operation[] = [];
  if (verbs.includes("get")) found.push({ ...base, method: "get", action: "get" });
  if (verbs.includes("update")) found.push({ ...base, method: "put", action: "put" });
  if (verbs.includes("patch")) found.push({ ...base, method: "patch", action: "patch" });
  if (verbs.includes("delete")) found.push({ ...base, method: "delete", action: "delete", answer: statusDefinition });
  if (verbs.includes("create") && base.suffix !== "") found.push({ ...base, method: "post", action: "connect" });
  return found;
}

function pathItem(operations: readonly Operation[], names: readonly string[]): JsonObject {
  const item: JsonObject = {};
  for (const operation of operations) item[operation.method] = operationJson(operation);
  const [first] = operations;
  if (names.length > 0 && first !== undefined)
    item["parameters"] = names.map((name) => ({
      name,
      in: "path",
      required: true,
      description: name === "name" ? "Name of the object." : "Namespace of the object.",
      ...typed("string", first.dialect),
    }));
  return item;
}

function typed(type: string, dialect: Dialect): JsonObject {
  return dialect === "v3" ? { schema: { type, uniqueItems: true } } : { type, uniqueItems: true };
}

const words: Readonly<Record<string, string>> = {
  get: "read",
  put: "replace",
  post: "create",
  deletecollection: "deleteCollection",
};

function operationJson(operation: Operation): JsonObject {
  const { type, action, dialect, answer } = operation;
  const verb = words[action] ?? action;
  const group = type.group === "" ? "Core" : camel(type.group.split(".")[0] ?? "");
  const scope = operation.scoped ? "Namespaced" : "";
  const plural = operation.suffix === "ForAllNamespaces";
  return {
    description: `${verb} ${action === "list" || action === "deletecollection" ? type.plural : `one ${type.kind}`}`,
    operationId:
      `${verb}${group}${camel(type.version)}${action === "deletecollection" ? "Collection" : ""}${scope}${type.kind}${plural ? "ForAllNamespaces" : operation.suffix}`.replace(
        "deleteCollectionCoreV1Collection",
        "deleteCoreV1Collection",
      ),
    tags: [`${type.group === "" ? "core" : camelLower(type.group)}_${type.version}`],
    parameters: [...parametersOf(operation), ...(dialect === "v2" ? bodyParameter(operation) : [])],
    ...(dialect === "v3"
      ? requestBody(operation)
      : { consumes: consumes(operation), produces: mediaTypes, schemes: ["https"] }),
    responses: responses(answer, dialect, action),
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": { group: type.group, kind: type.kind, version: type.version },
  };
}

function camel(text: string): string {
  return text
    .split(/[.-]/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join("");
}

function camelLower(group: string): string {
  const name = camel(group.replace(/\.k8s\.io$/, ""));
  return name.charAt(0).toLowerCase() + name.slice(1);
}

const mediaTypes = ["application/json", "application/yaml"];
const patchTypes = ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];

function consumes(operation: Operation): Json {
  if (operation.method !== "patch") return ["*/*"];
  return operation.type.custom ? patchTypes : [...patchTypes, "application/strategic-merge-patch+json"];
}

function responses(answer: string, dialect: Dialect, action: string): JsonObject {
  const body = (): JsonObject =>
    dialect === "v3"
      ? { content: Object.fromEntries(mediaTypes.map((type) => [type, { schema: referenceTo(answer, dialect) }])) }
      : { schema: referenceTo(answer, dialect) };
  const result: JsonObject = { "200": { description: "OK", ...body() }, "401": { description: "Unauthorized" } };
  if (action === "post" || action === "put" || action === "patch")
    result["201"] = { description: "Created", ...body() };
  if (action === "post" || action === "delete") result["202"] = { description: "Accepted", ...body() };
  return result;
}

function requestBody(operation: Operation): JsonObject {
  const { method, answer, dialect } = operation;
  if (method === "get") return {};
  const definition = method === "delete" ? deleteOptions : method === "patch" ? patchDefinition : answer;
  const types = method === "patch" ? patchTypes : ["*/*"];
  const content = Object.fromEntries(types.map((type) => [type, { schema: referenceTo(definition, dialect) }]));
  return { requestBody: { content, ...(method === "delete" ? {} : { required: true }) } };
}

function bodyParameter(operation: Operation): Json[] {
  const { method, answer } = operation;
  if (method === "get") return [];
  const definition = method === "delete" ? deleteOptions : method === "patch" ? patchDefinition : answer;
  return [
    {
      name: "body",
      in: "body",
      ...(method === "delete" ? {} : { required: true }),
      schema: referenceTo(definition, "v2"),
    },
  ];
}

/** Query parameters and what they do. */
const parameters: Readonly<Record<string, readonly [type: string, description: string]>> = {
  dryRun: ["string", "With `All`, everything is checked and answered, and nothing is stored."],
  fieldManager: ["string", "Whoever makes the change, for the record of who owns which field."],
  fieldValidation: ["string", "What happens to unknown and duplicate fields: Ignore, Warn or Strict."],
  force: ["boolean", "Server-side apply takes fields away from other managers."],
  labelSelector: ["string", "Only objects whose labels match."],
  fieldSelector: ["string", "Only objects whose fields match."],
  limit: ["integer", "At most this many objects; the answer says where to continue."],
  continue: ["string", "Where the last answer ended."],
  resourceVersion: ["string", "How new the answer must be."],
  resourceVersionMatch: ["string", "How resourceVersion is meant."],
  timeoutSeconds: ["integer", "How long the call may last."],
  watch: ["boolean", "Changes are sent as they happen."],
  allowWatchBookmarks: ["boolean", "The server may send events that carry only a resourceVersion."],
  sendInitialEvents: ["boolean", "A watch begins with what is there."],
  gracePeriodSeconds: ["integer", "How long the object may take to end."],
  propagationPolicy: ["string", "What happens to dependents: Orphan, Background or Foreground."],
  orphanDependents: ["boolean", "Older form of propagationPolicy."],
  pretty: ["string", "Indented output."],
};
const listParameters = [
  "allowWatchBookmarks",
  "continue",
  "fieldSelector",
  "labelSelector",
  "limit",
  "resourceVersion",
  "resourceVersionMatch",
  "sendInitialEvents",
  "timeoutSeconds",
  "watch",
];
const parametersByAction: Readonly<Record<string, readonly string[]>> = {
  list: listParameters,
  post: ["dryRun", "fieldManager", "fieldValidation"],
  put: ["dryRun", "fieldManager", "fieldValidation"],
  patch: ["dryRun", "fieldManager", "fieldValidation", "force"],
  delete: ["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"],
  deletecollection: ["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy", ...listParameters],
};

function parametersOf(operation: Operation): Json[] {
  return [...(parametersByAction[operation.action] ?? []), "pretty"].map((name) => {
    const [type, description] = parameters[name] ?? ["string", ""];
    return { name, in: "query", description, ...typed(type, operation.dialect) };
  });
}
