import type { JsonObject } from "../../../../src/kernel/kinds/object.js";
import { asObject } from "../../../../src/kernel/schema/index.js";
import { Chance } from "../../fuzz/chance.js";
import { makeChange, refOf, type Scenery } from "./changes.js";
import { placementsIn } from "./placements.js";
import { makeOverride, makePolicy } from "./policies.js";
import { makeTemplates } from "./templates.js";
import { type Batch, type FleetCase, MEMBERS, type World, type Write } from "./types.js";

/** How many cases have a world in common. */
export const AT_ONCE = 16;

/** Every member has room for so many pods. */
const MOST_SURE = 12;

/** What a field holds that nobody should write. */
function spoil(chance: Chance, policy: JsonObject): JsonObject {
  const spec = asObject(policy["spec"]);
  const placement = asObject(spec["placement"]);
  const spread = { spreadByField: "cluster", minGroups: 3, maxGroups: 2 };
  return {
    ...policy,
    spec: chance.pick<JsonObject>([
      { ...spec, placement: { clusterAffinity: {}, clusterAffinities: [{ affinityName: "a" }] } },
      { ...spec, placement: { clusterAffinities: [{ affinityName: "a" }, { affinityName: "a" }] } },
      { ...spec, placement: { ...placement, spreadConstraints: [spread] } },
      {
        ...spec,
        placement: {
          ...placement,
          spreadConstraints: [
            { spreadByField: "region", minGroups: 1 },
            { spreadByField: "region", minGroups: 1 },
          ],
        },
      },
      {
        ...spec,
        placement: {
          clusterAffinity: { fieldSelector: { matchExpressions: [{ key: "country", operator: "In", values: ["x"] }] } },
        },
      },
      {
        ...spec,
        placement: { clusterAffinity: { fieldSelector: { matchExpressions: [{ key: "zone", operator: "Exists" }] } } },
      },
      { ...spec, placement: { clusterTolerations: [{ key: "a b", operator: "Equal", value: "x" }] } },
      {
        ...spec,
        placement: {
          replicaScheduling: {
            replicaSchedulingType: "Divided",
            weightPreference: { staticWeightList: [{ targetCluster: {}, weight: 0 }] },
          },
        },
      },
      { ...spec, resourceSelectors: [] },
      { ...spec, conflictResolution: "Sometimes" },
      {
        ...spec,
        failover: { application: { decisionConditions: { tolerationSeconds: -1 }, purgeMode: "Gracefully" } },
        propagateDeps: true,
      },
      {
        ...spec,
        failover: { application: { decisionConditions: {}, purgeMode: "Directly", gracePeriodSeconds: 5 } },
        propagateDeps: true,
      },
      { ...spec, suspension: { dispatching: true, dispatchingOnClusters: { clusterNames: ["member1"] } } },
    ]),
  };
}

/** The same case for the same seed. */
export function generateCase(seed: number, tag: string): FleetCase {
  const chance = new Chance(seed * 7919);
  const namespace = `f${seed}${tag}`;
  const templates = makeTemplates(chance);
  const scene = { namespace, templates };
  const count = chance.weighted([
    [6, 1],
    [3, 2],
    [1, 3],
  ]);
  const policies = Array.from({ length: count }, (_, index) => makePolicy(chance, scene, `p${index + 1}`));
  const overrides = Array.from({ length: chance.int(3) }, (_, index) => makeOverride(chance, scene, `o${index + 1}`));
  const scenery: Scenery = { ...scene, policies, overrides };
  const first = templates.map(({ object }): Write => ({ create: object }));
  const rules = [...policies, ...overrides].map((object): Write => ({ create: object }));
  const spoiled = chance.maybe(0.12) ? [{ create: { ...spoil(chance, makePolicy(chance, scene, "bad")) } }] : [];
  // Of policies that come one after the other to what is there already the first would have it: a matter of moments.
  const isLater = policies.length === 1 && chance.maybe(0.4);
  const before = isLater ? first : [...rules, ...spoiled, ...strangers(chance, scenery)];
  const beginning = isLater ? [...rules.toReversed(), ...spoiled] : first;
  const change = makeChange(chance, scenery, "a");
  const later = makeChange(chance, scenery, "b");
  return tamed({ seed, namespace, phases: [before, beginning, change, [], later, ending(chance, scenery)] });
}

/**
 * Karmada's scheduler divides by the clusters of a region, zone or provider that have room for all replicas of what is duplicated: by zero it ends. Such replicas
 * always have room.
 */
function tamed(fleetCase: FleetCase): FleetCase {
  const isWhole = placementsIn(fleetCase.phases).some(
    ({ spreadConstraints, replicaScheduling }) =>
      /"(region|zone|provider)"/.test(JSON.stringify(spreadConstraints ?? [])) &&
      asObject(replicaScheduling)["replicaSchedulingType"] !== "Divided",
  );
  if (!isWhole) return fleetCase;
  const phases: FleetCase["phases"] = JSON.parse(JSON.stringify(fleetCase.phases), small);
  return { ...fleetCase, phases };
}

function small(key: string, value: unknown): unknown {
  if (key === "requests") return undefined;
  return ["replicas", "parallelism"].includes(key) && typeof value === "number" ? Math.min(value, MOST_SURE) : value;
}

/** Members may have an object of their own under a template's name. */
function strangers(chance: Chance, { templates }: Scenery): Write[] {
  if (!chance.maybe(0.12)) return [];
  const { object } = chance.pick(templates);
  const on = chance.pick(MEMBERS);
  return [{ on, create: { ...object, metadata: { ...asObject(object["metadata"]), labels: { own: "yes" } } } }];
}

/** Policies go, or templates, or both. */
function ending(chance: Chance, { policies, templates }: Scenery): Write[] {
  const writes = chance.weighted<readonly JsonObject[]>([
    [3, policies],
    [3, templates.map(({ object }) => object)],
    [1, [...policies, ...templates.map(({ object }) => object)]],
  ]);
  return writes.map((object) => ({ remove: refOf(object) }));
}

const places: Readonly<Record<string, JsonObject>> = {
  member1: { region: "eu", provider: "alpha", zones: ["eu-1"] },
  member2: { region: "eu", provider: "beta", zones: ["eu-2"] },
  member3: { region: "us", provider: "alpha", zones: ["us-1"] },
  member4: { region: "us", provider: "beta", zones: ["us-1", "us-2"] },
};

function taints(chance: Chance, mayExecute: boolean): JsonObject[] {
  return chance.weighted<JsonObject[]>([
    [8, []],
    [2, [{ key: "dedicated", value: "ml", effect: "NoSchedule" }]],
    [1, [{ key: "dedicated", value: "web", effect: "NoSchedule" }]],
    [1, [{ key: "cluster.karmada.io/unschedulable", effect: "NoSchedule" }]],
    [mayExecute ? 1 : 0, [{ key: "broken", value: "yes", effect: "NoExecute" }]],
  ]);
}

function makeWorld(chance: Chance, mayExecute: boolean): World {
  const node = (): JsonObject => ({
    cpu: chance.pick(["1", "2", "4", "8", "16", "3"]),
    memory: chance.pick(["2Gi", "8Gi", "16Gi", "32Gi", "7Gi"]),
    pods: chance.pick(["110", "110", "20", "6"]),
  });
  const clusters = MEMBERS.map((name) => {
    const labels = {
      tier: chance.weighted<string | null>([
        [4, "gold"],
        [4, "silver"],
        [1, "bronze"],
        [1, null],
      ]),
      site: chance.maybe(0.3) ? "paris" : null,
      canary: chance.maybe(0.3) ? "yes" : null,
    };
    const moved = chance.maybe(0.15) ? { region: "", zones: null } : {};
    return [
      name,
      { metadata: { labels }, spec: { ...places[name], ...moved, taints: taints(chance, mayExecute) } },
    ] as const;
  });
  return {
    clusters: Object.fromEntries(clusters),
    nodes: Object.fromEntries(MEMBERS.map((name) => [name, [node(), node()]])),
  };
}

/** The cases of these seeds by what they have in common. */
export function generateBatches(from: number, to: number, tag: string): Batch[] {
  const batches = new Map<number, FleetCase[]>();
  for (let seed = from; seed <= to; seed += 1) {
    const number = Math.floor((seed - 1) / AT_ONCE);
    batches.set(number, [...(batches.get(number) ?? []), generateCase(seed, tag)]);
  }
  return [...batches].map(([number, cases]) => {
    const chance = new Chance(number * 104_729 + 1);
    return { worlds: [makeWorld(chance, false), makeWorld(chance, true)], cases };
  });
}
