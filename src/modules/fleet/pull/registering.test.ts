import { expect, onTestFinished } from "vitest";
import { checksOf } from "../../../cluster/apiserver/index.js";
import { ConfigMapKind, NamespaceKind, ServiceAccountKind } from "../../../kernel/kinds/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { unless } from "../../../testing/unless.js";
import { engineAdmission } from "../admission/index.js";
import { ClusterKind, WorkKind } from "../kinds.js";
import { enrolCluster, registrationToken } from "./enrolment.js";
import { CLUSTER_SPACE, registrationAccountOf } from "./names.js";
import { authorityHash, CLUSTER_INFO, publishClusterInfo, readCredential, registerMember } from "./registering.js";

const embedded = unless(
  process.env["ARGOSY_TEST_REAL"] === undefined ? undefined : "strangers read health alone there unless told otherwise",
);
const namespace = "argosy-system";

async function start() {
  const checks = checksOf(engineAdmission(), () => hub);
  const hub: TestCluster = await startTestCluster({ name: "hub", kinds: [ClusterKind, WorkKind], checks });
  const member = await startTestCluster({ name: "paris" });
  onTestFinished(async () => {
    await hub.close();
    await member.close();
  });
  const request = {
    name: "paris",
    hubAddress: { server: "https://hub.example:6443", caPem: hub.server.caPem },
    member: member.client,
    namespace,
    endpoint: "https://paris.example:6443",
    ingressAddress: "10.0.0.7:80",
  };
  return { hub, member, request };
}

embedded("a token registers one member, once; what it leaves is the agent's credential, in the member", async () => {
  const { hub, member, request } = await start();
  await enrolCluster(hub.client, { name: "paris" });
  await enrolCluster(hub.client, { name: "lyon" });
  const { token } = await registrationToken(hub.client, "paris", 600);
  const own = hub.as(token).client;
  await expect(registerMember({ ...request, name: "lyon", hub: own })).rejects.toThrow(
    /this token is not for cluster lyon/,
  );
  const credential = await registerMember({ ...request, hub: own });
  expect(await readCredential(member.client, namespace)).toEqual(credential);
  const id = (await member.client.resource(NamespaceKind).get("kube-system")).metadata.uid;
  expect(await hub.client.resource(ClusterKind).get("paris")).toMatchObject({
    metadata: { annotations: { "argosy.dev/ingress-address": "10.0.0.7:80" } },
    spec: { syncMode: "Pull", id, apiEndpoint: "https://paris.example:6443" },
  });
  expect((await hub.as(credential.token).client.resource(ClusterKind).get("paris")).metadata.name).toBe("paris");
  const accounts = hub.client.resource(ServiceAccountKind);
  expect(await accounts.find(registrationAccountOf("paris"), { namespace: CLUSTER_SPACE })).toBeUndefined();
  await expect(registerMember({ ...request, hub: own })).rejects.toThrow(/it was used, is too old, or was revoked/);
});

embedded(
  "a member that is in the fleet already, or whose name is a push member's, is refused before anything changes",
  async () => {
    const { hub, member, request } = await start();
    const clusters = hub.client.resource(ClusterKind);
    const id = (await member.client.resource(NamespaceKind).get("kube-system")).metadata.uid;
    await enrolCluster(hub.client, { name: "paris" });
    const { token } = await registrationToken(hub.client, "paris", 600);
    const own = hub.as(token).client;

    await clusters.apply({ metadata: { name: "seine" }, spec: { id, syncMode: "Push" } }, { fieldManager: "test" });
    await expect(registerMember({ ...request, hub: own })).rejects.toThrow(
      /the hub does not take cluster paris: .*this cluster is in the fleet already, as seine: `argosy clusters leave seine` first/,
    );
    await clusters.delete("seine");

    await clusters.patch("paris", "merge", { spec: { syncMode: "Push", apiEndpoint: "https://other.example:6443" } });
    await expect(registerMember({ ...request, hub: own })).rejects.toThrow(/cluster paris is in the fleet by push/);
    expect((await clusters.get("paris")).spec).not.toHaveProperty("id");
    expect((await clusters.get("paris")).spec?.apiEndpoint).toBe("https://other.example:6443");
    await expect(readCredential(member.client, namespace)).rejects.toThrow(/the member has no Secret/);

    await clusters.patch("paris", "merge", { spec: { syncMode: "Pull" } });
    await registerMember({ ...request, hub: own });
    expect((await clusters.get("paris")).spec?.id).toBe(id);
  },
);

embedded("strangers read the hub's authority, and nothing else; one that is shown already stays", async () => {
  const { hub } = await start();
  await publishClusterInfo(hub.client, "first");
  await publishClusterInfo(hub.client, "second");
  const { namespace: space, name } = CLUSTER_INFO;
  const maps = hub.client.resource(ConfigMapKind);
  expect((await maps.get(name, { namespace: space })).data).toEqual({ kubeconfig: "first" });
  const asked = await hub.server.handle({
    method: "GET",
    path: `/api/v1/namespaces/${space}/configmaps/${name}`,
    query: new URLSearchParams(),
    headers: {},
    body: new Uint8Array(),
    signal: new AbortController().signal,
  });
  expect(asked.status).toBe(200);
  expect(authorityHash(hub.server.caPem)).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(() => authorityHash("nonsense")).toThrow(/no certificate/);
});
