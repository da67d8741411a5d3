import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiError } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startTestCluster();
});
afterAll(() => cluster.close());

type Answer = JsonObject & { readonly metadata: JsonObject; readonly spec: JsonObject };
const call = async (method: string, path: string, body?: JsonObject, type?: string): Promise<Answer> =>
  (await cluster.client.json(
    method,
    path,
    body,
    type === undefined ? {} : { headers: { "content-type": type } },
  )) as Answer;

async function refusal(work: Promise<unknown>): Promise<ApiError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ApiError)) throw new TypeError(`no refusal but ${String(error)}`);
  return error;
}

async function textOf(path: string, headers: Record<string, string> = {}): Promise<[number, string, string]> {
  const response = await cluster.client.transport.request({ method: "GET", path, headers });
  let text = "";
  for await (const chunk of response.body) text += Buffer.from(chunk).toString();
  return [response.status, response.headers["content-type"] ?? "", text];
}

const merge = "application/merge-patch+json";
const oldEvents = "/api/v1/namespaces/default/events";
const newEvents = "/apis/events.k8s.io/v1/namespaces/default/events";

test("an event is one object in both groups, under each group's names", async () => {
  await call("POST", oldEvents, {
    metadata: { name: "e1" },
    involvedObject: { kind: "Pod", namespace: "default", name: "p" },
    message: "hello",
    count: 2,
    source: { component: "me" },
  });
  expect(await call("GET", `${newEvents}/e1`)).toMatchObject({
    apiVersion: "events.k8s.io/v1",
    regarding: { kind: "Pod", name: "p" },
    note: "hello",
    deprecatedCount: 2,
    deprecatedSource: { component: "me" },
  });
  await call("POST", newEvents, {
    metadata: { name: "e2" },
    eventTime: "2026-01-01T00:00:00.000000Z",
    type: "Normal",
    reason: "Tested",
    action: "Testing",
    reportingController: "example.com/c",
    reportingInstance: "c-1",
    regarding: { kind: "Pod", namespace: "default", name: "p" },
    note: "again",
  });
  expect(await call("GET", `${oldEvents}/e2`)).toMatchObject({
    apiVersion: "v1",
    involvedObject: { name: "p" },
    message: "again",
    reportingComponent: "example.com/c",
  });
  const listed = (await call("GET", newEvents))["items"] as JsonObject[];
  expect(listed.map(({ note }) => note)).toEqual(["hello", "again"]);
  expect((await refusal(call("GET", `${newEvents}/none`))).message).toBe('events.events.k8s.io "none" not found');
  expect((await refusal(call("POST", newEvents, { metadata: { name: "e3" } }))).message).toMatch(
    /^Event "e3" is invalid/,
  );
  await call("DELETE", `${newEvents}/e1`);
  expect((await refusal(call("GET", `${oldEvents}/e1`))).httpCode).toBe(404);
});

test("a path of a group that is not served is nobody's; one of a served group is a missing resource", async () => {
  expect(await textOf("/apis/none.example.com/v1/things")).toEqual([
    404,
    "text/plain; charset=utf-8",
    "404 page not found\n",
  ]);
  const [status, type, text] = await textOf("/apis/apps/v1/things");
  expect([status, type]).toEqual([404, "application/json"]);
  expect(text).toContain("the server could not find the requested resource");
});

test("parts of an identity without its user are refused in text", async () => {
  const [status, , text] = await textOf("/api/v1/nodes", { "impersonate-group": "devs", "impersonate-uid": "u" });
  expect(status).toBe(500);
  expect(text).toBe(
    'Internal Server Error: "/api/v1/nodes": requested [{Group  devs    } {UID  u  authentication.k8s.io/v1  }] without impersonating a user\n',
  );
});

test("a namespace on its way out has no grace period", async () => {
  await call("POST", "/api/v1/namespaces", { metadata: { name: "going" } });
  const { metadata } = await call("DELETE", "/api/v1/namespaces/going");
  expect(metadata["deletionTimestamp"]).toBeDefined();
  expect(metadata["deletionGracePeriodSeconds"]).toBeUndefined();
});

test("a fault that two checks find is listed twice and said once", async () => {
  const maps = "/api/v1/namespaces/default/configmaps";
  await call("POST", maps, { metadata: { name: "held", finalizers: ["example.com/a"] } });
  await call("DELETE", `${maps}/held`);
  const { status } = await refusal(
    call("PATCH", `${maps}/held`, { metadata: { finalizers: ["example.com/a", "example.com/b"] } }, merge),
  );
  expect(status.details?.causes).toHaveLength(2);
  expect(status.message.match(/no new finalizers/g)).toHaveLength(1);
  await call("PATCH", `${maps}/held`, { metadata: { finalizers: [] } }, merge);
});

test("what admission adds is not the client's", async () => {
  await call("POST", "/api/v1/namespaces/default/serviceaccounts", { metadata: { name: "worker" } });
  const pod = await call("POST", "/api/v1/namespaces/default/pods", {
    metadata: { name: "p" },
    spec: { serviceAccountName: "worker", containers: [{ name: "c", image: "i" }] },
  });
  expect(pod.spec["tolerations"]).toHaveLength(2);
  const [entry] = pod.metadata["managedFields"] as JsonObject[];
  const fields = (entry as { fieldsV1: { "f:spec": JsonObject } }).fieldsV1["f:spec"];
  expect(fields["f:serviceAccountName"]).toEqual({});
  expect(fields["f:tolerations"]).toBeUndefined();
});

test("a version of a definition shows and keeps only what it and the stored version know", async () => {
  const schema = (properties: JsonObject): JsonObject => ({
    openAPIV3Schema: { type: "object", properties: { spec: { type: "object", properties } } },
  });
  const text = { type: "string" };
  await call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
    metadata: { name: "pairs.example.com" },
    spec: {
      group: "example.com",
      scope: "Cluster",
      names: { plural: "pairs", kind: "Pair" },
      versions: [
        { name: "v1", served: true, storage: true, schema: schema({ both: text, one: text }) },
        { name: "v2", served: true, storage: false, schema: schema({ both: text, two: text }) },
      ],
    },
  });
  const made = await call("POST", "/apis/example.com/v2/pairs", {
    apiVersion: "example.com/v2",
    kind: "Pair",
    metadata: { name: "p" },
    spec: { both: "b", two: "t" },
  });
  expect(made.spec).toEqual({ both: "b" });
  expect((await call("GET", "/apis/example.com/v1/pairs/p")).spec).toEqual({ both: "b" });
});

test("a new node is tainted, and its one range of pods is the first of several", async () => {
  const made = await call("POST", "/api/v1/nodes", { metadata: { name: "n" }, spec: { podCIDR: "198.18.0.0/24" } });
  expect(made.spec).toEqual({
    podCIDR: "198.18.0.0/24",
    podCIDRs: ["198.18.0.0/24"],
    taints: [{ key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }],
  });
  const { message } = await refusal(call("PATCH", "/api/v1/nodes/n", { spec: { podCIDR: "198.18.1.0/24" } }, merge));
  expect(message).toContain('spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid');
});

test("maps in refusals are shown by their keys", async () => {
  const deployment = {
    metadata: { name: "d" },
    spec: {
      selector: { matchLabels: { app: "d" } },
      template: { metadata: { labels: { z: "1", a: "2" } }, spec: { containers: [{ name: "c", image: "i" }] } },
    },
  };
  const { message } = await refusal(call("POST", "/apis/apps/v1/namespaces/default/deployments", deployment));
  expect(message).toContain('Invalid value: {"a":"2","z":"1"}');
});
