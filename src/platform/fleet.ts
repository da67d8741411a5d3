import { createHash } from "node:crypto";
import { join } from "node:path";
import { detectIsolation } from "../cluster/node/index.js";
import { workloadControllers } from "../cluster/workloads/index.js";
import { createNorthbound, decisionRoutes } from "../faces/northbound/index.js";
import { createManager } from "../kernel/control/index.js";
import type { HttpsServer } from "../kernel/https/index.js";
import { keepCertificate, openAuthority } from "../kernel/identity/index.js";
import type { Level, Module } from "../kernel/module/types.js";
import { ClusterKind, DELIVERY_RULES } from "../modules/fleet/index.js";
import { createS3Server } from "../stores/blobs/index.js";
import type { Addresses } from "./addresses.js";
import { artifactBucket, keepArtifactKeys, publishArtifactReader } from "./artifact-access.js";
import type { Closers } from "./closers.js";
import { type EmbeddedCluster, prepareCluster, type Surroundings, startCluster } from "./cluster.js";
import { hostServiceNames, publishHostServices } from "./host-services.js";
import {
  controllerManager,
  fleetDelivery,
  type Identity,
  moduleAgent,
  nodeIdentity,
  northboundReviewer,
  serviceProxy,
} from "./identities.js";
import type { KubeconfigCluster } from "./kubeconfig.js";
import type { Layout } from "./layout.js";
import { createModules, type Modules } from "./modules.js";
import { startNodes } from "./nodes.js";
import type { PlatformPart } from "./parts.js";
import { type ClusterPlan, type NumberedMember, planClusters, preferredPorts } from "./plan.js";
import type { PlatformOptions } from "./platform.js";
import type { PortChooser } from "./ports.js";
import { openStores, type Stores } from "./stores.js";

export interface FleetInput {
  readonly layout: Layout;
  readonly members: readonly NumberedMember[];
  readonly ports: PortChooser;
  readonly surroundings: Surroundings;
  readonly step: PlatformOptions["step"];
  readonly closers: Closers;
  readonly without: ReadonlySet<PlatformPart>;
}

/** What came up. */
export interface Fleet {
  readonly addresses: Addresses;
  readonly kubeconfig: readonly KubeconfigCluster[];
  /** Whether pods and gateway stay when the closers run; default: they go. */
  keepPods(keep: boolean): void;
}

/** Everything that the steps hand to each other. */
interface Assembly extends FleetInput {
  readonly plans: readonly ClusterPlan[];
  readonly clusters: Map<string, EmbeddedCluster>;
  readonly stores: Stores;
  readonly modules: Modules;
  readonly isolation: ReturnType<typeof detectIsolation>;
  readonly ending: { keepPods: boolean };
}

/** Brings hub and members up, step by step; what it starts is handed to the closers. */
export async function startFleet(input: FleetInput): Promise<Fleet> {
  const assembly = await assemble(input);
  await input.step("start the API servers", async () => ({
    value: undefined,
    summary: await startApiServers(assembly),
  }));
  const services = await input.step("start tracking and the artifact store", async () => {
    const started = await startServices(assembly);
    return { value: started, summary: started.northbound };
  });
  await input.step("start the controllers", async () => ({
    value: undefined,
    summary: await startControllers(assembly),
  }));
  if (!input.without.has("nodes")) {
    await input.step("start the nodes", async (step) => ({
      value: undefined,
      summary: await startAllNodes(assembly, (text) => step.detail(text)),
    }));
  }
  return {
    addresses: addressesOf(assembly, services),
    kubeconfig: [...assembly.clusters.values()].map(({ name, url, server, adminToken }) => ({
      name,
      server: url,
      caPem: server.caPem,
      token: adminToken,
    })),
    keepPods: (keep) => {
      assembly.ending.keepPods = keep;
    },
  };
}

async function assemble(input: FleetInput): Promise<Assembly> {
  const isolation = detectIsolation();
  const plans = await planClusters(
    input.without.has("nodes") ? input.members.map((member) => ({ ...member, nodes: 0 })) : input.members,
    { kind: isolation.mode === "root" ? "namespaces" : "loopback", piece: pieceOf(input.layout.root) },
    (name, preferred) => input.ports.choose(name, preferred),
  );
  const stores = await openStores(input.layout, input.surroundings, input.closers);
  const clusters = new Map<string, EmbeddedCluster>();
  const ending = { keepPods: false };
  const modules = await createModules({
    ...input.surroundings,
    layout: input.layout,
    stores,
    plans,
    members: (name) => clusters.get(name)?.as(fleetDelivery(DELIVERY_RULES)),
  });
  return {
    ...input,
    plans,
    clusters,
    stores,
    modules: input.without.has("modules") ? { ...modules, all: [] } : modules,
    isolation,
    ending,
  };
}

/** A number that stays with a data directory. */
function pieceOf(directory: string): number {
  return createHash("sha256").update(directory).digest().readUInt16BE(0);
}

const levelOf = (plan: ClusterPlan): Level => (plan.role === "hub" ? "continuum" : "cluster");

function identitiesOf(plan: ClusterPlan, modules: readonly Module[]): Identity[] {
  const agent = moduleAgent(modules.flatMap((module) => module.rules[levelOf(plan)] ?? []));
  return plan.role === "hub"
    ? [controllerManager, agent, northboundReviewer]
    : [controllerManager, agent, fleetDelivery(DELIVERY_RULES), serviceProxy, ...plan.nodes.map(nodeIdentity)];
}

async function startApiServers(assembly: Assembly): Promise<string> {
  const { plans, clusters, closers, layout, ports, surroundings, modules } = assembly;
  const definitions = (level: Level) =>
    modules.all.flatMap((module) =>
      module.kinds.filter(({ levels }) => levels.includes(level)).map(({ definition }) => definition),
    );
  const starts = await Promise.allSettled(
    plans.map(async (plan) => {
      const identities = identitiesOf(plan, modules.all);
      const cluster = await startCluster({
        ...surroundings,
        name: plan.name,
        dataDir: layout.cluster(plan.name),
        port: plan.apiPort,
        onPort: (listen) => ports.listen(plan.name, plan.apiPort, listen),
        serviceCidr: plan.serviceCidr,
        identities,
      });
      closers.add(() => cluster.close());
      await prepareCluster(cluster, definitions(levelOf(plan)), identities);
      return cluster;
    }),
  );
  for (const start of starts) {
    if (start.status === "rejected") {
      throw start.reason;
    }
    clusters.set(start.value.name, start.value);
  }
  return [...clusters.values()].map(({ name, url }) => `${name} ${new URL(url).port}`).join(", ");
}

function clusterOf(assembly: Assembly, plan: ClusterPlan): EmbeddedCluster {
  const cluster = assembly.clusters.get(plan.name);
  if (cluster === undefined) {
    throw new TypeError(`cluster ${plan.name} was not started`);
  }
  return cluster;
}

async function startServices(assembly: Assembly): Promise<{ northbound: string; artifacts: string }> {
  const { closers, layout, ports, surroundings, stores, modules, plans } = assembly;
  const { clock, random, log } = surroundings;
  const authority = await openAuthority({ clock, name: "argosy", directory: layout.pki });
  const servers: HttpsServer[] = [];
  const certificate = await keepCertificate({
    authority,
    clock,
    log,
    file: join(layout.pki, "services.pem"),
    subject: {
      use: "server",
      names: ["localhost", "127.0.0.1", ...hostServiceNames("tracking"), ...hostServiceNames("artifacts")],
    },
    onRenewed: ({ certPem, keyPem }) => {
      for (const server of servers) server.setCertificate(certPem, keyPem);
    },
  });
  closers.add(async () => certificate.close());
  const pair = { certPem: certificate.current.certPem, keyPem: certificate.current.keyPem };
  const keys = await keepArtifactKeys(layout.pki);
  const artifacts = await ports.listen("artifacts", preferredPorts.artifacts, async (port) => {
    const buckets = { [artifactBucket]: stores.blobs };
    const server = createS3Server({
      buckets,
      credentials: [keys.writer, keys.reader],
      ...pair,
      port,
      clock,
      random,
      log,
    });
    return { server, url: (await server.start()).url };
  });
  servers.push(artifacts.server);
  closers.add(() => artifacts.server.close());
  const hub = plans[0] === undefined ? undefined : clusterOf(assembly, plans[0]);
  if (hub === undefined) {
    throw new TypeError("a fleet has a hub");
  }
  const routes = [...modules.all.flatMap((module) => module.routes ?? []), ...decisionRoutes(stores.ledger)];
  const { client: hubClient } = hub.as(northboundReviewer);
  const northbound = await ports.listen("northbound", preferredPorts.northbound, async (port) => {
    const server = createNorthbound({ routes, hubClient, ...pair, port, clock, random, log });
    return { server, url: (await server.start()).url };
  });
  servers.push(northbound.server);
  closers.add(() => northbound.server.close());
  await publishArtifactReader(hub.admin.client, keys.reader, {
    host: "artifacts.argosy-system.svc.cluster.local:9000",
    caPem: authority.caPem,
  });
  return { northbound: northbound.url, artifacts: artifacts.url };
}

async function startControllers(assembly: Assembly): Promise<string> {
  const { plans, modules, ports, surroundings, stores, closers, ending, without } = assembly;
  if (!without.has("modules")) {
    for (const { ingressPort } of plans) {
      await ports.letGo(ingressPort);
    }
    await modules.gateway.start();
    closers.add(() => modules.gateway.close({ stopProcess: !ending.keepPods }));
  }
  let count = 0;
  for (const plan of plans) {
    const cluster = clusterOf(assembly, plan);
    const log = surroundings.log.with({ cluster: plan.name });
    const agent = cluster.as(moduleAgent([]));
    const managers = [
      {
        access: cluster.as(controllerManager),
        specs: workloadControllers({
          ledger: stores.ledger,
          clusterName: plan.name,
          caPem: cluster.server.caPem,
          scheduler: !without.has("scheduler"),
          workloads: !without.has("workloads"),
        }),
      },
      { access: agent, specs: modules.all.flatMap((module) => module.controllers(levelOf(plan), agent)) },
    ];
    for (const { access, specs } of managers) {
      const manager = createManager({ cluster: access, clock: surroundings.clock, random: surroundings.random, log });
      for (const spec of specs) {
        manager.add(spec);
        count += 1;
      }
      manager.start();
      closers.add(() => manager.close());
    }
  }
  if (!without.has("modules")) {
    await registerMembers(assembly);
  }
  return `${count} controllers in ${plans.length} clusters`;
}

/** Tells the hub which members there are and where their models are reached. */
async function registerMembers(assembly: Assembly): Promise<void> {
  const [hub, ...members] = assembly.plans;
  if (hub === undefined) {
    return;
  }
  const clusters = clusterOf(assembly, hub).admin.client.resource(ClusterKind);
  for (const member of members) {
    await clusters.apply(
      {
        metadata: {
          name: member.name,
          annotations: { "argosy.dev/ingress-address": `127.0.0.1:${member.ingressPort}` },
        },
        spec: { syncMode: "Push", apiEndpoint: clusterOf(assembly, member).url },
      },
      { fieldManager: "argosy-platform", force: true },
    );
  }
}

async function startAllNodes(assembly: Assembly, detail: (text: string) => void): Promise<string> {
  const { ports } = assembly;
  const targets = [
    {
      name: "tracking",
      port: preferredPorts.northbound,
      targetPort: ports.chosen()["northbound"] ?? preferredPorts.northbound,
    },
    {
      name: "artifacts",
      port: preferredPorts.artifacts,
      targetPort: ports.chosen()["artifacts"] ?? preferredPorts.artifacts,
    },
  ];
  const members = assembly.plans.filter((plan) => plan.role === "member");
  for (const member of members) {
    await publishHostServices(clusterOf(assembly, member).admin.client, targets);
  }
  return startNodes({
    ...assembly.surroundings,
    layout: assembly.layout,
    isolation: assembly.isolation,
    closers: assembly.closers,
    ending: assembly.ending,
    members: members.map((plan) => ({ plan, cluster: clusterOf(assembly, plan) })),
    detail,
  });
}

function addressesOf(assembly: Assembly, services: { northbound: string; artifacts: string }): Addresses {
  const { plans, layout } = assembly;
  return {
    clusters: plans.map((plan) => ({
      name: plan.name,
      role: plan.role,
      api: clusterOf(assembly, plan).url,
      nodes: plan.nodes,
      ingress: `http://127.0.0.1:${plan.ingressPort}`,
    })),
    ingress: `http://127.0.0.1:${plans[0]?.ingressPort ?? 0}`,
    ...services,
    kubeconfig: layout.kubeconfig,
    caFile: join(layout.pki, "ca.crt"),
  };
}
