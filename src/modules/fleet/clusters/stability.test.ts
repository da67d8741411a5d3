import { expect, test } from "vitest";
import type { ResourceBinding } from "../bindings/kinds.js";
import type { Cluster } from "../kinds.js";
import { planFailBack } from "./fail-back.js";
import { brakeOn, FAIL_BACK_AFTER, FAILED_AT, failureNote, settlesInMs } from "./stability.js";

const start = Date.parse("2026-01-01T00:00:00Z");
const at = (minutes: number): string => new Date(start + minutes * 60_000).toISOString().replace(".000", "");
const nowAt = (minutes: number): number => start + minutes * 60_000;

function cluster(ready: string, sinceMinutes: number, annotations: Record<string, string> = {}): Cluster {
  return {
    apiVersion: "cluster.karmada.io/v1alpha1",
    kind: "Cluster",
    metadata: { name: "m", uid: "u", resourceVersion: "1", creationTimestamp: at(-60), annotations },
    spec: { syncMode: "Push" },
    status: {
      conditions: [
        {
          type: "Ready",
          status: ready as "True",
          reason: "X",
          message: "",
          lastTransitionTime: at(sinceMinutes),
        },
      ],
    },
  };
}

test("a failure is noted once, and those of more than an hour ago are forgotten", () => {
  expect(failureNote(cluster("False", 10))).toBe(at(10));
  expect(failureNote(cluster("Unknown", 10, { [FAILED_AT]: at(10) }))).toBeUndefined();
  expect(failureNote(cluster("True", 10))).toBeUndefined();
  expect(failureNote(cluster("False", 100, { [FAILED_AT]: `${at(10)},${at(80)}` }))).toBe(`${at(80)},${at(100)}`);
  expect(failureNote(cluster("False", -60))).toBeUndefined();
});

test("a cluster is trusted again after five minutes, twice as late for each further failure, an hour later at most", () => {
  const failed = (...minutes: number[]) => ({ [FAILED_AT]: minutes.map(at).join(",") });
  expect(settlesInMs(cluster("False", 0, failed(0)), nowAt(30))).toBeUndefined();
  expect(settlesInMs(cluster("True", 1, failed(0)), nowAt(2))).toBe(240_000);
  expect(settlesInMs(cluster("True", 1, failed(0)), nowAt(6))).toBe(0);
  expect(settlesInMs(cluster("True", 30, failed(0, 10, 20)), nowAt(31))).toBe(19 * 60_000);
  expect(settlesInMs(cluster("True", 30, failed(0, 2, 4, 6, 8, 10, 12, 14)), nowAt(31))).toBe(59 * 60_000);
  expect(settlesInMs(cluster("True", 1, { ...failed(0), [FAIL_BACK_AFTER]: "90s" }), nowAt(2))).toBe(30_000);
  expect(settlesInMs(cluster("True", 1, { [FAIL_BACK_AFTER]: "never" }), nowAt(900))).toBeUndefined();
  expect(settlesInMs(cluster("True", 1, { [FAIL_BACK_AFTER]: "soon" }), nowAt(2))).toBe(240_000);
});

test("the brake is on when more than half of the clusters, and more than one, are away", () => {
  const fleet = (away: number, well: number) => [
    ...Array.from({ length: away }, () => cluster("False", 0)),
    ...Array.from({ length: well }, () => cluster("True", 0)),
  ];
  expect(brakeOn(fleet(2, 2))).toBeUndefined();
  expect(brakeOn(fleet(1, 0))).toBeUndefined();
  expect(brakeOn(fleet(3, 2))).toContain("3 of 5 clusters are not ready");
});

test("what is leaving waits for its end; what is not divided needs no new placement", () => {
  const binding = (spec: object) =>
    ({
      metadata: { name: "b", annotations: { "argosy.dev/lost-clusters": "m,gone" } },
      spec,
    }) as unknown as ResourceBinding;
  const facts = {
    cluster: (name: string) => (name === "m" ? cluster("True", 0) : undefined),
    wouldGoTo: () => true,
    nowMs: nowAt(5),
  };
  const divided = { replicas: 2, placement: { replicaScheduling: { replicaSchedulingType: "Divided" } } };
  expect(planFailBack(binding(divided), facts)).toMatchObject({ kept: [], trusted: ["m", "gone"], due: ["m", "gone"] });
  expect(planFailBack(binding({ ...divided, clusters: [{ name: "m", replicas: 1 }] }), facts).due).toEqual(["gone"]);
  expect(planFailBack(binding({}), facts)).toMatchObject({ trusted: ["m", "gone"], due: [] });
  const tasks = [{ fromCluster: "m", reason: "TaintUntolerated", producer: "TaintManager" }];
  expect(planFailBack(binding({ ...divided, gracefulEvictionTasks: tasks }), facts).kept).toEqual(["m"]);
  expect(planFailBack(binding(divided), { ...facts, nowMs: nowAt(4) })).toMatchObject({ kept: ["m"], againMs: 60_000 });
});
