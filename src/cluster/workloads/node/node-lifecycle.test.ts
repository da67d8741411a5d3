import { afterAll, beforeAll, expect, test } from "vitest";
import { DeploymentKind, findCondition, NodeKind, type Pod, PodKind } from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster(["a", "b"]);
});
afterAll(() => play.close());

const at = { namespace: "default" };
const pods = async (app: string): Promise<Pod[]> =>
  (await play.client.resource(PodKind).list({ ...at, labelSelector: `app=${app}` })).items;
const node = (name: string) => play.client.resource(NodeKind).get(name);
const taints = async (name: string): Promise<string[]> =>
  ((await node(name)).spec.taints ?? [])
    .map(({ key, effect }) => `${key.split("/").at(-1)}:${effect}`)
    .toSorted((a, b) => a.localeCompare(b));
const readyOn = async (app: string, name: string): Promise<number> =>
  (await pods(app)).filter(
    (pod) =>
      pod.spec.nodeName === name &&
      pod.metadata.deletionTimestamp === undefined &&
      findCondition(pod.status?.conditions, "Ready")?.status === "True",
  ).length;

async function deploy(app: string, replicas: number): Promise<void> {
  await play.client.resource(DeploymentKind).create({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: app, namespace: "default" },
    spec: {
      replicas,
      selector: { matchLabels: { app } },
      template: { metadata: { labels: { app } }, spec: { containers: [{ name: "main", image: "one" }] } },
    },
  });
  await play.until(async () => (await readyOn(app, "a")) + (await readyOn(app, "b")) === replicas);
}

test("a silent node's pods lose their traffic, and have it again when it speaks", async () => {
  await deploy("brief", 4);
  expect(await readyOn("brief", "b")).toBe(2);
  play.setAlive("b", false);

  const tookMs = await play.until(async () => (await readyOn("brief", "b")) === 0, 120_000);

  expect(tookMs).toBeGreaterThan(40_000);
  expect(tookMs).toBeLessThan(70_000);
  expect(findCondition((await node("b")).status?.conditions, "Ready")).toMatchObject({
    status: "Unknown",
    reason: "NodeStatusUnknown",
  });
  expect(await taints("b")).toEqual(["unreachable:NoExecute", "unreachable:NoSchedule"]);
  expect((await pods("brief")).every((pod) => pod.metadata.deletionTimestamp === undefined)).toBe(true);

  play.setAlive("b", true);
  await play.clock.advance(11_000);
  const { status, ...rest } = await node("b");
  const conditions = (status?.conditions ?? []).map((condition) => ({
    ...condition,
    status: condition.type === "Ready" ? "True" : "False",
  }));
  await play.client.resource(NodeKind).updateStatus({ ...rest, status: { ...status, conditions } });
  await play.until(async () => (await readyOn("brief", "b")) === 2);
  expect(await taints("b")).toEqual([]);
});

test("pods of a lost node are replaced elsewhere after their patience ends, and removed when the node is", async () => {
  await deploy("moved", 2);
  play.setAlive("b", false);

  await play.until(async () => (await readyOn("moved", "a")) === 2, 500_000);

  await play.client.resource(NodeKind).delete("b");
  await play.until(async () => (await pods("moved")).length === 2);
  await play.addNode("b");
  play.setAlive("b", true);
});

test("a NoExecute taint moves pods that do not bear it; conditions become taints", async () => {
  await deploy("pushed", 2);
  await play.client.resource(NodeKind).patch("a", "merge", { spec: { taints: [{ key: "out", effect: "NoExecute" }] } });

  await play.until(async () => (await readyOn("pushed", "b")) === 2);

  const b = await node("b");
  await play.client.resource(NodeKind).updateStatus({
    ...b,
    status: {
      ...b.status,
      conditions: [...(b.status?.conditions ?? []), { type: "DiskPressure", status: "True", reason: "x", message: "" }],
    },
  });
  await play.until(async () => (await taints("b")).join() === "disk-pressure:NoSchedule");
});
