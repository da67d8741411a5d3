import { expect, test } from "vitest";
import type { ClusterFacts } from "../placement/types.js";
import { BINDING, bindingNameOf, workNameOf } from "../policies/marks.js";
import { type Bound, decide, isOurs, placementText, targetsOf, verdictOn } from "./decide.js";
import type { BindingSpec } from "./kinds.js";

function cluster(name: string, more: Partial<ClusterFacts> = {}): ClusterFacts {
  return {
    name,
    labels: {},
    provider: "",
    region: "",
    zones: [],
    taints: [],
    kinds: new Set(["apps/v1/Deployment"]),
    knowsAllKinds: true,
    isLeaving: false,
    capacity: { free: new Map([["pods", 10_000n]]), grades: [] },
    ...more,
  };
}

const clusters = [cluster("a"), cluster("b")];
const known = new Map(clusters.map((each) => [each.name, each]));
const divided: BindingSpec["placement"] = { replicaScheduling: { replicaSchedulingType: "Divided" } };

function bound(spec: Partial<BindingSpec>, more: Partial<Bound> = {}): Bound {
  const whole: BindingSpec = {
    resource: { apiVersion: "apps/v1", kind: "Deployment", namespace: "demo", name: "web", uid: "u" },
    conflictResolution: "Abort",
    placement: divided ?? {},
    ...spec,
  };
  const annotations = { [BINDING.appliedPlacement]: placementText(whole.placement ?? {}) };
  return { spec: whole, annotations, ...more };
}

const placed = [
  { name: "a", replicas: 2 },
  { name: "b", replicas: 1 },
];

test("what is divided stays where it is until something asks for a change", () => {
  const binding = bound({ replicas: 3, clusters: placed });
  expect(verdictOn(binding, known)).toMatchObject({ isDue: false });
  expect(verdictOn({ ...binding, annotations: {} }, known)).toMatchObject({ isDue: true, why: "placement changed" });
  expect(verdictOn(bound({ replicas: 4, clusters: placed }), known)).toMatchObject({ isDue: true, isFresh: false });
  expect(verdictOn(binding, new Map([["a", cluster("a")]]))).toMatchObject({ why: "cluster b leaves" });
  const narrow = { ...divided, clusterAffinity: { clusterNames: ["a"] } };
  expect(verdictOn(bound({ placement: narrow, replicas: 3, clusters: placed }), known)).toMatchObject({
    why: "cluster b is not meant any more",
  });
});

test("a wish for a fresh placement is answered once", () => {
  const wish = { replicas: 3, clusters: placed, rescheduleTriggeredAt: "2026-01-01T00:00:01Z" };
  expect(verdictOn(bound(wish), known)).toMatchObject({ isDue: true, isFresh: true });
  expect(verdictOn(bound(wish, { status: { lastScheduledTime: "2026-01-01T00:00:01Z" } }), known).isDue).toBe(false);
  const { annotations } = bound(wish);
  const answered = { ...annotations, [BINDING.rescheduled]: wish.rescheduleTriggeredAt };
  expect(verdictOn(bound(wish, { annotations: answered }), known).isDue).toBe(false);
});

test("a workload without replicas goes nowhere, an object that asks for nothing goes wherever it fits", () => {
  const targets = (spec: Partial<BindingSpec>) => {
    const result = decide(bound(spec), clusters, false);
    return result.isPlaced ? targetsOf(result.targets) : result.message;
  };
  expect(targets({})).toEqual([{ name: "a" }, { name: "b" }]);
  expect(targets({ replicaRequirements: { resourceRequest: { cpu: "1" } } })).toEqual([]);
  expect(targets({ replicas: 2 })).toEqual([
    { name: "a", replicas: 1 },
    { name: "b", replicas: 1 },
  ]);
});

test("what is suspended, or another scheduler's, or has no placement of its own is left alone", () => {
  expect(isOurs(bound({}).spec)).toBe(true);
  expect(isOurs(bound({ suspension: { scheduling: true } }).spec)).toBe(false);
  expect(isOurs(bound({ schedulerName: "mine" }).spec)).toBe(false);
  const { placement: _placement, ...without } = bound({}).spec;
  expect(isOurs(without)).toBe(false);
});

test("a placement is written in one order, whatever order it was asked for in", () => {
  const text = placementText({
    replicaScheduling: { replicaDivisionPreference: "Weighted", replicaSchedulingType: "Divided" },
    clusterAffinity: { exclude: ["b"], clusterNames: ["a"] },
  });
  expect(text).toBe(
    '{"clusterAffinity":{"clusterNames":["a"],"exclude":["b"]},"replicaScheduling":{"replicaSchedulingType":"Divided","replicaDivisionPreference":"Weighted"}}',
  );
});

test("bindings and Works are called as Karmada calls them", () => {
  expect(bindingNameOf("Deployment", "web")).toBe("web-deployment");
  expect(bindingNameOf("ClusterRole", "system:x")).toBe("system.x-clusterrole");
  // Names that a real Karmada gave.
  expect(workNameOf("Deployment", "fleet-names", "web")).toBe("web-675fb5c89f");
  expect(workNameOf("Service", "fleet-names", "web")).toBe("web-65c4dbb475");
});
