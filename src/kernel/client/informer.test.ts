import { expect, test } from "vitest";
import { tinyCluster } from "../../testing/tiny-api.js";
import { type ConfigMap, ConfigMapKind } from "../kinds/index.js";
import { silentLogger } from "../log/index.js";
import { createClient, createInformerSet } from "./index.js";

const draft = (name: string, value = "1") => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
  data: { value },
});

function start() {
  const cluster = tinyCluster();
  // Another client, so that writes reach the informer by its watch alone.
  const writer = createClient({ transport: cluster.api, clock: cluster.clock, random: cluster.random });
  const informers = createInformerSet({ ...cluster, log: silentLogger });
  const informer = informers.informer(ConfigMapKind);
  const changes: string[] = [];
  informer.onChange((now, old) => changes.push(`${old?.data?.["value"] ?? "-"}>${now?.data?.["value"] ?? "-"}`));
  return { ...cluster, informers, informer, changes, maps: writer.resource(ConfigMapKind) };
}

const names = (objects: readonly ConfigMap[]): string[] => objects.map((object) => object.metadata.name).toSorted();

test("lists in pages, then follows the watch, and drops managedFields", async () => {
  const { api, informer, informers, maps, changes, clock } = start();
  for (let i = 0; i < 1200; i += 1) await maps.create(draft(`m${i}`));
  informers.informer(ConfigMapKind);
  await clock.settle();
  await informer.synced();
  expect(informer.list()).toHaveLength(1200);
  await maps.update({ ...(await maps.get("m7", { namespace: "default" })), data: { value: "2" } });
  await maps.delete("m8", { namespace: "default" });
  await clock.settle();

  expect(informer.get({ namespace: "default", name: "m7" })?.data).toEqual({ value: "2" });
  expect(informer.get({ namespace: "default", name: "m7" })?.metadata.managedFields).toBeUndefined();
  expect(informer.get({ namespace: "default", name: "m7" })?.kind).toBe("ConfigMap");
  expect(informer.list("default")).toHaveLength(1199);
  expect(changes.slice(-2)).toEqual(["1>2", "1>-"]);
  expect(api.watchCount).toBe(1);
  await informers.close();
  expect(api.watchCount).toBe(0);
});

test("survives an outage of an hour and catches up", async () => {
  const { api, clock, informer, informers, maps, changes } = start();
  await maps.create(draft("a"));
  await clock.settle();
  api.isDown = true;
  api.cutWatches();
  await clock.advance(3_600_000);
  api.isDown = false;
  await maps.create(draft("b"));

  await clock.runUntil(() => informer.get({ namespace: "default", name: "b" }) !== undefined, 20_000);

  expect(changes).toEqual(["->1", "->1"]);
  // Back-off: an hour of failures is some hundred attempts, not thousands.
  expect(api.requests.length).toBeLessThan(500);
  await informers.close();
});

test("lists again after 410 and reports what vanished meanwhile", async () => {
  const { api, clock, informer, informers, maps, changes } = start();
  await maps.create(draft("a"));
  await maps.create(draft("b"));
  await clock.settle();
  api.isSilent = true;
  await maps.delete("a", { namespace: "default" });
  await maps.create(draft("c"));
  api.compact();
  api.isSilent = false;
  api.cutWatches();

  await clock.advance(1000);

  expect(names(informer.list())).toEqual(["b", "c"]);
  expect(changes).toEqual(["->1", "->1", "1>-", "->1"]);
  await informers.close();
});

test("drops a silent connection and resumes where it was", async () => {
  const { api, clock, informer, informers, maps } = start();
  await maps.create(draft("a"));
  await clock.settle();
  api.isSilent = true;
  await maps.create(draft("b"));
  api.isSilent = false;
  const listsBefore = api.requests.filter((line) => !line.includes("watch=true")).length;

  await clock.advance(160_000);

  expect(names(informer.list())).toEqual(["a", "b"]);
  expect(api.requests.filter((line) => !line.includes("watch=true")).length).toBe(listsBefore);
  await informers.close();
});

test("bookmarks keep a quiet watch alive", async () => {
  const { api, clock, informers, maps } = start();
  await maps.create(draft("a"));
  await clock.settle();
  const before = api.requests.length;

  for (let minute = 0; minute < 10; minute += 1) {
    api.bookmark();
    await clock.advance(60_000);
  }

  expect(api.requests.length).toBe(before);
  await informers.close();
});

test("an object deleted and made again under its name is a deletion and an addition", async () => {
  const { api, clock, informers, maps, changes } = start();
  await maps.create(draft("a", "old"));
  await clock.settle();
  api.isSilent = true;
  await maps.delete("a", { namespace: "default" });
  await maps.create(draft("a", "new"));
  api.compact();
  api.isSilent = false;
  api.cutWatches();

  await clock.advance(1000);

  expect(changes).toEqual(["->old", "old>-", "->new"]);
  await informers.close();
});

test("indexes follow changes", async () => {
  const { clock, informer, informers, maps } = start();
  await maps.create(draft("a", "x"));
  await clock.settle();
  informer.addIndex("value", (object) => [object.data?.["value"] ?? ""]);
  expect(names(informer.byIndex("value", "x"))).toEqual(["a"]);

  await maps.create(draft("b", "x"));
  await maps.patch("a", "merge", { data: { value: "y" } }, { namespace: "default" });
  await clock.settle();

  expect(names(informer.byIndex("value", "x"))).toEqual(["b"]);
  expect(names(informer.byIndex("value", "y"))).toEqual(["a"]);
  await informers.close();
});

test("own writes are seen at once, deletes too, and late events do not undo them", async () => {
  const { api, clock, client, informer, informers, changes } = start();
  await clock.settle();
  const maps = client.resource(ConfigMapKind);
  api.isSilent = true;

  await maps.create(draft("a"));
  expect(names(informer.list())).toEqual(["a"]);
  await maps.patch("a", "merge", { data: { value: "2" } }, { namespace: "default" });
  expect(informer.list()[0]?.data).toEqual({ value: "2" });
  await maps.delete("a", { namespace: "default" });
  expect(informer.list()).toEqual([]);

  // The watch comes back and tells the whole story again.
  api.isSilent = false;
  api.cutWatches();
  await clock.advance(1000);
  expect(informer.list()).toEqual([]);
  expect(changes).toEqual(["->1", "1>2", "2>-"]);
  await informers.close();
});

test("synced can be given up on", async () => {
  const { api, clock, informers, informer } = start();
  api.isDown = true;
  const controller = new AbortController();
  const waiting = informer.synced(controller.signal);
  await clock.advance(1000);

  controller.abort(new RangeError("no more time"));

  await expect(waiting).rejects.toThrow("no more time");
  await informers.close();
});

test("what may not be read is named, until it may", async () => {
  const { api, clock, informers, informer } = start();
  api.isForbidding = true;
  await clock.advance(1000);
  expect([...informers.faults()]).toEqual([["configmaps", expect.stringContaining("forbidden")]]);

  api.isForbidding = false;
  await clock.runUntil(() => informers.faults().size === 0, 60_000);
  await informer.synced();
  await informers.close();
});
