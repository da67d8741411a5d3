import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { isObject } from "../../../kernel/schema/index.js";

/**
 * How a value of a kind is shown in refusals: its fields in the order of Karmada's types. A field whose shape is `"always"` is shown as null
 * when it is absent; one that the shape does not name is not shown.
 */
export interface Shape {
  readonly [field: string]: Shape | "any" | "always";
}

const labelSelector: Shape = { matchLabels: "any", matchExpressions: { key: "any", operator: "any", values: "any" } };
const fieldSelector: Shape = { matchExpressions: { key: "any", operator: "any", values: "any" } };
const affinity: Shape = { labelSelector, fieldSelector, clusterNames: "any", exclude: "any" };
const spreadConstraint: Shape = { spreadByField: "any", spreadByLabel: "any", maxGroups: "any", minGroups: "any" };
const patch: Shape = { subPath: "any", operator: "any", value: "always" };
const fieldOverrider: Shape = { fieldPath: "any", json: patch, yaml: patch };
const words: Shape = { containerName: "any", operator: "any", value: "any" };
const map: Shape = { operator: "any", value: "always" };

/** The shapes that refusals show. */
export const SHAPES = {
  fieldSelector,
  affinity,
  affinities: { affinityName: "any", ...affinity },
  spreadConstraint,
  fieldOverrider,
  overriders: {
    plaintext: { path: "any", operator: "any", value: "always" },
    imageOverrider: { predicate: { path: "any" }, component: "any", operator: "any", value: "any" },
    commandOverrider: words,
    argsOverrider: words,
    labelsOverrider: map,
    annotationsOverrider: map,
    fieldOverrider,
  },
  placement: {
    clusterAffinity: affinity,
    clusterAffinities: { affinityName: "any", ...affinity },
    clusterTolerations: { key: "any", operator: "any", value: "any", effect: "any", tolerationSeconds: "any" },
    spreadConstraints: spreadConstraint,
    replicaScheduling: {
      replicaSchedulingType: "any",
      replicaDivisionPreference: "any",
      weightPreference: { staticWeightList: { targetCluster: affinity, weight: "any" }, dynamicWeight: "any" },
    },
  },
  suspension: { dispatching: "any", dispatchingOnClusters: { clusterNames: "any" } },
} as const satisfies Record<string, Shape>;

/** The value as refusals show it. Lists are shown item by item. */
export function shown(value: Json | undefined, shape: Shape): Json {
  if (Array.isArray(value)) return value.map((item) => shown(item, shape));
  if (!isObject(value)) return value ?? null;
  const out: JsonObject = {};
  for (const [field, inner] of Object.entries(shape)) {
    const found = value[field];
    if (inner === "always") out[field] = sorted(found ?? null);
    else if (found !== undefined && !isEmpty(found)) out[field] = inner === "any" ? sorted(found) : shown(found, inner);
  }
  return out;
}

/** What Go leaves out: zero, "", false, empty lists and maps. An object that is a structure of its own stays. */
function isEmpty(value: Json): boolean {
  return value === null || value === "" || value === 0 || (Array.isArray(value) && value.length === 0);
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner ?? null)]),
  );
}
