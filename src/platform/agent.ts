import { hostname } from "node:os";
import { join } from "node:path";
import type { GatewayDriver } from "../dataplane/gateway/index.js";
import { type ClusterContext, httpTransport, inClusterContext, loadKubeconfig } from "../kernel/client/index.js";
import { systemClock, systemRandom } from "../kernel/clock/index.js";
import { ApiError, ArgosyError, InputError, messageOf } from "../kernel/errors/index.js";
import type { KindDefinition } from "../kernel/kinds/index.js";
import { createLogger } from "../kernel/log/index.js";
import { createMetrics, type Metrics } from "../kernel/metrics/index.js";
import type { Level, Module } from "../kernel/module/types.js";
import { isObject } from "../kernel/schema/index.js";
import { memoryLedger } from "../stores/ledger/index.js";
import { type OwnedAccess, openAccess, type Surroundings } from "./access.js";
import { agentKinds, agentName, agentRights, type RightsOptions } from "./agent-manifests.js";
import { type NodeLevelOptions, nodeNameOf, startNodeLevel } from "./agent-node.js";
import { Closers } from "./closers.js";
import { startHealth } from "./health.js";
import { nodeIdentity } from "./identities.js";
import { ensureNamespace, installKinds, requireKinds } from "./install.js";
import { type Layout, layoutOf, takeDirectory } from "./layout.js";
import { controllersAt, kindsAt, runControllers, selectModules } from "./level.js";
import { rotatingLogFile } from "./log-file.js";
import { memberConnections } from "./members.js";
import { controllerModules, platformGateway } from "./modules.js";
import { openStores } from "./stores.js";

/** A host and a port of this machine. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface AgentOptions {
  readonly level: Level;
  /** Absent: the ServiceAccount of the pod that this process runs in. */
  readonly kubeconfig?: string;
  readonly context?: string;
  /** The process' environment; tells where the pod's API server is. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The cluster's name in the fleet; default: as the kubeconfig calls it. */
  readonly cluster?: string;
  /** Keeps the gateway's table, decisions, logs, and (node) pods. */
  readonly dataDir: string;
  /** Default: all that have controllers of this level. */
  readonly modules?: readonly string[];
  /** False: kinds that the cluster does not serve are a refusal. */
  readonly installCrds: boolean;
  /** Of the lease. */
  readonly namespace: string;
  /** Where the gateway takes requests: for all members (continuum), or for this cluster's models (cluster). */
  readonly ingress: ListenAddress;
  /** Below which this cluster's models have their hosts; default `<cluster>.argosy.localhost`. */
  readonly domain?: string;
  readonly health: ListenAddress;
  /** Level node. */
  readonly node: NodeLevelOptions;
  /** Says something between the lines of a log. */
  readonly note: (text: string) => void;
}

/** A running agent. */
export interface Agent {
  readonly cluster: string;
  readonly health: string;
  /** What it runs, in one line for people. */
  readonly summary: string;
  /** Gives the lease back and stops; `keepPods` leaves pods and gateway running for the next start to adopt. */
  close(options: { readonly keepPods: boolean }): Promise<void>;
}

/** Everything that the steps hand to each other. */
interface Assembly extends Surroundings {
  readonly options: AgentOptions;
  readonly layout: Layout;
  readonly closers: Closers;
  readonly context: ClusterContext;
  readonly access: OwnedAccess;
  readonly metrics: Metrics;
  readonly ending: { keepPods: boolean; isUp: boolean };
}

const readyTimeoutMs = 2_000;

/** Runs the controllers of one level (or a node) against the API that a kubeconfig or a pod's ServiceAccount names. Throws `InputError` for what cannot be used. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const layout = layoutOf(options.dataDir);
  const closers = new Closers();
  closers.add(await takeDirectory(layout));
  try {
    const assembly = await assemble(options, layout, closers);
    const summary = options.level === "node" ? await startNodeLevel(assembly) : await startLevel(assembly);
    const { access, metrics, ending } = assembly;
    const health = await startHealth({ ...options.health, metrics, notReady: () => notReady(access) });
    closers.add(() => health.close());
    ending.isUp = true;
    return {
      cluster: access.name,
      health: health.url,
      summary,
      close: async ({ keepPods }) => {
        ending.keepPods = keepPods;
        await closers.close();
      },
    };
  } catch (error) {
    // What ends badly because of it says less than what failed.
    await closers.close().catch((failure: unknown) => options.note(`stopping again: ${messageOf(failure)}`));
    throw error;
  }
}

/** The rights that an agent needs in its cluster, as manifests. Throws `InputError` for a module that there is not. */
export function describeRights(
  options: Omit<RightsOptions, "modules"> & { readonly modules?: readonly string[] },
): ReturnType<typeof agentRights> {
  return agentRights({ ...options, modules: declaredModules(options.modules) });
}

/** The CustomResourceDefinitions that an agent installs, as manifests. Throws `InputError` for a module that there is not. */
export function describeKinds(level: Level, modules?: readonly string[]): ReturnType<typeof agentKinds> {
  return agentKinds(level, declaredModules(modules));
}

/** The kinds that Argosy adds to the Kubernetes API, of all modules. */
export function ownKinds(): readonly KindDefinition[] {
  return declaredModules(undefined).flatMap((module) => module.kinds.map(({ definition }) => definition));
}

/** The modules for what they declare; nothing of them runs. */
function declaredModules(names: readonly string[] | undefined): readonly Module[] {
  const log = createLogger({ clock: systemClock, level: "error", write: () => undefined });
  const surroundings = { clock: systemClock, random: systemRandom, log };
  const all = controllerModules({
    ...surroundings,
    gateway: platformGateway(layoutOf("."), surroundings),
    ledger: memoryLedger({ clock: systemClock }),
    head: { host: "127.0.0.1", port: 0 },
    places: [],
    members: () => undefined,
  });
  return selectModules(all, names);
}

async function assemble(options: AgentOptions, layout: Layout, closers: Closers): Promise<Assembly> {
  const write = rotatingLogFile(join(layout.logs, "argosy.log"));
  const log = createLogger({ clock: systemClock, level: "info", write }).with({ level: options.level });
  const surroundings = { clock: systemClock, random: systemRandom, log };
  const context = await contextOf(options);
  const name = options.cluster ?? context.cluster;
  const { fieldSelectors = {} } = options.level === "node" ? nodeIdentity(nodeNameOf(options.node)) : {};
  const access = openAccess(name, httpTransport(context.transport), surroundings, fieldSelectors);
  closers.add(() => access.close());
  options.note(`cluster ${name} at ${context.transport.server}: ${await versionOf(access, context)}`);
  return {
    ...surroundings,
    options,
    layout,
    closers,
    context,
    access,
    metrics: createMetrics(),
    ending: { keepPods: false, isUp: false },
  };
}

async function contextOf({ kubeconfig, context, environment, cluster }: AgentOptions): Promise<ClusterContext> {
  if (kubeconfig !== undefined) {
    return loadKubeconfig(kubeconfig, context);
  }
  if (environment["KUBERNETES_SERVICE_HOST"] === undefined) {
    throw new InputError("say which cluster with --kubeconfig FILE; only in a pod of the cluster it can be left out");
  }
  if (cluster === undefined) {
    throw new InputError("say what the fleet calls this cluster with --cluster NAME: a pod cannot know");
  }
  return inClusterContext(environment, systemClock);
}

async function versionOf(access: OwnedAccess, { transport }: ClusterContext): Promise<string> {
  try {
    const version = await access.client.json("GET", "/version");
    return isObject(version) && typeof version["gitVersion"] === "string" ? version["gitVersion"] : "unknown version";
  } catch (error) {
    throw error instanceof ApiError
      ? error
      : new ArgosyError("Unreachable", `${transport.server} does not answer: ${messageOf(error)}`, { cause: error });
  }
}

async function notReady({ client, name }: OwnedAccess): Promise<string | undefined> {
  try {
    const { status, body } = await client.transport.request({
      method: "GET",
      path: "/readyz",
      signal: AbortSignal.timeout(readyTimeoutMs),
    });
    for await (const _piece of body) break;
    return status === 200 ? undefined : `the API server of ${name} answers ${status}`;
  } catch (error) {
    return `the API server of ${name} does not answer: ${messageOf(error)}`;
  }
}

async function startLevel(assembly: Assembly): Promise<string> {
  const { options, layout, closers, access, metrics, ending, ...surroundings } = assembly;
  const { level, ingress, namespace } = options;
  const stores = await openStores(layout, surroundings, closers);
  const gateway = platformGateway(layout, surroundings);
  const members = memberConnections(surroundings);
  const domain = options.domain ?? `${access.name}.argosy.localhost`;
  const modules = selectModules(
    controllerModules({
      ...surroundings,
      gateway,
      ledger: stores.ledger,
      head: ingress,
      places: level === "cluster" ? [{ name: access.name, domain, ...ingress }] : [],
      members: (name) => members.access(name),
    }),
    options.modules,
  );
  const specs = controllersAt(modules, level, access);
  if (specs.length === 0) {
    throw new InputError(
      `nothing to run: of ${modules.map(({ name }) => name).join(", ")}, none has controllers of level ${level}`,
    );
  }
  const kinds = kindsAt(modules, level);
  await (options.installCrds
    ? installKinds(access.client, kinds, surroundings.clock)
    : requireKinds(access.client, kinds));
  await ensureNamespace(access.client, namespace);
  // Until everything is up, one that carries traffic for an earlier start is left alone.
  closers.add(() => gateway.close({ stopProcess: !ending.keepPods && (ending.isUp || !gateway.process.adopted) }));
  await openIngress(gateway, options, access.name);
  closers.add(() => members.close());
  const isHub = level === "continuum" && modules.some(({ name }) => name === "fleet");
  runControllers({
    ...surroundings,
    log: surroundings.log.with({ cluster: access.name }),
    cluster: access,
    specs: isHub ? [...specs, members.controller] : specs,
    closers,
    metrics,
    election: { namespace, name: agentName(level), identity: candidate(surroundings) },
  });
  const where = `http://${ingress.host}:${ingress.port}`;
  const working = modules.filter((module) => module.controllers(level, access).length > 0).map(({ name }) => name);
  return `${working.join(", ")}: ${specs.length} controllers; ${level === "cluster" ? `models below ${domain}, ` : ""}ingress ${where}`;
}

/** Starts the gateway, or adopts the one that runs, and has it listen: others were told of this address, so it steps aside for nobody. */
async function openIngress(gateway: GatewayDriver, { level, ingress }: AgentOptions, cluster: string): Promise<void> {
  await gateway.start();
  await gateway.open(
    level === "continuum"
      ? { name: "head", ...ingress }
      : { name: `ingress-${cluster}`, ...ingress, trustForwarded: true },
  );
}

/** A name that no other candidate has: machine, process and chance. */
function candidate({ random }: Surroundings): string {
  return `${hostname()}_${process.pid}_${Math.floor(random.next() * 0x1_0000_0000).toString(16)}`;
}
