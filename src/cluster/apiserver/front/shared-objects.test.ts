import { expect, test } from "vitest";
import { ConfigMapKind } from "../../../kernel/kinds/index.js";
import { startTestCluster } from "../../../testing/index.js";

const at = { namespace: "default" };

test("informers in one process share the objects that the server tells them of, and what is written there", async () => {
  const cluster = await startTestCluster();
  const other = cluster.as(cluster.server.adminToken);
  const maps = cluster.client.resource(ConfigMapKind);
  await maps.create({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "before", ...at } }, at);
  const informers = [cluster.informers.informer(ConfigMapKind), other.informers.informer(ConfigMapKind)] as const;
  await Promise.all(informers.map((informer) => informer.synced()));
  const made = await maps.create(
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a", ...at }, data: { y: "1" } },
    at,
  );
  const told = new Promise<void>((resolve) => {
    informers[1].onChange((now) => {
      if (now?.metadata.name === "a" && now.data?.["x"] === "1") resolve();
    });
  });
  expect(informers[0].get({ ...at, name: "a" })).toBe(made);
  await maps.patch("a", "merge", { data: { x: "1" } }, at);
  await told;
  for (const name of ["a", "before"]) {
    const [first, second] = informers.map((informer) => informer.get({ ...at, name }));
    expect(first).toBe(second);
    expect(first?.metadata.managedFields).toBeUndefined();
  }
  // Whoever reads for itself gets all of it, as its own.
  const read = await maps.get("a", at);
  expect(read).not.toBe(informers[0].get({ ...at, name: "a" }));
  expect(read.metadata.managedFields).toHaveLength(1);
  await other.informers.close();
  await cluster.close();
});

test("watches in one process end with who reads them, and lists in pages are whole", async () => {
  const cluster = await startTestCluster();
  const maps = cluster.client.resource(ConfigMapKind);
  for (const name of ["a", "b", "c"])
    await maps.create({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels: { x: name }, ...at } }, at);
  const stop = new AbortController();
  const { resourceVersion } = await maps.list({ ...at, isShared: true, limit: 1 });
  const seen: string[] = [];
  const watching = (async () => {
    const options = { ...at, resourceVersion, isShared: true, labelSelector: "x=b", signal: stop.signal };
    for await (const { type, object } of maps.watch(options)) {
      seen.push(`${type} ${object.metadata.name}`);
      if (seen.length === 2) stop.abort();
    }
  })();
  await maps.patch("a", "merge", { metadata: { labels: { x: "b" } } }, at);
  await maps.patch("a", "merge", { metadata: { labels: { x: "a" } } }, at);
  await expect(watching).rejects.toThrow();
  expect(seen).toEqual(["ADDED a", "DELETED a"]);
  const { items } = await maps.list({ ...at, isShared: true });
  expect(items.map(({ metadata }) => metadata.name)).toEqual(expect.arrayContaining(["a", "b", "c"]));
  await cluster.close();
});
