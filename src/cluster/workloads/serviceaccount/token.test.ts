import { expect, test, vi } from "vitest";
import { createManager } from "../../../kernel/control/index.js";
import { SecretKind, ServiceAccountKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { startTestCluster } from "../../../testing/index.js";
import { tokenSecrets } from "./index.js";

test("a Secret for a ServiceAccount's token is filled, works, and goes with the account", async () => {
  const cluster = await startTestCluster();
  const { clock, random, client, server } = cluster;
  const manager = createManager({ cluster, clock, random, log: silentLogger });
  manager.add(tokenSecrets({ caPem: server.caPem }));
  manager.start();
  const namespace = "default";
  const secrets = client.resource(SecretKind);
  const accounts = client.resource(ServiceAccountKind);
  await accounts.create({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "robot", namespace } });
  const draft = (name: string, account: string) => ({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace, annotations: { "kubernetes.io/service-account.name": account } },
    type: "kubernetes.io/service-account-token",
  });
  await secrets.create(draft("robot-token", "robot"));

  const dataOf = async () => (await secrets.get("robot-token", { namespace })).data ?? {};
  await vi.waitFor(async () => expect((await dataOf())["token"]).toBeTruthy(), { timeout: 5000 });

  const text = async (key: string) => Buffer.from((await dataOf())[key] ?? "", "base64").toString("utf8");
  expect(await text("namespace")).toBe("default");
  expect(await text("ca.crt")).toBe(server.caPem);
  const review = await cluster
    .as(await text("token"))
    .client.json("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {
      apiVersion: "authentication.k8s.io/v1",
      kind: "SelfSubjectReview",
    });
  expect(review).toMatchObject({ status: { userInfo: { username: "system:serviceaccount:default:robot" } } });

  await accounts.delete("robot", { namespace });
  await vi.waitFor(async () => expect(await secrets.find("robot-token", { namespace })).toBeUndefined(), {
    timeout: 5000,
  });
  await manager.close();
  await cluster.close();
});
