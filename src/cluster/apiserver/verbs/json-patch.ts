import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, failure } from "../failures.js";
import { copyJson, equalJson, isObject, setOwn } from "../fields.js";

/** More operations than this are refused, as upstream does. */
const maxOperations = 10_000;
/** What `copy` may add, as upstream: a document that is copied into itself doubles each time. */
const maxCopiedLength = 3 * 1024 * 1024;

/** RFC 6902: applies the operations to a copy. Throws 400 for what is no patch, 422 for one that does not fit the object. */
export function applyJsonPatch(target: JsonObject, patch: unknown): JsonObject {
  if (!Array.isArray(patch)) throw notDecodable(patch, "jsonpatch.Patch");
  if (patch.length > maxOperations) {
    throw failure(
      413,
      "RequestEntityTooLarge",
      `Request entity too large: The allowed maximum operations in a JSON patch is ${maxOperations}, got ${patch.length}`,
    );
  }
  let document: Json = copyJson(target);
  const copied = { length: 0 };
  for (const operation of patch) document = applyOperation(document, operation, copied);
  if (!isObject(document)) throw unprocessable();
  return document;
}

/** 400 for a patch that is another kind of JSON than its form demands. */
export function notDecodable(patch: unknown, wanted: string): Error {
  const found = Array.isArray(patch) ? "array" : typeof patch === "boolean" ? "bool" : typeof patch;
  return badRequest(`error decoding patch: json: cannot unmarshal ${found} into Go value of type ${wanted}`);
}

/** Upstream says no more than this; which operation failed is for the client to find. */
function unprocessable(): Error {
  return failure(422, "Invalid", "the server rejected our request due to an error in our request", {});
}

function applyOperation(document: Json, operation: unknown, copied: { length: number }): Json {
  if (!isObject(operation)) throw badRequest("error decoding patch: an operation is no object");
  const path = pointer(operation, "path");
  switch (operation["op"]) {
    case "add":
      return put(document, path, valueIn(operation), "add");
    case "replace":
      return put(document, path, valueIn(operation), "replace");
    case "remove":
      return take(document, path).rest;
    case "move": {
      const { rest, value } = take(document, pointer(operation, "from"));
      return put(rest, path, value, "add");
    }
    case "copy": {
      const value = read(document, pointer(operation, "from"));
      copied.length += JSON.stringify(value).length;
      if (copied.length > maxCopiedLength) throw unprocessable();
      return put(document, path, copyJson(value), "add");
    }
    case "test":
      if (!equalJson(find(document, path) ?? null, valueIn(operation))) {
        throw unprocessable();
      }
      return document;
    default:
      throw unprocessable();
  }
}

function pointer(operation: JsonObject, field: string): string[] {
  const text = operation[field];
  if (typeof text !== "string") throw unprocessable();
  if (text === "") return [];
  if (!text.startsWith("/")) throw unprocessable();
  return text
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function valueIn(operation: JsonObject): Json {
  return operation["value"] ?? null;
}

function find(document: Json, path: readonly string[]): Json | undefined {
  let value: Json | undefined = document;
  for (const part of path) {
    if (Array.isArray(value)) value = value[indexIn(value, part)];
    else value = isObject(value) && Object.hasOwn(value, part) ? value[part] : undefined;
  }
  return value;
}

function read(document: Json, path: readonly string[]): Json {
  const value = find(document, path);
  if (value === undefined) throw unprocessable();
  return value;
}

/** -1 for what is no index of the list. Negative ones count from its end, as upstream's library has it. */
function indexIn(list: readonly Json[], part: string): number {
  if (!/^(0|-?[1-9]\d*)$/.test(part)) return -1;
  const index = Number(part) < 0 ? list.length + Number(part) : Number(part);
  return index < list.length ? index : -1;
}

function put(document: Json, path: readonly string[], value: Json, mode: "add" | "replace"): Json {
  const last = path.at(-1);
  if (last === undefined) return value;
  const parent = read(document, path.slice(0, -1));
  if (Array.isArray(parent)) putInList(parent, { last, value }, mode);
  // A member that is not there may be replaced all the same, as upstream's library has it.
  else if (isObject(parent)) setOwn(parent, last, value);
  else throw unprocessable();
  return document;
}

function putInList(list: Json[], entry: { last: string; value: Json }, mode: "add" | "replace"): void {
  const { last, value } = entry;
  if (mode === "replace") {
    const index = indexIn(list, last);
    if (index < 0) throw unprocessable();
    list[index] = value;
    return;
  }
  const index = last === "-" || Number(last) === list.length ? list.length : indexIn(list, last);
  if (index < 0) throw unprocessable();
  list.splice(index, 0, value);
}

function take(document: Json, path: readonly string[]): { rest: Json; value: Json } {
  const last = path.at(-1);
  if (last === undefined) return { rest: null, value: document };
  const parent = read(document, path.slice(0, -1));
  const value = read(document, path);
  if (Array.isArray(parent)) parent.splice(indexIn(parent, last), 1);
  else if (isObject(parent)) delete parent[last];
  return { rest: document, value };
}

/** RFC 7386: merges into a copy; null removes. */
export function applyMergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return copyJson(patch);
  const out: JsonObject = {};
  if (isObject(target)) for (const field in target) setOwn(out, field, target[field]);
  for (const field in patch) {
    const value = patch[field];
    if (value === null) delete out[field];
    else if (value !== undefined)
      setOwn(out, field, applyMergePatch(Object.hasOwn(out, field) ? out[field] : undefined, value));
  }
  return out;
}
