import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { ApiClient } from "../kernel/client/types.js";
import { ApiError } from "../kernel/errors/index.js";
import {
  ConfigMapKind,
  LeaseKind,
  MutatingWebhookConfigurationKind,
  ValidatingWebhookConfigurationKind,
} from "../kernel/kinds/index.js";
import type { JsonObject } from "../kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../testing/index.js";
import { admissionPlace, type PlaceInput } from "./admission.js";
import { type Agent, describeRights, startAgent } from "./agent.js";

const namespace = "argosy-system";
const level = "continuum";
const none = { host: "127.0.0.1", port: 0 };
const account = "argosy-continuum-agent";
const user = { username: `system:serviceaccount:${namespace}:${account}`, groups: ["system:authenticated"] };

async function apply(client: ApiClient, ...objects: JsonObject[]): Promise<JsonObject[]> {
  const stored: JsonObject[] = [];
  for (const object of objects) {
    const { apiVersion, kind, metadata } = object as {
      apiVersion: string;
      kind: string;
      metadata: { name: string; namespace?: string };
    };
    const known = await client.findKind(apiVersion, kind);
    if (known === undefined) throw new TypeError(`no kind ${kind}`);
    const place = metadata.namespace === undefined ? {} : { namespace: metadata.namespace };
    const options = { fieldManager: "test", force: true, ...place };
    stored.push((await client.dynamic(known).apply({ ...object, metadata }, options)) as unknown as JsonObject);
  }
  return stored;
}

/** A hub of somebody else's, on which the agent with its printed rights and no more is started; resolves when it says whether it is asked. */
async function hubWithAgent(
  rights: { webhook?: boolean } = {},
): Promise<{ cluster: TestCluster; agent: Agent; notes: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "argosy-admission-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const cluster = await startTestCluster({ name: "hub", tokens: [{ token: "agent", user }] });
  onTestFinished(() => cluster.close());
  const modules = ["fleet", "serving"];
  await apply(cluster.client, ...describeRights({ level, namespace, installCrds: true, modules, ...rights }));
  const { url, caPem } = await cluster.server.listen(none);
  const kubeconfig = join(folder, "kubeconfig");
  const ca = Buffer.from(caPem).toString("base64");
  const config = {
    "current-context": "hub",
    clusters: [{ name: "hub", cluster: { server: url, "certificate-authority-data": ca } }],
    users: [{ name: "agent", user: { token: "agent" } }],
    contexts: [{ name: "hub", context: { cluster: "hub", user: "agent" } }],
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  const notes: string[] = [];
  let tell = (): void => undefined;
  const told = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const agent = await startAgent({
    level,
    kubeconfig,
    environment: {},
    dataDir: join(folder, "data"),
    modules,
    installCrds: true,
    namespace,
    ingress: none,
    services: { northbound: none, artifacts: none },
    health: none,
    node: { serviceProxy: false },
    note: (text) => {
      notes.push(text);
      if (text.startsWith("admission")) tell();
    },
  });
  onTestFinished(() => agent.close({ keepPods: false }));
  await told;
  return { cluster, agent, notes };
}

const hyper = (...manifests: JsonObject[]): JsonObject => ({
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "HyperMLService",
  metadata: { name: "h", namespace: "default" },
  spec: { workloads: [{ clusters: ["a"], manifests }] },
});
const config = (data: JsonObject): JsonObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "c", namespace: "default" },
  data,
});
const policy = {
  apiVersion: "policy.karmada.io/v1alpha1",
  kind: "PropagationPolicy",
  metadata: { name: "p", namespace: "default" },
  spec: { resourceSelectors: [{ apiVersion: "apps/v1", kind: "Deployment" }], placement: {} },
};

async function refusal(write: Promise<unknown>): Promise<ApiError> {
  const error = await write.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ApiError)) throw new TypeError(`not refused: ${String(error)}`);
  return error;
}

test("on a hub of somebody else's, what is wrong is refused and what is missing filled in, as on an embedded one; a stopped agent leaves nothing there", async () => {
  const { cluster, agent, notes } = await hubWithAgent();
  const { client } = cluster;
  expect(notes).toContain("admission: the API server asks this agent");

  const wrong = await refusal(apply(client, hyper(config({ k: 1 }))));
  expect(wrong.httpCode).toBe(422);
  expect(wrong.message).toContain("spec.workloads[0].manifests[0].data.k: ");
  const twice = await refusal(apply(client, hyper(config({ k: "1" }), config({ k: "2" }))));
  expect(twice.message).toContain(
    "ConfigMap default/c is given to cluster a already by spec.workloads[0].manifests[0]",
  );
  const rollout = {
    apiVersion: "argosy.dev/v1alpha1",
    kind: "HyperRollout",
    metadata: { name: "r", namespace: "default" },
    spec: { hyperMLServiceRef: { name: "h" }, waves: [{ name: "all", count: 1 }] },
  };
  expect((await refusal(apply(client, rollout))).message).toContain(
    'spec.waves[0].name: Invalid value: "all" is the name of a wave that is made',
  );

  const head = {
    apiVersion: "argosy.dev/v1alpha1",
    kind: "HeadIngress",
    metadata: { name: "h", namespace: "default" },
    spec: { backends: [{ name: "a", url: "http://10.0.0.1:99999" }] },
  };
  const warned = await client.transport.request({
    method: "POST",
    path: "/apis/argosy.dev/v1alpha1/namespaces/default/headingresses",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(head),
  });
  expect(warned.status).toBe(201);
  expect(warned.headers["warning"]).toContain("is not host:port; it carries no requests until this is corrected");

  const [stored] = await apply(client, policy);
  expect(stored).toMatchObject({
    metadata: { labels: { "propagationpolicy.karmada.io/permanent-id": expect.any(String) } },
    spec: { resourceSelectors: [{ namespace: "default" }] },
  });
  const label = { "resourcetemplate.karmada.io/deletion-protected": "Always" };
  await apply(client, { ...config({}), metadata: { name: "kept", namespace: "default", labels: label } });
  expect((await refusal(client.resource(ConfigMapKind).delete("kept", { namespace: "default" }))).message).toContain(
    'admission webhook "resourcedeletionprotection.karmada.io" denied the request: This resource is protected',
  );

  const configurations = () =>
    Promise.all(
      [ValidatingWebhookConfigurationKind, MutatingWebhookConfigurationKind].map((kind) =>
        client.resource(kind).find(account),
      ),
    );
  // With the rights they come from, they go.
  const [validating] = await configurations();
  expect(validating?.metadata.ownerReferences).toMatchObject([{ kind: "ClusterRole", name: account }]);
  await agent.close({ keepPods: false });
  expect(await configurations()).toEqual([undefined, undefined]);
});

test("a model of the hub is refused, unless the hub is a member too", async () => {
  const { client } = (await hubWithAgent()).cluster;
  const runtime = {
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "MLServiceRuntime",
    metadata: { name: "r", namespace: "default" },
    spec: { enabled: true, template: { spec: { containers: [{ name: "user-container", image: "i" }] } } },
  };
  expect((await refusal(apply(client, runtime))).message).toContain("the hub runs no models");
  const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", spec: {} };
  await client.resource(LeaseKind).create({ ...lease, metadata: { name: "argosy-cluster-agent", namespace } });
  await apply(client, runtime);
});

test("without the right to be asked, the agent says so and works all the same", async () => {
  const { cluster, notes } = await hubWithAgent({ webhook: false });
  expect(notes.filter((note) => note.startsWith("admission"))).toEqual([
    expect.stringMatching(
      /^admission is not served: .*validatingwebhookconfigurations.*; what is wrong is said in conditions only$/,
    ),
  ]);
  await apply(cluster.client, hyper(config({ k: "1" }), config({ k: "2" })));
});

test("where the API server finds the agent follows from where both are", () => {
  const place = (input: Partial<PlaceInput>) => {
    const found = admissionPlace({ level, namespace, server: "https://10.0.0.1:6443", kubeconfig: "k", ...input });
    return typeof found === "string" ? found : found.at(9443);
  };
  const everywhere = { host: "0.0.0.0", port: 9443 };
  expect(place({})).toContain("--webhook HOST:PORT");
  expect(place({ server: "https://localhost:6443" })).toEqual({ url: "https://127.0.0.1:9443" });
  expect(place({ webhook: { host: "10.0.0.2", port: 9443 } })).toEqual({ url: "https://10.0.0.2:9443" });
  expect(place({ webhook: { host: "fd00::2", port: 9443 } })).toEqual({ url: "https://[fd00::2]:9443" });
  expect(place({ webhook: everywhere, advertise: "hub.example.org" })).toEqual({ url: "https://hub.example.org:9443" });
  expect(place({ webhook: everywhere, kubeconfig: undefined })).toEqual({
    service: { namespace, name: account, port: 443 },
  });
  expect(() => place({ webhook: everywhere })).toThrow("name the one by which the API server reaches it");
});
