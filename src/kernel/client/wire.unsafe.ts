/**
 * Where wire JSON becomes typed. The API server guarantees the shape of what it serves (schemas are validated on the way
 * in), so objects are checked for being objects of the API and not field by field.
 */
import type { Status } from "../errors/index.js";
import { apiVersionOf, type Json, type JsonObject, type Kind, type KubeObject } from "../kinds/index.js";
import { isObject } from "../schema/index.js";
import { localFailure } from "./failures.js";
import type { ResourceClient } from "./types.js";

/** A parsed Status with its indispensable members present. */
export function asStatus(value: JsonObject, code: number): Status {
  return {
    ...(value as unknown as Status),
    message: typeof value["message"] === "string" ? value["message"] : "",
    reason: typeof value["reason"] === "string" ? value["reason"] : "Unknown",
    code: typeof value["code"] === "number" ? value["code"] : code,
  };
}

/** An object of the API; throws an `ApiError` when the server sent something else. */
export function asObject<T extends KubeObject>(value: Json | undefined, kind: Kind): T {
  if (!isObject(value) || !isObject(value["metadata"]))
    throw localFailure(500, `the server sent no ${kind.kind} object`);
  // Items of native lists come without apiVersion and kind.
  value["apiVersion"] ??= apiVersionOf(kind);
  value["kind"] ??= kind.kind;
  return value as unknown as T;
}

/** An object of the API as the JSON that it is. */
export function asJson(object: KubeObject | undefined): Json | undefined {
  return object as unknown as Json | undefined;
}

/** JSON text to a value. Throws an `ApiError` when it is no JSON. */
export function parseJson(text: string, about: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw Object.assign(localFailure(500, `${about} was answered with something that is no JSON`), { cause: error });
  }
}

/** The same coordinates for a more precise type; `type` is a phantom. */
export function kindAs<T extends KubeObject>(kind: Kind): Kind<T> {
  return kind as Kind<T>;
}

type MakeClient = <T extends KubeObject>(kind: Kind<T>) => ResourceClient<T>;

/** The same client for the same kind each time: a kind says by its type what its client takes and gives. */
export function perKind(make: MakeClient): MakeClient {
  const made = new WeakMap<Kind, unknown>();
  return <T extends KubeObject>(kind: Kind<T>): ResourceClient<T> => {
    const known = made.get(kind) as ResourceClient<T> | undefined;
    if (known !== undefined) return known;
    const client = make(kind);
    made.set(kind, client);
    return client;
  };
}
