import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { apiVersionOf, parseApiVersion } from "../../../kernel/kinds/object.js";
import { badRequest, internalError, invalid, notFound } from "../failures.js";
import { copy, isObject, metadataOf, objectAt, stringAt, stringsAt } from "../fields.js";
import { carryOwners, type ReplicasPaths, showOwners } from "../merge/index.js";
import { bodyType } from "../registry/index.js";
import type { Registry, ResourceType, ScalePaths, Stored } from "../types.js";
import { admissionRequest, mutate } from "./admit.js";
import { type Call, inVersion, keyOf, type Machinery, type Outcome, timestamp, type View } from "./context.js";
import type { WriteOptions } from "./options.js";
import { patch } from "./patch.js";
import { checkUid, checkVersion, completeChange, update } from "./update.js";

/** A call as one on the object's Scale: bodies, patches and answers are of that kind. */
export function scaleCall(call: Call): Call {
  return { ...call, type: scaleType(call.type) };
}

function scaleType({ custom }: ResourceType): ResourceType {
  return bodyType("autoscaling", "v1", "Scale", custom);
}

/** Says that a number was not there; no client can mean it. */
const unset = -2_147_483_648;

/** `<any>/scale`: the number of replicas of anything scalable as one kind (autoscaling/v1 Scale). `call` is on the Scale, `whole` on the object. */
export async function scale(machinery: Machinery, call: Call, whole: Call, paths: ScalePaths): Promise<Outcome> {
  const view = scaleView(machinery, whole, paths);
  switch (call.info.verb) {
    case "update":
      return update(machinery, call, view);
    case "patch":
      return patch(machinery, call, view);
    default:
      return read(machinery, whole, paths);
  }
}

async function read(machinery: Machinery, whole: Call, paths: ScalePaths): Promise<Outcome> {
  const stored = machinery.store.get(keyOf(whole));
  if (stored === undefined) throw notFound(whole.type, whole.info.name);
  const object = await inVersion(whole.type, stored);
  if (whole.type.custom && valueAt(object, paths.specReplicasPath) === undefined)
    throw internalError(`the spec replicas field ${JSON.stringify(paths.specReplicasPath)} does not exist`);
  return { status: 200, value: scaleOf(whole.type, object, paths) };
}

function scaleView(machinery: Machinery, whole: Call, paths: ScalePaths): View {
  const { type, info } = whole;
  const owners = replicasPaths(machinery.registry, type);
  return {
    key: keyOf(whole),
    isOfCustom: type.custom,
    missing: () => notFound(type, info.name),
    async read(stored) {
      const object = await inVersion(type, stored);
      return shownScale(object, { type, paths, owners });
    },
    write: (change, options) => writeScale(machinery, whole, change, { ...options, paths, owners }),
  };
}

/** How the objects of a type are scaled. */
interface Scaling {
  readonly type: ResourceType;
  readonly paths: ScalePaths;
  readonly owners: ReplicasPaths;
}

/** The Scale that a write starts from, with those who own its number. */
function shownScale(object: JsonObject, { type, paths, owners }: Scaling): JsonObject {
  const shown = scaleOf(type, object, paths);
  if (type.custom && valueAt(object, paths.specReplicasPath) === undefined) shown["spec"] = { replicas: unset };
  showOwners(shown, object, owners);
  return shown;
}

function replicasPaths(registry: Registry, { plural }: ResourceType): ReplicasPaths {
  return (apiVersion) => {
    const { group, version } = parseApiVersion(apiVersion);
    const type = registry.find(group, version, plural);
    if (type === undefined) return undefined;
    return type.scale === undefined ? {} : { path: split(type.scale.specReplicasPath) };
  };
}

async function writeScale(
  machinery: Machinery,
  whole: Call,
  change: { readonly object: JsonObject; readonly current: Stored },
  { paths, owners, ...options }: WriteOptions & Omit<Scaling, "type"> & { readonly track: boolean },
): Promise<Outcome> {
  const { type, info } = whole;
  const { object: wanted, current } = change;
  const old = await inVersion(type, current);
  const before = shownScale(old, { type, paths, owners });
  checkUid(whole, wanted, old);
  const body = scaleType(type);
  const by = { manager: options.manager, subresource: info.subresource, now: timestamp(machinery.clock) };
  if (options.track) body.merge.trackUpdate(wanted, before, by);
  const about = { operation: "UPDATE", object: wanted, old: before, dryRun: options.dryRun } as const;
  const admission = { ...admissionRequest(whole, about), body };
  await mutate(machinery, admission);
  const changed = scaled(whole, old, wanted, paths);
  // The path may lead to a field that the definition's schema does not have.
  const object = type.custom ? type.decode(changed).object : changed;
  carryOwners(object, wanted, apiVersionOf(type), owners);
  checkVersion(whole, object, current);
  const outcome = await completeChange(machinery, whole, { object, old, current, admission }, options);
  return { status: outcome.status, value: scaleOf(type, outcome.value, paths) };
}

/** The object with the wanted number of replicas. Throws 400, 422. */
function scaled({ type, info }: Call, old: JsonObject, wanted: JsonObject, paths: ScalePaths): JsonObject {
  const replicas = numberAt(wanted, ".spec.replicas");
  if (type.custom && replicas === unset)
    throw badRequest(`the spec replicas field ${JSON.stringify(paths.specReplicasPath)} cannot be empty`);
  if (!type.custom && replicas < 0) {
    const message = `Invalid value: ${replicas}: must be greater than or equal to 0`;
    const cause = { reason: "FieldValueInvalid", field: "spec.replicas", message };
    throw invalid({ group: "autoscaling", kind: "Scale" }, info.name, [cause]);
  }
  const object = copy(old);
  setAt(object, paths.specReplicasPath, replicas);
  const version = stringAt(objectAt(wanted, "metadata"), "resourceVersion");
  if (version !== "" || !type.custom) metadataOf(object)["resourceVersion"] = version;
  return object;
}

const shownMetadata = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];

function scaleOf(type: ResourceType, object: JsonObject, paths: ScalePaths): JsonObject {
  const metadata = objectAt(object, "metadata");
  const wanted = numberAt(object, paths.specReplicasPath);
  const selector = selectorText(type, object, paths);
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: Object.fromEntries(
      shownMetadata.flatMap((field) => (metadata[field] === undefined ? [] : [[field, metadata[field]]])),
    ),
    spec: wanted === 0 ? {} : { replicas: wanted },
    status: { replicas: numberAt(object, paths.statusReplicasPath), ...(selector === "" ? {} : { selector }) },
  };
}

function selectorText(type: ResourceType, object: JsonObject, paths: ScalePaths): string {
  if (type.custom) {
    const text = paths.labelSelectorPath === "" ? "" : valueAt(object, paths.labelSelectorPath);
    return typeof text === "string" ? text : "";
  }
  const selector = objectAt(objectAt(object, "spec"), "selector");
  // A ReplicationController's selector is a plain map of labels.
  const labels = type.group === "" ? selector : objectAt(selector, "matchLabels");
  const expressions = type.group === "" ? [] : selector["matchExpressions"];
  const terms = [
    ...Object.keys(labels).map((key): [string, string] => [key, `${key}=${stringAt(labels, key)}`]),
    ...(Array.isArray(expressions) ? expressions.filter(isObject).map(expressionTerm) : []),
  ];
  return terms
    .sort(([a], [b]) => (a < b ? -1 : Number(a > b)))
    .map(([, text]) => text)
    .join(",");
}

/** The key, and the term as selectors are written. */
function expressionTerm(expression: JsonObject): [string, string] {
  const key = stringAt(expression, "key");
  const values = stringsAt(expression, "values").toSorted().join(",");
  switch (stringAt(expression, "operator")) {
    case "In":
      return [key, `${key} in (${values})`];
    case "NotIn":
      return [key, `${key} notin (${values})`];
    case "DoesNotExist":
      return [key, `!${key}`];
    default:
      return [key, key];
  }
}

const split = (path: string): string[] => path.split(".").filter((name) => name !== "");

function valueAt(object: JsonObject, path: string): Json | undefined {
  let value: Json | undefined = object;
  for (const field of split(path)) value = isObject(value) ? value[field] : undefined;
  return value;
}

function numberAt(object: JsonObject, path: string): number {
  const value = valueAt(object, path);
  return typeof value === "number" ? value : 0;
}

function setAt(object: JsonObject, path: string, value: Json): void {
  const names = split(path);
  let parent = object;
  for (const field of names.slice(0, -1)) {
    const next = parent[field] ?? {};
    if (!isObject(next)) throw internalError(`${path} does not lead to a number`);
    parent[field] = next;
    parent = next;
  }
  parent[names.at(-1) ?? ""] = value;
}
