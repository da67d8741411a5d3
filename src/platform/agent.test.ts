import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "undici";
import { expect, onTestFinished, test } from "vitest";
import { LeaseKind, ServiceAccountKind } from "../kernel/kinds/index.js";
import { asObject, asString } from "../kernel/schema/index.js";
import { startTestCluster, type TestCluster } from "../testing/index.js";
import { type AgentOptions, startAgent } from "./agent.js";
import { layoutOf, runningProcess } from "./layout.js";

const none = { host: "127.0.0.1", port: 0 };

/** An API server that listens, and an agent's options for it. */
async function start(): Promise<{ cluster: TestCluster; options: AgentOptions; notes: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "argosy-agent-"));
  const cluster = await startTestCluster({ name: "hub" });
  onTestFinished(async () => {
    await cluster.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const { url } = await cluster.server.listen({ host: "127.0.0.1", port: 0 });
  const kubeconfig = join(folder, "kubeconfig");
  const ca = Buffer.from(cluster.server.caPem).toString("base64");
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      "current-context": "hub",
      clusters: [{ name: "hub", cluster: { server: url, "certificate-authority-data": ca } }],
      users: [{ name: "admin", user: { token: cluster.server.adminToken } }],
      contexts: [{ name: "hub", context: { cluster: "hub", user: "admin" } }],
    }),
  );
  const notes: string[] = [];
  const options: AgentOptions = {
    level: "continuum",
    kubeconfig,
    environment: {},
    dataDir: join(folder, "data"),
    installCrds: true,
    namespace: "argosy-system",
    ingress: none,
    services: { northbound: none, artifacts: none },
    health: none,
    node: { serviceProxy: false },
    note: (text) => notes.push(text),
  };
  return { cluster, options, notes };
}

test("an agent refuses what it cannot do, says what to do, and leaves nothing running", async () => {
  const { options } = await start();
  const { kubeconfig: _, ...nowhere } = options;
  const pod = { KUBERNETES_SERVICE_HOST: "10.0.0.1" };

  await expect(startAgent(nowhere)).rejects.toThrow("say which cluster with --kubeconfig FILE");
  await expect(startAgent({ ...nowhere, environment: pod })).rejects.toThrow("with --cluster NAME");
  await expect(startAgent({ ...options, modules: ["servin"] })).rejects.toThrow('did you mean "serving"?');
  await expect(startAgent({ ...options, modules: ["serving"] })).rejects.toThrow(
    "of serving, none has controllers of level continuum",
  );
  await expect(startAgent({ ...options, installCrds: false })).rejects.toThrow(
    /does not serve HyperMLService \(tensorstack.dev\/v1beta1\), .*argosy agent crds --level/,
  );
  expect(await runningProcess(layoutOf(options.dataDir))).toBeUndefined();
});

test("a node that waits for rights ends when it is asked to, and leaves its folder to the next", async () => {
  const { cluster, options, notes } = await start();
  const stranger = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "stranger", namespace: "default" } };
  await cluster.client.resource(ServiceAccountKind).create(stranger);
  const path = "/api/v1/namespaces/default/serviceaccounts/stranger/token";
  const tokenRequest = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
  const answer = await cluster.client.json("POST", path, tokenRequest);
  const file = options.kubeconfig ?? "";
  const token = asString(asObject(asObject(answer)["status"])["token"]);
  writeFileSync(file, readFileSync(file, "utf8").replace(cluster.server.adminToken, token));
  const asked = new AbortController();
  const note = (text: string): void => {
    notes.push(text);
    if (text.startsWith("waits: ")) asked.abort(new Error("asked to end"));
  };

  await expect(startAgent({ ...options, level: "node", note, signal: asked.signal })).rejects.toThrow("asked to end");
  expect(notes.at(-1)).toContain("cannot be read");
  expect(await runningProcess(layoutOf(options.dataDir))).toBeUndefined();
});

test("a server that does not answer is named", async () => {
  const { cluster, options } = await start();
  await cluster.close();

  await expect(startAgent(options)).rejects.toThrow(/https:\/\/127\.0\.0\.1:\d+ does not answer/);
});

test("an agent whose address another program has says which option chooses one", async () => {
  const { options } = await start();
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  onTestFinished(() => void other.close());
  const address = other.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  await expect(startAgent({ ...options, ingress: { host: "127.0.0.1", port } })).rejects.toThrow(
    /listen EADDRINUSE.*; --ingress HOST:PORT says where else$/,
  );
});

test("tracking alone needs no gateway's routes and no fleet; its health is told, its lease given back", async () => {
  const { cluster, options, notes } = await start();
  const agent = await startAgent({ ...options, modules: ["tracking"] });
  const lease = () => cluster.client.resource(LeaseKind).find("argosy-continuum-agent", { namespace: "argosy-system" });
  const ask = async (path: string): Promise<string> => (await request(`${agent.health}${path}`)).body.text();
  try {
    expect(agent.summary).toMatch(/^tracking: 0 controllers.*; ingress http:\/\/127\.0\.0\.1:[1-9]\d*/);
    expect(notes).toEqual([expect.stringMatching(/^cluster hub at https:.*: v1\.34/)]);
    expect(await ask("/readyz")).toBe("ok\n");
    expect(await ask("/nothing")).toContain("/metrics");
  } finally {
    await agent.close({ keepPods: false });
  }
  expect((await lease())?.spec.holderIdentity ?? "").toBe("");
});
