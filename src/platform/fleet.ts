import { createHash } from "node:crypto";
import { join } from "node:path";
import { checksOf } from "../cluster/apiserver/index.js";
import {
  createPodNetwork,
  detectIsolation,
  type Isolation,
  isolationIn,
  type PodNetwork,
  podNetworkKind,
} from "../cluster/node/index.js";
import { workloadControllers } from "../cluster/workloads/index.js";
import type { GatewayDriver } from "../dataplane/gateway/index.js";
import type { ClusterAccess } from "../kernel/control/types.js";
import type { Level, Module } from "../kernel/module/types.js";
import {
  agentAccountOf,
  followedByAgent,
  PROPAGATION_RULES,
  pullControllers,
  requestToken,
  TEMPLATE_RULES,
} from "../modules/fleet/index.js";
import { openAccess, type Surroundings } from "./access.js";
import type { Addresses } from "./addresses.js";
import { publishArtifactReader } from "./artifact-access.js";
import type { Closers } from "./closers.js";
import { type EmbeddedCluster, prepareCluster, startCluster } from "./cluster.js";
import { hostServiceAddress, hostServices, publishHostServices } from "./host-services.js";
import {
  controllerManager,
  fleetDelivery,
  type Identity,
  moduleAgent,
  nodeIdentity,
  northboundReviewer,
  scheduler,
  serviceProxy,
  volumeProvisioner,
} from "./identities.js";
import { openIngresses } from "./ingresses.js";
import type { KubeconfigCluster } from "./kubeconfig.js";
import type { Layout } from "./layout.js";
import { admissionAt, controllersAt, kindsAt, proxiesAt, runControllers } from "./level.js";
import { type MemberConnections, memberConnections } from "./members.js";
import { allModules, platformGateway } from "./modules.js";
import { requirePods, startNodes } from "./nodes.js";
import type { PlatformPart } from "./parts.js";
import { type ClusterPlan, type NumberedMember, planClusters, preferredPorts } from "./plan.js";
import type { PlatformOptions } from "./platform.js";
import type { PortChooser } from "./ports.js";
import { registerMembers } from "./register-members.js";
import type { NodeRuntime } from "./runtime.js";
import type { ClusterSecurity } from "./security.js";
import { type ServiceAddresses, startPlatformServices } from "./services.js";
import { openStores, type Stores } from "./stores.js";
import { freeTurn, takeTurn } from "./turns.js";

export interface FleetInput {
  readonly layout: Layout;
  readonly members: readonly NumberedMember[];
  /** Members of earlier starts that are not wanted now. */
  readonly resting: readonly string[];
  readonly ports: PortChooser;
  readonly surroundings: Surroundings;
  readonly step: PlatformOptions["step"];
  readonly closers: Closers;
  readonly without: ReadonlySet<PlatformPart>;
  readonly runtime?: NodeRuntime | undefined;
  readonly security: (cluster: string) => ClusterSecurity;
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
  readonly modules: readonly Module[];
  /** Members that joined from elsewhere. */
  readonly joined: MemberConnections;
  readonly gateway: GatewayDriver;
  readonly isolation: Isolation;
  readonly network: PodNetwork;
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
  const isolation = isolationIn(input.layout.root, detectIsolation());
  if (!input.without.has("nodes") && input.members.some(({ nodes }) => nodes > 0)) requirePods(isolation);
  const planned = await planClusters(
    input.without.has("nodes") ? input.members.map((member) => ({ ...member, nodes: 0 })) : input.members,
    {
      kind: podNetworkKind(isolation) === "loopback" ? "loopback" : "namespaces",
      piece: pieceOf(input.layout.root),
    },
    (name, preferred) => input.ports.choose(name, preferred),
  );
  const stores = await openStores(input.layout, input.surroundings, input.closers);
  const clusters = new Map<string, EmbeddedCluster>();
  const joined = memberConnections(input.surroundings, (name) => clusters.has(name));
  input.closers.add(() => joined.close());
  const ending = { keepPods: false };
  const gateway = platformGateway(input.layout, input.surroundings);
  const plans = input.without.has("modules") ? planned : await startGateway(planned, gateway, { ...input, ending });
  // Where nothing would carry them out, no policies are written.
  const isIsolated = podNetworkKind(isolation) !== "loopback";
  const own = (name: string): ClusterAccess | undefined =>
    planned.some((plan) => plan.name === name && plan.isPull === true) ? undefined : clusters.get(name)?.as(delivery);
  const modules = input.without.has("modules")
    ? []
    : await allModules(
        {
          ...input.surroundings,
          gateway,
          ledger: stores.ledger,
          head: { host: loopback, port: plans[0]?.ingressPort ?? 0 },
          places: plans
            .filter(({ role }) => role === "member")
            .map(({ name, domain, ingressPort }) => {
              const models = input.layout.models(name);
              return { name, domain, host: loopback, port: ingressPort, models, isIsolated };
            }),
          members: (name) => own(name) ?? joined.access(name),
          speakers: (name) => own(name)?.client.transport ?? joined.speaker(name),
        },
        stores,
      );
  return {
    ...input,
    plans,
    clusters,
    stores,
    modules,
    joined,
    gateway,
    isolation,
    network: createPodNetwork({ dataDir: input.layout.root, isolation, log: input.surroundings.log }),
    ending,
  };
}

/** Starts the gateway, or adopts the one that runs, and has it listen for every cluster. Returns the plans with the ports in use. */
async function startGateway(
  plans: readonly ClusterPlan[],
  gateway: GatewayDriver,
  { closers, ports, surroundings, ending }: FleetInput & Pick<Assembly, "ending">,
): Promise<ClusterPlan[]> {
  // Until everything is up, one that carries traffic for an earlier start is left alone.
  closers.add(() => gateway.close({ stopProcess: !ending.keepPods && !gateway.process.adopted }));
  // It may listen at once, as the last start left it.
  for (const { ingressPort } of plans) await ports.letGo(ingressPort);
  await gateway.start();
  return openIngresses(plans, { gateway, ports, log: surroundings.log });
}

/** A number that stays with a data directory. */
function pieceOf(directory: string): number {
  return createHash("sha256").update(directory).digest().readUInt16BE(0);
}

const loopback = "127.0.0.1";
/** The controller that has an identity of its own, as upstream. */
const schedulerName = "default-scheduler";

const delivery = fleetDelivery(PROPAGATION_RULES);

const levelOf = (plan: ClusterPlan): Level => (plan.role === "hub" ? "continuum" : "cluster");

function identitiesOf(plan: ClusterPlan, modules: readonly Module[]): Identity[] {
  const isEngineHub = plan.role === "hub" && modules.length > 0;
  const agent = moduleAgent([
    ...modules.flatMap((module) => module.rules[levelOf(plan)] ?? []),
    ...(isEngineHub ? TEMPLATE_RULES : []),
  ]);
  return plan.role === "hub"
    ? [controllerManager, scheduler, agent, northboundReviewer]
    : [controllerManager, scheduler, agent, delivery, serviceProxy, volumeProvisioner, ...plan.nodes.map(nodeIdentity)];
}

async function startApiServers(assembly: Assembly): Promise<string> {
  const { plans, clusters, closers, layout, ports, surroundings, modules, without } = assembly;
  const starts = await Promise.allSettled(
    plans.map(async (plan) => {
      const identities = identitiesOf(plan, modules);
      const cluster = await startCluster({
        ...surroundings,
        name: plan.name,
        dataDir: layout.cluster(plan.name),
        port: plan.apiPort,
        onPort: (listen) => ports.listen(plan.name, plan.apiPort, listen),
        serviceCidr: plan.serviceCidr,
        serviceOverflow: plan.serviceOverflow,
        security: assembly.security(plan.name),
        identities,
        checks: (as) => checksOf(admissionAt(modules, levelOf(plan)), () => as(moduleAgent([]))),
        proxies: proxiesAt(modules, levelOf(plan)),
        nodeMetrics: !without.has("nodes"),
        connect: assembly.network.connect,
      });
      closers.add(() => cluster.close());
      await prepareCluster(cluster, kindsAt(modules, levelOf(plan)), identities, surroundings);
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

/** Tracking, the ledger and the artifact store; pods read from the store with a key that the hub holds as a Secret. */
async function startServices(assembly: Assembly): Promise<ServiceAddresses> {
  const { layout, ports, surroundings, stores, modules, plans, closers } = assembly;
  const hub = plans[0] === undefined ? undefined : clusterOf(assembly, plans[0]);
  if (hub === undefined) {
    throw new TypeError("a fleet has a hub");
  }
  const started = await startPlatformServices({
    ...surroundings,
    layout,
    stores,
    closers,
    routes: modules.flatMap((module) => module.routes ?? []),
    hubClient: hub.as(northboundReviewer).client,
    hosts: { northbound: loopback, artifacts: loopback },
    listen: (name, start) => ports.listen(name, preferredPorts[name], start),
  });
  await publishArtifactReader(hub.admin.client, started.reader, {
    host: new URL(hostServiceAddress(hostServices.artifacts)).host,
    caPem: started.caPem,
  });
  return started;
}

async function startControllers(assembly: Assembly): Promise<string> {
  const { plans, modules, gateway, surroundings, stores, closers, ending, without } = assembly;
  if (!without.has("modules")) {
    closers.add(() => gateway.close({ stopProcess: !ending.keepPods }));
  }
  let count = 0;
  for (const plan of plans) {
    const cluster = clusterOf(assembly, plan);
    const log = surroundings.log.with({ cluster: plan.name });
    const agent = cluster.as(moduleAgent([]));
    const own = workloadControllers({
      ledger: stores.ledger,
      clusterName: plan.name,
      caPem: cluster.server.caPem,
      // The hub is a control plane only: its workloads are templates of what members run.
      scheduler: plan.role !== "hub" && !without.has("scheduler"),
      workloads: plan.role !== "hub" && !without.has("workloads"),
    });
    const sets = [
      { access: cluster.as(controllerManager), specs: own.filter(({ name }) => name !== schedulerName) },
      { access: cluster.as(scheduler), specs: own.filter(({ name }) => name === schedulerName) },
      { access: agent, specs: controllersAt(modules, levelOf(plan), agent) },
      { access: agent, specs: plan.role === "hub" && !without.has("modules") ? [assembly.joined.controller] : [] },
    ];
    await (without.has("modules")
      ? freeTurn(cluster.admin.client, levelOf(plan))
      : takeTurn(cluster.admin.client, levelOf(plan), surroundings.clock));
    for (const { access, specs } of sets) {
      runControllers({ ...surroundings, log, cluster: access, specs, closers });
      count += specs.length;
    }
  }
  if (!without.has("modules")) {
    const [hub, ...members] = plans;
    const known = members.map((plan) => ({
      name: plan.name,
      client: clusterOf(assembly, plan).admin.client,
      url: clusterOf(assembly, plan).url,
      ingressPort: plan.ingressPort,
      ...(plan.isPull === true ? { isPull: true } : {}),
    }));
    if (hub !== undefined) await registerMembers(clusterOf(assembly, hub).admin.client, known, assembly.resting);
    for (const member of members)
      if (hub !== undefined && member.isPull === true) count += await startPull(assembly, hub, member);
  }
  return `${count} controllers in ${plans.length} clusters`;
}

/** A year: the process asks for another at each start. */
const PULL_TOKEN_SECONDS = 365 * 86_400;

/** The agent of a pull member, which has no more of the hub than one that runs elsewhere. */
async function startPull(assembly: Assembly, hub: ClusterPlan, { name }: ClusterPlan): Promise<number> {
  const { surroundings, closers, clusters } = assembly;
  const { admin, server } = clusterOf(assembly, hub);
  const { token } = await requestToken(admin.client, agentAccountOf(name), PULL_TOKEN_SECONDS);
  const access = openAccess(hub.name, server.transport(token), surroundings, followedByAgent(name));
  closers.add(() => access.close());
  const member = clusters.get(name)?.as(delivery);
  const specs = member === undefined ? [] : pullControllers(member);
  const log = surroundings.log.with({ cluster: name, part: "pull" });
  runControllers({ ...surroundings, log, cluster: access, specs, closers });
  return specs.length;
}

async function startAllNodes(assembly: Assembly, detail: (text: string) => void): Promise<string> {
  const { ports } = assembly;
  const targets = [
    {
      ...hostServices.northbound,
      targetPort: ports.chosen()["northbound"] ?? preferredPorts.northbound,
    },
    {
      ...hostServices.artifacts,
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
    network: assembly.network,
    ...(assembly.runtime === undefined ? {} : { runtime: assembly.runtime }),
    closers: assembly.closers,
    ending: assembly.ending,
    members: members.map((plan) => ({ plan, cluster: clusterOf(assembly, plan) })),
    detail,
  });
}

function addressesOf(assembly: Assembly, services: ServiceAddresses): Addresses {
  const { plans, layout } = assembly;
  return {
    clusters: plans.map((plan) => ({
      name: plan.name,
      role: plan.role,
      api: clusterOf(assembly, plan).url,
      nodes: plan.nodes,
      ingress: `http://127.0.0.1:${plan.ingressPort}`,
      ...(plan.isPull === true ? { isPull: true } : {}),
    })),
    ingress: `http://127.0.0.1:${plans[0]?.ingressPort ?? 0}`,
    northbound: services.northbound,
    northboundFromPods: hostServiceAddress(hostServices.northbound),
    artifacts: services.artifacts,
    kubeconfig: layout.kubeconfig,
    caFile: join(layout.pki, "ca.crt"),
  };
}
