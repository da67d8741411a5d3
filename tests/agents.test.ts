import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import { request } from "undici";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadKubeconfig } from "../src/kernel/client/index.js";
import type { ApiClient } from "../src/kernel/client/types.js";
import { EventKind, type JsonObject, type Lease, LeaseKind, SecretKind } from "../src/kernel/kinds/index.js";
import { ClusterKind } from "../src/modules/fleet/index.js";
import { freePort } from "../src/testing/ports.js";
import { argosy, type Running, startArgosy } from "./support/argosy.js";
import { blankManifests, blankPath, blankRequest } from "./support/blank-model.js";
import { clientOf } from "./support/fleet.js";
import { eventually } from "./support/polling.js";

// API servers and Kubernetes' own controllers in one process, each agent in one of its own, each with the rights that it prints.
const folder = mkdtempSync(join(tmpdir(), "argosy-agents-"));
const at = (...parts: string[]): string => join(folder, ...parts);
const agents: Running[] = [];
const namespace = "demo";
let server: Running;
let hub: ApiClient;
let cloud: ApiClient;

/** Creates or changes objects as the administrator. */
async function apply(client: ApiClient, ...objects: JsonObject[]): Promise<void> {
  for (const object of objects) {
    const { apiVersion, kind, metadata } = object as unknown as {
      apiVersion: string;
      kind: string;
      metadata: { name: string; namespace?: string };
    };
    const known = await client.findKind(apiVersion, kind);
    if (known === undefined) throw new Error(`the cluster has no kind ${kind}`);
    await client.dynamic(known).apply({ ...object, metadata }, { fieldManager: "test", force: true });
  }
}

/** Applies what `argosy agent rbac` prints. */
async function grant(client: ApiClient, ...words: string[]): Promise<void> {
  const { stdout, stderr, code } = await argosy("agent", "rbac", ...words);
  expect(code, stderr).toBe(0);
  await apply(client, ...(loadAll(stdout) as JsonObject[]));
}

/** A kubeconfig of a ServiceAccount in argosy-system. */
async function kubeconfigFor(client: ApiClient, context: string, account: string): Promise<string> {
  const answer = (await client.json("POST", `/api/v1/namespaces/argosy-system/serviceaccounts/${account}/token`, {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { expirationSeconds: 7200 },
  })) as { status: { token: string } };
  const { transport } = await loadKubeconfig(at("up", "kubeconfig"), context);
  const file = at(`${account}.kubeconfig`);
  writeFileSync(
    file,
    JSON.stringify({
      "current-context": context,
      clusters: [
        {
          name: context,
          cluster: {
            server: transport.server,
            "certificate-authority-data": Buffer.from(transport.caPem ?? "").toString("base64"),
          },
        },
      ],
      users: [{ name: account, user: { token: answer.status.token } }],
      contexts: [{ name: context, context: { cluster: context, user: account } }],
    }),
  );
  return file;
}

async function startAgent(level: string, ...words: string[]): Promise<Running> {
  const agent = startArgosy(["agent", "--level", level, "--data", at(level), ...words]);
  agents.push(agent);
  await agent.says("ready: ");
  return agent;
}

const healthOf = (agent: Running): string => /health at (\S+)/.exec(agent.stderr())?.[1] ?? "";

async function stop(agent: Running): Promise<number | null> {
  agent.child.kill("SIGTERM");
  return (await agent.finished).code;
}

/** The member's Cluster object, with the credentials of its delivery identity in a Secret. */
async function joinMember(ingress: number): Promise<void> {
  const { transport } = await loadKubeconfig(await kubeconfigFor(cloud, "cloud", "argosy-fleet"));
  const encode = (text: string | undefined): string => Buffer.from(text ?? "").toString("base64");
  await apply(
    hub,
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "cloud", namespace: "argosy-system" },
      type: "Opaque",
      data: { token: encode(transport.token), caBundle: encode(transport.caPem) },
    },
    {
      apiVersion: "cluster.karmada.io/v1alpha1",
      kind: "Cluster",
      metadata: { name: "cloud", annotations: { "argosy.dev/ingress-address": `127.0.0.1:${ingress}` } },
      spec: {
        syncMode: "Push",
        apiEndpoint: transport.server,
        secretRef: { name: "cloud", namespace: "argosy-system" },
      },
    },
  );
}

const leaseOf = (client: ApiClient, level: string): Promise<Lease> =>
  client.resource(LeaseKind).get(`argosy-${level}-agent`, { namespace: "argosy-system" });

beforeAll(async () => {
  const data = at("up");
  server = startArgosy(["up", "--data", data, "--members", "cloud=1", "--without", "nodes,modules"]);
  await server.says("ready: ");
  hub = await clientOf(data, "hub");
  cloud = await clientOf(data, "cloud");
  await grant(hub, "--level", "continuum");
  await grant(cloud, "--level", "cluster", "--delivery");
  await grant(cloud, "--level", "node", "--node-name", "box-1");
}, 120_000);

afterAll(async () => {
  for (const agent of agents) await stop(agent);
  await stop(server);
  await hub?.close();
  await cloud?.close();
  rmSync(folder, { recursive: true, force: true });
}, 120_000);

test("agents of all three levels, each a process with its own least rights, deliver a HyperMLService that answers", async () => {
  const ports = { head: await freePort(), cloud: await freePort() };
  const credentials = await argosy(
    ...[
      "agent",
      "credentials",
      "--data",
      at("up"),
      "--context",
      "cloud",
      "--node-name",
      "box-1",
      "--output",
      at("box-1"),
    ],
  );
  expect(credentials.code, credentials.stderr).toBe(0);

  await startAgent(
    "continuum",
    ...["--kubeconfig", await kubeconfigFor(hub, "hub", "argosy-continuum-agent"), "--cluster", "hub"],
    ...["--ingress", `127.0.0.1:${ports.head}`, "--northbound", ":0", "--artifacts", ":0"],
  );
  await startAgent(
    "cluster",
    ...["--kubeconfig", await kubeconfigFor(cloud, "cloud", "argosy-cluster-agent"), "--ingress", `:${ports.cloud}`],
  );
  await startAgent(
    "node",
    ...["--kubeconfig", at("box-1", "kubeconfig"), "--serving-certificate", at("box-1", "serving.pem")],
    ...["--node-name", "box-1"],
  );
  await joinMember(ports.cloud);
  await apply(
    hub,
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    {
      apiVersion: "tensorstack.dev/v1beta1",
      kind: "HyperMLService",
      metadata: { name: "blank", namespace },
      spec: { workloads: [{ clusters: ["cloud"], manifests: blankManifests(namespace) }] },
    },
  );

  const path = `/apis/tensorstack.dev/v1beta1/namespaces/${namespace}/hypermlservices/blank`;
  let seen: unknown;
  await eventually(
    "the HyperMLService is applied and ready",
    async () => {
      const { status } = (await hub.json("GET", path)) as {
        status?: { conditions?: { type: string; status: string }[] };
      };
      seen = status;
      const holds = (type: string): boolean =>
        status?.conditions?.some((condition) => condition.type === type && condition.status === "True") === true;
      return holds("FullyApplied") && holds("Ready") ? true : undefined;
    },
    { boundMs: 90_000, seen: () => seen },
  );
  const answer = await eventually("the model answers through the head ingress", async () => {
    const { statusCode, body } = await request(`http://127.0.0.1:${ports.head}${blankPath(namespace)}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: blankRequest,
    });
    const text = await body.text();
    return statusCode === 200 ? text : undefined;
  });
  expect(JSON.parse(answer)).toMatchObject({ model_name: "blank" });
}, 150_000);

test("the API server reaches the node: its serving certificate is of the cluster's authority", async () => {
  const pods = (await cloud.json("GET", `/api/v1/namespaces/${namespace}/pods`)) as {
    items: { metadata: { name: string } }[];
  };
  const name = pods.items[0]?.metadata.name ?? "";
  const { status, body } = await cloud.transport.request({
    method: "GET",
    path: `/api/v1/namespaces/${namespace}/pods/${name}/log`,
  });
  let log = "";
  for await (const piece of body) log += Buffer.from(piece).toString("utf8");
  expect(status, log).toBe(200);
  expect(log).toContain("blank");
});

test("the hub's agent tells its decisions, to whom the hub lets, and leaves the key to artifacts in the hub", async () => {
  const words = [
    "explain",
    "hi/blank",
    "-n",
    namespace,
    "--data",
    at("continuum"),
    "--kubeconfig",
    at("up", "kubeconfig"),
  ];
  const explained = await argosy(...words, "--context", "hub", "-o", "json");
  const stranger = await argosy(...words.slice(0, -1), at("argosy-continuum-agent.kubeconfig"));

  expect(explained.code, explained.stderr).toBe(0);
  expect(JSON.parse(explained.stdout)).toMatchObject({
    decisions: expect.arrayContaining([expect.objectContaining({ cluster: "hub", topic: "weight" })]),
  });
  expect(stranger.stderr).toContain("403");
  const { data } = await hub.resource(SecretKind).get("artifact-reader", { namespace: "argosy-system" });
  const { artifacts } = JSON.parse(readFileSync(at("continuum", "addresses.json"), "utf8")) as { artifacts: string };
  expect(Buffer.from(data?.[".s3cfg"] ?? "", "base64").toString()).toContain(`host_base = ${new URL(artifacts).host}`);
});

test("health is told on the loopback; a standby takes over when the leader ends", async () => {
  const [continuum] = agents;
  if (continuum === undefined) throw new Error("no agent runs");
  const ask = async (path: string): Promise<string> => (await request(`${healthOf(continuum)}${path}`)).body.text();
  expect(await ask("/healthz")).toBe("ok\n");
  expect(await ask("/readyz")).toBe("ok\n");
  expect(await ask("/metrics")).toContain("argosy_");

  const before = (await leaseOf(hub, "continuum")).spec.holderIdentity;
  const standby = startArgosy([
    ...["agent", "--level", "continuum", "--kubeconfig", at("argosy-continuum-agent.kubeconfig"), "--cluster", "hub"],
    ...["--data", at("standby"), "--ingress", `:${await freePort()}`, "--modules", "fleet"],
  ]);
  agents.push(standby);
  await standby.says("ready: ");
  await standby.says(`waits: ${before} holds the lease argosy-system/argosy-continuum-agent`);
  expect((await leaseOf(hub, "continuum")).spec.holderIdentity).toBe(before);

  expect(await stop(continuum)).toBe(0);
  const after = await eventually("the standby leads", async () => {
    const { holderIdentity } = (await leaseOf(hub, "continuum")).spec;
    return holderIdentity !== before && holderIdentity !== "" ? holderIdentity : undefined;
  });
  expect(after).toContain(String(standby.child.pid));
}, 60_000);

test("a member whose credentials are gone is said to be not connected, in its Cluster's events", async () => {
  await hub.resource(ClusterKind).patch("cloud", "merge", { spec: { secretRef: { name: "gone" } } });

  const message = await eventually("an event says why", async () => {
    const { items } = await hub
      .resource(EventKind)
      .list({ namespace: "default", fieldSelector: "reason=NotConnected" });
    return items[0]?.message;
  });
  expect(message).toContain("there is no Secret argosy-system/gone");
});
