import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import type { Step } from "./types.js";

/** A step before it has its number. */
export type Request = Omit<Step, "id">;

export function numbered(steps: readonly Request[]): Step[] {
  return steps.map((step, id) => ({ id, ...step }));
}

export const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

export function definition(namespace: string, schema: JsonObject, rest: JsonObject = {}): JsonObject {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `things.${namespace}n.example.com` },
    spec: {
      group: `${namespace}n.example.com`,
      scope: "Namespaced",
      names: { plural: "things", singular: "thing", kind: "Thing", listKind: "ThingList" },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema }, ...rest }],
    },
  };
}

/** The definition, and a wait until its objects are served. */
export function installed(namespace: string, body: JsonObject, query = ""): Request[] {
  const path = `/apis/${namespace}n.example.com/v1/namespaces/${namespace}/things`;
  return [
    { setup: true, method: "POST", path: `${definitionsPath}${query}`, body },
    { setup: true, after: 0, until: { status: 200 }, method: "GET", path },
  ];
}
