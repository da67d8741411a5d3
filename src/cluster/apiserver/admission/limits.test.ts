import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startTestCluster();
});
afterAll(() => cluster.close());

type Made = JsonObject & { metadata: JsonObject & { name: string }; spec: JsonObject; status: JsonObject };
const call = (method: string, path: string, body?: JsonObject) =>
  cluster.client.json(method, path, body) as Promise<Made>;
async function message(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ApiError) return error.status.message;
    throw error;
  }
  throw new Error("was not refused");
}
async function namespace(): Promise<string> {
  const made = await call("POST", "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { generateName: "l-" },
  });
  return `/api/v1/namespaces/${made.metadata.name}`;
}
const pod = (name: string, resources: JsonObject = {}, spec: JsonObject = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  spec: { containers: [{ name: "main", image: "i", resources }], ...spec },
});
const quota = (name: string, spec: JsonObject) => ({
  apiVersion: "v1",
  kind: "ResourceQuota",
  metadata: { name },
  spec,
});
const usedIs = (ns: string, name: string, used: JsonObject) =>
  vi.waitFor(async () => expect((await call("GET", `${ns}/resourcequotas/${name}`)).status?.["used"]).toEqual(used));

test("limit ranges fill in defaults and hold pods to their bounds", async () => {
  const ns = await namespace();
  const limit = {
    type: "Container",
    default: { cpu: "500m" },
    defaultRequest: { cpu: "100m" },
    max: { cpu: "1" },
    min: { cpu: "50m" },
  };
  await call("POST", `${ns}/limitranges`, {
    apiVersion: "v1",
    kind: "LimitRange",
    metadata: { name: "lr" },
    spec: { limits: [limit] },
  });

  const made = await call("POST", `${ns}/pods`, pod("a"));

  expect((made.spec["containers"] as JsonObject[])[0]?.["resources"]).toEqual({
    limits: { cpu: "500m" },
    requests: { cpu: "100m" },
  });
  expect(made.metadata["annotations"]).toEqual({
    "kubernetes.io/limit-ranger":
      "LimitRanger plugin set: cpu request for container main; cpu limit for container main",
  });
  expect(await message(call("POST", `${ns}/pods`, pod("b", { limits: { cpu: "2" } })))).toBe(
    'pods "b" is forbidden: maximum cpu usage per Container is 1, but limit is 2',
  );
  expect(await message(call("POST", `${ns}/pods`, pod("c", { requests: { cpu: "10m" } })))).toBe(
    'pods "c" is forbidden: minimum cpu usage per Container is 50m, but request is 10m',
  );
});

test("a quota counts what is there, refuses what is beyond, and gives back what goes", async () => {
  const ns = await namespace();
  await call("POST", `${ns}/configmaps`, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "one" } });
  await call("POST", `${ns}/resourcequotas`, quota("q", { hard: { configmaps: "2", pods: "1", "requests.cpu": "1" } }));
  await usedIs(ns, "q", { configmaps: "1", pods: "0", "requests.cpu": "0" });

  expect(await message(call("POST", `${ns}/pods`, pod("a")))).toBe(
    'pods "a" is forbidden: failed quota: q: must specify requests.cpu for: main',
  );
  await call("POST", `${ns}/pods`, pod("b", { requests: { cpu: "600m" } }));
  expect(await message(call("POST", `${ns}/pods`, pod("c", { requests: { cpu: "600m" } })))).toBe(
    'pods "c" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=600m, used: pods=1,requests.cpu=600m, limited: pods=1,requests.cpu=1',
  );
  await call("DELETE", `${ns}/pods/b?gracePeriodSeconds=0`);
  await usedIs(ns, "q", { configmaps: "1", pods: "0", "requests.cpu": "0" });
  await call("POST", `${ns}/pods`, pod("c", { requests: { cpu: "600m" } }));
});

test("creates at once cannot share the last place, and a dry run takes none", async () => {
  const ns = await namespace();
  await call("POST", `${ns}/resourcequotas`, quota("q", { hard: { "count/configmaps": "5" } }));
  const map = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name } });
  for (let i = 0; i < 9; i++) await call("POST", `${ns}/configmaps?dryRun=All`, map(`d${i}`));

  const results = await Promise.allSettled(
    Array.from({ length: 12 }, (_, i) => call("POST", `${ns}/configmaps`, map(`m${i}`))),
  );

  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(5);
  await usedIs(ns, "q", { "count/configmaps": "5" });
});

test("scopes choose which pods count", async () => {
  const ns = await namespace();
  await call("POST", `${ns}/resourcequotas`, quota("be", { hard: { pods: "1" }, scopes: ["BestEffort"] }));
  await usedIs(ns, "be", { pods: "0" });

  await call("POST", `${ns}/pods`, pod("a"));
  await call("POST", `${ns}/pods`, pod("burstable", { requests: { cpu: "1m" } }));

  expect(await message(call("POST", `${ns}/pods`, pod("b")))).toBe(
    'pods "b" is forbidden: exceeded quota: be, requested: pods=1, used: pods=1, limited: pods=1',
  );
});
