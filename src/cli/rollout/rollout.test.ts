import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ControllerRevisionKind, type JsonObject, NamespaceKind } from "../../kernel/kinds/index.js";
import {
  ClusterKind,
  HyperMLServiceKind,
  HyperRolloutKind,
  RevisionContentsKind,
  WorkKind,
} from "../../modules/fleet/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { testTerminal } from "../output/terminal.fixture.js";
import type { Session } from "../session.js";
import { abort, promote, setPaused, undo } from "./act.js";
import { showPlan } from "./plan.js";
import { type ShowFormat, showHistory, showStatus } from "./show.js";
import { nameIn, ruledIn } from "./target.js";

const inDemo = { namespace: "demo" };
const folder = mkdtempSync(join(tmpdir(), "argosy-plan-"));
const file = join(folder, "hyper.yaml");
let cluster: TestCluster;
let session: Session;

const service = (release: string, image = "one"): JsonObject & { apiVersion: string; kind: string } => ({
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "MLService",
  metadata: { name: "digits", ...inDemo },
  spec: { default: release, releases: [{ name: release, predictor: { image } }] },
});
const secret = (value: string) => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "s3", ...inDemo },
  stringData: { key: value },
});

/** What delivery has made of a manifest. */
async function work(
  clusterName: string,
  name: string,
  uid: string,
  manifest: JsonObject & { apiVersion: string; kind: string },
) {
  const metadata = manifest["metadata"];
  const annotations = { "work.karmada.io/name": name, "resourcetemplate.karmada.io/generation": "1" };
  const marked = {
    ...manifest,
    metadata: { ...(metadata as JsonObject), labels: { "karmada.io/managed": "true" }, annotations },
  };
  const namespace = `karmada-es-${clusterName}`;
  await cluster.client.resource(WorkKind).create(
    {
      apiVersion: "work.karmada.io/v1alpha1",
      kind: "Work",
      metadata: { name, namespace, labels: { "argosy.dev/hypermlservice-uid": uid } },
      spec: { workload: { manifests: [marked] } },
    },
    { namespace },
  );
}

beforeAll(async () => {
  cluster = await startTestCluster({
    kinds: [HyperMLServiceKind, HyperRolloutKind, RevisionContentsKind, WorkKind, ClusterKind],
  });
  session = { client: cluster.client, context: "test", namespace: "demo" };
  for (const name of ["demo", "karmada-es-cloud", "karmada-es-edge"]) {
    await cluster.client
      .resource(NamespaceKind)
      .create({ apiVersion: "v1", kind: "Namespace", metadata: { name }, spec: {} });
  }
  for (const name of ["cloud", "edge", "far-edge"]) {
    const labels = { tier: name === "cloud" ? "core" : "edge" };
    await cluster.client.resource(ClusterKind).create({
      apiVersion: "cluster.karmada.io/v1alpha1",
      kind: "Cluster",
      metadata: { name, labels },
      spec: { syncMode: "Push" },
    });
  }
  const hyper = await cluster.client.resource(HyperMLServiceKind).create(
    {
      apiVersion: "tensorstack.dev/v1beta1",
      kind: "HyperMLService",
      metadata: { name: "digits", ...inDemo },
      spec: { workloads: [{ clusters: ["cloud", "edge"], manifests: [service("v1"), secret("hidden-1")] }] },
    },
    inDemo,
  );
  for (const name of ["cloud", "edge"]) {
    await work(name, "digits-mlservice", hyper.metadata.uid, service("v1"));
    await work(name, "digits-secret", hyper.metadata.uid, secret("hidden-1"));
  }
});
afterAll(async () => {
  await cluster.close();
  rmSync(folder, { recursive: true });
});

async function plan(text: string, output: ShowFormat = "table"): Promise<string> {
  writeFileSync(file, text);
  const terminal = testTerminal({});
  await showPlan(session, { files: [file], output }, terminal);
  return terminal.stdout();
}

const hyperText = (clusters: string[], ...manifests: JsonObject[]): string =>
  JSON.stringify({
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "HyperMLService",
    metadata: { name: "digits" },
    spec: { workloads: [{ clusters, manifests }] },
  });
const rolloutText = JSON.stringify({
  apiVersion: "argosy.dev/v1alpha1",
  kind: "HyperRollout",
  metadata: { name: "careful" },
  spec: {
    hyperMLServiceRef: { name: "digits" },
    waves: [
      { name: "edges", selector: { matchLabels: { tier: "edge" } } },
      { name: "core", clusters: ["cloud"], approval: true },
    ],
  },
});

test("plan shows what would change in each cluster, wave by wave, and no value of a Secret; it changes nothing", async () => {
  const text = `${rolloutText}\n---\n${hyperText(["cloud", "edge", "far-edge"], service("v2", "two"), secret("hidden-2"))}`;
  const shown = await plan(text);

  expect(shown).toBe(`HyperRollout demo/careful is created

HyperMLService demo/digits changes: 3 of 3 clusters, in the waves of HyperRollout careful
wave edges: edge, far-edge
  edge
    ~ MLService demo/digits
        spec.default: "v1" → "v2"
        spec.releases[v1]: - {"name":"v1","predictor":{"image":"one"}}
        spec.releases[v2]: + {"name":"v2","predictor":{"image":"two"}}
    ~ Secret demo/s3
        stringData.key: (redacted) → (redacted)
  far-edge
    + MLService demo/digits
    + Secret demo/s3
wave core (when it is promoted): cloud
  cloud
    ~ MLService demo/digits
        spec.default: "v1" → "v2"
        spec.releases[v1]: - {"name":"v1","predictor":{"image":"one"}}
        spec.releases[v2]: + {"name":"v2","predictor":{"image":"two"}}
    ~ Secret demo/s3
        stringData.key: (redacted) → (redacted)
`);
  expect(await plan(text, "json")).not.toContain("hidden");
  expect(await cluster.client.resource(HyperRolloutKind).find("careful", inDemo)).toBeUndefined();
  expect((await cluster.client.resource(HyperMLServiceKind).get("digits", inDemo)).metadata.generation).toBe(1);
});

test("plan shows what comes into a namespace that the same file makes, and that the server has not checked it", async () => {
  const place = { name: "s3", namespace: "fresh" };
  const made = JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: "fresh" } });
  const inside = JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata: place });
  writeFileSync(file, `${made}\n---\n${inside}\n`);
  const terminal = testTerminal();

  await showPlan(session, { files: [file], output: "table" }, terminal);

  expect(terminal.stdout()).toBe("Namespace fresh is created\n\nSecret fresh/s3 is created\n");
  expect(terminal.stderr()).toContain("namespace fresh is made by these files: the server cannot check");
  await expect(plan(inside)).rejects.toThrow('namespaces "fresh" not found');
});

test("plan knows what leaves and what stays as it is, and names faults as the server does", async () => {
  expect(await plan(hyperText(["cloud"], service("v1"), secret("hidden-1")))).toBe(
    `HyperMLService demo/digits changes: 1 of 2 clusters, all clusters at once
  cloud: nothing changes
  edge
    - MLService demo/digits
    - Secret demo/s3
`,
  );
  expect(await plan(hyperText(["cloud", "edge"], service("v1"), secret("hidden-1")))).toBe(
    "HyperMLService demo/digits does not change\n",
  );
  await expect(plan(hyperText(["cloud"]))).rejects.toThrow("hyper.yaml:1: spec.workloads[0].manifests");
});

test("rollout steers by fields of the HyperRollout, and says what there is nothing to do about", async () => {
  const rollouts = cluster.client.resource(HyperRolloutKind);
  const get = () => ruledIn(cluster.client, "digits", "demo");
  const terminal = testTerminal({});
  await expect(setPaused(await get(), true, terminal)).rejects.toThrow("no HyperRollout in namespace demo refers to");
  await rollouts.create(JSON.parse(rolloutText), inDemo);
  const written = await rollouts.get("careful", inDemo);
  const stable = { name: "digits-a", number: 1 };
  const status = { phase: "Complete" as const, target: stable, stable, message: "every cluster has revision 1" };
  await rollouts.updateStatus({ ...written, status }, inDemo);
  await expect(promote(await get(), {}, terminal)).rejects.toThrow("there is nothing to promote: Complete");
  await expect(abort(await get(), terminal)).rejects.toThrow("no revision is being rolled out (Complete)");

  const target = { name: "digits-b", number: 2 };
  const waiting = { ...status, phase: "Waiting" as const, target, awaits: "core" };
  await rollouts.updateStatus({ ...(await rollouts.get("careful", inDemo)), status: waiting }, inDemo);
  await promote(await get(), {}, terminal);
  expect((await rollouts.get("careful", inDemo)).spec.promoted).toEqual({
    revision: "digits-b",
    number: 2,
    through: "core",
  });
  await promote(await get(), { all: true }, terminal);
  expect((await rollouts.get("careful", inDemo)).spec.promoted).toEqual({
    revision: "digits-b",
    number: 2,
    through: "*",
  });
  await setPaused(await get(), true, terminal);
  await setPaused(await get(), true, terminal);
  await abort(await get(), terminal);
  expect((await rollouts.get("careful", inDemo)).spec).toMatchObject({
    paused: true,
    aborted: { revision: "digits-b", number: 2 },
  });
  expect(terminal.stdout()).toContain("hyperrollout/careful is paused already\n");
  expect(terminal.stdout()).toContain("revision 2 is taken back to revision 1\n");
});

test("history and undo read revisions, with what their Secrets hold; status shows where requests end", async () => {
  const hypers = cluster.client.resource(HyperMLServiceKind);
  const { metadata } = await hypers.get("digits", inDemo);
  const labels = { "argosy.dev/hypermlservice-uid": metadata.uid };
  const { stringData: _contents, ...shown } = secret("");
  for (const [revision, release] of [
    [1, "v0"],
    [2, "v1"],
  ] as const) {
    const name = `digits-${release}`;
    await cluster.client.resource(ControllerRevisionKind).create(
      {
        apiVersion: "apps/v1",
        kind: "ControllerRevision",
        metadata: { name, ...inDemo, labels, annotations: { "kubernetes.io/change-cause": `release ${release}` } },
        revision,
        data: { workloads: [{ clusters: ["cloud"], manifests: [service(release), shown] }], hasSecrets: true },
      },
      inDemo,
    );
    const secrets = [{ workload: 0, manifest: 1, fields: { stringData: { key: `hidden-${release}` } } }];
    await cluster.client.resource(RevisionContentsKind).create(
      {
        apiVersion: "argosy.dev/v1alpha1",
        kind: "RevisionContents",
        metadata: { name, ...inDemo },
        spec: { secrets },
      },
      inDemo,
    );
  }
  const traffic = [
    { ingress: "digits", cluster: "cloud", release: "v1", percent: 30, clusterPercent: 30, releasePercent: 100 },
  ];
  const revisions = [{ cluster: "cloud", revision: "digits-v1", ready: true }];
  await hypers.updateStatus({ ...(await hypers.get("digits", inDemo)), status: { revisions, traffic } }, inDemo);

  const terminal = testTerminal({});
  const at = { terminal, nowMs: Date.parse(metadata.creationTimestamp ?? "") + 60_000 };
  await showHistory(await ruledIn(cluster.client, "digits", "demo"), "table", at);
  expect(terminal.stdout()).toMatch(
    /^REVISION +NAME +AGE +CLUSTERS +IS +CHANGE-CAUSE\n2 +digits-v1 .* cloud +release v1\n1 +digits-v0 .* release v0\n$/,
  );
  await showStatus(await ruledIn(cluster.client, "digits", "demo"), "table", at);
  expect(terminal.stdout()).toMatch(/cloud +2 +Ready +v1 30%/);

  await undo(await ruledIn(cluster.client, "digits", "demo"), undefined, terminal);
  const undone = await hypers.get("digits", inDemo);
  expect(undone.spec.workloads[0]?.manifests[0]?.spec).toMatchObject({ default: "v0" });
  expect(undone.spec.workloads[0]?.manifests[1]).toMatchObject({ stringData: { key: "hidden-v0" } });
  await expect(undo(await ruledIn(cluster.client, "digits", "demo"), 7, terminal)).rejects.toThrow(
    "there is no revision 7; ControllerRevisions are kept of: 2, 1",
  );
  expect(terminal.stdout()).not.toContain("hidden");
});

test("the service is named with or without its type", () => {
  expect(nameIn("hmls/digits")).toBe("digits");
  expect(nameIn("digits")).toBe("digits");
  expect(() => nameIn("pods/digits")).toThrow("not of the form hmls/NAME");
  expect(() => nameIn("hmls/")).toThrow("not of the form hmls/NAME");
});
