import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneJson, cloneObject, equalJson, isObject, setMember } from "../../../kernel/schema/index.js";
import { badRequest, failure } from "../failures.js";
import type { FieldShape, Shape } from "../registry/shape.js";
import { interleave, sortBy } from "./element-order.js";

const directive = "$patch";
const retainKeys = "$retainKeys";
const deletePrefix = "$deleteFromPrimitiveList/";
const orderPrefix = "$setElementOrder/";

/** Strategic merge patch: maps merge, lists merge by the keys that the schema names or are replaced, directives rule. Returns a new object. Throws an `ApiError` (500, as upstream) for a patch that contradicts the schema. */
export function strategicMerge(shape: Shape, current: JsonObject, patch: JsonObject): JsonObject {
  return mergeMap(shape, cloneObject(current), cloneObject(patch));
}

function patchError(message: string): Error {
  return failure(500, "", message);
}

/** Both arguments are private to the merge and changed. */
function mergeMap(shape: Shape | undefined, original: JsonObject, patch: JsonObject): JsonObject {
  const kind = patch[directive];
  delete patch[directive];
  if (kind === "replace") return dropDirectives(patch);
  if (kind === "delete") return {};
  if (kind !== undefined && kind !== "merge")
    throw patchError(`unknown patch type: ${goText(kind)} in map: ${goText({ [directive]: kind, ...patch })}`);
  applyRetainKeys(original, patch);
  for (const key of Object.keys(patch)) if (key.startsWith(orderPrefix)) applyOrder(shape, original, patch, key);
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === undefined) continue;
    if (key.startsWith(deletePrefix)) deleteFromList(original, key.slice(deletePrefix.length), value);
    else mergeMember(shape, original, key, value);
  }
  return original;
}

function applyRetainKeys(original: JsonObject, patch: JsonObject): void {
  const kept = patch[retainKeys];
  if (kept === undefined) return;
  delete patch[retainKeys];
  if (!Array.isArray(kept)) throw patchError("$retainKeys must be a list of field names");
  for (const key of Object.keys(patch))
    if (!key.startsWith("$") && !kept.includes(key)) throw badRequest("invalid patch format of retainKeys");
  for (const key of Object.keys(original)) if (!kept.includes(key)) delete original[key];
}

function deleteFromList(original: JsonObject, field: string, items: Json): void {
  const list = original[field];
  if (!Array.isArray(items)) throw patchError(`${deletePrefix}${field} must be a list`);
  if (Array.isArray(list)) original[field] = list.filter((item) => !items.some((gone) => equalJson(gone, item)));
}

function mergeMember(shape: Shape | undefined, original: JsonObject, key: string, value: Json): void {
  if (value === null) {
    delete original[key];
    return;
  }
  const present = Object.hasOwn(original, key) ? original[key] : undefined;
  const field = shape?.fields.get(key);
  if (isObject(present) && isObject(value) && field?.patchStrategies.includes("replace") !== true)
    setMember(original, key, mergeMap(field?.shape ?? shape?.values, present, value));
  else if (Array.isArray(present) && Array.isArray(value) && mergesLists(field))
    original[key] = mergeLists(field, present, value);
  else setMember(original, key, dropDirectivesOf(value, field));
}

function mergesLists(field: FieldShape | undefined): field is FieldShape {
  return field?.patchStrategies.includes("merge") === true;
}

function mergeLists(field: FieldShape, original: readonly Json[], patch: readonly Json[]): Json[] {
  if (field.mergeKey === "") return mergePrimitives(original, patch);
  const { plain, deleted, replaces } = specialItems(field, patch);
  if (replaces) return plain.map((item) => dropDirectives(item));
  const merged = original
    .filter(isObject)
    .filter((item) => !deleted.some((value) => equalJson(value, item[field.mergeKey])));
  for (const item of plain) {
    const key = keyOf(field, item);
    const place = merged.findIndex((one) => equalJson(one[field.mergeKey], key));
    const twin = merged[place];
    if (twin === undefined) merged.push(dropDirectives(item));
    else merged[place] = mergeMap(field.shape.items, twin, item);
  }
  return interleave(merged, plain, original, field.mergeKey);
}

function mergePrimitives(original: readonly Json[], patch: readonly Json[]): Json[] {
  const merged = [...original];
  for (const item of patch) if (!merged.some((one) => equalJson(one, item))) merged.push(item);
  return interleave(merged, patch, original, "");
}

function keyOf(field: FieldShape, item: JsonObject): Json {
  const key = item[field.mergeKey];
  if (key === undefined)
    throw patchError(`map: ${goText(item)} does not contain declared merge key: ${field.mergeKey}`);
  return key;
}

function specialItems(
  field: FieldShape,
  patch: readonly Json[],
): { plain: JsonObject[]; deleted: Json[]; replaces: boolean } {
  const plain: JsonObject[] = [];
  const deleted: Json[] = [];
  let replaces = false;
  for (const item of patch) {
    if (!isObject(item))
      throw patchError(`expected a map in a list that is merged by ${field.mergeKey}, got ${goText(item)}`);
    if (item[directive] === "delete") deleted.push(keyOf(field, item));
    else if (item[directive] === "replace") replaces = true;
    else if (item[directive] !== undefined)
      throw patchError(`unknown patch type: ${goText(item[directive])} in map: ${goText(item)}`);
    else {
      keyOf(field, item);
      plain.push(item);
    }
  }
  return { plain, deleted, replaces };
}

/** `$setElementOrder/field`: merges that field now and puts its items in the wanted order; what only the server has keeps its place among them. */
function applyOrder(shape: Shape | undefined, original: JsonObject, patch: JsonObject, key: string): void {
  const name = key.slice(orderPrefix.length);
  const order = patch[key];
  delete patch[key];
  const field = shape?.fields.get(name);
  if (!Array.isArray(order) || !mergesLists(field)) return;
  const gone = patch[`${deletePrefix}${name}`];
  if (gone !== undefined) {
    deleteFromList(original, name, gone);
    delete patch[`${deletePrefix}${name}`];
  }
  const before = original[name];
  const change = patch[name];
  if (change === null) return;
  const server: readonly Json[] = Array.isArray(before) ? before : [];
  const sent: readonly Json[] = Array.isArray(change) ? change : [];
  if (server.length === 0 && sent.length === 0) return;
  const serverOrder = server.map((item) => cloneJson(item));
  const merged = mergeLists(field, server, sent);
  delete patch[name];
  original[name] = interleave(merged, sortBy(order, order, field.mergeKey), serverOrder, field.mergeKey);
}

/** A value that is new to the object: directives and nulls in it mean nothing more. */
function dropDirectivesOf(value: Json, field: FieldShape | undefined): Json {
  if (isObject(value)) return dropDirectives(value);
  if (!Array.isArray(value)) return value;
  const merges = mergesLists(field);
  return value
    .filter((item) => !(merges && isObject(item) && item[directive] === "delete"))
    .map((item) => (isObject(item) ? dropDirectives(item) : item));
}

function dropDirectives(value: JsonObject): JsonObject {
  const result: JsonObject = {};
  for (const key in value) {
    const present = value[key];
    if (present === undefined || present === null) continue;
    if (key === directive || key === retainKeys || key.startsWith(deletePrefix) || key.startsWith(orderPrefix))
      continue;
    setMember(result, key, dropDirectivesOf(present, undefined));
  }
  return result;
}

/** A value as Go prints it with %v. */
function goText(value: Json): string {
  if (value === null) return "<nil>";
  if (Array.isArray(value)) return `[${value.map(goText).join(" ")}]`;
  if (!isObject(value)) return String(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${key}:${goText(value[key] ?? null)}`);
  return `map[${members.join(" ")}]`;
}
