import type { Json, JsonObject } from "../../../../src/kernel/kinds/object.js";
import { isObject } from "../../../../src/kernel/schema/index.js";
import type { Chance } from "../../fuzz/chance.js";
import { MEMBERS } from "./types.js";

const some = (chance: Chance, share: number): string[] => MEMBERS.filter(() => chance.maybe(share));

function selector(chance: Chance): JsonObject {
  return chance.pick<JsonObject>([
    { matchLabels: { tier: "gold" } },
    { matchLabels: { tier: "silver" } },
    { matchLabels: { tier: "gold", site: "paris" } },
    { matchExpressions: [{ key: "tier", operator: "In", values: ["gold", "bronze"] }] },
    { matchExpressions: [{ key: "tier", operator: "NotIn", values: ["gold"] }] },
    { matchExpressions: [{ key: "canary", operator: "Exists" }] },
    { matchExpressions: [{ key: "canary", operator: "DoesNotExist" }] },
    { matchLabels: { tier: "silver" }, matchExpressions: [{ key: "site", operator: "DoesNotExist" }] },
    {},
  ]);
}

function fields(chance: Chance): JsonObject {
  const operator = chance.pick(["In", "In", "NotIn"]);
  return chance.pick<JsonObject>([
    { key: "region", operator, values: [chance.pick(["eu", "us"])] },
    { key: "region", operator, values: ["eu", "asia"] },
    { key: "provider", operator, values: [chance.pick(["alpha", "beta"])] },
    { key: "zone", operator, values: [chance.pick(["us-1", "us-2", "eu-1"])] },
    { key: "zone", operator, values: ["us-1", "us-2"] },
  ]);
}

/** Which clusters: by names, labels, fields, without some. */
export function makeAffinity(chance: Chance): JsonObject {
  const named = some(chance, 0.6);
  const excluded = some(chance, 0.25);
  return {
    ...(chance.maybe(0.5) && named.length > 0
      ? { clusterNames: chance.maybe(0.05) ? [...named, "nowhere"] : named }
      : {}),
    ...(chance.maybe(0.25) && excluded.length > 0 ? { exclude: excluded } : {}),
    ...(chance.maybe(0.25) ? { labelSelector: selector(chance) } : {}),
    ...(chance.maybe(0.25)
      ? { fieldSelector: { matchExpressions: Array.from({ length: 1 + chance.int(2) }, () => fields(chance)) } }
      : {}),
  };
}

function toleration(chance: Chance): JsonObject {
  return chance.pick<JsonObject>([
    { key: "dedicated", operator: "Equal", value: "ml", effect: "NoSchedule" },
    { key: "dedicated", operator: "Exists" },
    { key: "dedicated", value: "web" },
    { operator: "Exists" },
    { key: "broken", operator: "Exists", effect: "NoExecute" },
    { key: "cluster.karmada.io/unschedulable", operator: "Exists", effect: "NoSchedule" },
  ]);
}

function constraints(chance: Chance): JsonObject[] {
  const range = (): JsonObject => {
    const minGroups = 1 + chance.int(3);
    return { minGroups, ...(chance.maybe(0.8) ? { maxGroups: minGroups + chance.int(3) } : {}) };
  };
  const cluster = { spreadByField: "cluster", ...range() };
  const region = { spreadByField: "region", ...range() };
  return chance.weighted<JsonObject[]>([
    [5, [cluster]],
    [3, [{ ...region, maxGroups: 1 + chance.int(2), minGroups: 1 }, cluster]],
    [2, [region, cluster]],
    [1, [region]],
    [1, [{ spreadByField: chance.pick(["zone", "provider"]), ...range() }, cluster]],
    [1, [{ spreadByLabel: "tier", ...range() }]],
  ]);
}

function weights(chance: Chance): JsonObject {
  const length = 1 + chance.int(4);
  return {
    staticWeightList: Array.from({ length }, () => ({
      targetCluster: chance.maybe(0.6) ? { clusterNames: [chance.pick(MEMBERS)] } : makeAffinity(chance),
      weight: chance.pick([1, 1, 2, 3, 5, 10, 997]),
    })),
  };
}

/** How replicas are divided. */
export function makeDivision(chance: Chance): JsonObject {
  const divided = { replicaSchedulingType: "Divided" };
  return chance.weighted<() => JsonObject>([
    [3, () => ({ replicaSchedulingType: "Duplicated" })],
    [4, () => ({ ...divided, replicaDivisionPreference: "Weighted", weightPreference: weights(chance) })],
    [
      3,
      () => ({
        ...divided,
        replicaDivisionPreference: "Weighted",
        weightPreference: { dynamicWeight: "AvailableReplicas" },
      }),
    ],
    [3, () => ({ ...divided, replicaDivisionPreference: "Aggregated" })],
    [1, () => ({ ...divided, replicaDivisionPreference: "Weighted" })],
    [1, () => divided],
    [
      1,
      () => ({
        ...divided,
        replicaDivisionPreference: "Weighted",
        weightPreference: { ...weights(chance), dynamicWeight: "AvailableReplicas" },
      }),
    ],
  ])();
}

/** Where objects go. */
export function makePlacement(chance: Chance): JsonObject {
  const isOrdered = chance.maybe(0.2);
  const terms = Array.from({ length: 1 + chance.int(3) }, (_, index) => ({
    affinityName: ["near", "far", "last"][index] ?? "more",
    ...makeAffinity(chance),
  }));
  return {
    ...(isOrdered ? { clusterAffinities: terms } : {}),
    ...(!isOrdered && chance.maybe(0.8) ? { clusterAffinity: makeAffinity(chance) } : {}),
    ...(chance.maybe(0.3)
      ? { clusterTolerations: Array.from({ length: 1 + chance.int(2) }, () => toleration(chance)) }
      : {}),
    ...(chance.maybe(0.3) ? { spreadConstraints: constraints(chance) } : {}),
    ...(chance.maybe(0.75) ? { replicaScheduling: makeDivision(chance) } : {}),
  };
}

/** Everything that says where objects go, wherever it is. */
export function placementsIn(value: unknown): JsonObject[] {
  if (Array.isArray(value)) return value.flatMap(placementsIn);
  if (!isObject(value)) return [];
  const isPlacement = PLACEMENT_FIELDS.some((field) => value[field] !== undefined);
  return isPlacement ? [value] : Object.values(value).flatMap((member: Json | undefined) => placementsIn(member));
}

const PLACEMENT_FIELDS = ["clusterAffinity", "clusterAffinities", "spreadConstraints", "replicaScheduling"];
