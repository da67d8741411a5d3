import { ApiError, messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import { failure } from "../failures.js";
import { asObject, asString } from "./read.js";

/** Sends objects to a conversion webhook (`spec.conversion.webhook` of a definition): they come back in `apiVersion`, in order. Throws what went wrong. */
export type ConversionCaller = (
  webhook: JsonObject,
  objects: readonly JsonObject[],
  apiVersion: string,
) => Promise<readonly JsonObject[]>;

/** Makes of an object one in another version. Throws an `ApiError`. */
export type Convert = (object: JsonObject, apiVersion: string) => Promise<JsonObject>;

/** The conversion that a definition asks for; `undefined`: versions differ in `apiVersion` alone. */
export function conversionOf(definition: JsonObject, call: ConversionCaller | undefined): Convert | undefined {
  const conversion = asObject(asObject(definition["spec"])["conversion"]);
  if (conversion["strategy"] !== "Webhook" || call === undefined) return undefined;
  const webhook = asObject(conversion["webhook"]);
  return async (object, apiVersion) => {
    try {
      const [converted] = await call(webhook, [asSent(object)], apiVersion);
      return checked(object, converted, apiVersion);
    } catch (error) {
      if (error instanceof ApiError) throw error;
      const from = `${asString(object["apiVersion"])}, Kind=${asString(object["kind"])}`;
      throw failure(500, "", `conversion webhook for ${from} failed: ${messageOf(error)}`);
    }
  };
}

/** Webhooks never see a resourceVersion: what they make has none yet. */
function asSent(object: JsonObject): JsonObject {
  const { resourceVersion: _, ...metadata } = asObject(object["metadata"]);
  return { ...object, metadata };
}

/** A webhook says what the rest is, and may change labels and annotations; whose object it is stays. */
function checked(object: JsonObject, converted: JsonObject | undefined, apiVersion: string): JsonObject {
  const refuse = (what: string): ApiError =>
    failure(
      500,
      "",
      `conversion webhook for ${asString(object["apiVersion"])}, Kind=${asString(object["kind"])} ${what}`,
    );
  if (!isObject(converted)) throw refuse("returned 0 objects, expected 1");
  if (converted["apiVersion"] !== apiVersion)
    throw refuse(
      `returned invalid converted object at index 0: invalid groupVersion (expected ${apiVersion}, received ${asString(converted["apiVersion"])})`,
    );
  if (converted["kind"] !== object["kind"])
    throw refuse(
      `returned invalid converted object at index 0: invalid kind (expected ${asString(object["kind"])}, received ${asString(converted["kind"])})`,
    );
  if (!isObject(converted["metadata"]))
    throw refuse("returned invalid metadata in object at index 0: missing metadata in converted object");
  const { labels, annotations } = converted["metadata"];
  const { labels: _, annotations: __, ...kept } = asObject(object["metadata"]);
  const metadata: JsonObject = {
    ...kept,
    ...(isObject(labels) ? { labels } : {}),
    ...(isObject(annotations) ? { annotations } : {}),
  };
  return { ...converted, metadata };
}
