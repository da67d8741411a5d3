import { afterAll, beforeAll, expect, test } from "vitest";
import { EventKind, type Pod, PodKind, ReplicationControllerKind } from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";
import { countByNode, rankForDeletion } from "./deletion-rank.js";

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster();
});
afterAll(() => play.close());

const at = { namespace: "default" };
const pods = async (app: string) =>
  (await play.client.resource(PodKind).list({ ...at, labelSelector: `app=${app}` })).items;

test("a ReplicationController keeps its pods, adopts strays and scales", async () => {
  const controllers = play.client.resource(ReplicationControllerKind);
  const template = { metadata: { labels: { app: "rc" } }, spec: { containers: [{ name: "main", image: "one" }] } };
  await play.client.resource(PodKind).create({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "stray", namespace: "default", labels: { app: "rc" } },
    spec: { containers: [{ name: "main", image: "one" }] },
  });
  // As upstream's, the controller counts what its watch has brought.
  await play.until(() => play.informers.informer(PodKind).get({ ...at, name: "stray" }) !== undefined);
  await controllers.create({
    apiVersion: "v1",
    kind: "ReplicationController",
    metadata: { name: "rc", namespace: "default" },
    spec: { replicas: 3, selector: { app: "rc" }, template },
  });

  await play.until(async () => (await controllers.get("rc", at)).status?.availableReplicas === 3);

  const { status } = await controllers.get("rc", at);
  expect(status).toMatchObject({ replicas: 3, readyReplicas: 3, fullyLabeledReplicas: 3 });
  const owner = (await pods("rc")).map((pod) => pod.metadata.ownerReferences?.[0]?.kind);
  expect(owner).toEqual(["ReplicationController", "ReplicationController", "ReplicationController"]);
  expect((await pods("rc")).map((pod) => pod.metadata.name)).toContain("stray");
  await controllers.patch("rc", "merge", { spec: { replicas: 1 } }, at);
  await play.until(async () => (await pods("rc")).length === 1);
  const { items } = await play.client.resource(EventKind).list(at);
  const told = items.filter(({ involvedObject }) => involvedObject.kind === "ReplicationController");
  const count = (reason: string) => told.filter((event) => event.reason === reason).length;
  expect([count("SuccessfulCreate"), count("SuccessfulDelete")]).toEqual([2, 2]);
  expect(told[0]?.source?.component).toBe("replication-controller");
});

test("who is given up first: cheap ones, then those on crowded nodes, then the young", () => {
  const nowMs = Date.UTC(2026, 0, 2);
  const pod = (name: string, node: string, ageMs: number, cost?: string): Pod => {
    const since = new Date(nowMs - ageMs).toISOString();
    return {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name,
        uid: name,
        resourceVersion: "1",
        creationTimestamp: since,
        ...(cost === undefined ? {} : { annotations: { "controller.kubernetes.io/pod-deletion-cost": cost } }),
      },
      spec: { nodeName: node, containers: [] },
      status: { phase: "Running", conditions: [{ type: "Ready", status: "True", lastTransitionTime: since }] },
    };
  };
  const all = [
    pod("old", "a", 64_000),
    pod("young", "a", 1000),
    pod("crowded", "b", 64_000),
    pod("cheap", "a", 64_000, "-1"),
  ];

  const crowd = countByNode([...all, pod("other-set-1", "b", 1), pod("other-set-2", "b", 1), pod("other-3", "b", 1)]);
  expect(rankForDeletion(all, nowMs, crowd).map(({ metadata }) => metadata.name)).toEqual([
    "cheap",
    "crowded",
    "young",
    "old",
  ]);
});
