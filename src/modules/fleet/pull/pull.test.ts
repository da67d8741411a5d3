import { afterAll, beforeAll, expect } from "vitest";
import { createClient, createInformerSet } from "../../../kernel/client/index.js";
import { virtualClock } from "../../../kernel/clock/index.js";
import { type ClusterAccess, createManager, type Manager } from "../../../kernel/control/index.js";
import {
  ConfigMapKind,
  type Draft,
  findCondition,
  type JsonObject,
  LeaseKind,
  NamespaceKind,
  SecretKind,
} from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { toJson } from "../../../kernel/schema/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { unless } from "../../../testing/unless.js";
import { AGENT, grant, startFleet, type TestFleet } from "../fixture.js";
import { ClusterKind, type Work, WorkKind } from "../kinds.js";
import { DELIVERY_RULES } from "../module.js";
import {
  agentAccountOf,
  CLUSTER_SPACE,
  enrolCluster,
  followedByAgent,
  pullControllers,
  registrationToken,
  requestToken,
  revokeCluster,
} from "./index.js";
import { registrationAccountOf } from "./names.js";

const embedded = unless(
  process.env["ARGOSY_TEST_REAL"] === undefined ? undefined : "tokens and virtual time are the embedded server's",
);

let fleet: TestFleet;
let paris: TestCluster;
let asAgent: ClusterAccess;
let agent: Manager;
const space = "karmada-es-paris";
const clock = virtualClock();

/** Time goes on until it holds. */
async function eventually<T>(look: () => Promise<T>, isTrue: (value: T) => boolean, what: string): Promise<T> {
  let last = await look();
  if (!isTrue(last))
    await clock
      .runUntil(async () => {
        last = await look();
        return isTrue(last);
      }, 60_000)
      .catch((error: unknown) => {
        throw new Error(`never came true: ${what}; last seen: ${JSON.stringify(last)}`, { cause: error });
      });
  return last;
}

function hubWith(token: string): ClusterAccess {
  const { hub } = fleet;
  const client = createClient({ transport: hub.server.transport(token), clock: hub.clock, random: hub.random });
  const { random } = hub;
  const informers = createInformerSet({ client, clock, random, log: silentLogger, ...followedByAgent("paris") });
  return { name: "hub", client, informers };
}

function startAgent(access: ClusterAccess): Manager {
  const { random } = fleet.hub;
  const manager = createManager({ cluster: access, clock, random, log: silentLogger });
  for (const controller of pullControllers(paris.as(AGENT.token))) manager.add(controller);
  manager.start();
  return manager;
}

beforeAll(async () => {
  if (process.env["ARGOSY_TEST_REAL"] !== undefined) return;
  fleet = await startFleet(["push"], { clock });
  paris = await startTestCluster({ name: "paris", clock, tokens: [AGENT] });
  await grant(paris, DELIVERY_RULES);
  await enrolCluster(fleet.hub.client, { name: "paris", labels: { tier: "gold" }, place: { region: "eu" } });
  const { token } = await requestToken(fleet.hub.client, agentAccountOf("paris"), 3600);
  asAgent = hubWith(token);
  agent = startAgent(asAgent);
});

afterAll(async () => {
  await agent?.close();
  await asAgent?.informers.close();
  await fleet?.close();
  await paris?.close();
});

function workOf(name: string, manifest: JsonObject): Draft<Work> {
  return {
    apiVersion: "work.karmada.io/v1alpha1",
    kind: "Work",
    metadata: { name, namespace: space },
    spec: { workload: { manifests: [{ apiVersion: "v1", kind: "ConfigMap", ...manifest }] } },
  };
}

function mapWork(name: string, data: Record<string, string>, more: JsonObject = {}) {
  const labels = { "karmada.io/managed": "true" };
  const annotations = { "work.karmada.io/name": name, "work.karmada.io/namespace": space };
  const metadata = { name, namespace: "default", labels, annotations, ...more };
  return workOf(name, { metadata, data });
}

const works = () => fleet.hub.client.resource(WorkKind);
const maps = () => paris.client.resource(ConfigMapKind);
const readyOf = async () =>
  findCondition((await fleet.hub.client.resource(ClusterKind).get("paris")).status?.conditions, "Ready");

function applied(name: string, status = "True") {
  return eventually(
    () => works().find(name, { namespace: space }),
    (work: Work | undefined) => findCondition(work?.status?.conditions, "Applied")?.status === status,
    `${name} is ${status}`,
  );
}

embedded("an agent makes its member's Works true, says how they and the member are, and cleans up", async () => {
  await eventually(readyOf, (ready) => ready?.status === "True", "paris is ready");
  const cluster = await fleet.hub.client.resource(ClusterKind).get("paris");
  expect(cluster).toMatchObject({
    metadata: { labels: { tier: "gold" } },
    spec: { syncMode: "Pull", region: "eu" },
    status: { nodeSummary: { totalNum: 0 } },
  });
  expect(cluster.status?.apiEnablements?.some(({ groupVersion }) => groupVersion === "apps/v1")).toBe(true);
  const lease = await fleet.hub.client.resource(LeaseKind).get("paris", { namespace: CLUSTER_SPACE });
  expect(lease.spec).toMatchObject({ holderIdentity: "paris", leaseDurationSeconds: 9 });

  await works().create(mapWork("a", { k: "v" }), { namespace: space });
  await applied("a");
  expect((await maps().get("a", { namespace: "default" })).data).toEqual({ k: "v" });
  await maps().patch("a", "merge", { data: { k: "drifted" } }, { namespace: "default" });
  await eventually(
    () => maps().get("a", { namespace: "default" }),
    ({ data }) => data?.["k"] === "v",
    "drift is repaired",
  );
  await works().create(workOf("bad", { metadata: { name: "No_Name", namespace: "default" } }), {
    namespace: space,
  });
  await applied("bad", "False");
  for (const name of ["a", "bad"]) await works().delete(name, { namespace: space });
  await eventually(
    () => works().list({ namespace: space }),
    ({ items }) => items.length === 0,
    "the Works are gone",
  );
  expect(await maps().find("a", { namespace: "default" })).toBeUndefined();
});

embedded("the agent's credential opens nothing else of the hub", async () => {
  const { client } = fleet.hub;
  await client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "other" }, spec: {} });
  await enrolCluster(client, { name: "lyon" });
  const at = { namespace: space };
  await works().create(mapWork("own", { k: "v" }), at);
  await applied("own");
  const ask = (method: string, path: string, body?: JsonObject | Draft<Work>) =>
    asAgent.client.json(method, path, body === undefined ? body : toJson(body), {
      headers: method === "PATCH" ? { "content-type": "application/merge-patch+json" } : {},
    });
  const work = "/apis/work.karmada.io/v1alpha1";
  const cluster = "/apis/cluster.karmada.io/v1alpha1/clusters";
  const ours = `/api/v1/namespaces/${CLUSTER_SPACE}`;
  const refused: [string, string, (JsonObject | Draft<Work>)?][] = [
    ["GET", `${work}/works`],
    ["GET", `${work}/namespaces/karmada-es-lyon/works`],
    ["GET", `${work}/namespaces/karmada-es-push/works`],
    ["GET", `${work}/resourcebindings`],
    ["POST", `${work}/namespaces/${space}/works`, mapWork("made", {})],
    ["DELETE", `${work}/namespaces/${space}/works/own`],
    ["PUT", `${work}/namespaces/${space}/works/own`, mapWork("own", {})],
    ["PATCH", `${work}/namespaces/${space}/works/own`, { spec: { suspendDispatching: true } }],
    ["PATCH", `${work}/namespaces/${space}/works/own`, { metadata: { labels: { a: "b" } } }],
    ["PATCH", `${work}/namespaces/${space}/works/own`, { metadata: { annotations: { "argosy.dev/abandon": "true" } } }],
    ["PATCH", `${work}/namespaces/${space}/works/own`, { metadata: { finalizers: ["a.example/b"] } }],
    ["GET", cluster],
    ["GET", `${cluster}/lyon`],
    ["GET", `${cluster}/push`],
    ["GET", `${cluster}/lyon/proxy/api`],
    ["PATCH", `${cluster}/lyon/status`, { status: {} }],
    ["PATCH", `${cluster}/paris`, { spec: { taints: [{ key: "a", effect: "NoSchedule" }] } }],
    ["PATCH", `${cluster}/paris`, { metadata: { labels: { tier: "iron" } } }],
    ["DELETE", `${cluster}/paris`],
    [
      "POST",
      cluster,
      { apiVersion: "cluster.karmada.io/v1alpha1", kind: "Cluster", metadata: { name: "x" }, spec: {} },
    ],
    ["GET", "/apis/policy.karmada.io/v1alpha1/propagationpolicies"],
    ["GET", "/apis/tensorstack.dev/v1beta1/hypermlservices"],
    ["GET", "/api/v1/secrets"],
    ["GET", `${ours}/secrets`],
    ["GET", `/api/v1/namespaces/${space}/secrets`],
    ["GET", `/api/v1/namespaces/${space}/configmaps`],
    ["GET", "/api/v1/namespaces"],
    ["GET", "/api/v1/namespaces/other"],
    ["GET", `/apis/coordination.k8s.io/v1/namespaces/${CLUSTER_SPACE}/leases`],
    ["PATCH", `/apis/coordination.k8s.io/v1/namespaces/${CLUSTER_SPACE}/leases/lyon`, { spec: {} }],
    ["POST", "/api/v1/namespaces/default/events", { apiVersion: "v1", kind: "Event", metadata: { name: "e" } }],
    ["GET", `/api/v1/namespaces/${space}/events`],
    ["GET", `${ours}/serviceaccounts/${agentAccountOf("paris")}`],
    ["GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles"],
    ["GET", "/apis/certificates.k8s.io/v1/certificatesigningrequests"],
  ];
  for (const [method, path, body] of refused) {
    const verdict = await ask(method, path, body).then(
      () => "allowed",
      (error: { httpCode?: number }) => error.httpCode,
    );
    expect(verdict, `${method} ${path} ${JSON.stringify(body)}`).toBe(403);
  }
  for (const account of [agentAccountOf("lyon"), registrationAccountOf("paris"), "default"])
    await expect(requestToken(asAgent.client, account, 600)).rejects.toMatchObject({ httpCode: 403 });
  const renewed = await requestToken(asAgent.client, agentAccountOf("paris"), 600);
  expect(renewed.expiresMs).toBeGreaterThan(fleet.hub.clock.now());
  await works().delete("own", at);
});

embedded("whoever registers fills in where the member is, and nothing else", async () => {
  const { token } = await registrationToken(fleet.hub.client, "paris", 600);
  const { client } = fleet.hub.as(token);
  const clusters = client.resource(ClusterKind);
  await clusters.patch("paris", "merge", {
    metadata: { annotations: { "argosy.dev/ingress-address": "10.0.0.7:80" } },
    spec: { id: "7", apiEndpoint: "https://paris.example" },
  });
  const wishes: JsonObject[] = [
    { spec: { taints: [{ key: "a", effect: "NoSchedule" }] } },
    { spec: { syncMode: "Push" } },
    { spec: { secretRef: { name: "x", namespace: "kube-system" } } },
    { spec: { region: "us" } },
    { metadata: { labels: { tier: "iron" } } },
    { metadata: { annotations: { "argosy.dev/abandon": "true" } } },
    { metadata: { finalizers: [] } },
  ];
  for (const wish of wishes)
    await expect(clusters.patch("paris", "merge", wish), JSON.stringify(wish)).rejects.toThrow(/the rest is the hub's/);
  await expect(client.resource(WorkKind).list({ namespace: space })).rejects.toMatchObject({ httpCode: 403 });
  await expect(clusters.get("lyon")).rejects.toMatchObject({ httpCode: 403 });
  await expect(requestToken(client, agentAccountOf("lyon"), 600)).rejects.toMatchObject({ httpCode: 403 });
  await expect(client.resource(SecretKind).list({ namespace: CLUSTER_SPACE })).rejects.toMatchObject({ httpCode: 403 });
  expect((await requestToken(client, agentAccountOf("paris"), 600)).token).not.toBe("");
  await expect(enrolCluster(fleet.hub.client, { name: "push" })).rejects.toThrow(/in the fleet by push/);
});

embedded(
  "a silent agent's member is not known to be ready; who is back goes on; who is revoked stays out",
  async () => {
    await agent.close();
    await works().create(mapWork("later", { k: "v" }), { namespace: space });
    const unknown = await eventually(readyOf, (ready) => ready?.status === "Unknown", "paris is not known");
    expect(unknown).toMatchObject({
      reason: "ClusterStatusUnknown",
      message: "Cluster status controller stopped posting cluster status.",
    });
    const waiting = await works().get("later", { namespace: space });
    expect(waiting.status?.conditions).toBeUndefined();
    agent = startAgent(asAgent);
    await eventually(readyOf, (ready) => ready?.status === "True", "paris is back");
    await applied("later");

    await revokeCluster(fleet.hub.client, "paris");
    await expect(asAgent.client.resource(ClusterKind).get("paris")).rejects.toMatchObject({ httpCode: 401 });
    await enrolCluster(fleet.hub.client, { name: "paris" });
    await expect(asAgent.client.resource(ClusterKind).get("paris")).rejects.toMatchObject({ httpCode: 401 });
  },
);
