import { expect, onTestFinished, test } from "vitest";
import type { ApiClient } from "../kernel/client/types.js";
import { LeaseKind, SecretKind } from "../kernel/kinds/index.js";
import type { JsonObject } from "../kernel/kinds/object.js";
import { ClusterKind } from "../modules/fleet/index.js";
import { startTestCluster, type TestCluster } from "../testing/index.js";
import { describeKinds, describeRights } from "./agent.js";
import { installKinds } from "./install.js";

const level = "continuum";
const namespace = "argosy-system";

async function apply(client: ApiClient, objects: readonly JsonObject[]): Promise<void> {
  for (const object of objects) {
    const { apiVersion, kind, metadata } = object as { apiVersion: string; kind: string; metadata: { name: string } };
    const known = await client.findKind(apiVersion, kind);
    if (known === undefined) throw new TypeError(`no kind ${kind}`);
    await client.dynamic(known).apply({ ...object, metadata }, { fieldManager: "test", force: true });
  }
}

/** A cluster with the continuum agent's rights, and a client with its token. */
async function clusterWithAgent(installCrds: boolean): Promise<{ cluster: TestCluster; agent: ApiClient }> {
  const user = {
    username: `system:serviceaccount:${namespace}:argosy-continuum-agent`,
    groups: ["system:authenticated"],
  };
  const cluster = await startTestCluster({ tokens: [{ token: "agent", user }] });
  onTestFinished(() => cluster.close());
  await apply(cluster.client, describeRights({ level, namespace, installCrds }));
  return { cluster, agent: cluster.as("agent").client };
}

test("with its printed rights an agent installs its kinds and holds its lease, and nothing near them", async () => {
  const { cluster, agent } = await clusterWithAgent(true);
  const forbidden = { httpCode: 403 };

  await installKinds(agent, [ClusterKind], cluster.clock);
  await agent.resource(ClusterKind).list();
  const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", spec: { holderIdentity: "a" } };
  await agent.resource(LeaseKind).create({ ...lease, metadata: { name: "argosy-continuum-agent", namespace } });
  await agent.resource(LeaseKind).get("argosy-continuum-agent", { namespace });

  await expect(agent.resource(LeaseKind).get("other", { namespace })).rejects.toMatchObject(forbidden);
  await expect(agent.resource(SecretKind).list({ namespace })).rejects.toMatchObject(forbidden);
  await expect(agent.resource(SecretKind).get("any", { namespace: "kube-system" })).rejects.toMatchObject(forbidden);
  await expect(
    agent.json("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusters.cluster.karmada.io"),
  ).rejects.toMatchObject(forbidden);
});

test("an agent that installs nothing has no right to, and refuses a cluster without its kinds", async () => {
  const { cluster, agent } = await clusterWithAgent(false);

  await expect(installKinds(agent, [ClusterKind], cluster.clock)).rejects.toMatchObject({ httpCode: 403 });
  expect(JSON.stringify(describeRights({ level, namespace, installCrds: false }))).not.toContain(
    "customresourcedefinitions",
  );
});

test("rights are the modules' own: without the fleet there is nothing to do for the hub", () => {
  const all = JSON.stringify(describeRights({ level, namespace, installCrds: true }));
  const without = JSON.stringify(describeRights({ level, namespace, installCrds: true, modules: ["serving"] }));

  const fleetOnly = JSON.stringify(describeRights({ level, namespace, installCrds: true, modules: ["fleet"] }));

  expect(all).toContain("tokenreviews");
  expect(fleetOnly).not.toContain("tokenreviews");
  expect(all).toContain("hypermlservices");
  expect(without).not.toContain("hypermlservices");
  expect(all).not.toContain('"*"');
  expect(() => describeKinds("cluster", ["servng"])).toThrow('did you mean "serving"?');
  const kinds = describeKinds("cluster", ["serving"]).map(({ metadata }) => (metadata as { name: string }).name);
  expect(kinds).toEqual(
    expect.arrayContaining([
      "mlservices.tensorstack.dev",
      "mlserviceruntimes.tensorstack.dev",
      "inferenceservices.serving.kserve.io",
    ]),
  );
  expect(kinds.every((name) => /\.(tensorstack\.dev|serving\.kserve\.io|serving\.knative\.dev)$/.test(name))).toBe(
    true,
  );
});

test("a node's rights are bound to that node, or to all", () => {
  const subjects = (node?: string) =>
    describeRights({ level: "node", namespace, installCrds: true, ...(node === undefined ? {} : { node }) }).flatMap(
      (object) => object["subjects"] ?? [],
    );

  expect(subjects("box-1")).toMatchObject([{ kind: "User", name: "system:node:box-1" }]);
  expect(subjects()).toMatchObject([{ kind: "Group", name: "system:nodes" }]);
});
