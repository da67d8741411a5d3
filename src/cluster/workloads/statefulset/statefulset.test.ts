import { afterAll, beforeAll, expect, test } from "vitest";
import {
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  type StatefulSet,
  StatefulSetKind,
} from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster();
});
afterAll(() => play.close());

const at = { namespace: "default" };
const sets = () => play.client.resource(StatefulSetKind);

function draft(name: string, replicas: number, spec: Partial<StatefulSet["spec"]> = {}) {
  return {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name, namespace: "default" },
    spec: {
      replicas,
      serviceName: name,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "main", image: "one" }] } },
      ...spec,
    },
  };
}

const pods = async (app: string): Promise<Pod[]> =>
  (await play.client.resource(PodKind).list({ ...at, labelSelector: `app=${app}` })).items;
const names = async (app: string): Promise<string[]> =>
  (await pods(app)).map((pod) => pod.metadata.name).toSorted((a, b) => a.localeCompare(b));
const images = async (app: string) =>
  Object.fromEntries((await pods(app)).map((pod) => [pod.metadata.name, pod.spec.containers[0]?.image]));
const isReady = async (name: string, count: number): Promise<boolean> => {
  const { status, metadata } = await sets().get(name, at);
  return (
    status?.observedGeneration === metadata.generation &&
    (status?.readyReplicas ?? 0) === count &&
    status?.replicas === count
  );
};

test("pods come one after another, with names and claims that stay, and go in reverse", async () => {
  const claims = [
    {
      metadata: { name: "data" },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
    },
  ];
  await sets().create(draft("db", 3, { volumeClaimTemplates: claims }));
  const seen: number[] = [];

  await play.until(async () => {
    const all = await pods("db");
    const unready = all.filter(
      (pod) => !pod.status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True"),
    );
    seen.push(unready.length);
    return isReady("db", 3);
  });

  expect(Math.max(...seen)).toBe(1);
  expect(await names("db")).toEqual(["db-0", "db-1", "db-2"]);
  const pod = (await pods("db")).find(({ metadata }) => metadata.name === "db-1");
  expect(pod?.spec).toMatchObject({ hostname: "db-1", subdomain: "db" });
  expect(pod?.spec.volumes).toContainEqual({ name: "data", persistentVolumeClaim: { claimName: "data-db-1" } });
  expect(pod?.metadata.labels).toMatchObject({
    "statefulset.kubernetes.io/pod-name": "db-1",
    "apps.kubernetes.io/pod-index": "1",
  });

  await sets().patch("db", "merge", { spec: { replicas: 1 } }, at);
  const order: string[] = [];
  await play.until(async () => {
    order.push((await names("db")).join());
    return isReady("db", 1);
  });
  expect([...new Set(order)]).toEqual(["db-0,db-1,db-2", "db-0,db-1", "db-0"]);
  expect((await play.client.resource(PersistentVolumeClaimKind).list(at)).items).toHaveLength(3);
});

test("Parallel does not wait", async () => {
  await sets().create(draft("wide", 5, { podManagementPolicy: "Parallel" }));

  await play.until(async () => (await pods("wide")).length === 5, 500);
  await play.until(() => isReady("wide", 5));
});

test("an update goes from the last to the partition, one at a time; then to the rest", async () => {
  await sets().create(draft("roll", 3, { updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 2 } } }));
  await play.until(() => isReady("roll", 3));
  const before = (await sets().get("roll", at)).status?.currentRevision;

  await sets().patch(
    "roll",
    "strategic",
    { spec: { template: { spec: { containers: [{ name: "main", image: "two" }] } } } },
    at,
  );
  await play.until(async () => (await images("roll"))["roll-2"] === "two" && (await isReady("roll", 3)));
  await play.clock.advance(10_000);
  expect(await images("roll")).toEqual({ "roll-0": "one", "roll-1": "one", "roll-2": "two" });
  expect((await sets().get("roll", at)).status).toMatchObject({
    currentRevision: before,
    currentReplicas: 2,
    updatedReplicas: 1,
  });

  await play.client.resource(PodKind).delete("roll-0", at);
  await play.until(async () => !(await isReady("roll", 3)));
  await play.until(() => isReady("roll", 3));
  expect((await images("roll"))["roll-0"]).toBe("one");

  await sets().patch("roll", "merge", { spec: { updateStrategy: { rollingUpdate: { partition: 0 } } } }, at);
  await play.until(
    async () => Object.values(await images("roll")).every((image) => image === "two") && (await isReady("roll", 3)),
  );
  const { status } = await sets().get("roll", at);
  expect(status?.currentRevision).toBe(status?.updateRevision);
  expect(status?.currentRevision).not.toBe(before);
});

test("killed controllers carry on where they were", async () => {
  await sets().create(draft("tough", 3));
  for (let i = 0; i < 4; i += 1) {
    await play.clock.advance(500);
    await play.restartControllers();
  }

  await play.until(() => isReady("tough", 3));
  expect(await names("tough")).toEqual(["tough-0", "tough-1", "tough-2"]);
});

test("an update may take several at once, and goes back by the recorded template", async () => {
  const updateStrategy = { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 2, partition: 0 } };
  await sets().create(draft("broad", 4, { podManagementPolicy: "Parallel", updateStrategy }));
  await play.until(() => isReady("broad", 4));
  const change = (image: string) =>
    sets().patch("broad", "strategic", { spec: { template: { spec: { containers: [{ name: "main", image }] } } } }, at);
  await change("two");
  let least = 9;
  await play.until(async () => {
    least = Math.min(least, (await sets().get("broad", at)).status?.readyReplicas ?? 0);
    return Object.values(await images("broad")).join() === "two,two,two,two" && (await isReady("broad", 4));
  });
  expect(least).toBe(2);
  await play.until(async () => {
    const { status } = await sets().get("broad", at);
    return status?.currentRevision === status?.updateRevision;
  });
  const after = (await sets().get("broad", at)).status?.currentRevision;

  await change("one");
  await play.until(async () => Object.values(await images("broad")).join() === "one,one,one,one");

  expect((await sets().get("broad", at)).status?.updateRevision).not.toBe(after);
  await sets().delete("broad", at);
});

test("claims go with their ordinal or with the set, as the retention policy says", async () => {
  const volumeClaimTemplates = [
    {
      metadata: { name: "data" },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
    },
  ];
  const policy = (whenScaled: string, whenDeleted: string) => ({
    persistentVolumeClaimRetentionPolicy: { whenScaled, whenDeleted },
  });
  await sets().create(draft("keep", 2, { volumeClaimTemplates, ...policy("Retain", "Delete") }));
  await sets().create(draft("drop", 2, { volumeClaimTemplates, ...policy("Delete", "Retain") }));
  await play.until(async () => (await isReady("keep", 2)) && (await isReady("drop", 2)));
  const claims = async (set: string) =>
    (await play.client.resource(PersistentVolumeClaimKind).list(at)).items
      .map(({ metadata }) => metadata.name)
      .filter((name) => name.startsWith(`data-${set}-`))
      .toSorted((a, b) => a.localeCompare(b));

  for (const name of ["keep", "drop"]) await sets().patch(name, "merge", { spec: { replicas: 1 } }, at);
  await play.until(async () => (await claims("drop")).length === 1);
  expect(await claims("drop")).toEqual(["data-drop-0"]);
  expect(await claims("keep")).toEqual(["data-keep-0", "data-keep-1"]);

  // Back again: the ordinal has new storage.
  await sets().patch("drop", "merge", { spec: { replicas: 2 } }, at);
  await play.until(() => isReady("drop", 2));
  for (const name of ["keep", "drop"]) await sets().delete(name, { ...at, propagationPolicy: "Background" });
  await play.until(async () => (await claims("keep")).length === 0 && (await names("drop")).length === 0);
  expect(await claims("drop")).toEqual(["data-drop-0", "data-drop-1"]);
});
