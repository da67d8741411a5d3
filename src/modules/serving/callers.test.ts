import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { createManager } from "../../kernel/control/index.js";
import { DeploymentKind, NamespaceKind, NetworkPolicyKind } from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { callersController } from "./callers.js";

async function start(): Promise<TestCluster> {
  const cluster = await startTestCluster();
  const manager = createManager({ cluster, clock: systemClock, random: cluster.random, log: silentLogger });
  manager.add(callersController(cluster));
  manager.start();
  onTestFinished(async () => {
    await manager.close();
    await cluster.close();
  });
  for (const name of ["team", "plain", "open"])
    await cluster.client.resource(NamespaceKind).create({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name, ...(name === "open" ? { labels: { "serving.argosy.dev/callers": "cluster" } } : {}) },
      spec: {},
    });
  return cluster;
}

const deploy = (cluster: TestCluster, namespace: string, name: string, label: string) =>
  cluster.client.resource(DeploymentKind).apply(
    {
      metadata: { name, namespace },
      spec: {
        selector: { matchLabels: { [label]: name } },
        template: { metadata: { labels: { [label]: name } }, spec: { containers: [{ name: "c", image: "x" }] } },
      },
    },
    { namespace, fieldManager: "user", force: true },
  );

/** The names of the policies, by namespace, once they are as wanted. */
async function untilPolicies(cluster: TestCluster, wanted: readonly string[]): Promise<string[]> {
  for (;;) {
    const { items } = await cluster.client.resource(NetworkPolicyKind).list();
    const found = items.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).sort();
    if (found.join() === wanted.join()) return found;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

test("models are called from their own namespace, unless somebody says otherwise", async () => {
  const cluster = await start();
  const policies = cluster.client.resource(NetworkPolicyKind);
  await deploy(cluster, "plain", "web", "app");
  await deploy(cluster, "open", "model", "serving.kserve.io/inferenceservice");
  await deploy(cluster, "team", "model", "serving.kserve.io/inferenceservice");
  await deploy(cluster, "team", "hello", "serving.knative.dev/revision");
  await untilPolicies(cluster, ["team/argosy-inferenceservice-callers", "team/argosy-knative-callers"]);
  const { spec } = await policies.get("argosy-inferenceservice-callers", { namespace: "team" });

  expect(spec).toEqual({
    podSelector: {
      matchExpressions: [
        { key: "serving.kserve.io/inferenceservice", operator: "Exists" },
        { key: "serving.argosy.dev/callers", operator: "NotIn", values: ["cluster"] },
      ],
    },
    ingress: [{ from: [{ podSelector: {} }] }],
    policyTypes: ["Ingress"],
  });

  // What somebody takes away is put back; what is not needed any more goes.
  await policies.delete("argosy-knative-callers", { namespace: "team" });
  await untilPolicies(cluster, ["team/argosy-inferenceservice-callers", "team/argosy-knative-callers"]);
  await cluster.client.resource(DeploymentKind).delete("hello", { namespace: "team" });
  await untilPolicies(cluster, ["team/argosy-inferenceservice-callers"]);
  await cluster.client
    .resource(NamespaceKind)
    .patch("team", "merge", { metadata: { labels: { "serving.argosy.dev/callers": "cluster" } } });
  await untilPolicies(cluster, []);
});

test("a policy of the same name that is somebody else's stays theirs", async () => {
  const cluster = await start();
  const policies = cluster.client.resource(NetworkPolicyKind);
  const metadata = { name: "argosy-mlservice-callers", namespace: "team" };
  const theirs = { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec: { podSelector: {} } };
  await policies.create(theirs, { namespace: "team" });
  await deploy(cluster, "team", "model", "tensorstack.dev/mlservice");
  await deploy(cluster, "team", "hello", "serving.knative.dev/revision");
  await untilPolicies(cluster, ["team/argosy-knative-callers", "team/argosy-mlservice-callers"]);

  expect((await policies.get(metadata.name, { namespace: "team" })).spec.podSelector).toEqual({});
});
