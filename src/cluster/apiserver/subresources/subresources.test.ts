import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { connect } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiError } from "../../../kernel/errors/index.js";
import { PodKind } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";

let cluster: TestCluster;
let agent: Server;
/** What the agent was asked, with the common name of the certificate that was shown. */
const asked: string[] = [];

beforeAll(async () => {
  cluster = await startTestCluster();
  const { certPem, keyPem } = await cluster.server.issueServerCertificate(["127.0.0.1"]);
  const tls = { cert: certPem, key: keyPem, ca: cluster.server.caPem, requestCert: true, rejectUnauthorized: true };
  agent = createServer(tls, (request, response) => {
    const socket = request.socket as unknown as { getPeerCertificate(): { subject: { CN: string } } };
    asked.push(`${socket.getPeerCertificate().subject.CN} ${request.url} ${request.headers.authorization ?? "-"}`);
    if (request.url?.includes("follow=true") === true) {
      response.writeHead(200, { "content-type": "text/plain" });
      const piece = Buffer.alloc(64 * 1024, "x");
      const write = () => {
        while (!response.destroyed && response.write(piece)) sent += piece.length;
        if (!response.destroyed) sent += piece.length;
      };
      response.on("drain", write);
      write();
      return;
    }
    response.writeHead(200, { "content-type": "text/plain", "set-cookie": "a=b" });
    response.end(`log of ${request.url}`);
  });
  agent.on("upgrade", (request, socket) => {
    asked.push(`upgrade ${request.url} ${request.headers["sec-websocket-protocol"] ?? ""}`);
    if (request.url?.includes("refuse") === true) {
      socket.end("HTTP/1.1 404 Not Found\r\ncontent-length: 12\r\n\r\nno container");
      return;
    }
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-protocol: v5.channel.k8s.io\r\n\r\nhello",
    );
    socket.on("data", (data: Buffer) => socket.write(`echo ${data.toString()}`));
  });
  await new Promise<void>((resolve) => agent.listen(0, "127.0.0.1", resolve));
  const { port } = agent.address() as AddressInfo;
  await post("/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
  await put("/api/v1/nodes/n1/status", {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "n1" },
    status: {
      addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
    },
  });
  await newPod("p", { nodeName: "n1" });
});
afterAll(async () => {
  agent.closeAllConnections();
  agent.close();
  await cluster.close();
});
let sent = 0;

const call = (method: string, path: string, body?: JsonObject, headers = {}) =>
  cluster.client.json(method, path, body, { headers }) as Promise<
    JsonObject & { metadata: JsonObject; spec: JsonObject }
  >;
const post = (path: string, body: JsonObject) => call("POST", path, body);
const put = (path: string, body: JsonObject) => call("PUT", path, body);
const base = "/api/v1/namespaces/default/pods";
const newPod = (name: string, spec: JsonObject = {}, labels: JsonObject = {}) =>
  post(base, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels },
    spec: { containers: [{ name: "main", image: "i" }], ...spec },
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
const text = async (path: string) => {
  const response = await cluster.client.transport.request({ method: "GET", path });
  let out = "";
  for await (const chunk of response.body) out += Buffer.from(chunk).toString();
  return { status: response.status, headers: response.headers, out };
};

test("logs come from the node's agent, asked with the server's certificate and without the client's token", async () => {
  asked.length = 0;

  const { status, out, headers } = await text(`${base}/p/log?tailLines=5&timestamps=true&container=main`);

  expect(status).toBe(200);
  expect(out).toBe("log of /containerLogs/default/p/main?timestamps=true&tailLines=5");
  expect(headers["set-cookie"]).toBeUndefined();
  expect(asked).toEqual(["kube-apiserver-kubelet-client /containerLogs/default/p/main?timestamps=true&tailLines=5 -"]);
});

test("log requests are checked, and a pod without node has no log", async () => {
  await newPod("two", {
    nodeName: "n1",
    containers: [
      { name: "a", image: "i" },
      { name: "b", image: "i" },
    ],
  });
  await newPod("unplaced");
  await newPod("lost", { nodeName: "no-such-node" });
  const log = (name: string, query = "") => refusal(call("GET", `${base}/${name}/log${query}`));

  expect((await text(`${base}/unplaced/log`)).out).toBe("");
  expect(await log("absent")).toEqual({ code: 404, message: 'pods "absent" not found' });
  expect((await log("two")).message).toBe("a container name must be specified for pod two, choose one of: [a b]");
  expect((await log("two", "?container=c")).message).toBe("container c is not valid for pod two");
  expect((await log("p", "?tailLines=-1")).message).toContain("tailLines: Invalid value");
  expect((await log("lost")).message).toBe('pods "no-such-node" not found');
});

test("a followed log is read no faster than its reader, and ends with it", async () => {
  sent = 0;
  const stop = new AbortController();
  const path = `${base}/p/log?follow=true`;

  const response = await cluster.client.transport.request({ method: "GET", path, signal: stop.signal });
  const reader = response.body[Symbol.asyncIterator]();
  await reader.next();
  // Every buffer on the way fills, then nothing moves any more.
  for (let quiet = 0, last = -1; quiet < 500; quiet = sent === last ? quiet + 1 : 0) {
    last = sent;
    await new Promise((resolve) => setImmediate(resolve));
  }

  expect(sent).toBeLessThan(32 * 1024 * 1024);
  stop.abort();
  await reader.return?.();
});

test("many may ask at once, and a followed log goes on beside them", async () => {
  const stop = new AbortController();
  const followed = await cluster.client.transport.request({
    method: "GET",
    path: `${base}/p/log?follow=true`,
    signal: stop.signal,
  });
  const reader = followed.body[Symbol.asyncIterator]();
  await reader.next();

  const answers = await Promise.all(Array.from({ length: 12 }, () => text(`${base}/p/log?tailLines=1`)));

  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 12 }, () => 200));
  for (let i = 0; i < 50; i++) expect((await reader.next()).done).not.toBe(true);
  stop.abort();
  await reader.return?.();
});

test("exec is joined byte for byte through TLS, and refusals keep their words", async () => {
  asked.length = 0;
  const { url } = await cluster.server.listen({ host: "127.0.0.1", port: 0 });
  const { hostname, port } = new URL(url);
  const raw = (path: string, protocol = "v5.channel.k8s.io") =>
    new Promise<string>((resolve, reject) => {
      const socket = connect({
        host: hostname,
        port: Number(port),
        ca: cluster.server.caPem,
        ALPNProtocols: ["http/1.1"],
      });
      let seen = "";
      socket.on("error", reject);
      socket.on("close", () => resolve(seen));
      socket.on("data", (data: Buffer) => {
        seen += data.toString();
        if (seen.endsWith("hello")) socket.write("ping");
        if (seen.endsWith("echo ping") || seen.includes("no container")) socket.end();
      });
      socket.write(
        `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${cluster.server.adminToken}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: ${protocol}\r\n\r\n`,
      );
    });

  const joined = await raw(
    `${base}/p/exec?command=ls&command=-l&stdout=1&stdin=true&container=main`,
    "base64url.bearer.authorization.k8s.io.c2VjcmV0, v5.channel.k8s.io",
  );
  const refused = await raw(`${base}/p/exec?command=refuse&stdout=1`);
  const plain = await refusal(call("GET", `${base}/p/exec?command=ls&stdout=1`));

  expect(joined).toMatch(/^HTTP\/1\.1 101 /);
  expect(joined).toMatch(/hello.*echo ping$/s);
  expect(asked[0]).toBe("upgrade /exec/default/p/main?input=1&output=1&command=ls&command=-l v5.channel.k8s.io");
  expect(refused).toMatch(/^HTTP\/1\.1 404 /);
  expect(refused).toContain("no container");
  expect(plain.code).toBe(400);
});

test("a pod is bound once", async () => {
  await newPod("b");
  await newPod("gated", { schedulingGates: [{ name: "example.com/x" }] });
  const bind = (name: string, target: JsonObject, metadata: JsonObject = {}) =>
    post(`${base}/${name}/binding`, { apiVersion: "v1", kind: "Binding", metadata: { name, ...metadata }, target });

  expect(await bind("b", { kind: "Node", name: "n1" }, { annotations: { a: "b" } })).toMatchObject({
    status: "Success",
  });
  const pod = await call("GET", `${base}/b`);

  expect(pod.spec["nodeName"]).toBe("n1");
  expect(pod.metadata["annotations"]).toEqual({ a: "b" });
  expect(pod).toMatchObject({ status: { conditions: [{ type: "PodScheduled", status: "True" }] } });
  expect((await refusal(bind("b", { name: "n2" }))).message).toBe(
    'Operation cannot be fulfilled on pods/binding "b": pod b is already assigned to node "n1"',
  );
  expect((await refusal(bind("gated", { name: "n1" }))).message).toContain("has non-empty .spec.schedulingGates");
  expect((await refusal(bind("b", { name: "n1" }, { uid: "11111111-2222-3333-4444-555555555555" }))).code).toBe(409);
});

test("an eviction deletes a pod unless its budget is spent", async () => {
  const evict = (name: string) =>
    post(`${base}/${name}/eviction`, { apiVersion: "policy/v1", kind: "Eviction", metadata: { name } });
  const budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
  const ready = { phase: "Running", conditions: [{ type: "Ready", status: "True" }] };
  await newPod("free", {}, { e: "0" });
  for (const name of ["g1", "g2"]) {
    await newPod(name, { nodeName: "n1" }, { e: "1" });
    await call(
      "PATCH",
      `${base}/${name}/status`,
      { status: ready },
      { "content-type": "application/merge-patch+json" },
    );
  }
  await post(budgets, {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: "b" },
    spec: { minAvailable: 1, selector: { matchLabels: { e: "1" } } },
  });
  const generation = Number((await call("GET", `${budgets}/b`)).metadata["generation"] ?? 1);
  const status = {
    disruptionsAllowed: 1,
    currentHealthy: 2,
    desiredHealthy: 1,
    expectedPods: 2,
    observedGeneration: generation,
  };
  await call("PATCH", `${budgets}/b/status`, { status }, { "content-type": "application/merge-patch+json" });

  expect(await evict("free")).toMatchObject({ status: "Success" });
  expect(await cluster.client.resource(PodKind).find("free", { namespace: "default" })).toBeUndefined();
  await evict("g1");
  const second = await refusal(evict("g2"));

  expect(second).toEqual({ code: 429, message: "Cannot evict pod as it would violate the pod's disruption budget." });
  expect((await call("GET", `${budgets}/b`))["status"]).toMatchObject({
    disruptionsAllowed: 0,
    disruptedPods: { g1: expect.any(String) },
  });
});

test("scale reads and writes replicas, of native and of custom kinds", async () => {
  const path = "/apis/apps/v1/namespaces/default/deployments";
  const template = { metadata: { labels: { app: "d" } }, spec: { containers: [{ name: "c", image: "i" }] } };
  await post(path, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "d" },
    spec: { replicas: 2, selector: { matchLabels: { app: "d" } }, template },
  });
  const merge = { "content-type": "application/merge-patch+json" };

  const read = await call("GET", `${path}/d/scale`);
  await call("PATCH", `${path}/d/scale`, { spec: { replicas: 5 } }, merge);
  const after = await call("GET", `${path}/d`);
  const stale = await refusal(put(`${path}/d/scale`, { ...read, spec: { replicas: 1 } }));
  const negative = await refusal(call("PATCH", `${path}/d/scale`, { spec: { replicas: -1 } }, merge));

  expect(read).toMatchObject({ kind: "Scale", spec: { replicas: 2 }, status: { replicas: 0, selector: "app=d" } });
  expect(after.spec["replicas"]).toBe(5);
  expect(stale.code).toBe(409);
  expect(negative.message).toBe(
    'Scale.autoscaling "d" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
  );
});

test("proxied requests reach pods, never this host or link-local addresses", async () => {
  const { createServer: plainServer } = await import("node:http");
  const backend = plainServer((request, response) =>
    response.end(`${request.method} ${request.url} ${request.headers.authorization ?? "-"}`),
  );
  await new Promise<void>((resolve) => backend.listen(0, "127.64.3.2", resolve));
  const { port } = backend.address() as AddressInfo;
  const place = async (name: string, podIP: string) => {
    await newPod(name, { nodeName: "n1" });
    await call(
      "PATCH",
      `${base}/${name}/status`,
      { status: { phase: "Running", podIP } },
      { "content-type": "application/merge-patch+json" },
    );
  };
  await place("web", "127.64.3.2");
  await place("bad", "169.254.169.254");
  await place("host", "127.0.0.1");

  const { out } = await text(`${base}/web:${port}/proxy/a/b?c=d`);
  const metadata = await refusal(call("GET", `${base}/bad:80/proxy/latest`));
  const host = await refusal(call("GET", `${base}/host:22/proxy/`));
  backend.close();

  expect(out).toBe("GET /a/b?c=d -");
  expect([metadata, host]).toEqual([
    { code: 400, message: "address not allowed" },
    { code: 400, message: "address not allowed" },
  ]);
});

test("policies look at what is sent to subresources: a Scale, an Eviction", async () => {
  const policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
  const rule = (apiGroup: string, resource: string, operation: string) => ({
    apiGroups: [apiGroup],
    apiVersions: ["v1"],
    operations: [operation],
    resources: [resource],
  });
  const policy = (name: string, resourceRules: JsonObject[], expression: string) =>
    post(policies, {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicy",
      metadata: { name },
      spec: { matchConstraints: { resourceRules }, validations: [{ expression, message: "not here" }] },
    });
  await policy(
    "few",
    [rule("apps", "replicasets/scale", "UPDATE")],
    "object.kind == 'Scale' && object.spec.replicas < 4",
  );
  await policy("stay", [rule("", "pods/eviction", "CREATE")], "!object.metadata.name.startsWith('kept')");
  for (const policyName of ["few", "stay"])
    await post("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicyBinding",
      metadata: { name: policyName },
      spec: { policyName, validationActions: ["Deny"] },
    });
  const sets = "/apis/apps/v1/namespaces/default/replicasets";
  const template = { metadata: { labels: { app: "s" } }, spec: { containers: [{ name: "c", image: "i" }] } };
  const spec = { replicas: 1, selector: { matchLabels: { app: "s" } }, template };
  await post(sets, { apiVersion: "apps/v1", kind: "ReplicaSet", metadata: { name: "s" }, spec });
  await newPod("kept");
  const merge = { "content-type": "application/merge-patch+json" };
  const scaleTo = (replicas: number) => call("PATCH", `${sets}/s/scale`, { spec: { replicas } }, merge);
  const evict = () =>
    post(`${base}/kept/eviction`, {
      apiVersion: "policy/v1",
      kind: "Eviction",
      metadata: { name: "kept" },
    });

  expect((await scaleTo(3)).spec["replicas"]).toBe(3);
  expect((await refusal(scaleTo(4))).message).toContain("not here");
  expect((await refusal(evict())).message).toContain("not here");
});

test("an evicted pod says why it goes", async () => {
  await newPod("leaving", { nodeName: "n1" });
  await post(`${base}/leaving/eviction`, { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "leaving" } });

  const { status, metadata } = await call("GET", `${base}/leaving`);

  expect(metadata["deletionTimestamp"]).toBeDefined();
  expect(status).toMatchObject({ conditions: [{ type: "DisruptionTarget", reason: "EvictionByEvictionAPI" }] });
});

test("who applies a scale owns the replicas of the object", async () => {
  const path = "/apis/apps/v1/namespaces/default/deployments";
  const template = { metadata: { labels: { app: "o" } }, spec: { containers: [{ name: "c", image: "i" }] } };
  const spec = { replicas: 2, selector: { matchLabels: { app: "o" } }, template };
  await post(path, { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "o" }, spec });
  const apply = (query: string) =>
    call(
      "PATCH",
      `${path}/o/scale?fieldManager=hand${query}`,
      { apiVersion: "autoscaling/v1", kind: "Scale", metadata: { name: "o" }, spec: { replicas: 7 } },
      { "content-type": "application/apply-patch+yaml" },
    );

  const met = await refusal(apply(""));
  await apply("&force=true");
  const { metadata, spec: after } = await call("GET", `${path}/o`);

  expect(met).toMatchObject({ code: 409, message: expect.stringContaining("using autoscaling/v1: .spec.replicas") });
  expect(after["replicas"]).toBe(7);
  expect(metadata["managedFields"]).toContainEqual(
    expect.objectContaining({
      manager: "hand",
      operation: "Apply",
      apiVersion: "apps/v1",
      subresource: "scale",
      fieldsV1: { "f:spec": { "f:replicas": {} } },
    }),
  );
});
