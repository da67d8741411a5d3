import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, parseJson } from "../../../kernel/schema/index.js";
import { setOwn, stringAt } from "../fields.js";
import { mediaTypeOf, parseAny, withJsonBody } from "../request/body.js";
import type { ApiRequest, ApiResponse } from "../types.js";

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

/** The object that was sent, fit for a log; `undefined` where there is none or it cannot be read. */
export function requestBody(request: ApiRequest, omitManagedFields: boolean): Json | undefined {
  if (request.body.byteLength === 0) return undefined;
  try {
    const { body, headers } = withJsonBody(request);
    const type = mediaTypeOf(headers["content-type"]);
    const isYaml = type.includes("yaml");
    const value = isYaml ? toPlain(parseAny(body)) : parseJson(Buffer.from(body).toString("utf8"));
    return value === undefined ? undefined : withoutSecrets(value, omitManagedFields);
  } catch {
    return undefined;
  }
}

/** YAML's aliases make one value stand in many places: as a tree it may be too large to write. */
function toPlain(value: unknown): Json | undefined {
  const text = JSON.stringify(value);
  return text === undefined ? undefined : parseJson(text);
}

/** The object that was answered, fit for a log. */
export function responseBody({ body }: ApiResponse, omitManagedFields: boolean): JsonObject | undefined {
  if (!(body instanceof Uint8Array)) return undefined;
  const value = parseJson(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8"));
  // What is no object of the API (the version, say) is nobody's object.
  if (!isObject(value) || typeof value["kind"] !== "string") return undefined;
  const shown = withoutSecrets(value, omitManagedFields);
  return isObject(shown) ? shown : undefined;
}

/** Of a Status, the first that is written. */
const statusStart = '{"kind":"Status"';

/** `responseStatus`: the code, and of an answer that is a Status what it says. */
export function statusOf({ status, body }: ApiResponse): JsonObject {
  const plain = { metadata: {}, code: status };
  if (!(body instanceof Uint8Array)) return plain;
  if (Buffer.from(body.buffer, body.byteOffset, Math.min(body.byteLength, 64)).indexOf(statusStart) !== 0) return plain;
  const value = parseJson(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8"));
  if (!isObject(value) || value["kind"] !== "Status") return plain;
  const { kind: _kind, apiVersion: _version, ...rest } = value;
  return { ...rest, metadata: {}, code: status };
}

/** A copy without what a log must not hold: the data of Secrets, wherever they are embedded. */
function withoutSecrets(value: Json, omitManagedFields: boolean): Json {
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, omitManagedFields));
  if (!isObject(value)) return value;
  const isSecret = value["apiVersion"] === "v1" && (value["kind"] === "Secret" || value["kind"] === "SecretList");
  const copy: JsonObject = {};
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined || (isSecret && secretFields.has(name))) continue;
    const kept = name === "metadata" && isObject(member) ? metadataOf(member, isSecret, omitManagedFields) : member;
    setOwn(copy, name, withoutSecrets(kept, omitManagedFields));
  }
  return copy;
}

const secretFields = new Set(["data", "stringData", "items"]);

/** The manifest that kubectl keeps in an annotation repeats what is left out beside it. */
function metadataOf(metadata: JsonObject, isSecret: boolean, omitManagedFields: boolean): JsonObject {
  const { managedFields, annotations, ...rest } = metadata;
  const kept = isObject(annotations) ? { ...annotations } : annotations;
  if (isObject(kept) && (isSecret || stringAt(kept, lastApplied).includes('"Secret"'))) delete kept[lastApplied];
  return {
    ...rest,
    ...(kept === undefined ? {} : { annotations: kept }),
    ...(omitManagedFields || managedFields === undefined ? {} : { managedFields }),
  };
}
