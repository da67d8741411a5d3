import { expect, test } from "vitest";
import { InterpreterRegistry } from "../interpreters/index.js";
import type { Cluster, HyperMLService, Work } from "../kinds.js";
import { ARGOSY, executionSpaceOf } from "../names.js";
import type { HyperRollout } from "../rollout/kind.js";
import { labelled, leaving, lost, tainted, withCluster, withNewCluster } from "./changes.js";
import type { FleetCopy } from "./copy.js";
import { type ServiceOutcome, serviceOutcomes } from "./services.js";
import { simulate } from "./simulate.js";
import { withTyped } from "./typed.unsafe.js";

const nowMs = Date.parse("2026-01-01T00:00:00Z");
const metadataOf = (name: string, more: object = {}) => ({
  name,
  uid: `uid-${name}`,
  resourceVersion: "1",
  creationTimestamp: "2026-01-01T00:00:00Z",
  generation: 1,
  ...more,
});

const cluster = (name: string): Cluster => ({
  apiVersion: "cluster.karmada.io/v1alpha1",
  kind: "Cluster",
  metadata: metadataOf(name, { labels: { site: name } }),
  spec: { syncMode: "Push" },
  status: {
    conditions: [
      {
        type: "Ready",
        status: "True",
        reason: "ClusterReady",
        message: "",
        lastTransitionTime: "2026-01-01T00:00:00Z",
      },
    ],
  },
});

const model = (name = "digits", release = "v1") => ({
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "MLService",
  metadata: { name, namespace: "demo" },
  spec: { default: release },
});

const row = (name: string) => ({
  cluster: name,
  applied: true,
  appliedMessage: "",
  reason: "",
  resource: { apiVersion: "tensorstack.dev/v1beta1", kind: "MLService", name: "digits", namespace: "demo" },
  status: {
    address: { url: `http://digits.demo.${name}.example:80` },
    conditions: [{ type: "Ready", status: "True", message: "" }],
  },
});

function serviceWith(workloads: HyperMLService["spec"]["workloads"], name = "digits"): HyperMLService {
  return {
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "HyperMLService",
    metadata: metadataOf(name, { namespace: "demo" }),
    spec: { workloads },
    status: { aggregatedStatus: ["cloud", "edge"].map(row) },
  };
}

const work = (clusterName: string, manifest = model(), owner = "digits"): Work => ({
  apiVersion: "work.karmada.io/v1alpha1",
  kind: "Work",
  metadata: metadataOf(`${owner}-${manifest.metadata.name}`, {
    namespace: executionSpaceOf(clusterName),
    labels: { [ARGOSY.ownerUid]: `uid-${owner}` },
    annotations: { [ARGOSY.ownerName]: owner, [ARGOSY.ownerNamespace]: "demo" },
  }),
  spec: { workload: { manifests: [manifest] } },
});

const standing = serviceWith([{ clusters: ["cloud", "edge"], manifests: [model()] }]);

const copy: FleetCopy = {
  clusters: ["cloud", "edge", "far"].map(cluster),
  taintPolicies: [],
  policies: [],
  bindings: [],
  services: [standing],
  rollouts: [],
  heads: [],
  works: [work("cloud"), work("edge")],
  unread: [],
  templates: [],
  interpreters: new InterpreterRegistry(),
  nowMs,
};

const withService = (service: HyperMLService, from = copy): FleetCopy => ({ ...from, services: [service] });

/** As lines. */
function told(outcomes: readonly ServiceOutcome[]): string[] {
  return outcomes.flatMap(({ name, refused, clusters }) => [
    ...refused.map((why) => `${name}: ${why}`),
    ...clusters.map(({ cluster: place, before, after }) => {
      const changes = (after?.changes ?? []).map(({ what, kind }) => `${what} ${kind}`).join(", ");
      const why = [...(after?.refused ?? []), ...(after?.why === undefined ? [] : [after.why])].join("; ");
      return `${place}: ${changes} ${before?.percent ?? "-"}→${after?.percent ?? "-"} ${why}`;
    }),
  ]);
}

const tried = (changed: FleetCopy, from = copy): string[] => told(serviceOutcomes(from, changed));

test("a cluster that leaves is drained, and what it has of the service goes; the others get its requests", () => {
  expect(tried(withCluster(copy, "edge", (each) => leaving(each, nowMs)))).toEqual([
    "cloud:  50→100 ",
    "edge: remove MLService 50→0 cluster edge is being removed; cluster edge is being removed",
  ]);
});

test("a cluster that is lost keeps what it has, and its requests; what takes nothing new does not matter to a service", () => {
  expect(tried(withCluster(copy, "edge", (each) => lost(each, nowMs)))).toEqual([
    "edge:  50→50 nothing reaches it: cluster is not reachable; what it has goes on",
  ]);
  const taint = { key: "broken", effect: "NoExecute" as const, isRemoval: false };
  expect(tried(withCluster(copy, "edge", (each) => tainted(each, [taint], nowMs)))).toEqual([]);
  expect(tried(withNewCluster(copy, { name: "new", labels: {}, room: {} }))).toEqual([]);
});

test("a changed service: what comes, changes and goes, where, and why not", () => {
  const next = serviceWith([
    { clusters: ["cloud"], manifests: [model("digits", "v2")] },
    { clusters: ["far", "mars"], manifests: [model()] },
  ]);
  expect(tried(withService(next))).toEqual([
    "cloud: change MLService 50→50 ",
    "edge: remove MLService 50→0 HyperMLService digits no longer runs in cluster edge",
    "far: add MLService -→50 ",
    'mars:  -→0 cluster "mars" is not registered; the model has not been delivered yet',
  ]);
});

test("two workloads with one object for one cluster are refused, and everything stays", () => {
  const next = serviceWith([
    { clusters: ["cloud", "edge"], manifests: [model()] },
    { clusters: ["edge"], manifests: [model("digits", "v2")] },
  ]);
  const outcome = tried(withService(next));
  expect(outcome[0]).toMatch(
    /^digits: spec\.workloads\[1\]\.manifests\[0\]: MLService demo\/digits is given to cluster edge already/,
  );
  expect(outcome.slice(1)).toEqual([
    "cloud:  50→50 the spec is not carried out, everything stays as it was",
    "edge:  50→50 the spec is not carried out, everything stays as it was",
  ]);
});

test("an object that somebody else delivers to the cluster is told of", () => {
  const next = { ...serviceWith([{ clusters: ["cloud"], manifests: [model()] }], "other"), status: {} };
  expect(tried({ ...copy, services: [standing, next] })).toEqual([
    "cloud: add MLService -→100 MLService demo/digits is delivered there by HyperMLService demo/digits",
  ]);
});

test("with a HyperRollout the wave of each cluster is told, also when labels move it to another", () => {
  const rollout: HyperRollout = {
    apiVersion: "argosy.dev/v1alpha1",
    kind: "HyperRollout",
    metadata: metadataOf("digits", { namespace: "demo" }),
    spec: {
      hyperMLServiceRef: { name: "digits" },
      waves: [
        { name: "first", selector: { matchLabels: { site: "edge" } } },
        { name: "then", approval: true, clusters: ["cloud"] },
      ],
    },
  };
  const ruled = { ...copy, rollouts: [rollout] };
  const next = serviceWith([{ clusters: ["cloud", "edge"], manifests: [model("digits", "v2")] }]);
  const [outcome] = serviceOutcomes(ruled, withService(next, ruled));
  expect(outcome?.rollout).toBe("digits");
  expect(outcome?.clusters.map(({ after }) => [after?.cluster, after?.wave, after?.needsApproval])).toEqual([
    ["cloud", "then", true],
    ["edge", "first", false],
  ]);
  const [moved] = serviceOutcomes(
    ruled,
    withCluster(ruled, "edge", (each) => labelled(each, { site: "elsewhere" })),
  );
  expect(moved?.clusters).toMatchObject([{ cluster: "edge", before: { wave: "first" }, after: { wave: "rest" } }]);
});

test("a HeadIngress that would be otherwise moves requests; what could not be read is said", () => {
  const head = {
    apiVersion: "argosy.dev/v1alpha1",
    kind: "HeadIngress",
    metadata: metadataOf("digits", { namespace: "demo" }),
    spec: { hyperMLServiceRef: { name: "digits" }, weights: { cloud: 1, edge: 3 } },
  };
  const changed = withTyped(copy, head);
  expect(tried(changed ?? copy)).toEqual(["cloud:  50→25 ", "edge:  50→75 "]);
  expect(simulate(copy, { ...copy, unread: ["objects of kind Work are left out: forbidden"] })).toMatchObject({
    services: [],
    notes: ["objects of kind Work are left out: forbidden"],
  });
});
