import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import { afterAll, beforeAll, expect } from "vitest";
import { createClient, httpTransport } from "../../../src/kernel/client/index.js";
import type { ApiClient } from "../../../src/kernel/client/types.js";
import { systemClock, systemRandom } from "../../../src/kernel/clock/index.js";
import {
  ConfigMapKind,
  findCondition,
  type JsonObject,
  NamespaceKind,
  SecretKind,
  ServiceAccountKind,
} from "../../../src/kernel/kinds/index.js";
import { ClusterKind, HyperMLServiceKind, WorkKind } from "../../../src/modules/fleet/index.js";
import { realPrograms } from "../../../src/testing/real-cluster.js";
import { unless } from "../../../src/testing/unless.js";
import { argosy, type Running, startArgosy } from "../../support/argosy.js";
import { blankManifests } from "../../support/blank-model.js";
import { sendConfigMaps } from "../../support/policies.js";
import { eventually } from "../../support/polling.js";
import { type Controlled, startControlled } from "./controllers.js";

// Hub and member are real Kubernetes control planes; in the hub Argosy's agent works with the rights that it prints, and the member fetches.
const withReal = unless(
  realPrograms === undefined ? "it needs a real kube-apiserver: `npm run test:real` runs it" : undefined,
);
const folder = mkdtempSync(join(tmpdir(), "argosy-pull-real-"));
const inDemo = { namespace: "demo" };
const force = { fieldManager: "test", force: true };
const running: Running[] = [];
let hubStack: Controlled | undefined;
let memberStack: Controlled | undefined;
let hub: ApiClient;
let member: ApiClient;
let agent: Running;

const clientOf = ({ stack }: Controlled, token = stack.token): ApiClient =>
  createClient({
    transport: httpTransport({ server: stack.url, caPem: stack.caPem, token }),
    clock: systemClock,
    random: systemRandom,
  });

async function run(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await argosy(...words);
  expect(code, stderr).toBe(0);
  return stdout;
}

async function apply(client: ApiClient, manifest: JsonObject): Promise<void> {
  const { apiVersion, kind, metadata } = manifest as unknown as {
    apiVersion: string;
    kind: string;
    metadata: { name: string; namespace?: string };
  };
  const known = await client.findKind(apiVersion, kind);
  if (known === undefined) throw new Error(`the cluster has no kind ${kind}`);
  await client.dynamic(known).apply({ ...manifest, metadata }, force);
}

/** A kubeconfig of an account of argosy-system, made from the administrator's. */
async function kubeconfigOf({ stack }: Controlled, client: ApiClient, account: string): Promise<string> {
  const path = `/api/v1/namespaces/argosy-system/serviceaccounts/${account}/token`;
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 7200 } };
  const { status } = (await client.json("POST", path, body)) as { status: { token: string } };
  const file = join(folder, `${account}.kubeconfig`);
  const cluster = { server: stack.url, "certificate-authority-data": Buffer.from(stack.caPem).toString("base64") };
  const config = {
    "current-context": "it",
    clusters: [{ name: "it", cluster }],
    users: [{ name: "it", user: { token: status.token } }],
    contexts: [{ name: "it", context: { cluster: "it", user: "it" } }],
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

async function startAgent(level: string, ...words: string[]): Promise<Running> {
  const made = startArgosy(["agent", "--level", level, "--data", join(folder, level), ...words]);
  running.push(made);
  await made.says("ready: ");
  return made;
}

async function startMemberAgent(): Promise<void> {
  if (memberStack === undefined) throw new Error("there is no member");
  const kubeconfig = await kubeconfigOf(memberStack, member, "argosy-cluster-agent");
  agent = await startAgent(
    "cluster",
    "--pull",
    "--cluster",
    "paris",
    "--kubeconfig",
    kubeconfig,
    "--ingress",
    "127.0.0.1:0",
  );
}

async function register(): Promise<void> {
  if (hubStack === undefined || memberStack === undefined) throw new Error("nothing runs");
  const printed = await run(
    "clusters",
    "token",
    "create",
    "paris",
    "--kubeconfig",
    hubStack.stack.kubeconfig,
    "--region",
    "eu",
  );
  const words = printed.trim().replace("FILE", memberStack.stack.kubeconfig).split(" ").slice(1);
  await run(...words);
}

const readyOf = async () => findCondition((await hub.resource(ClusterKind).get("paris")).status?.conditions, "Ready");

function isReady(expected: string, reason = ""): Promise<true> {
  let seen: unknown;
  return eventually(
    `paris is Ready: ${expected} ${reason}`,
    async () => {
      const ready = await readyOf();
      seen = ready;
      return ready?.status === expected && ready.reason?.includes(reason) === true ? true : undefined;
    },
    { boundMs: 60_000, seen: () => `${JSON.stringify(seen)} ${agent.stderr().slice(-1000)}` },
  );
}

beforeAll(async () => {
  if (realPrograms === undefined) return;
  [hubStack, memberStack] = await Promise.all([startControlled(realPrograms), startControlled(realPrograms)]);
  [hub, member] = [clientOf(hubStack), clientOf(memberStack)];
  const rights = loadAll(await run("agent", "rbac", "--level", "continuum")) as JsonObject[];
  for (const manifest of rights) await apply(hub, manifest);
  const memberRights = loadAll(await run("agent", "rbac", "--level", "cluster", "--pull", "all")) as JsonObject[];
  for (const manifest of memberRights) await apply(member, manifest);
  const kubeconfig = await kubeconfigOf(hubStack, hub, "argosy-continuum-agent");
  const ports = ["--ingress", "127.0.0.1:0", "--northbound", ":0", "--artifacts", ":0"];
  await startAgent("continuum", "--kubeconfig", kubeconfig, "--cluster", "hub", ...ports);
  await hub.resource(NamespaceKind).apply({ metadata: { name: "demo" } }, force);
}, 240_000);

afterAll(async () => {
  for (const { child } of running) child.kill("SIGTERM");
  await Promise.all(running.map(({ finished }) => finished));
  await hub?.close();
  await member?.close();
  await hubStack?.close();
  await memberStack?.close();
  rmSync(folder, { recursive: true, force: true });
}, 120_000);

withReal(
  "a member registers by pull with a real hub, gets what is for it, says how it is, and its credential opens nothing else",
  async () => {
    await register();
    await startMemberAgent();
    await isReady("True");
    await hub.json("POST", "/apis/tensorstack.dev/v1beta1/namespaces/demo/hypermlservices", {
      apiVersion: "tensorstack.dev/v1beta1",
      kind: "HyperMLService",
      metadata: { name: "blank", ...inDemo },
      spec: { workloads: [{ clusters: ["paris"], manifests: blankManifests("demo") }] },
    });
    await hub
      .resource(ConfigMapKind)
      .apply({ metadata: { name: "greeting", ...inDemo }, data: { text: "hello" } }, force);
    await sendConfigMaps(hub, { name: "greeting", selector: { name: "greeting" }, clusters: ["paris"] });
    let seen: unknown;
    await eventually(
      "the HyperMLService is applied, and the greeting is there",
      async () => {
        const { status } = await hub.resource(HyperMLServiceKind).get("blank", inDemo);
        const greeting = await member.resource(ConfigMapKind).find("greeting", inDemo);
        seen = [status, greeting?.data];
        const isApplied = findCondition(status?.conditions, "FullyApplied")?.status === "True";
        return isApplied && greeting?.data?.["text"] === "hello" ? true : undefined;
      },
      { boundMs: 60_000, seen: () => seen },
    );
    // Without nodes no pod runs, and the member's word for that comes to the hub.
    const told = await eventually("the hub knows how the model is", async () => {
      const { status } = await hub.resource(HyperMLServiceKind).get("blank", inDemo);
      const row = status?.aggregatedStatus?.find(({ resource }) => resource.kind === "MLService");
      return row?.status === undefined ? undefined : findCondition(status?.conditions, "Ready");
    });
    expect(told?.status).toBe("False");

    const secret = await member.resource(SecretKind).get("argosy-hub", { namespace: "argosy-system" });
    const token = Buffer.from(secret.data?.["token"] ?? "", "base64").toString();
    if (hubStack === undefined) throw new Error("nothing runs");
    const asAgent = clientOf(hubStack, token);
    const [work] = (await asAgent.resource(WorkKind).list({ namespace: "karmada-es-paris" })).items;
    const works = "/apis/work.karmada.io/v1alpha1/namespaces";
    const own = `${works}/karmada-es-paris/works/${work?.metadata.name}`;
    const clusters = "/apis/cluster.karmada.io/v1alpha1/clusters";
    const merge = { headers: { "content-type": "application/merge-patch+json" } };
    const refused: [string, string, JsonObject?][] = [
      ["GET", `${works}/karmada-es-other/works`],
      ["DELETE", own],
      ["PATCH", own, { spec: { suspendDispatching: true } }],
      ["PATCH", own, { metadata: { labels: { a: "b" } } }],
      ["PATCH", own, { metadata: { finalizers: ["a.example/b"] } }],
      ["GET", clusters],
      ["PATCH", `${clusters}/paris`, { spec: { region: "us" } }],
      ["DELETE", `${clusters}/paris`],
      ["GET", "/api/v1/secrets"],
      ["GET", "/api/v1/namespaces/demo/configmaps/greeting"],
    ];
    const answers: string[] = [];
    for (const [method, path, body] of refused)
      answers.push(
        await asAgent.json(method, path, body, method === "PATCH" ? merge : {}).then(
          () => `${method} ${path} was answered`,
          (error: Error & { httpCode?: number }) => String(error.httpCode),
        ),
      );
    await asAgent.close();
    expect(answers).toEqual(refused.map(() => "403"));
  },
  180_000,
);

withReal(
  "an agent that is gone is missed in time and not made up; what changed meanwhile arrives when it is back",
  async () => {
    agent.child.kill("SIGKILL");
    await isReady("Unknown", "ClusterStatusUnknown");
    await hub
      .resource(ConfigMapKind)
      .apply({ metadata: { name: "greeting", ...inDemo }, data: { text: "again" } }, force);
    const works = await hub.resource(WorkKind).list({ namespace: "karmada-es-paris" });
    await startMemberAgent();
    await isReady("True");
    await eventually("the change arrives", async () => {
      const greeting = await member.resource(ConfigMapKind).find("greeting", inDemo);
      return greeting?.data?.["text"] === "again" ? true : undefined;
    });

    expect(works.items.length).toBeGreaterThan(0);
  },
  120_000,
);

withReal(
  "a credential that is revoked opens nothing, is called so, and a new registration heals it",
  async () => {
    if (hubStack === undefined) throw new Error("nothing runs");
    await run("clusters", "token", "revoke", "paris", "--kubeconfig", hubStack.stack.kubeconfig);
    await isReady("Unknown", "CredentialRevoked");
    await register();
    await isReady("True");
  },
  120_000,
);

withReal(
  "a member that leaves is cleaned up by its agent, and nothing of it stays in the hub",
  async () => {
    if (hubStack === undefined) throw new Error("nothing runs");
    await run("clusters", "leave", "paris", "--kubeconfig", hubStack.stack.kubeconfig);
    await eventually(
      "nothing stays",
      async () => {
        const accounts = await hub.resource(ServiceAccountKind).list({ namespace: "karmada-cluster" });
        const left = accounts.items.filter(({ metadata }) => metadata.name.includes("paris"));
        const greeting = await member.resource(ConfigMapKind).find("greeting", inDemo);
        const cluster = await hub.resource(ClusterKind).find("paris");
        return left.length === 0 && greeting === undefined && cluster === undefined ? true : undefined;
      },
      { boundMs: 60_000 },
    );
    expect(await run("clusters", "list", "--kubeconfig", hubStack.stack.kubeconfig)).not.toContain("paris");
  },
  120_000,
);
