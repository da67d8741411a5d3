import { checksOf } from "../../src/cluster/apiserver/index.js";
import { workloadControllers } from "../../src/cluster/workloads/index.js";
import { createClient, createInformerSet, type Transport, UnavailableError } from "../../src/kernel/client/index.js";
import type { Random, VirtualClock } from "../../src/kernel/clock/index.js";
import { type ClusterAccess, createManager, type Manager } from "../../src/kernel/control/index.js";
import { ClusterRoleBindingKind, ClusterRoleKind, NamespaceKind } from "../../src/kernel/kinds/index.js";
import { createLogger } from "../../src/kernel/log/index.js";
import type { Module } from "../../src/kernel/module/types.js";
import { createFleetModule, TEMPLATE_RULES } from "../../src/modules/fleet/index.js";
import type { Ledger } from "../../src/stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../../src/testing/index.js";
import { noGateway } from "../support/no-gateway.js";
import type { Life, Link } from "./link.js";
import { msOf, type Scenario } from "./scenario.js";
import { NAMESPACE } from "./workloads.js";

const AGENT = { token: "agent-token", user: { username: "argosy:agent", groups: ["system:authenticated"] } };

/** One process of the hub's controllers. */
export interface Running {
  readonly life: Life;
  readonly manager: Manager;
  readonly close: () => Promise<void>;
}

/** A hub whose controllers can be started, and killed. */
export interface HubParts {
  readonly cluster: TestCluster;
  /** Starts the hub's controllers, as a process of their own would be; tells whenever they begin to work, or others do. */
  readonly start: (life: Life, identity: string, onLeading: (isLeading: boolean) => void) => Running;
}

/** Opens a hub with the product's own API server, on virtual time. */
export async function openHub(parts: {
  readonly scenario: Scenario;
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly links: ReadonlyMap<string, Link>;
  readonly ledger: Ledger;
}): Promise<HubParts> {
  const { scenario, clock, random, links, ledger } = parts;
  const log = createLogger({ clock, level: "error", write: (line) => process.stderr.write(`${line}\n`) });
  const fleetOf = (members: (name: string) => ClusterAccess | undefined): Module =>
    createFleetModule({
      members,
      gateway: noGateway,
      ledger,
      headListener: { name: "head", host: "127.0.0.1", port: 0 },
      ingressListener: () => undefined,
      callTimeoutMs: msOf(scenario.callTimeout),
    });
  const model = fleetOf(() => undefined);
  const kinds = model.kinds.map(({ definition }) => definition);
  const checks = checksOf(model.admission ?? [], () => admission);
  const cluster = await startTestCluster({ name: "hub", clock, random, log, kinds, tokens: [AGENT], checks });
  const admission = cluster.as(AGENT.token);
  await grant(cluster, [...(model.rules.continuum ?? []), ...TEMPLATE_RULES]);
  await cluster.client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE }, spec: {} });
  const accessOf = (name: string, transport: Transport) => {
    const client = createClient({ transport, clock, random });
    return { name, client, informers: createInformerSet({ client, clock, random, log }) };
  };
  const start: HubParts["start"] = (life, identity, onLeading) => {
    const electionFor = (name: string, told?: typeof onLeading) =>
      scenario.hubs === 1
        ? {}
        : {
            leaderElection: {
              namespace: NAMESPACE,
              name,
              identity,
              onLeader: (holder: string | undefined) => told?.(holder === undefined),
              client: createClient({
                transport: mortal(cluster.server.transport(cluster.server.adminToken), life),
                clock,
                random,
              }),
            },
          };
    const open = new Map<string, { readonly link: Link; readonly access: ClusterAccess }>();
    const hub = accessOf("hub", mortal(cluster.server.transport(AGENT.token), life));
    const manager = createManager({ cluster: hub, clock, random, log, ...electionFor("fleet", onLeading) });
    const system = createManager({
      ...electionFor("system"),
      cluster: accessOf("hub", mortal(cluster.server.transport(cluster.server.adminToken), life)),
      clock,
      random,
      log,
    });
    const members = (name: string): ClusterAccess | undefined => {
      const link = links.get(name);
      const known = open.get(name);
      if (link === undefined || known?.link === link) return known?.access;
      const access = accessOf(name, link.transport(life));
      open.set(name, { link, access });
      return access;
    };
    for (const spec of fleetOf(members).controllers("continuum", hub)) manager.add(spec);
    for (const spec of workloadControllers({ ledger, clusterName: "hub", scheduler: false, workloads: false }))
      system.add(spec);
    manager.start();
    system.start();
    if (scenario.hubs === 1) onLeading(true);
    const close = async (): Promise<void> => {
      await Promise.all([manager.close(), system.close()]);
      await Promise.all(
        [hub, ...[...open.values()].map(({ access }) => access)].map(({ informers }) => informers.close()),
      );
    };
    return { life, manager, close };
  };
  return { cluster, start };
}

/** A way to the hub that ends with a life: what is on its way when that is killed arrives, but nothing comes back. */
function mortal(transport: Transport, life: Life): Transport {
  const check = (): void => {
    if (!life.isAlive) throw new UnavailableError("the hub was killed");
    if (life.isDeaf) throw new UnavailableError("the hub's API cannot be reached");
  };
  return {
    async request(request) {
      check();
      const response = await transport.request(request);
      check();
      return {
        ...response,
        body: (async function* () {
          for await (const piece of response.body) {
            check();
            yield piece;
          }
        })(),
      };
    },
    upgrade: (path, protocols, signal) => transport.upgrade(path, protocols, signal),
    close: () => transport.close(),
  };
}

async function grant({ client }: TestCluster, rules: NonNullable<Module["rules"]["continuum"]>): Promise<void> {
  const apiGroup = "rbac.authorization.k8s.io";
  const metadata = { name: "argosy-agent" };
  await client.resource(ClusterRoleKind).create({
    apiVersion: `${apiGroup}/v1`,
    kind: "ClusterRole",
    metadata,
    rules: JSON.parse(JSON.stringify(rules)),
  });
  await client.resource(ClusterRoleBindingKind).create({
    apiVersion: `${apiGroup}/v1`,
    kind: "ClusterRoleBinding",
    metadata,
    roleRef: { apiGroup, kind: "ClusterRole", name: metadata.name },
    subjects: [{ kind: "User", name: AGENT.user.username, apiGroup }],
  });
}
