import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually, startFleet, type TestFleet } from "../fixture.js";
import { type Cluster, ClusterKind } from "../kinds.js";
import { actionsFor } from "./remedies.js";
import { type Remedy, RemedyKind } from "./remedy-kind.js";

const remedy = (spec: Remedy["spec"]): Remedy => ({
  apiVersion: "remedy.karmada.io/v1alpha1",
  kind: "Remedy",
  metadata: { name: "r", uid: "u", resourceVersion: "1", creationTimestamp: "" },
  spec,
});
const cluster = (status: "True" | "False"): Cluster => ({
  apiVersion: "cluster.karmada.io/v1alpha1",
  kind: "Cluster",
  metadata: { name: "m1", uid: "u", resourceVersion: "1", creationTimestamp: "" },
  spec: {},
  status: { conditions: [{ type: "Dns", status, reason: "X", message: "", lastTransitionTime: "" }] },
});
const dns = (operator: "Equal" | "NotEqual", conditionStatus: string) => ({
  decisionMatches: [{ clusterConditionMatch: { conditionType: "Dns", operator, conditionStatus } }],
  actions: ["TrafficControl" as const],
});

test("a remedy means its clusters by their conditions; without any, at once", () => {
  expect(actionsFor(cluster("False"), [remedy(dns("Equal", "False")), remedy(dns("NotEqual", "True"))])).toEqual([
    "TrafficControl",
  ]);
  expect(actionsFor(cluster("True"), [remedy(dns("Equal", "False")), remedy(dns("NotEqual", "True"))])).toEqual([]);
  expect(actionsFor(cluster("True"), [remedy({ actions: ["TrafficControl"] })])).toEqual(["TrafficControl"]);
  const elsewhere = { clusterAffinity: { clusterNames: ["m2"] }, actions: ["TrafficControl" as const] };
  expect(actionsFor(cluster("True"), [remedy(elsewhere)])).toEqual([]);
});

let fleet: TestFleet;
beforeAll(async () => {
  fleet = await startFleet(["m1"], { hubKinds: [RemedyKind] });
}, 30_000);
afterAll(() => fleet.close());

test("its actions are in the status of clusters as long as it is there", async () => {
  const { metadata: _metadata, ...rest } = remedy({ actions: ["TrafficControl"] });
  const remedies = fleet.hub.client.resource(RemedyKind);
  await remedies.create({ ...rest, metadata: { name: "r" } });
  const clusters = fleet.hub.client.resource(ClusterKind);
  const told = (expected: readonly string[] | undefined) =>
    eventually(
      () => clusters.get("m1"),
      ({ status }) => JSON.stringify(status?.remedyActions) === JSON.stringify(expected),
      "it is told",
    );
  await told(["TrafficControl"]);
  await remedies.delete("r");
  await told(undefined);
});
