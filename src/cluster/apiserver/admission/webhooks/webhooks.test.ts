import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../../kernel/clock/index.js";
import { ApiError } from "../../../../kernel/errors/index.js";
import { openAuthority } from "../../../../kernel/identity/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../../../../testing/index.js";

let cluster: TestCluster;
let server: Server;
let url = "";
let caBundle = "";
const reviews: { path: string; request: JsonObject }[] = [];
/** What the server answers, by path. */
const answers: Record<string, (request: JsonObject) => JsonObject | number | string> = {};

beforeAll(async () => {
  cluster = await startTestCluster();
  const authority = await openAuthority({ clock: systemClock, name: "hooks" });
  const { certPem, keyPem } = await authority.issueServer(["127.0.0.1"]);
  caBundle = Buffer.from(authority.caPem).toString("base64");
  server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on("end", () => {
      const review = JSON.parse(body) as { request: JsonObject };
      const path = (request.url ?? "").split("?")[0] ?? "";
      reviews.push({ path, request: review.request });
      const answer = answers[path]?.(review.request) ?? { allowed: true };
      if (typeof answer === "number") response.writeHead(answer).end();
      else if (typeof answer === "string") response.end(answer);
      else response.end(JSON.stringify({ ...review, response: { uid: review.request["uid"], ...answer } }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await cluster.close();
  server.closeAllConnections();
  server.close();
});
beforeEach(async () => {
  reviews.length = 0;
  for (const kind of ["mutating", "validating"])
    await cluster.client.json("DELETE", `/apis/admissionregistration.k8s.io/v1/${kind}webhookconfigurations`);
});

type Made = JsonObject & { metadata: JsonObject; data: JsonObject; spec: JsonObject };
const call = (method: string, path: string, body?: JsonObject) =>
  cluster.client.json(method, path, body) as Promise<Made>;
const patchOf = (operations: JsonObject[]) => ({
  allowed: true,
  patchType: "JSONPatch",
  patch: Buffer.from(JSON.stringify(operations)).toString("base64"),
});
const rule = (resources: string[], operations = ["CREATE", "UPDATE"]) => ({
  apiGroups: ["*"],
  apiVersions: ["*"],
  operations,
  resources,
});
const hook = (name: string, spec: JsonObject = {}) => ({
  name: `${name}.example.com`,
  clientConfig: { url: `${url}/${name}`, caBundle },
  rules: [rule(["configmaps"])],
  sideEffects: "None",
  admissionReviewVersions: ["v1"],
  timeoutSeconds: 5,
  ...spec,
});
const configure = (kind: "Mutating" | "Validating", webhooks: JsonObject[]) =>
  call("POST", `/apis/admissionregistration.k8s.io/v1/${kind.toLowerCase()}webhookconfigurations`, {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: `${kind}WebhookConfiguration`,
    metadata: { name: "test" },
    webhooks,
  });
const maps = "/api/v1/namespaces/default/configmaps";
const map = (name: string, labels: JsonObject = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, labels },
  data: { k: "v" },
});
async function refusal(promise: Promise<unknown>) {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ApiError) return { code: error.httpCode, message: error.status.message };
    throw error;
  }
  throw new Error("was not refused");
}

test("a validating webhook refuses what it selects, and is told what is written", async () => {
  answers["/deny"] = () => ({ allowed: false, status: { code: 403, message: "not today" } });
  await configure("Validating", [hook("deny", { objectSelector: { matchLabels: { deny: "yes" } } })]);

  const refused = await refusal(call("POST", maps, map("a", { deny: "yes" })));
  await call("POST", maps, map("b"));

  expect(refused).toEqual({ code: 403, message: 'admission webhook "deny.example.com" denied the request: not today' });
  expect(reviews).toHaveLength(1);
  expect(reviews[0]?.request).toMatchObject({
    kind: { group: "", version: "v1", kind: "ConfigMap" },
    resource: { group: "", version: "v1", resource: "configmaps" },
    name: "a",
    namespace: "default",
    operation: "CREATE",
    userInfo: { username: "argosy:admin" },
    object: { kind: "ConfigMap", apiVersion: "v1", data: { k: "v" } },
    oldObject: null,
    dryRun: false,
  });
});

test("mutating webhooks change the object in turn, and the built-in plugins look again", async () => {
  answers["/one"] = () => patchOf([{ op: "add", path: "/spec/containers/-", value: { name: "side", image: "j" } }]);
  answers["/two"] = (request) => {
    const containers = (request["object"] as Made).spec["containers"] as unknown[];
    return patchOf([{ op: "add", path: "/metadata/annotations", value: { seen: String(containers.length) } }]);
  };
  const onPods = { rules: [rule(["pods"])] };
  await configure("Mutating", [hook("one", onPods), hook("two", onPods)]);

  const made = await call("POST", "/api/v1/namespaces/default/pods", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p" },
    spec: { containers: [{ name: "main", image: "i" }] },
  });

  expect(made.metadata["annotations"]).toMatchObject({ seen: "2" });
  const containers = made.spec["containers"] as { volumeMounts?: unknown[] }[];
  expect(containers.map((container) => container.volumeMounts?.length)).toEqual([1, 1]);
});

test("a failing webhook fails the request or is ignored, as it says", async () => {
  answers["/broken"] = () => 500;
  answers["/rubbish"] = () => "rubbish";
  answers["/stranger"] = () => ({ uid: "other", allowed: true });
  const select = (name: string) => ({ objectSelector: { matchLabels: { f: name } } });
  await configure("Validating", [
    hook("broken", select("fail")),
    hook("rubbish", select("rubbish")),
    hook("stranger", select("stranger")),
    {
      ...hook("ignored", { ...select("ignore"), failurePolicy: "Ignore" }),
      clientConfig: { url: `${url}/broken`, caBundle },
    },
    hook("untrusted", { ...select("untrusted"), clientConfig: { url: `${url}/fine` } }),
  ]);

  const failed = await refusal(call("POST", maps, map("f", { f: "fail" })));
  const rubbish = await refusal(call("POST", maps, map("r", { f: "rubbish" })));
  const stranger = await refusal(call("POST", maps, map("s", { f: "stranger" })));
  const untrusted = await refusal(call("POST", maps, map("u", { f: "untrusted" })));
  await call("POST", maps, map("i", { f: "ignore" }));

  expect(failed.message).toBe(
    'Internal error occurred: failed calling webhook "broken.example.com": failed to call webhook: the server responded with status code 500',
  );
  expect([failed.code, rubbish.code, stranger.code, untrusted.code]).toEqual([500, 500, 500, 500]);
  expect(untrusted.message).toMatch(/certificate/);
});

test("a webhook that cannot be reached is told of as Go's client does", async () => {
  const select = (name: string) => ({ objectSelector: { matchLabels: { f: name } } });
  const service = { name: "none", namespace: "default", path: "/p" };
  await configure("Validating", [
    hook("dead", { ...select("dead"), clientConfig: { url: "https://127.0.0.1:1/x", caBundle } }),
    hook("gone", { ...select("gone"), clientConfig: { service, caBundle } }),
  ]);

  const dead = await refusal(call("POST", maps, map("d", { f: "dead" })));
  const gone = await refusal(call("POST", maps, map("g", { f: "gone" })));

  const begin = (name: string) =>
    `Internal error occurred: failed calling webhook "${name}.example.com": failed to call webhook: Post `;
  expect(dead.message).toBe(
    `${begin("dead")}"https://127.0.0.1:1/x?timeout=5s": dial tcp 127.0.0.1:1: connect: connection refused`,
  );
  expect(gone.message).toBe(`${begin("gone")}"https://none.default.svc:443/p?timeout=5s": service "none" not found`);
});

test("a webhook that hung up on a kept connection is called on a new one", async () => {
  await configure("Validating", [hook("fine")]);

  await call("POST", maps, map("before"));
  server.closeAllConnections();
  await call("POST", maps, map("after"));

  expect(reviews.map(({ request }) => request["name"])).toEqual(["before", "after"]);
});

test("deletes are sent with the old object, dry runs are marked, configurations are not sent", async () => {
  await configure("Validating", [hook("all", { rules: [rule(["*"], ["*"])] })]);
  await call("POST", maps, map("d"));
  reviews.length = 0;

  await call("DELETE", `${maps}/d`);
  await call("POST", `${maps}?dryRun=All`, map("e"));
  await call("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/test");

  expect(reviews.map(({ request }) => [request["operation"], request["dryRun"]])).toEqual([
    ["DELETE", false],
    ["CREATE", true],
  ]);
  expect(reviews[0]?.request["object"]).toBeNull();
  expect(reviews[0]?.request["oldObject"]).toMatchObject({ metadata: { name: "d" } });
});

test("a webhook is found by Service, and must hold a certificate for its name", async () => {
  const port = Number(new URL(url).port);
  await call("POST", "/api/v1/namespaces/default/services", {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "hook" },
    spec: { ports: [{ port: 443, targetPort: port }] },
  });
  await call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "hook", labels: { "kubernetes.io/service-name": "hook" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["127.0.0.1"] }],
    ports: [{ name: "", port }],
  });
  const service = { namespace: "default", name: "hook", path: "/by-service" };
  await configure("Validating", [hook("svc", { clientConfig: { service, caBundle } })]);

  const refused = await refusal(call("POST", maps, map("x")));

  expect(refused.message).toMatch(/hook\.default\.svc/);
});

test("a webhook is asked where its match conditions hold", async () => {
  answers["/some"] = () => ({ allowed: false });
  const matchConditions = [{ name: "big", expression: "size(object.data) > 1 && request.userInfo.username != ''" }];
  await configure("Validating", [hook("some", { matchConditions })]);

  await call("POST", maps, map("small"));
  const refused = await refusal(call("POST", maps, { ...map("large"), data: { a: "1", b: "2" } }));

  expect(refused.code).toBe(403);
  expect(reviews).toHaveLength(1);
  const bad = [hook("bad", { matchConditions: [{ name: "x", expression: "object." }] })];
  expect((await refusal(configure("Mutating", bad))).message).toContain(
    "webhooks[0].matchConditions[0].expression: Invalid value",
  );
});
