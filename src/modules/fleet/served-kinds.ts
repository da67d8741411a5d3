/** The kinds whose address a HeadIngress leads to, and what their statuses say of it. */
import type { JsonObject } from "../../kernel/kinds/index.js";
import { asObject } from "../../kernel/schema/index.js";

const GRAPH = "InferenceGraph";
const SERVED: ReadonlySet<unknown> = new Set(["MLService", "InferenceService", GRAPH]);

/** Whether objects of a kind are models behind addresses. */
export const isServed = (kind: unknown): boolean => SERVED.has(kind);

/** Of the served objects in one cluster those that requests are for: a graph stands before the services that it names. */
export function frontsOf<T>(objects: readonly T[], kindOf: (object: T) => unknown): readonly T[] {
  const graphs = objects.filter((object) => kindOf(object) === GRAPH);
  return graphs.length > 0 ? graphs : objects;
}

/** The address that a member's raw status of such an object names: an InferenceService's `address` is for its own cluster only. */
export function urlIn(status: JsonObject | undefined): string | undefined {
  const own = status?.["url"];
  const url = typeof own === "string" ? own : asObject(status?.["address"])["url"];
  return typeof url === "string" && url !== "" ? url : undefined;
}
