/** What informers hold came over the wire as JSON, so an object of a kind is a JSON object; its type alone does not say so. */
import type { JsonObject, KubeObject } from "../../kernel/kinds/index.js";
import type { HeadIngress } from "./kinds.js";

/** The object as JSON, not copied: it must not be changed. */
export function jsonOf(object: KubeObject): JsonObject {
  return object as unknown as JsonObject;
}

/** JSON as a HeadIngress: for objects that the API server has held against its schema. */
export function headOf(object: JsonObject): HeadIngress {
  return object as unknown as HeadIngress;
}

/** A HeadIngress with another of its specs, which its status has kept. */
export function headWith(head: HeadIngress, generation: number, spec: unknown): HeadIngress {
  return { ...head, metadata: { ...head.metadata, generation }, spec: spec as HeadIngress["spec"] };
}

/** A spec as JSON, not copied: it must not be changed. */
export function jsonOfSpec(spec: HeadIngress["spec"]): JsonObject {
  return spec as unknown as JsonObject;
}
