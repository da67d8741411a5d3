import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClusterRoleKind, NamespaceKind } from "../../kernel/kinds/index.js";
import { ClusterKind, createFleetModule } from "../../modules/fleet/index.js";
import { memoryLedger } from "../../stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { testTerminal } from "../output/terminal.fixture.js";
import type { Session } from "../session.js";
import { type Change, tryChange, type WhatIfOptions } from "./what-if.js";
import { applied, scaled } from "./what-if-objects.js";
import { renderSimulation } from "./what-if-text.js";
import { parseLabel, parseTaint } from "./what-if-words.js";

const folder = mkdtempSync(join(tmpdir(), "argosy-what-if-"));
let cluster: TestCluster;
let session: Session;

beforeAll(async () => {
  const module = createFleetModule({
    members: () => undefined,
    gateway: Object.create(null),
    ledger: memoryLedger({ clock: { now: () => 0 } as never }),
    headListener: { name: "head", host: "127.0.0.1", port: 0 },
    ingressListener: () => undefined,
  });
  cluster = await startTestCluster({ kinds: module.kinds.map(({ definition }) => definition) });
  session = { client: cluster.client, context: "test", namespace: "demo" };
  await cluster.client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" }, spec: {} });
  await cluster.client.resource(ClusterRoleKind).create({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "reader" },
    rules: [],
  });
  const clusters = cluster.client.resource(ClusterKind);
  for (const name of ["cloud", "edge"]) {
    const apiEnablements = [
      { groupVersion: "rbac.authorization.k8s.io/v1", resources: [{ kind: "ClusterRole", name: "clusterroles" }] },
    ];
    await clusters.create({
      apiVersion: "cluster.karmada.io/v1alpha1",
      kind: "Cluster",
      metadata: { name, labels: { tier: name } },
      spec: { syncMode: "Push" },
    });
    const ready = { type: "Ready", status: "True", reason: "ClusterReady", message: "" };
    const conditions = [{ ...ready, lastTransitionTime: "2026-01-01T00:00:00Z" }];
    await clusters.patch(name, "merge", { status: { apiEnablements, conditions } }, { subresource: "status" });
  }
});
afterAll(async () => {
  await cluster.close();
  rmSync(folder, { recursive: true });
});

async function run(change: Change, output: WhatIfOptions["output"] = "table") {
  const terminal = testTerminal();
  await tryChange(session, change, { options: { output }, terminal });
  return terminal.stdout();
}

test("a policy that is not there yet is tried, checked by the server, and not made", async () => {
  const file = join(folder, "policy.yaml");
  writeFileSync(
    file,
    `apiVersion: policy.karmada.io/v1alpha1
kind: ClusterPropagationPolicy
metadata: { name: reader }
spec:
  resourceSelectors: [{ apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, name: reader }]
  placement: { clusterAffinity: { clusterNames: [cloud] } }
---
apiVersion: policy.karmada.io/v1alpha1
kind: ClusterOverridePolicy
metadata: { name: beside }
spec: { overrideRules: [] }
`,
  );
  // The version of a list is that of the whole store.
  const version = async () => {
    const list = await cluster.client.json("GET", "/api/v1/namespaces");
    return (list as { metadata: { resourceVersion: string } }).metadata.resourceVersion;
  };
  const before = await version();
  const said = testTerminal();
  const change: Change = (copy) => applied(copy, session, { files: [file], namespace: undefined, terminal: said });
  expect(await run(change)).toBe(`ClusterRole reader
  before  nowhere
  after   cloud
  why     it has no place yet
  rule    all that fit: the kind has no replicas
  -  edge: ClusterAffinity: did not match the placement cluster affinity constraint

1 of 1 bindings would be concerned; nothing was changed
`);
  expect(said.stderr()).toContain("ClusterOverridePolicy beside says nothing of where objects go");
  expect(JSON.parse(await run(change, "json"))).toMatchObject({
    outcomes: [{ binding: "reader-clusterrole", before: [], after: [{ name: "cloud" }] }],
    unchanged: 0,
  });
  expect(await version()).toBe(before);
  writeFileSync(
    file,
    "apiVersion: policy.karmada.io/v1alpha1\nkind: ClusterPropagationPolicy\nmetadata: { name: x }\n",
  );
  await expect(run(change)).rejects.toThrow(/spec/);
});

test("what cannot be scaled is refused", async () => {
  const change: Change = (copy) =>
    scaled(copy, session, { object: "clusterrole/reader", count: 2, namespace: undefined });
  await expect(run(change)).rejects.toThrow("ClusterRole reader has no number of replicas");
});

test("taints and labels are read as kubectl reads them", () => {
  expect(parseTaint("a=b:NoExecute")).toEqual({ key: "a", value: "b", effect: "NoExecute", isRemoval: false });
  expect(parseTaint("a:NoSchedule-")).toEqual({ key: "a", effect: "NoSchedule", isRemoval: true });
  expect(parseTaint("a-")).toEqual({ key: "a", isRemoval: true });
  for (const word of ["a", "a:PreferNoSchedule", ":NoExecute", "a:b:c", "a:Never-"])
    expect(() => parseTaint(word)).toThrow(/no taint/);
  expect(parseLabel("a=b=c")).toEqual(["a", "b=c"]);
  expect(parseLabel("a-")).toEqual(["a", null]);
  for (const word of ["a", "=b", "-"]) expect(() => parseLabel(word)).toThrow(/no label/);
});

test("what would become of HyperMLServices is told cluster by cluster", () => {
  const change = { what: "change" as const, kind: "MLService", namespace: "demo", name: "digits" };
  const fields = [{ path: "spec.default", before: "v1", after: "v2" }];
  const text = renderSimulation({
    outcomes: [],
    unchanged: 2,
    notes: [],
    services: [
      {
        namespace: "demo",
        name: "digits",
        refused: [],
        rollout: "slowly",
        clusters: [
          {
            cluster: "cloud",
            before: { cluster: "cloud", changes: [], refused: [], percent: 50, wave: "first" },
            after: {
              cluster: "cloud",
              changes: [{ ...change, fields }],
              refused: [],
              percent: 100,
              wave: "then",
              needsApproval: true,
            },
          },
          {
            cluster: "edge",
            before: { cluster: "edge", changes: [], refused: [], percent: 50 },
            after: { cluster: "edge", changes: [], refused: ["it leaves"], percent: 0, why: "it is drained" },
          },
        ],
      },
    ],
  });
  expect(text).toBe(`HyperMLService demo/digits, in the waves of HyperRollout slowly
  cloud (wave then, when it is promoted)
    was in wave first
    ~ MLService demo/digits
        spec.default: "v1" → "v2"
    requests 50% → 100%
  edge
    refused  it leaves
    requests 50% → 0%: it is drained

0 of 2 bindings and 1 HyperMLService would be concerned; nothing was changed
`);
});
