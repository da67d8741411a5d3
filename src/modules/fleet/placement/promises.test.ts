import { expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import { type ClusterFacts, type Demand, place } from "./index.js";
import { Promises } from "./promises.js";

const cpu = (milli: bigint): ReadonlyMap<string, bigint> => new Map([["cpu", milli]]);
const one = cpu(1000n);
const used = (pods: bigint, milli: bigint) =>
  new Map([
    ["pods", pods * 1000n],
    ["cpu", milli],
  ]);

function setUp(rooms: Record<string, bigint>) {
  const clock = virtualClock();
  const promises = new Promises();
  promises.start(clock);
  for (const name of Object.keys(rooms)) promises.seeNodes(name, true);
  const clusters = Object.entries(rooms).map(
    ([name, cpus]): ClusterFacts => ({
      name,
      labels: {},
      provider: "",
      region: "",
      zones: [],
      taints: [],
      kinds: new Set(["apps/v1/Deployment"]),
      knowsAllKinds: true,
      isLeaving: false,
      capacity: { free: new Map([...used(110n, cpus * 1000n)]), grades: [] },
      promised: promises.in(name),
    }),
  );
  /** Decides about an object that is nowhere yet, and promises it its room. */
  const decide = (uid: string, replicas: number, preference = "Weighted") => {
    const demand: Demand = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      uid,
      replicas,
      requests: one,
      assigned: [],
      evicting: new Set(),
      isFresh: false,
    };
    const result = place(
      demand,
      {
        replicaScheduling: {
          replicaSchedulingType: "Divided",
          replicaDivisionPreference: preference,
          weightPreference: { dynamicWeight: "AvailableReplicas" },
        },
      },
      clusters,
    );
    if (!result.isPlaced) return result.message;
    promises.promise(uid, one, [], result.targets);
    return Object.fromEntries(result.targets.map(({ name, replicas: count }) => [name, count]));
  };
  return { clock, promises, decide };
}

test("a burst of decisions gives the same room away once", async () => {
  const { decide, promises, clock } = setUp({ a: 8n, b: 4n });
  expect(decide("1", 6)).toEqual({ a: 4, b: 2 });
  expect(decide("2", 3)).toEqual({ a: 2, b: 1 });
  // By what the clusters tell there is room for three in a.
  expect(decide("3", 3, "Aggregated")).toEqual({ a: 2, b: 1 });
  expect(decide("4", 1)).toBe(
    "failed to assign replicas: failed to scale up: Clusters available replicas 0 are not enough to schedule.",
  );
  let freed = 0;
  promises.onRelease(() => {
    freed += 1;
  });
  await clock.advance(31_000);
  expect(freed).toBe(1);
  expect(decide("4", 6)).toEqual({ a: 4, b: 2 });
});

test("a promise ends when the cluster's figures grow by as much, not by what others use", () => {
  const { decide, promises } = setUp({ a: 8n });
  decide("1", 5);
  promises.see("a", used(0n, 0n), used(3n, 300n));
  expect(promises.in("a").taken(one, "")).toEqual({ pods: 5, replicas: 5 });
  promises.see("a", used(3n, 300n), used(6n, 2300n));
  expect(promises.in("a").taken(one, "")).toEqual({ pods: 3, replicas: 3 });
  promises.see("a", used(6n, 2300n), used(9n, 5300n));
  expect(promises.in("a").isEmpty).toBe(true);
});

test("a promise ends soon where the member has the object and nobody begins with it, later where somebody does", async () => {
  const { decide, promises, clock } = setUp({ a: 8n, b: 8n });
  decide("1", 4);
  promises.hear("1", [
    { clusterName: "a", applied: true, status: { generation: 1, resourceTemplateGeneration: 1 } },
    { clusterName: "b", applied: true, status: { observedGeneration: 1 } },
  ]);
  await clock.advance(3000);
  expect(promises.in("a").isEmpty).toBe(true);
  expect(promises.in("b").isEmpty).toBe(false);
  await clock.advance(28_000);
  expect(promises.in("b").isEmpty).toBe(true);
});

test("nothing is held back where no kubelet looks after the nodes; where nodes are not known, pods tell", () => {
  const { decide, promises } = setUp({ a: 8n });
  promises.seeNodes("a", false);
  expect([decide("1", 8), decide("2", 8)]).toEqual([{ a: 8 }, { a: 8 }]);
  const elsewhere = promises.in("b");
  promises.promise("3", one, [], [{ name: "b", replicas: 2 }]);
  expect(elsewhere.isEmpty).toBe(true);
  promises.see("b", new Map(), used(1n, 100n));
  expect(elsewhere.taken(one, "")).toEqual({ pods: 2, replicas: 2 });
});

test("a decision that is said again is promised once; one that takes less gives back; what is gone needs nothing", () => {
  const { promises } = setUp({ a: 8n });
  const target = (replicas: number) => [{ name: "a", replicas }];
  promises.promise("1", one, target(1), target(5));
  promises.promise("1", one, target(1), target(5));
  expect(promises.in("a").taken(one, "")).toEqual({ pods: 4, replicas: 4 });
  expect(promises.in("a").taken(cpu(500n), "")).toEqual({ pods: 4, replicas: 8 });
  expect(promises.in("a").taken(one, "1")).toEqual({ pods: 0, replicas: 0 });
  promises.promise("1", one, target(5), target(2));
  expect(promises.in("a").taken(one, "")).toEqual({ pods: 1, replicas: 1 });
  promises.promise("2", cpu(2000n), [], target(1));
  expect(promises.in("a").taken(one, "")).toEqual({ pods: 2, replicas: 3 });
  promises.forget("2");
  promises.promise("1", one, target(2), []);
  expect(promises.in("a").isEmpty).toBe(true);
});
