import { expect, test } from "vitest";
import { type ClusterFacts, type Demand, place } from "./index.js";
import { Residents } from "./residents.js";

function setUp(...names: string[]) {
  const residents = new Residents();
  const clusters = names.map(
    (name): ClusterFacts => ({
      name,
      labels: {},
      provider: "",
      region: "",
      zones: [],
      taints: [],
      kinds: new Set(["v1/ConfigMap"]),
      knowsAllKinds: true,
      isLeaving: false,
      capacity: undefined,
      residents: residents.in(name),
    }),
  );
  const decide = (uid: string, groups: Pick<Demand, "together" | "apart">, assigned: string[] = []): string => {
    const demand: Demand = {
      apiVersion: "v1",
      kind: "ConfigMap",
      uid,
      replicas: undefined,
      requests: new Map(),
      assigned: assigned.map((name) => ({ name, replicas: undefined })),
      evicting: new Set(),
      isFresh: false,
      ...groups,
    };
    const one = [{ spreadByField: "cluster", minGroups: 1, maxGroups: 1 }];
    const result = place(demand, { spreadConstraints: one }, clusters);
    if (!result.isPlaced) return result.message;
    const targets = result.targets.map(({ name }) => name);
    residents.settle(uid, Object.values(groups), targets);
    return targets.join();
  };
  return { residents, decide };
}

test("those that go apart never meet, and say so when there are too few clusters", () => {
  const { decide, residents } = setUp("a", "b");
  expect([decide("1", { apart: "db" }), decide("2", { apart: "db" })]).toEqual(["a", "b"]);
  expect(decide("3", { apart: "db" })).toBe(
    "0/2 clusters are available: 2 cluster(s) had a workload of the same anti-affinity group.",
  );
  // Itself is no company, and where it is it stays.
  expect(decide("2", { apart: "db" }, ["b"])).toBe("b");
  expect(decide("4", { apart: "web" })).toBe("a");
  expect(residents.settle("1", [], [])).toBe(true);
  expect(decide("3", { apart: "db" })).toBe("a");
});

test("those that go together follow the first one", () => {
  const { decide, residents } = setUp("a", "b", "c");
  residents.settle("0", ["app"], ["b"]);
  expect([decide("1", { together: "app" }), decide("2", { together: "app" })]).toEqual(["b", "b"]);
  expect(decide("3", { together: "other" })).toBe("a");
  expect(residents.settle("1", ["app"], ["c"])).toBe(true);
  expect(residents.settle("1", ["app"], ["c", "a"])).toBe(false);
  expect(residents.in("a").has("app", "1")).toBe(false);
  expect(residents.in("a").has("app", "2")).toBe(true);
});
