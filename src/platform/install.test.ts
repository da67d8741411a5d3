import { expect, onTestFinished, test } from "vitest";
import { CustomResourceDefinitionKind, defineKind, NamespaceKind } from "../kernel/kinds/index.js";
import { s } from "../kernel/schema/index.js";
import { startTestCluster, type TestCluster } from "../testing/index.js";
import { ensureNamespace, installKinds, requireKinds } from "./install.js";

const widget = (description: string) =>
  defineKind({
    group: "example.dev",
    version: "v1",
    kind: "Widget",
    description,
    spec: s.object({ size: s.integer() }),
  });

async function start(kinds: Parameters<typeof startTestCluster>[0] = {}): Promise<TestCluster> {
  const cluster = await startTestCluster(kinds);
  onTestFinished(() => cluster.close());
  return cluster;
}

const descriptionOf = async ({ client }: TestCluster): Promise<string | undefined> =>
  (await client.resource(CustomResourceDefinitionKind).get("widgets.example.dev")).spec.versions[0]?.schema
    ?.openAPIV3Schema?.description;

test("a kind of ours is kept as this version has it", async () => {
  const cluster = await start();
  await installKinds(cluster.client, [widget("one")], cluster.clock);
  await installKinds(cluster.client, [widget("two")], cluster.clock);

  expect(await descriptionOf(cluster)).toBe("two");
  await requireKinds(cluster.client, [widget("two")]);
});

test("a kind that is as wanted is not written again; what somebody changed is put back", async () => {
  const cluster = await start();
  const crds = cluster.client.resource(CustomResourceDefinitionKind);
  await installKinds(cluster.client, [widget("one")], cluster.clock);
  const first = (await crds.get("widgets.example.dev")).metadata.resourceVersion;
  await installKinds(cluster.client, [widget("one")], cluster.clock);
  expect((await crds.get("widgets.example.dev")).metadata.resourceVersion).toBe(first);

  const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.dev";
  await cluster.client.json(
    "PATCH",
    path,
    [{ op: "replace", path: "/spec/versions/0/schema/openAPIV3Schema/description", value: "mine" }],
    { headers: { "content-type": "application/json-patch+json" } },
  );
  expect(await descriptionOf(cluster)).toBe("mine");
  await installKinds(cluster.client, [widget("one")], cluster.clock);
  expect(await descriptionOf(cluster)).toBe("one");
});

test("a kind that somebody else installed stays as it is", async () => {
  const cluster = await start({ kinds: [widget("theirs")] });
  await installKinds(cluster.client, [widget("ours")], cluster.clock);

  expect(await descriptionOf(cluster)).toBe("theirs");
});

test("missing kinds are refused, all of them named", async () => {
  const cluster = await start();

  await expect(requireKinds(cluster.client, [widget("one")])).rejects.toThrow("does not serve Widget (example.dev/v1)");
});

test("a namespace is made once; who may not is told what to do", async () => {
  const user = { username: "reader", groups: ["system:authenticated"] };
  const cluster = await start({ tokens: [{ token: "reader", user }] });
  const role = { apiGroups: [""], resources: ["namespaces"], verbs: ["get"] };
  await cluster.client.json("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {
    metadata: { name: "r" },
    rules: [role],
  });
  await cluster.client.json("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
    metadata: { name: "r" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "r" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "reader" }],
  });

  await expect(ensureNamespace(cluster.as("reader").client, "mine")).rejects.toThrow("kubectl create namespace mine");
  await ensureNamespace(cluster.client, "mine");
  await ensureNamespace(cluster.client, "mine");
  expect((await cluster.client.resource(NamespaceKind).get("mine")).metadata.name).toBe("mine");
});
