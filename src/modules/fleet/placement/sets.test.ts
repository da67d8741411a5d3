import { expect, test } from "vitest";
import { type ClusterFacts, type Demand, place, type WorkloadSet } from "./index.js";
import { setsFor } from "./sets.js";

const gi = 1024n ** 3n * 1000n;
const cpu = (milli: bigint): ReadonlyMap<string, bigint> => new Map([["cpu", milli]]);

/** Nodes by how many CPUs each has free. */
function cluster(name: string, nodes: readonly number[], rest: Partial<ClusterFacts> = {}): ClusterFacts {
  const total = nodes.reduce((sum, each) => sum + each, 0);
  return {
    name,
    labels: {},
    provider: "",
    region: "",
    zones: [],
    taints: [],
    kinds: new Set(["ray.io/v1/RayCluster"]),
    knowsAllKinds: true,
    isLeaving: false,
    capacity: {
      free: new Map([
        ["pods", BigInt(nodes.length) * 110_000n],
        ["cpu", BigInt(total) * 1000n],
        ["memory", BigInt(total) * 4n * gi],
        ["example.com/gpu", 2000n],
      ]),
      grades: nodes.map((cpus) => ({
        leastFree: new Map([
          ["cpu", BigInt(cpus) * 1000n],
          ["memory", BigInt(cpus) * 4n * gi],
        ]),
        nodes: 1,
      })),
    },
    ...rest,
  };
}

function setOf(...parts: [number, ReadonlyMap<string, bigint>][]): WorkloadSet {
  const requests = new Map<string, bigint>();
  for (const [replicas, each] of parts)
    for (const [name, milli] of each) requests.set(name, (requests.get(name) ?? 0n) + milli * BigInt(replicas));
  return {
    pods: parts.reduce((sum, [replicas]) => sum + replicas, 0),
    requests,
    parts: parts.map(([replicas, each]) => ({ replicas, requests: each })),
  };
}

function decide(set: WorkloadSet, clusters: readonly ClusterFacts[], rest: Partial<Demand> = {}): string {
  const demand: Demand = {
    apiVersion: "ray.io/v1",
    kind: "RayCluster",
    uid: "u",
    replicas: undefined,
    requests: new Map(),
    set,
    assigned: [],
    evicting: new Set(),
    isFresh: false,
    ...rest,
  };
  const spreadConstraints = [{ spreadByField: "cluster", minGroups: 1, maxGroups: 1 }];
  const result = place(demand, { spreadConstraints }, clusters);
  return result.isPlaced ? result.targets.map(({ name }) => name).join() : result.message;
}

const head = cpu(2000n);
const worker = cpu(4000n);

test("a set goes where all of it fits, node by node, and where there is most room", () => {
  const set = setOf([1, head], [2, worker]);
  expect(decide(set, [cluster("a", [4, 4]), cluster("b", [4, 4, 2]), cluster("c", [32])])).toBe("c");
  // Ten CPUs in all, but no node for the second worker.
  expect(setsFor(cluster("a", [5, 3, 2]), set)).toBe(0);
  expect(setsFor(cluster("a", [16, 16]), set)).toBe(3);
  expect(setsFor(cluster("a", [8, 2]), set)).toBe(1);
  expect(decide(set, [cluster("a", [4, 4]), cluster("b", [2, 2, 2, 2, 2])])).toBe(
    "0/2 clusters are available: 2 cluster(s) did not have room for all components together.",
  );
});

test("what asks for nothing is bound by pods, accelerators in sum, and nothing where a cluster does not tell", () => {
  expect(setsFor(cluster("a", [4]), setOf([60, new Map()]))).toBe(1);
  expect(setsFor(cluster("a", [4]), setOf([0, head]))).toBe(Number.MAX_SAFE_INTEGER);
  expect(setsFor(cluster("a", [16]), setOf([1, new Map([["example.com/gpu", 1000n]])]))).toBe(2);
  expect(decide(setOf([9, worker]), [cluster("a", [], { capacity: undefined })])).toBe("a");
});

test("where a set is it stays, though there is no room for another", () => {
  const set = setOf([1, head], [2, worker]);
  expect(decide(set, [cluster("a", [1]), cluster("b", [64])], { assigned: [{ name: "a", replicas: undefined }] })).toBe(
    "a",
  );
});

test("many small pods are placed as fast as few", () => {
  expect(
    setsFor(
      cluster(
        "a",
        Array.from({ length: 100 }, () => 16),
      ),
      setOf([1500, cpu(1000n)], [1, head]),
    ),
  ).toBe(1);
  expect(
    setsFor(
      cluster(
        "a",
        Array.from({ length: 100 }, () => 16),
      ),
      setOf([1600, cpu(1000n)], [1, head]),
    ),
  ).toBe(0);
});
