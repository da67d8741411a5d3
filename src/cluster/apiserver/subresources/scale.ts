import type { Clock } from "../../../kernel/clock/index.js";
import { isConflict } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { lookUp } from "../auth/index.js";
import {
  badRequest,
  conflict,
  internalError,
  invalid,
  methodNotAllowed,
  notFound,
  unknownBodyFormat,
} from "../failures.js";
import { copy, isObject, metadataOf, objectAt, stringAt, stringsAt } from "../fields.js";
import { mediaTypeOf, parsePatch } from "../request/body.js";
import { objectKey } from "../store/keys.js";
import type {
  ApiRequest,
  ApiResponse,
  ResourceType,
  Store,
  Stored,
  SubresourceContext,
  SubresourceHandler,
} from "../types.js";
import { applyJsonPatch, applyMergePatch } from "../verbs/json-patch.js";
import { isDryRun, json, readObject, timestamp } from "./answers.js";

/** Where a kind keeps what Scale shows. */
interface ScalePaths {
  readonly spec: readonly string[];
  readonly status: readonly string[];
  /** Text of the selector; native kinds hold a LabelSelector under spec.selector instead. */
  readonly selector?: readonly string[];
}

const patchTypes = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
];
const strategicType = "application/strategic-merge-patch+json";
const customPatchTypes = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/apply-patch+yaml",
];
const nativePaths: ScalePaths = { spec: ["spec", "replicas"], status: ["status", "replicas"] };

/** `<any>/scale`: the number of replicas of anything scalable as one kind (autoscaling/v1 Scale). */
export function scaleSubresource(options: { readonly clock: Clock }): SubresourceHandler {
  return {
    path: "*/scale",
    async handle(context) {
      const { request, type, info, store } = context;
      const key = objectKey(type, info.namespace, info.name);
      const stored = store.get(key);
      if (stored === undefined) throw notFound(type, info.name);
      const paths = pathsOf(store, type, info.name);
      if (request.method === "GET") {
        if (type.custom && !hasField(stored.value, paths.spec))
          throw internalError(`the spec replicas field ${JSON.stringify(`.${paths.spec.join(".")}`)} does not exist`);
        return json(200, scaleOf(stored, paths));
      }
      if (request.method !== "PUT" && request.method !== "PATCH") throw methodNotAllowed();
      return write(context, { key, paths, clock: options.clock });
    },
  };
}

async function write(
  context: SubresourceContext,
  { key, paths, clock }: { key: string; paths: ScalePaths; clock: Clock },
): Promise<ApiResponse> {
  const { request, type, info, store } = context;
  for (let attempt = 0; ; attempt++) {
    const stored = store.get(key);
    if (stored === undefined) throw notFound(type, info.name);
    const current = scaleOf(stored, paths);
    const wanted = request.method === "PATCH" ? patched(request, current, type.custom) : readObject(request);
    const next = scaled({ context, stored, paths, wanted, now: timestamp(clock.now()) });
    if (next === undefined) return json(200, current);
    if (isDryRun(request)) return json(200, scaleOf({ ...stored, value: next }, paths));
    try {
      return json(200, scaleOf(await store.update(key, stored.revision, next), paths));
    } catch (error) {
      if (!isConflict(error) || attempt >= 4) throw error;
    }
  }
}

function pathsOf(store: Store, type: ResourceType, name: string): ScalePaths {
  if (!type.custom) return nativePaths;
  const definition = lookUp(store, "apiextensions.k8s.io", "customresourcedefinitions", {
    namespace: "",
    name: `${type.plural}.${type.group}`,
  });
  const versions = definition === undefined ? undefined : objectAt(definition, "spec")["versions"];
  const served = Array.isArray(versions)
    ? versions.filter(isObject).find((version) => version["name"] === type.version)
    : undefined;
  const scale = served === undefined ? {} : objectAt(objectAt(served, "subresources"), "scale");
  const split = (field: string) => stringAt(scale, field).split(".").filter(Boolean);
  const selector = split("labelSelectorPath");
  const [spec, status] = [split("specReplicasPath"), split("statusReplicasPath")];
  if (spec.length === 0 || status.length === 0) throw notFound(type, name);
  return { spec, status, ...(selector.length === 0 ? {} : { selector }) };
}

function scaleOf(stored: Stored, paths: ScalePaths): JsonObject {
  const { value } = stored;
  const metadata = objectAt(value, "metadata");
  const kept = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"].filter(
    (field) => metadata[field] !== undefined,
  );
  const wanted = numberIn(value, paths.spec);
  const selector = selectorText(value, paths);
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: Object.fromEntries(kept.map((field) => [field, metadata[field]])),
    spec: wanted === 0 ? {} : { replicas: wanted },
    status: { replicas: numberIn(value, paths.status), ...(selector === "" ? {} : { selector }) },
  };
}

function patched(request: ApiRequest, current: JsonObject, isCustom: boolean): JsonObject {
  const type = mediaTypeOf(request.headers["content-type"]);
  if (!patchTypes.includes(type)) throw unknownBodyFormat(patchTypes);
  if (isCustom && type === strategicType) throw unknownBodyFormat(customPatchTypes);
  const patch = parsePatch(request.body);
  const result =
    type === "application/json-patch+json" ? applyJsonPatch(current, patch) : applyMergePatch(current, patch);
  if (!isObject(result)) throw badRequest("the patch leaves no object");
  return result;
}

interface Change {
  readonly context: SubresourceContext;
  readonly stored: Stored;
  readonly paths: ScalePaths;
  readonly wanted: JsonObject;
  readonly now: string;
}

/** The object with the wanted number of replicas; `undefined` when it has that already. Throws 409, 422. */
function scaled({ context, stored, paths, wanted, now }: Change): JsonObject | undefined {
  const { info, type, request } = context;
  const metadata = objectAt(wanted, "metadata");
  const named = stringAt(metadata, "name");
  if (named !== "" && named !== info.name)
    throw badRequest(`the name of the object (${named}) does not match the name on the URL (${info.name})`);
  const version = stringAt(metadata, "resourceVersion");
  if (version !== "" && version !== String(stored.revision)) throw conflict(type, info.name);
  const replicas = objectAt(wanted, "spec")["replicas"] ?? 0;
  if (typeof replicas !== "number" || !Number.isInteger(replicas)) throw badRequest("spec.replicas must be an integer");
  if (replicas < 0) {
    const why = type.custom ? "should be a non-negative integer" : "must be greater than or equal to 0";
    const cause = { reason: "FieldValueInvalid", message: `Invalid value: ${replicas}: ${why}` };
    throw type.custom
      ? invalid(type, info.name, [{ ...cause, field: `.${paths.spec.join(".")}` }])
      : invalid({ group: "autoscaling", kind: "Scale" }, info.name, [{ ...cause, field: "spec.replicas" }]);
  }
  if (replicas === numberIn(stored.value, paths.spec) && hasField(stored.value, paths.spec)) return undefined;
  const next = copy(stored.value);
  setIn(next, paths.spec, replicas);
  const meta = metadataOf(next);
  if (typeof meta["generation"] === "number") meta["generation"] += 1;
  const agent = request.headers["user-agent"] ?? "";
  const manager = request.query.get("fieldManager") ?? (agent.split("/")[0] || "unknown");
  type.merge.trackUpdate(next, stored.value, { manager, subresource: "scale", now });
  return next;
}

function selectorText(value: JsonObject, paths: ScalePaths): string {
  if (paths.selector !== undefined) {
    const text = valueIn(value, paths.selector);
    return typeof text === "string" ? text : "";
  }
  const selector = objectAt(objectAt(value, "spec"), "selector");
  // A ReplicationController's selector is a plain map of labels.
  const labels = isObject(selector["matchLabels"]) ? selector["matchLabels"] : isLabelMap(selector) ? selector : {};
  const expressions = selector["matchExpressions"];
  const terms = [
    ...Object.keys(labels).map((key) => `${key}=${stringAt(labels, key)}`),
    ...(Array.isArray(expressions) ? expressions.filter(isObject).map(expressionText) : []),
  ];
  return terms.toSorted().join(",");
}

function isLabelMap(selector: JsonObject): boolean {
  return Object.values(selector).every((value) => typeof value === "string");
}

function expressionText(expression: JsonObject): string {
  const key = stringAt(expression, "key");
  const values = stringsAt(expression, "values").toSorted().join(",");
  switch (stringAt(expression, "operator")) {
    case "In":
      return `${key} in (${values})`;
    case "NotIn":
      return `${key} notin (${values})`;
    case "DoesNotExist":
      return `!${key}`;
    default:
      return key;
  }
}

function valueIn(object: JsonObject, path: readonly string[]): Json | undefined {
  let value: Json | undefined = object;
  for (const field of path) value = isObject(value) ? value[field] : undefined;
  return value;
}

const hasField = (object: JsonObject, path: readonly string[]) => valueIn(object, path) !== undefined;

function numberIn(object: JsonObject, path: readonly string[]): number {
  const value = valueIn(object, path);
  return typeof value === "number" ? value : 0;
}

function setIn(object: JsonObject, path: readonly string[], value: Json): void {
  let parent = object;
  for (const field of path.slice(0, -1)) {
    const next = parent[field] ?? {};
    if (!isObject(next)) throw internalError(`${path.join(".")} does not lead to a number`);
    parent[field] = next;
    parent = next;
  }
  parent[path.at(-1) ?? ""] = value;
}
