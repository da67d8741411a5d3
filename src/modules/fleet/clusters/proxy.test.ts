import { expect, onTestFinished } from "vitest";
import { ConfigMapKind } from "../../../kernel/kinds/index.js";
import { startTestCluster } from "../../../testing/index.js";
import { unless } from "../../../testing/unless.js";
import { ClusterKind } from "../kinds.js";
import { clusterProxy } from "./proxy.js";

const embedded = unless(
  process.env["ARGOSY_TEST_REAL"] === undefined ? undefined : "a real server has no such subresource",
);

embedded("a member's API is reached through the hub's, with the rights that the asker has there", async () => {
  const member = await startTestCluster({ name: "edge" });
  const { kind, forward } = clusterProxy((name) => (name === "edge" ? member : undefined));
  const hub = await startTestCluster({
    name: "hub",
    kinds: [ClusterKind],
    proxies: [{ about: kind, forward }],
    tokens: [{ token: "kim", user: { username: "kim", groups: ["team", "system:authenticated"] } }],
  });
  onTestFinished(async () => {
    await hub.close();
    await member.close();
  });
  const base = "/apis/cluster.karmada.io/v1alpha1/clusters";
  const options = { fieldManager: "test", namespace: "default" };
  await member.client.resource(ConfigMapKind).apply({ metadata: { name: "a", namespace: "default" } }, options);
  const maps = `${base}/edge/proxy/api/v1/namespaces/default/configmaps`;
  expect(await hub.client.json("GET", `${maps}/a`)).toMatchObject({ metadata: { name: "a" } });
  const list = await hub.client.json("GET", `${maps}?limit=1&fieldSelector=metadata.name%3Da`);
  expect(list).toMatchObject({ kind: "ConfigMapList", items: [{ metadata: { name: "a" } }] });
  const b = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "b" } };
  await hub.client.json("POST", maps, b);
  expect((await member.client.resource(ConfigMapKind).get("b", { namespace: "default" })).metadata.name).toBe("b");
  await expect(hub.client.json("GET", `${maps}/none`)).rejects.toMatchObject({ httpCode: 404 });
  await expect(hub.client.json("GET", `${base}/gone/proxy/api`)).rejects.toMatchObject({ httpCode: 503 });

  const kim = hub.as("kim").client;
  await expect(kim.json("GET", `${maps}/a`)).rejects.toThrow(/cannot get resource "clusters\/proxy"/);
  const group = "rbac.authorization.k8s.io";
  await hub.client.json("POST", `/apis/${group}/v1/clusterroles`, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRole",
    metadata: { name: "proxy" },
    rules: [{ apiGroups: ["cluster.karmada.io"], resources: ["clusters/proxy"], verbs: ["*"] }],
  });
  await hub.client.json("POST", `/apis/${group}/v1/clusterrolebindings`, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: "proxy" },
    roleRef: { apiGroup: group, kind: "ClusterRole", name: "proxy" },
    subjects: [{ apiGroup: group, kind: "Group", name: "team" }],
  });
  await expect(kim.json("GET", `${maps}/a`)).rejects.toThrow(/User "kim" cannot get resource "configmaps"/);
  await member.client.json("POST", `/apis/${group}/v1/clusterrolebindings`, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: "team-views" },
    roleRef: { apiGroup: group, kind: "ClusterRole", name: "view" },
    subjects: [{ apiGroup: group, kind: "Group", name: "team" }],
  });
  expect(await kim.json("GET", `${maps}/a`)).toMatchObject({ metadata: { name: "a" } });
});
