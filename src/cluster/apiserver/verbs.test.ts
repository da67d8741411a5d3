import { afterEach, expect, test } from "vitest";
import { type VirtualClock, virtualClock } from "../../kernel/clock/index.js";
import { ApiError } from "../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { objectAt } from "./fields.js";

const clusters: TestCluster[] = [];
afterEach(async () => {
  for (const cluster of clusters.splice(0)) await cluster.close();
});

const start = Date.UTC(2026, 0, 1);
async function newCluster(): Promise<TestCluster & { readonly clock: VirtualClock }> {
  const clock = virtualClock(start);
  const cluster = await startTestCluster({ clock });
  clusters.push(cluster);
  return { ...cluster, clock };
}

const configMaps = "/api/v1/namespaces/default/configmaps";
const configMap = (name: string, more: JsonObject = {}): JsonObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, ...more },
});
const json = async (
  cluster: TestCluster,
  method: string,
  path: string,
  body?: Json,
  type?: string,
): Promise<JsonObject> =>
  (await cluster.client.json(
    method,
    path,
    body,
    type === undefined ? {} : { headers: { "content-type": type } },
  )) as JsonObject;
const statusOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "ok",
    (error: unknown) => (error instanceof ApiError ? `${error.httpCode} ${error.message}` : String(error)),
  );

interface Lines {
  readonly events: { readonly type: string; readonly object: JsonObject }[];
  readonly ended: Promise<void>;
  stop(): void;
}

async function watch(cluster: TestCluster, path: string): Promise<Lines> {
  const stopping = new AbortController();
  const response = await cluster.client.transport.request({ method: "GET", path, signal: stopping.signal });
  const events: Lines["events"] = [];
  let text = "";
  const read = async (): Promise<void> => {
    for await (const chunk of response.body) {
      text += Buffer.from(chunk).toString();
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) events.push(JSON.parse(line) as Lines["events"][number]);
    }
  };
  const ended = read().catch(() => undefined);
  return { events, ended, stop: () => stopping.abort() };
}
const shown = (lines: Lines): string[] =>
  lines.events.map(({ type, object }) => `${type} ${(object["metadata"] as JsonObject)["name"] as string}`);

test("entering and leaving a selector are additions and deletions to those who watch through it", async () => {
  const cluster = await newCluster();
  const lines = await watch(cluster, `${configMaps}?watch=1&labelSelector=g%3D1`);
  const label = (name: string, g: string | null): Promise<JsonObject> =>
    json(cluster, "PATCH", `${configMaps}/${name}`, { metadata: { labels: { g } } }, "application/merge-patch+json");

  await json(cluster, "POST", configMaps, configMap("a"));
  await json(cluster, "POST", configMaps, configMap("b", { labels: { g: "1" } }));
  await label("a", "1");
  await label("b", null);
  await json(cluster, "DELETE", `${configMaps}/b`);
  await json(cluster, "DELETE", `${configMaps}/a`);
  await cluster.clock.settle();
  lines.stop();

  expect(shown(lines)).toEqual(["ADDED b", "ADDED a", "DELETED b", "DELETED a"]);
  const [, added = {}, left = {}] = lines.events.map(({ object }) => objectAt(object, "metadata"));
  expect(left["labels"]).toEqual({ g: "1" });
  expect(Number(left["resourceVersion"])).toBeGreaterThan(Number(added["resourceVersion"]));
});

test("a watch-list is the state, a bookmark that ends it, bookmarks each minute, and an end in time", async () => {
  const cluster = await newCluster();
  await json(cluster, "POST", configMaps, configMap("a", { labels: { g: "1" } }));
  const query =
    "watch=1&labelSelector=g%3D1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=90";
  const lines = await watch(cluster, `${configMaps}?${query}`);
  await cluster.clock.settle();
  const first = lines.events.map(({ type }) => type);

  await json(cluster, "POST", "/api/v1/namespaces/default/secrets", {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "s" },
  });
  await cluster.clock.advance(61_000);
  const minute = lines.events.at(-1);
  await cluster.clock.advance(30_000);
  await lines.ended;

  expect(first).toEqual(["ADDED", "BOOKMARK"]);
  expect(lines.events[1]?.object).toMatchObject({ metadata: { annotations: { "k8s.io/initial-events-end": "true" } } });
  expect(minute).toMatchObject({
    type: "BOOKMARK",
    object: { metadata: { resourceVersion: String(cluster.server.revision) } },
  });
  expect(lines.events.map(({ type }) => type)).toEqual(["ADDED", "BOOKMARK", "BOOKMARK", "BOOKMARK"]);
});

test("a new server's first version can be watched from; once it is forgotten, the watch ends with an ERROR event", async () => {
  const cluster = await newCluster();
  const fresh = await watch(cluster, "/api/v1/namespaces?watch=1&resourceVersion=1");
  await cluster.clock.advance(301_000);
  await json(cluster, "POST", configMaps, configMap("a"));
  const lines = await watch(cluster, `${configMaps}?watch=1&resourceVersion=1`);
  await lines.ended;

  expect(fresh.events).toContainEqual(expect.objectContaining({ type: "ADDED" }));
  expect(lines.events).toMatchObject([{ type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } }]);
});

test("a finalizer keeps a deleted object until it is taken away", async () => {
  const cluster = await newCluster();
  await json(cluster, "POST", configMaps, configMap("a", { finalizers: ["example.com/f"] }));

  const marked = await json(cluster, "DELETE", `${configMaps}/a`);
  const again = await statusOf(json(cluster, "POST", configMaps, configMap("a")));
  await json(cluster, "PATCH", `${configMaps}/a`, { metadata: { finalizers: null } }, "application/merge-patch+json");
  const gone = await statusOf(json(cluster, "GET", `${configMaps}/a`));

  expect(marked["metadata"]).toMatchObject({
    deletionTimestamp: "2026-01-01T00:00:00Z",
    deletionGracePeriodSeconds: 0,
  });
  expect(again).toBe('409 object is being deleted: configmaps "a" already exists');
  expect(gone).toBe('404 configmaps "a" not found');
});

test("propagation policies become the garbage collector's finalizers", async () => {
  const cluster = await newCluster();
  const remove = async (name: string, policy: string): Promise<Json | undefined> => {
    await json(cluster, "POST", configMaps, configMap(name));
    const answer = await json(cluster, "DELETE", `${configMaps}/${name}`, {
      kind: "DeleteOptions",
      apiVersion: "v1",
      propagationPolicy: policy,
    });
    return (answer["metadata"] as JsonObject)["finalizers"];
  };

  expect(await remove("f", "Foreground")).toEqual(["foregroundDeletion"]);
  expect(await remove("o", "Orphan")).toEqual(["orphan"]);
  expect(await remove("b", "Background")).toBeUndefined();
  expect(await statusOf(remove("x", "Never"))).toMatch(/^422 .*propagationPolicy/);
});

test("a pod on a node is given its time; one that runs nowhere goes at once", async () => {
  const cluster = await newCluster();
  const pods = "/api/v1/namespaces/default/pods";
  const pod = (name: string, nodeName?: string): JsonObject => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      containers: [{ name: "c", image: "i" }],
      terminationGracePeriodSeconds: 7,
      ...(nodeName === undefined ? {} : { nodeName }),
    },
  });
  await json(cluster, "POST", pods, pod("free"));
  await json(cluster, "POST", pods, pod("bound", "n1"));

  const first = await json(cluster, "DELETE", `${pods}/bound`);
  await json(cluster, "DELETE", `${pods}/free`);
  const left = await json(cluster, "GET", pods);
  await json(cluster, "DELETE", `${pods}/bound?gracePeriodSeconds=0`);
  const none = await json(cluster, "GET", pods);

  expect(first["metadata"]).toMatchObject({ deletionTimestamp: "2026-01-01T00:00:07Z", deletionGracePeriodSeconds: 7 });
  expect((left["items"] as JsonObject[]).map((item) => (item["metadata"] as JsonObject)["name"])).toEqual(["bound"]);
  expect(none["items"]).toEqual([]);
});

test("patches that meet on one object all count", async () => {
  const cluster = await newCluster();
  await json(cluster, "POST", configMaps, configMap("a"));

  const keys = Array.from({ length: 5 }, (_, index) => `k${index}`);
  await Promise.all(
    keys.map((key) =>
      json(cluster, "PATCH", `${configMaps}/a`, { data: { [key]: "1" } }, "application/merge-patch+json"),
    ),
  );
  const found = await json(cluster, "GET", `${configMaps}/a`);

  expect(Object.keys(found["data"] as JsonObject).toSorted()).toEqual(keys);
});

test("nothing of a dry run is kept, and an unchanged object keeps its version", async () => {
  const cluster = await newCluster();
  await json(cluster, "POST", `${configMaps}?dryRun=All`, configMap("dry"));
  const made = await json(cluster, "POST", configMaps, configMap("a"));
  const revision = cluster.server.revision;

  const same = await json(cluster, "PUT", `${configMaps}/a`, configMap("a"));
  await json(cluster, "DELETE", `${configMaps}/a?dryRun=All`);

  expect(await statusOf(json(cluster, "GET", `${configMaps}/dry`))).toMatch(/^404/);
  expect((same["metadata"] as JsonObject)["resourceVersion"]).toBe((made["metadata"] as JsonObject)["resourceVersion"]);
  expect(cluster.server.revision).toBe(revision);
});

test("pages show one moment; a token that is too old says how to go on", async () => {
  const cluster = await newCluster();
  for (let index = 0; index < 5; index++) await json(cluster, "POST", configMaps, configMap(`c${index}`));
  const names = (list: JsonObject): string[] =>
    (list["items"] as JsonObject[]).map((item) => (item["metadata"] as JsonObject)["name"] as string);
  const first = await json(cluster, "GET", `${configMaps}?limit=2`);
  const token = (first["metadata"] as JsonObject)["continue"] as string;
  await json(cluster, "DELETE", `${configMaps}/c3`);
  const second = await json(cluster, "GET", `${configMaps}?limit=9&continue=${token}`);

  await cluster.clock.advance(301_000);
  await json(cluster, "DELETE", `${configMaps}/c4`);
  const failure = await json(cluster, "GET", `${configMaps}?limit=9&continue=${token}`).catch(
    (error: unknown) => error,
  );
  const offered = failure instanceof ApiError ? (failure.status.metadata.continue ?? "") : "";
  const third = await json(cluster, "GET", `${configMaps}?limit=9&continue=${offered}`);

  expect(names(first)).toEqual(["c0", "c1"]);
  expect(first["metadata"]).toMatchObject({ remainingItemCount: 3 });
  expect(names(second)).toEqual(["c2", "c3", "c4"]);
  expect(failure).toMatchObject({ httpCode: 410 });
  expect(names(third)).toEqual(["c2"]);
});

test("a namespace that is being deleted takes nothing new and goes when its finalizer does", async () => {
  const cluster = await newCluster();
  const namespace = await json(cluster, "POST", "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "n" },
  });
  const marked = await json(cluster, "DELETE", "/api/v1/namespaces/n");
  const refused = await statusOf(json(cluster, "POST", "/api/v1/namespaces/n/configmaps", configMap("a")));
  await json(cluster, "PUT", "/api/v1/namespaces/n/finalize", {
    ...namespace,
    metadata: { name: "n" },
    spec: { finalizers: [] },
  });

  expect(marked).toMatchObject({ status: { phase: "Terminating" }, spec: { finalizers: ["kubernetes"] } });
  expect(refused).toMatch(/^403 .*because it is being terminated/);
  expect(await statusOf(json(cluster, "GET", "/api/v1/namespaces/n"))).toMatch(/^404/);
});

test("a version that was never given out ends a watch, so that its client lists anew", async () => {
  const cluster = await newCluster();
  const lines = await watch(cluster, `${configMaps}?watch=1&resourceVersion=999999`);
  await lines.ended;

  expect(lines.events).toMatchObject([{ type: "ERROR", object: { code: 410 } }]);
});

test("a watch of one name sees that name only", async () => {
  const cluster = await newCluster();
  const lines = await watch(cluster, `${configMaps}?watch=1&fieldSelector=metadata.name%3Da`);
  for (const name of ["a", "ab", "b"]) await json(cluster, "POST", configMaps, configMap(name));
  const listed = await json(cluster, "GET", `${configMaps}?fieldSelector=metadata.name%3Da`);
  await cluster.clock.settle();
  lines.stop();

  expect(shown(lines)).toEqual(["ADDED a"]);
  expect(listed["items"]).toHaveLength(1);
});
