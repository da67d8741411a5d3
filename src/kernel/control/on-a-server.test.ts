import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { playClock } from "../../testing/play-clock.js";
import { createInformerSet } from "../client/index.js";
import { seededRandom, type VirtualClock } from "../clock/index.js";
import { type ConfigMap, ConfigMapKind, EventKind, LeaseKind, NamespaceKind, type ObjectMeta } from "../kinds/index.js";
import { silentLogger } from "../log/index.js";
import { playElection } from "./election.fixture.js";
import { type ControllerSpec, createEventRecorder, createManager } from "./index.js";

// What the tests of informers, queues and elections do with a server in memory that fails on demand (`TinyApi`), here with one that
// answers as Kubernetes does: this program's own, and a real one in `npm run test:real`.

const common = { random: seededRandom(3), log: silentLogger };
let cluster: TestCluster;
let clock: VirtualClock;
beforeAll(async () => {
  clock = playClock();
  cluster = await startTestCluster({ clock });
});
afterAll(async () => {
  const closing = cluster.close();
  await clock.advance(5000);
  await closing;
});

async function room(name: string) {
  await cluster.client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { name }, spec: {} });
  const at = { namespace: name };
  const maps = cluster.as(cluster.server.adminToken).client.resource(ConfigMapKind);
  const create = (map: string, metadata: Partial<ObjectMeta> = {}) =>
    maps.create(
      { apiVersion: "v1", kind: "ConfigMap", metadata: { ...metadata, name: map, ...at }, data: { value: "1" } },
      at,
    );
  return { at, maps, create };
}

function start(spec: Omit<ControllerSpec<ConfigMap>, "name" | "kind">) {
  const { client } = cluster;
  const informers = createInformerSet({ client, clock, ...common });
  const manager = createManager({ cluster: { name: "test", client, informers }, clock, ...common });
  manager.add({ name: "mapper", kind: ConfigMapKind, ...spec });
  manager.start();
  return async (): Promise<void> => {
    const closing = manager.close();
    await clock.advance(1000);
    await closing;
    await informers.close();
  };
}

test("an informer reads in pages, follows each change once, and another page does not bring back what went", async () => {
  const { at, maps, create } = await room("many");
  for (let i = 0; i < 620; i += 20) await Promise.all(Array.from({ length: 20 }, (_, j) => create(`m${i + j}`)));
  const informers = createInformerSet({ client: cluster.client, clock, ...common });
  const informer = informers.informer(ConfigMapKind);
  const changes: string[] = [];
  await clock.runUntil(() => informer.list("many").length === 620, 60_000);
  informer.onChange((now, old) => {
    if ((now ?? old)?.metadata.namespace === "many")
      changes.push(`${old?.data?.["value"] ?? "-"}>${now?.data?.["value"] ?? "-"}`);
  });
  changes.length = 0;

  await maps.update({ ...(await maps.get("m7", at)), data: { value: "2" } });
  await maps.patch("m7", "merge", { data: { value: "3" } }, at);
  await maps.apply(
    { metadata: { name: "m7", ...at }, data: { value: "4" } },
    { fieldManager: "test", force: true, ...at },
  );
  await maps.delete("m8", at);
  await clock.advance(1000);

  expect(changes).toEqual(["1>2", "2>3", "3>4", "1>-"]);
  expect(informer.get({ ...at, name: "m7" })).toMatchObject({ kind: "ConfigMap", data: { value: "4" } });
  expect(informer.get({ ...at, name: "m7" })?.metadata.managedFields).toBeUndefined();
  await maps.deleteCollection(at);
  await clock.runUntil(() => informer.list("many").length === 0, 60_000);
  await informers.close();
});

test("a controller sees what exists, what changes and what goes; a conflict is looked at again", async () => {
  const { at, maps, create } = await room("mapped");
  await create("before");
  const seen: string[] = [];
  let conflicts = 0;
  const close = start({
    async reconcile({ namespace, name }, object, { cluster: { client } }) {
      if (namespace !== "mapped") return;
      seen.push(`${name}:${object?.data?.["value"] ?? "gone"}`);
      if (name !== "torn" || object === undefined || object.metadata.annotations?.["done"] === "yes") return;
      // Somebody else was faster, once.
      if (conflicts++ === 0) await maps.patch(name, "merge", { data: { value: "2" } }, at);
      const metadata = { ...object.metadata, annotations: { done: "yes" } };
      await client.resource(ConfigMapKind).update({ ...object, metadata });
    },
  });
  await create("torn");
  await clock.advance(5000);
  await maps.delete("before", at);
  await clock.advance(5000);

  expect(seen[0]).toBe("before:1");
  expect(seen.at(-1)).toBe("before:gone");
  expect(conflicts).toBeGreaterThan(1);
  expect(await maps.get("torn", at)).toMatchObject({
    data: { value: "2" },
    metadata: { annotations: { done: "yes" } },
  });
  await close();
});

test("finalize runs before an object goes, however often it must wait", async () => {
  const { at, maps, create } = await room("final");
  let finalized = 0;
  const close = start({
    finalizer: "argosy.dev/mapper",
    async reconcile() {},
    async finalize() {
      finalized += 1;
      return finalized < 3 ? { requeueAfterMs: 1000 } : "done";
    },
  });
  await create("a");
  await clock.runUntil(async () => (await maps.get("a", at)).metadata.finalizers !== undefined, 10_000);
  await maps.delete("a", at);
  expect((await maps.get("a", at)).metadata.deletionTimestamp).toBeDefined();

  await clock.runUntil(async () => (await maps.find("a", at)) === undefined, 30_000);

  expect(finalized).toBe(3);
  await close();
});

test("equal events are counted", async () => {
  const { at, create } = await room("told");
  const about = await create("a");
  const recorder = createEventRecorder({ client: cluster.client, clock, ...common, component: "test" });
  for (let i = 0; i < 5; i += 1) recorder.record(about, "Warning", "Failed", "no space");
  await recorder.flush();
  recorder.record(about, "Warning", "Failed", "no space");
  await recorder.flush();

  const { items } = await cluster.client.resource(EventKind).list(at);
  expect(items.map((event) => [event.reason, event.count, event.involvedObject.name])).toEqual([["Failed", 6, "a"]]);
  await recorder.close();
});

test("a lease has one leader; it changes hands when the leader is gone, at once when it resigns", async () => {
  const { client } = cluster;
  const play = await playElection({ client, clock, random: common.random }, (ms) => clock.advance(ms));
  const { terms, b } = play;
  expect(play.before).toEqual(["a leads"]);
  expect(play.after).toEqual(["a leads", "a ends", "b leads"]);

  // Somebody else holds it now, as after a pause of b's.
  const leases = cluster.client.resource(LeaseKind);
  await leases.patch("boss", "merge", { spec: { holderIdentity: "c" } }, { namespace: "kube-system" });
  await clock.runUntil(() => terms.at(-1) === "b ends", 30_000);
  await clock.runUntil(() => b.election.isLeader, 60_000);
  const { spec } = await leases.get("boss", { namespace: "kube-system" });
  expect(spec).toMatchObject({ holderIdentity: "b", leaseDurationSeconds: 15 });
  b.stop.abort();
  await b.done;
});
