import { apiVersionOf, type JsonObject } from "../../kernel/kinds/object.js";
import { asObjects } from "../../kernel/schema/index.js";
import type { ServedResource } from "./discovery.js";

/** The objects of an answer, a list or one object; items of lists are told what they are, which servers leave out. */
export function objectsIn(answer: JsonObject, resource: ServedResource): JsonObject[] {
  return Array.isArray(answer["items"])
    ? asObjects(answer["items"]).map((item) => ({ apiVersion: apiVersionOf(resource), kind: resource.kind, ...item }))
    : [answer];
}
