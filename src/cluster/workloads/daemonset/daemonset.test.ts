import { afterAll, beforeAll, expect, test } from "vitest";
import { type DaemonSet, DaemonSetKind, NodeKind, type Pod, PodKind } from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster(["a", "b", "c"]);
});
afterAll(() => play.close());

const at = { namespace: "default" };
const sets = () => play.client.resource(DaemonSetKind);

function draft(name: string, podSpec: object = {}, spec: Partial<DaemonSet["spec"]> = {}) {
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name, namespace: "default" },
    spec: {
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { containers: [{ name: "main", image: "one" }], ...podSpec },
      },
      ...spec,
    },
  };
}

const pods = async (app: string): Promise<Pod[]> =>
  (await play.client.resource(PodKind).list({ ...at, labelSelector: `app=${app}` })).items;
const nodes = async (app: string): Promise<string[]> =>
  (await pods(app)).map((pod) => pod.spec.nodeName ?? "?").toSorted((a, b) => a.localeCompare(b));
const isOn = (name: string, wanted: readonly string[]) => async (): Promise<boolean> => {
  const { status } = await sets().get(name, at);
  return (
    (await nodes(name)).join() === wanted.join() &&
    (status?.numberAvailable ?? 0) === wanted.length &&
    status?.desiredNumberScheduled === wanted.length
  );
};

test("one pod on each node, also on those that come later and those that are cordoned", async () => {
  await play.client.resource(NodeKind).patch("b", "merge", { spec: { unschedulable: true } });
  await sets().create(draft("log"));
  await play.until(isOn("log", ["a", "b", "c"]));

  await play.addNode("d", { labels: { kind: "small" } });
  await play.until(isOn("log", ["a", "b", "c", "d"]));

  await play.client.resource(PodKind).delete((await pods("log"))[0]?.metadata.name ?? "", at);
  await play.until(
    async () =>
      (await pods("log")).length < 4 || (await pods("log")).some((pod) => pod.metadata.deletionTimestamp !== undefined),
  );
  await play.until(isOn("log", ["a", "b", "c", "d"]));
});

test("selectors and taints keep it away; a NoExecute taint makes it leave", async () => {
  await sets().create(draft("few", { nodeSelector: { kind: "small" } }));
  await play.until(isOn("few", ["d"]));
  await play.client.resource(NodeKind).patch("a", "merge", { metadata: { labels: { kind: "small" } } });
  await play.until(isOn("few", ["a", "d"]));

  await play.client.resource(NodeKind).patch("d", "merge", { spec: { taints: [{ key: "out", effect: "NoExecute" }] } });

  await play.until(isOn("few", ["a"]));
});

test("a rolling update replaces one node at a time", async () => {
  await sets().create(draft("roll"));
  await play.until(isOn("roll", ["a", "b", "c"]));
  await sets().patch(
    "roll",
    "strategic",
    { spec: { template: { spec: { containers: [{ name: "main", image: "two" }] } } } },
    at,
  );
  let least = 9;

  await play.until(async () => {
    const { status } = await sets().get("roll", at);
    least = Math.min(least, status?.numberAvailable ?? 0);
    return (
      status?.updatedNumberScheduled === 3 &&
      status.numberAvailable === 3 &&
      (await pods("roll")).every((pod) => pod.spec.containers[0]?.image === "two")
    );
  });

  expect(least).toBe(2);
});
