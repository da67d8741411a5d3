import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { seededRandom, systemClock } from "../kernel/clock/index.js";
import {
  ClusterRoleKind,
  ConfigMapKind,
  CustomResourceDefinitionKind,
  defineKind,
  PersistentVolumeKind,
  SecretKind,
} from "../kernel/kinds/index.js";
import { silentLogger } from "../kernel/log/index.js";
import { s } from "../kernel/schema/index.js";
import { type ClusterOptions, type EmbeddedCluster, prepareCluster, startCluster } from "./cluster.js";
import {
  controllerManager,
  moduleAgent,
  nodeIdentity,
  northboundReviewer,
  scheduler,
  serviceProxy,
  volumeProvisioner,
} from "./identities.js";

const WidgetKind = defineKind({
  group: "example.dev",
  version: "v1",
  kind: "Widget",
  description: "A thing for tests.",
  spec: s.object({ size: s.integer() }),
});
const agent = moduleAgent([{ apiGroups: ["example.dev"], resources: ["widgets"], verbs: ["get", "list"] }]);
const identities = [
  agent,
  controllerManager,
  northboundReviewer,
  scheduler,
  serviceProxy,
  volumeProvisioner,
  nodeIdentity("edge"),
];

function optionsFor(dataDir: string): ClusterOptions {
  return {
    name: "edge",
    dataDir,
    port: 0,
    serviceCidr: "198.19.1.0/24",
    identities,
    clock: systemClock,
    random: seededRandom(1),
    log: silentLogger,
  };
}

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "argosy-cluster-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function start(dataDir: string): Promise<EmbeddedCluster> {
  const cluster = await startCluster(optionsFor(dataDir));
  await prepareCluster(cluster, [WidgetKind], identities, optionsFor(dataDir));
  return cluster;
}

test("each identity may do what it needs and no more", async () => {
  const cluster = await start(folder());
  onTestFinished(() => cluster.close());
  const secrets = (access: EmbeddedCluster["admin"]) =>
    access.client.resource(SecretKind).list({ namespace: "kube-system" });
  const forbidden = { httpCode: 403 };

  await cluster.as(agent).client.resource(WidgetKind).list({ namespace: "default" });
  await secrets(cluster.as(controllerManager));
  for (const identity of [agent, northboundReviewer, serviceProxy, nodeIdentity("edge")]) {
    await expect(secrets(cluster.as(identity)), identity.name).rejects.toMatchObject(forbidden);
  }
  await expect(cluster.as(agent).client.resource(ConfigMapKind).list({ namespace: "default" })).rejects.toMatchObject(
    forbidden,
  );
  await expect(secrets(cluster.as(scheduler)), "scheduler").rejects.toMatchObject(forbidden);
  await expect(secrets(cluster.as(volumeProvisioner)), "volumes").rejects.toMatchObject(forbidden);
  await cluster.as(volumeProvisioner).client.resource(PersistentVolumeKind).list();
  await expect(
    cluster.as(controllerManager).client.json("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {
      metadata: { name: "mine" },
      rules: [{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }],
    }),
    "the controllers make no roles",
  ).rejects.toMatchObject(forbidden);
  expect(() => cluster.as(nodeIdentity("other"))).toThrow("cluster edge has no identity node-other");
});

test("a restart keeps objects, tokens and authority; preparing again changes nothing", async () => {
  const dataDir = folder();
  const versions = async (cluster: EmbeddedCluster) => [
    (await cluster.admin.client.resource(CustomResourceDefinitionKind).get("widgets.example.dev")).metadata,
    (await cluster.admin.client.resource(ClusterRoleKind).get("argosy-agent")).metadata.resourceVersion,
  ];
  const first = await start(dataDir);
  await first.admin.client
    .resource(ConfigMapKind)
    .apply({ metadata: { name: "kept", namespace: "default" } }, { fieldManager: "test", namespace: "default" });
  const before = [...(await versions(first)), first.server.caPem, first.adminToken];
  await first.close();

  const second = await start(dataDir);
  onTestFinished(() => second.close());

  expect([...(await versions(second)), second.server.caPem, second.adminToken]).toEqual(before);
  expect(
    (await second.as(controllerManager).client.resource(ConfigMapKind).get("kept", { namespace: "default" })).metadata,
  ).toMatchObject({ name: "kept" });
  const tokens = readdirSync(join(dataDir, "tokens"));
  expect(tokens).toHaveLength(identities.length);
  for (const name of tokens) expect(statSync(join(dataDir, "tokens", name)).mode & 0o777).toBe(0o600);
});

test("a cluster whose port is taken gives its data back", async () => {
  const dataDir = folder();
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as AddressInfo;

  await expect(startCluster({ ...optionsFor(dataDir), port })).rejects.toThrow(String(port));
  await new Promise((resolve) => other.close(resolve));

  const cluster = await start(dataDir);
  await cluster.close();
});
