import fc from "fast-check";
import { expect, test } from "vitest";
import { webster } from "./divide.js";
import { fnv1a } from "./hash.js";
import { type ClusterFacts, type Demand, type Placement, type PlacementResult, place } from "./index.js";

const gi = 1024n ** 3n * 1000n;
const grades: readonly (readonly [bigint, bigint])[] = [
  [0n, 0n],
  [1000n, 4n * gi],
  [2000n, 16n * gi],
  [4000n, 32n * gi],
  [8000n, 64n * gi],
  [16_000n, 128n * gi],
];

/** Nodes of a grade; as many pods as two nodes of 110 have. */
function cluster(
  name: string,
  region: string,
  [nodes, grade]: [number, number],
  rest: Partial<ClusterFacts> = {},
): ClusterFacts {
  return {
    name,
    labels: { tier: region },
    provider: `${region}-cloud`,
    region,
    zones: [`${region}-1`],
    taints: [],
    kinds: new Set(["apps/v1/Deployment", "v1/ConfigMap"]),
    knowsAllKinds: true,
    isLeaving: false,
    capacity: {
      free: new Map([
        ["pods", BigInt(nodes) * 110_000n],
        ["example.com/gpu", 3000n],
      ]),
      grades: grades.map(([cpu, memory], index) => ({
        leastFree: new Map([
          ["cpu", cpu],
          ["memory", memory],
        ]),
        nodes: index === grade ? nodes : 0,
      })),
    },
    ...rest,
  };
}

// Room for replicas of one CPU: 8, 4, 1 and 16.
const fleet = [
  cluster("member1", "eu", [2, 3]),
  cluster("member2", "eu", [2, 2]),
  cluster("member3", "us", [1, 1]),
  cluster("member4", "us", [1, 5]),
];

const demand = (replicas: number | undefined, rest: Partial<Demand> = {}): Demand => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  uid: "u",
  replicas,
  requests: new Map([["cpu", 1000n]]),
  assigned: [],
  evicting: new Set(),
  isFresh: false,
  ...rest,
});

const said = (result: PlacementResult): unknown =>
  result.isPlaced
    ? Object.fromEntries(result.targets.map(({ name, replicas }) => [name, replicas ?? null]))
    : `${result.reason}: ${result.message}`;

const names = (...clusterNames: string[]) => ({ clusterAffinity: { clusterNames } });
const dynamic: Placement = {
  replicaScheduling: {
    replicaSchedulingType: "Divided",
    replicaDivisionPreference: "Weighted",
    weightPreference: { dynamicWeight: "AvailableReplicas" },
  },
};
const aggregated: Placement = {
  replicaScheduling: { replicaSchedulingType: "Divided", replicaDivisionPreference: "Aggregated" },
};
const weighted = (...weights: [string, number][]): Placement => ({
  replicaScheduling: {
    replicaSchedulingType: "Divided",
    replicaDivisionPreference: "Weighted",
    weightPreference: {
      staticWeightList: weights.map(([name, weight]) => ({ targetCluster: { clusterNames: [name] }, weight })),
    },
  },
});
const holds = (counts: Record<string, number>): Partial<Demand> => ({
  assigned: Object.entries(counts).map(([name, replicas]) => ({ name, replicas })),
});

// What a Karmada 1.16 was seen to do with such clusters.
test.each<[string, Demand, Placement, unknown]>([
  ["duplicated", demand(3), names("member1", "member2"), { member1: 3, member2: 3 }],
  ["no placement", demand(2), {}, { member1: 2, member2: 2, member3: 2, member4: 2 }],
  ["no replicas in the kind", demand(undefined), names("member1"), { member1: null }],
  [
    "static 1:2:3 of 10",
    demand(10),
    weighted(["member1", 1], ["member2", 2], ["member3", 3]),
    { member1: 2, member2: 3, member3: 5 },
  ],
  [
    "static, large",
    demand(100),
    weighted(["member1", 997], ["member2", 3], ["member3", 500]),
    { member1: 67, member3: 33 },
  ],
  ["static, one replica", demand(1), weighted(["member1", 1], ["member2", 2]), { member2: 1 }],
  ["static, nobody matches", demand(4), weighted(["elsewhere", 1]), { member1: 1, member2: 1, member3: 1, member4: 1 }],
  ["dynamic, few", demand(3), dynamic, { member1: 1, member4: 2 }],
  [
    "dynamic, more by one",
    demand(7, holds({ member1: 4, member2: 2 })),
    { ...dynamic, ...names("member1", "member2") },
    { member1: 5, member2: 2 },
  ],
  [
    "dynamic, fewer",
    demand(6, holds({ member1: 7, member2: 2 })),
    { ...dynamic, ...names("member1", "member2") },
    { member1: 5, member2: 1 },
  ],
  [
    "dynamic, computed anew",
    demand(6, { ...holds({ member1: 5, member2: 1 }), isFresh: true }),
    { ...dynamic, ...names("member1", "member2") },
    { member1: 4, member2: 2 },
  ],
  [
    "dynamic, a member left",
    demand(8, holds({ member1: 5, member2: 3 })),
    { ...dynamic, ...names("member2", "member4") },
    { member2: 4, member4: 4 },
  ],
  [
    "dynamic, one comes in",
    demand(8, holds({ member1: 5, member2: 3 })),
    { ...dynamic, ...names("member1", "member2", "member4") },
    { member1: 5, member2: 3 },
  ],
  [
    "dynamic, too many",
    demand(200, holds({ member1: 4, member2: 2 })),
    { ...dynamic, ...names("member1", "member2") },
    "SchedulerError: failed to assign replicas: failed to scale up: Clusters available replicas 12 are not enough to schedule.",
  ],
  ["aggregated", demand(3), aggregated, { member4: 3 }],
  ["aggregated, on where it is", demand(18, holds({ member4: 9 })), aggregated, { member4: 18 }],
  [
    "aggregated, too many",
    demand(400),
    aggregated,
    "SchedulerError: failed to assign replicas: failed to scale up: Clusters available replicas 29 are not enough to schedule.",
  ],
  ["aggregated, fewer where most are", demand(3, holds({ member1: 4, member2: 2 })), aggregated, { member1: 3 }],
  [
    "aggregated, fewer than one alone has",
    demand(5, holds({ member1: 4, member2: 3 })),
    aggregated,
    { member1: 3, member2: 2 },
  ],
  [
    "computed anew, too many",
    demand(200, { ...holds({ member1: 4, member2: 2 }), isFresh: true }),
    { ...dynamic, ...names("member1", "member2") },
    "SchedulerError: failed to assign replicas: failed to do fresh scale: Clusters available replicas 18 are not enough to schedule.",
  ],
  [
    "memory decides",
    demand(8, { requests: new Map([["memory", 6n * gi]]) }),
    { ...dynamic, ...names("member1", "member3") },
    { member1: 8 },
  ],
  [
    "accelerators in sum",
    demand(6, { requests: new Map([["example.com/gpu", 1000n]]) }),
    { ...dynamic, ...names("member1", "member3") },
    { member1: 3, member3: 3 },
  ],
  [
    "nobody fits",
    demand(1),
    names("nowhere"),
    "NoClusterFit: 0/4 clusters are available: 4 cluster(s) did not match the placement cluster affinity constraint.",
  ],
  [
    "a kind that nobody serves",
    demand(1, { kind: "Widget" }),
    {},
    "NoClusterFit: 0/4 clusters are available: 4 cluster(s) did not have the API resource.",
  ],
  [
    "spread over two or three",
    demand(2, { requests: new Map() }),
    { spreadConstraints: [{ spreadByField: "cluster", minGroups: 2, maxGroups: 3 }] },
    { member1: 2, member2: 2, member3: 2 },
  ],
  [
    "more than the affinity leaves",
    demand(2),
    { ...names("member1", "member2"), spreadConstraints: [{ spreadByField: "cluster", minGroups: 3, maxGroups: 3 }] },
    "SchedulerError: failed to select clusters: the number of feasible clusters is less than spreadConstraint.MinGroups",
  ],
  [
    "one region, two clusters",
    demand(2, { requests: new Map() }),
    {
      spreadConstraints: [
        { spreadByField: "region", minGroups: 1, maxGroups: 1 },
        { spreadByField: "cluster", minGroups: 2, maxGroups: 2 },
      ],
    },
    { member1: 2, member2: 2 },
  ],
  [
    "two regions, four clusters",
    demand(2),
    {
      spreadConstraints: [
        { spreadByField: "region", minGroups: 2, maxGroups: 2 },
        { spreadByField: "cluster", minGroups: 4, maxGroups: 4 },
      ],
    },
    { member1: 2, member2: 2, member3: 2, member4: 2 },
  ],
  [
    "two clusters with room, not those where it is",
    demand(20, holds({ member2: 1, member3: 1 })),
    { ...aggregated, spreadConstraints: [{ spreadByField: "cluster", minGroups: 1, maxGroups: 2 }] },
    { member2: 5, member4: 15 },
  ],
  [
    "two clusters, none of which has room",
    demand(30),
    { ...dynamic, spreadConstraints: [{ spreadByField: "cluster", minGroups: 1, maxGroups: 2 }] },
    "SchedulerError: failed to select clusters: no enough resource when selecting 2 clusters",
  ],
  [
    "of objects without replicas by name",
    demand(undefined, { kind: "ConfigMap", apiVersion: "v1" }),
    { spreadConstraints: [{ spreadByField: "cluster", minGroups: 1, maxGroups: 2 }] },
    { member1: null, member2: null },
  ],
  [
    "no more regions than needed",
    demand(2, { requests: new Map() }),
    {
      spreadConstraints: [
        { spreadByField: "region", minGroups: 1, maxGroups: 2 },
        { spreadByField: "cluster", minGroups: 1, maxGroups: 4 },
      ],
    },
    { member1: 2, member2: 2 },
  ],
  [
    "as many regions as have clusters enough",
    demand(2, { requests: new Map() }),
    {
      spreadConstraints: [
        { spreadByField: "region", minGroups: 1, maxGroups: 2 },
        { spreadByField: "cluster", minGroups: 3, maxGroups: 3 },
      ],
    },
    { member1: 2, member2: 2, member3: 2 },
  ],
  [
    "regions with too few clusters",
    demand(2),
    {
      ...names("member1", "member3"),
      spreadConstraints: [
        { spreadByField: "region", minGroups: 1, maxGroups: 2 },
        { spreadByField: "cluster", minGroups: 3, maxGroups: 3 },
      ],
    },
    "SchedulerError: failed to select clusters: the number of clusters is less than the cluster spreadConstraint.MinGroups",
  ],
  [
    "the region with room for its share",
    demand(14),
    {
      ...aggregated,
      spreadConstraints: [
        { spreadByField: "region", minGroups: 1, maxGroups: 1 },
        { spreadByField: "cluster", minGroups: 1, maxGroups: 4 },
      ],
    },
    { member4: 14 },
  ],
  [
    "two zones, two clusters",
    demand(2),
    {
      spreadConstraints: [
        { spreadByField: "zone", minGroups: 2, maxGroups: 2 },
        { spreadByField: "cluster", minGroups: 2, maxGroups: 2 },
      ],
    },
    { member1: 2, member4: 2 },
  ],
  [
    "two values of a label",
    demand(2),
    { spreadConstraints: [{ spreadByLabel: "tier", minGroups: 2, maxGroups: 2 }] },
    { member1: 2, member2: 2, member3: 2, member4: 2 },
  ],
])("%s", (_, asked, placement, expected) => {
  expect(said(place(asked, placement, fleet))).toEqual(expected);
});

test("a taint keeps newcomers out, not what runs; what tolerates it comes in", () => {
  const taint = { key: "dedicated", value: "ml", effect: "NoSchedule" };
  const [first, ...others] = fleet;
  const tainted = first === undefined ? [] : [{ ...first, taints: [taint] }, ...others];
  const only = names("member1");

  expect(said(place(demand(2), only, tainted))).toBe(
    "NoClusterFit: 0/4 clusters are available: 1 cluster(s) had untolerated taint {dedicated=ml:NoSchedule}, 3 cluster(s) did not match the placement cluster affinity constraint.",
  );
  expect(said(place(demand(5, holds({ member1: 2 })), only, tainted))).toEqual({ member1: 5 });
  const clusterTolerations = [{ key: "dedicated", operator: "Exists" }];
  expect(said(place(demand(2), { ...only, clusterTolerations }, tainted))).toEqual({ member1: 2 });
});

test("ordered affinities are tried in their order, from the one that is told", () => {
  const clusterAffinities = ["nowhere", "member2", "member3"].map((name) => ({
    affinityName: name,
    clusterNames: [name],
  }));

  expect(place(demand(1), { clusterAffinities }, fleet)).toMatchObject({
    targets: [{ name: "member2" }],
    trace: { affinity: "member2" },
  });
  expect(place(demand(1), { clusterAffinities }, fleet, "member3")).toMatchObject({ targets: [{ name: "member3" }] });
});

test("Webster's seats: all are given, in proportion, more votes never get fewer; equal votes differ by one at most", () => {
  const votes = fc.dictionary(fc.constantFrom("a", "b", "c", "d", "e"), fc.integer({ min: 0, max: 50 }), {
    minKeys: 1,
  });
  fc.assert(
    fc.property(votes, fc.nat(200), fc.boolean(), (all, seats, isDescending) => {
      const entries = Object.entries(all);
      const won = webster(seats, new Map(entries), isDescending);
      const given = [...won.values()].reduce((sum, count) => sum + count, 0);
      expect(given).toBe(entries.some(([, weight]) => weight > 0) ? seats : 0);
      for (const [a, votesA] of entries)
        for (const [b, votesB] of entries) {
          const [seatsA, seatsB] = [won.get(a) ?? 0, won.get(b) ?? 0];
          if (votesA > votesB) expect(seatsA).toBeGreaterThanOrEqual(seatsB);
          if (votesA === votesB) expect(Math.abs(seatsA - seatsB)).toBeLessThanOrEqual(1);
        }
    }),
  );
  expect(
    Object.fromEntries(
      webster(
        3,
        new Map([
          ["a", 1],
          ["b", 1],
        ]),
        false,
      ),
    ),
  ).toEqual({ a: 2, b: 1 });
  expect(
    Object.fromEntries(
      webster(
        3,
        new Map([
          ["a", 1],
          ["b", 1],
        ]),
        true,
      ),
    ),
  ).toEqual({ a: 1, b: 2 });
  // The reference values of the hash's authors.
  expect([fnv1a(""), fnv1a("a"), fnv1a("foobar")]).toEqual([0x811c9dc5, 0xe40c292c, 0xbf9cf968]);
});
