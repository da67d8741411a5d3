import { expect, onTestFinished, test, vi } from "vitest";
import { createManager } from "../../../kernel/control/index.js";
import { ClusterRoleBindingKind, ClusterRoleKind, NamespaceKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { startTestCluster } from "../../../testing/index.js";
import { ClusterKind, WorkKind } from "../kinds.js";
import { proxyRightsController } from "./proxy-rights.js";

interface Rule {
  readonly resourceNames: readonly string[];
}

const OURS = new Set(["kim", "lee", "runner", "team"]);

test("members let the hub speak for whom the hub's roles let through to them, and for nobody else", async () => {
  const hub = await startTestCluster({ name: "hub", kinds: [ClusterKind, WorkKind] });
  const { clock, random, client } = hub;
  const manager = createManager({ cluster: hub, clock, random, log: silentLogger });
  manager.add(proxyRightsController());
  onTestFinished(async () => {
    await manager.close();
    await hub.close();
  });
  const options = { fieldManager: "test", force: true };
  const group = "rbac.authorization.k8s.io";
  const role = async (name: string, rule: { resources: string[]; resourceNames?: string[] }, subjects: object[]) => {
    const rules = [{ apiGroups: ["cluster.karmada.io"], verbs: ["*"], ...rule }];
    await client.resource(ClusterRoleKind).apply({ metadata: { name }, rules }, options);
    const roleRef = { apiGroup: group, kind: "ClusterRole", name };
    await client.resource(ClusterRoleBindingKind).apply({ metadata: { name }, roleRef, subjects }, options);
  };
  const user = (name: string) => ({ apiGroup: group, kind: "User", name });
  await role("both", { resources: ["clusters/proxy"] }, [
    user("kim"),
    { apiGroup: group, kind: "Group", name: "team" },
  ]);
  await role("one", { resources: ["clusters/proxy"], resourceNames: ["edge"] }, [
    { kind: "ServiceAccount", namespace: "ci", name: "runner" },
  ]);
  await role("none", { resources: ["clusters"] }, [user("lee")]);
  const secret = { namespace: "karmada-cluster", name: "x-impersonator" };
  for (const name of ["edge", "cloud", "own", "plain"]) {
    await client.resource(NamespaceKind).apply({ metadata: { name: `karmada-es-${name}` } }, options);
    const annotations = name === "own" ? { "argosy.dev/own-impersonator": "true" } : {};
    const spec = { syncMode: "Push", ...(name === "plain" ? {} : { impersonatorSecretRef: secret }) };
    await client.resource(ClusterKind).apply({ metadata: { name, annotations }, spec }, options);
  }
  manager.start();
  const works = async (cluster: string) =>
    (await client.resource(WorkKind).list({ namespace: `karmada-es-${cluster}` })).items.flatMap(
      ({ spec }) => spec.workload?.manifests ?? [],
    );
  // Kubernetes' own roles of everything let their subjects through, too.
  const rulesIn = async (cluster: string) => {
    const rules = (await works(cluster)).find(({ kind }) => kind === "ClusterRole")?.["rules"] as Rule[] | undefined;
    return rules
      ?.map((rule) => ({ ...rule, resourceNames: rule.resourceNames.filter((name) => OURS.has(name)) }))
      .filter(({ resourceNames }) => resourceNames.length > 0);
  };
  const speak = (resource: string, ...names: string[]) => ({
    verbs: ["impersonate"],
    apiGroups: [""],
    resources: [resource],
    resourceNames: names,
  });
  await vi.waitFor(async () => expect(await works("edge")).toHaveLength(2), { timeout: 10_000 });
  const binding = (await works("edge")).find(({ kind }) => kind === "ClusterRoleBinding");
  expect(binding).toMatchObject({
    metadata: { name: "karmada-impersonator" },
    subjects: [{ namespace: "karmada-cluster", name: "karmada-impersonator" }],
  });
  expect(await rulesIn("edge")).toEqual([
    speak("users", "kim"),
    speak("serviceaccounts", "runner"),
    speak("groups", "team"),
  ]);
  await vi.waitFor(
    async () => expect(await rulesIn("cloud")).toEqual([speak("users", "kim"), speak("groups", "team")]),
    { timeout: 20_000 },
  );
  expect(await works("own")).toEqual([]);
  expect(await works("plain")).toEqual([]);
  await client.resource(ClusterRoleBindingKind).delete("both");
  await vi.waitFor(async () => expect(await rulesIn("edge")).toEqual([speak("serviceaccounts", "runner")]), {
    timeout: 20_000,
  });
});
