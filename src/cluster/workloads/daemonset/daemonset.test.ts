import { afterAll, beforeAll, expect, test } from "vitest";
import {
  ControllerRevisionKind,
  type DaemonSet,
  DaemonSetKind,
  EventKind,
  NodeKind,
  type Pod,
  PodKind,
} from "../../../kernel/kinds/index.js";
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

const setImage = (name: string, image: string) =>
  sets().patch(name, "strategic", { spec: { template: { spec: { containers: [{ name: "main", image }] } } } }, at);
const images = async (name: string) => (await pods(name)).map((pod) => pod.spec.containers[0]?.image);

test("a surging update starts the new pod beside the old one, which works until then", async () => {
  const updateStrategy = { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } };
  await sets().create(draft("surge", {}, { updateStrategy }));
  await play.until(isOn("surge", ["a", "b", "c"]));
  await setImage("surge", "two");
  let least = 9;
  let most = 0;

  await play.until(async () => {
    const all = await pods("surge");
    const ready = all.filter((pod) =>
      pod.status?.conditions?.some((one) => one.type === "Ready" && one.status === "True"),
    );
    least = Math.min(least, new Set(ready.map((pod) => pod.spec.nodeName)).size);
    most = Math.max(most, all.filter((pod) => pod.metadata.deletionTimestamp === undefined).length);
    return (await images("surge")).join() === "two,two,two";
  }, 120_000);

  expect([least, most]).toEqual([3, 4]);
  await play.until(isOn("surge", ["a", "b", "c"]));
  await sets().delete("surge", at);
});

test("OnDelete changes what somebody deletes, and rolling back reuses the old revision", async () => {
  await sets().create(draft("manual", {}, { updateStrategy: { type: "OnDelete" } }));
  await play.until(isOn("manual", ["a", "b", "c"]));
  await setImage("manual", "two");
  await play.clock.advance(10_000);
  expect(await images("manual")).toEqual(["one", "one", "one"]);
  await play.client.resource(PodKind).delete((await pods("manual"))[0]?.metadata.name ?? "", at);
  await play.until(async () => (await images("manual")).includes("two") && (await isOn("manual", ["a", "b", "c"])()));
  const revisions = async () =>
    (await play.client.resource(ControllerRevisionKind).list({ ...at, labelSelector: "app=manual" })).items.map(
      ({ revision }) => revision,
    );
  expect((await revisions()).toSorted((a, b) => a - b)).toEqual([1, 2]);

  await setImage("manual", "one");

  await play.until(async () => (await sets().get("manual", at)).status?.updatedNumberScheduled === 2);
  expect((await revisions()).toSorted((a, b) => a - b)).toEqual([2, 3]);
  await sets().delete("manual", at);
});

test("a daemon that fails is replaced, ever more slowly, and told of", async () => {
  const broken = draft("broken", { nodeSelector: { "kubernetes.io/hostname": "c" } });
  const annotations = { "play/exit": "1" };
  const { template } = broken.spec;
  const spec = { ...broken.spec, template: { ...template, metadata: { ...template.metadata, annotations } } };
  await sets().create({ ...broken, spec });
  const seen = new Set<string>();

  await play.clock.advance(1000);
  for (let second = 0; second < 120; second += 1) {
    await play.clock.advance(1000);
    for (const { metadata } of await pods("broken")) seen.add(metadata.name);
  }

  expect(seen.size).toBeGreaterThan(3);
  expect(seen.size).toBeLessThan(12);
  const { items } = await play.client.resource(EventKind).list(at);
  expect(items.map(({ reason }) => reason)).toContain("FailedDaemonPod");
});
