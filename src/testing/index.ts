/**
 * What tests of every room stand on: a real API server over a memory journal, in this process, with an administrator's
 * client. In: a clock, chance, kinds to install. Out: a cluster. May use: anything below the modules. Never part of the program.
 */
import {
  type ApiServer,
  createApiServer,
  type ObjectCheck,
  type ObjectProxy,
  type UserInfo,
} from "../cluster/apiserver/index.js";
import { type ApiClient, createClient, createInformerSet, UnavailableError } from "../kernel/client/index.js";
import { type Clock, type Random, seededRandom, systemClock } from "../kernel/clock/index.js";
import type { ClusterAccess } from "../kernel/control/types.js";
import { CustomResourceDefinitionKind, type KindDefinition, toCrd } from "../kernel/kinds/index.js";
import { type Logger, silentLogger } from "../kernel/log/index.js";
import { trafficOf } from "./play-clock.js";
import { realPrograms, startRealServer } from "./real-cluster.js";

/** How a test's cluster differs from the usual one. */
export interface TestClusterOptions {
  /** Default `test`. */
  readonly name?: string;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Default: seeded, the same each time. */
  readonly random?: Random;
  /** Default: silent. */
  readonly log?: Logger;
  /** Own kinds, installed as CRDs before the cluster is handed out. */
  readonly kinds?: readonly KindDefinition[];
  readonly tokens?: readonly { readonly token: string; readonly user: UserInfo }[];
  /** Default: everything in memory. */
  readonly dataDir?: string;
  readonly serviceCidr?: string;
  readonly serviceOverflow?: string;
  /** What else looks at objects before they are stored; default: nothing. */
  readonly checks?: readonly ObjectCheck[];
  readonly proxies?: readonly ObjectProxy[];
  /** Default: no metrics.k8s.io. */
  readonly nodeMetrics?: boolean;
}

/** An API server with an administrator's access. Close it at the end of the test. */
export interface TestCluster extends ClusterAccess {
  readonly server: ApiServer;
  readonly clock: Clock;
  readonly random: Random;
  /** The same cluster with another token. */
  as(token: string): ClusterAccess;
  close(): Promise<void>;
}

/** Starts one; about 50 ms. */
export async function startTestCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const clock = options.clock ?? systemClock;
  const random = options.random ?? seededRandom(1);
  const log = options.log ?? silentLogger;
  const name = options.name ?? "test";
  const server = await openServer(options, { name, clock, random, log });
  const opened: ClusterAccess[] = [];
  const as = (token: string): ClusterAccess => {
    const client = createClient({ transport: server.transport(token), clock, random });
    const access = { name, client, informers: createInformerSet({ client, clock, random, log }) };
    opened.push(access);
    return access;
  };
  const admin = as(server.adminToken);
  await installKinds(admin.client, options.kinds ?? []);
  return {
    ...admin,
    server,
    clock,
    random,
    as,
    async close() {
      for (const { informers, client } of opened) {
        await informers.close();
        await client.close();
      }
      await server.close();
    },
  };
}

/** With `ARGOSY_TEST_REAL` set a real one, where the test runs in real time or on a `playClock`. */
async function openServer(
  options: TestClusterOptions,
  parts: { readonly name: string; readonly clock: Clock; readonly random: Random; readonly log: Logger },
): Promise<ApiServer> {
  const { name, clock, random, log } = parts;
  const traffic = trafficOf(clock);
  if (realPrograms !== undefined && (clock === systemClock || traffic !== undefined)) {
    const { tokens = [], checks = [] } = options;
    return startRealServer(realPrograms, { tokens, checks, ...(traffic === undefined ? {} : { traffic }) });
  }
  return createApiServer({
    clusterName: name,
    clock,
    random,
    log,
    serviceCidr: options.serviceCidr ?? "198.19.0.0/24",
    ...(options.serviceOverflow === undefined ? {} : { serviceOverflow: options.serviceOverflow }),
    tokens: options.tokens ?? [],
    authorization: "rbac",
    checks: options.checks ?? [],
    proxies: options.proxies ?? [],
    nodeMetrics: options.nodeMetrics === true,
    ...(options.dataDir === undefined ? {} : { dataDir: options.dataDir }),
  });
}

/** Installs own kinds as CRDs; they are served when this resolves. */
export async function installKinds(client: ApiClient, kinds: readonly KindDefinition[]): Promise<void> {
  const crds = client.resource(CustomResourceDefinitionKind);
  for (const definition of kinds) {
    const name = `${definition.plural}.${definition.group}`;
    await crds.apply({ metadata: { name }, spec: toCrd(definition)["spec"] }, { fieldManager: "test", force: true });
  }
  for (const { group, version, kind } of kinds) await served(client, `${group}/${version}`, kind);
}

/** A real server serves a new kind, and tells of it, a moment after it was made. */
async function served(client: ApiClient, apiVersion: string, name: string): Promise<void> {
  for (let attempt = 0; attempt < 1200; attempt += 1) {
    const kind = await client.findKind(apiVersion, name).catch(() => undefined);
    const list = kind === undefined ? undefined : client.dynamic(kind).list({ limit: 1 });
    if ((await list?.catch(() => undefined)) !== undefined) return;
    await systemClock.sleep(50);
  }
  throw new UnavailableError(`${apiVersion} ${name} is not served`);
}
