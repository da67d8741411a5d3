import { hostname } from "node:os";
import { join } from "node:path";
import type { GatewayDriver } from "../dataplane/gateway/index.js";
import {
  type ClusterContext,
  httpTransport,
  inClusterContext,
  loadKubeconfig,
  type Transport,
  UnavailableError,
} from "../kernel/client/index.js";
import { abortReason, onAbort, systemClock, systemRandom } from "../kernel/clock/index.js";
import type { ControllerSpec } from "../kernel/control/types.js";
import { ApiError, ArgosyError, InputError, messageOf } from "../kernel/errors/index.js";
import type { KindDefinition } from "../kernel/kinds/index.js";
import { createLogger } from "../kernel/log/index.js";
import { createMetrics, type Metrics } from "../kernel/metrics/index.js";
import type { Level, Module } from "../kernel/module/types.js";
import { isObject } from "../kernel/schema/index.js";
import { memoryLedger } from "../stores/ledger/index.js";
import { type OwnedAccess, openAccess, type Surroundings } from "./access.js";
import { writeAddresses } from "./addresses.js";
import { admissionPlace, hasAdmission, notServed, serveAdmission } from "./admission.js";
import { agentKinds, agentName, agentRights, type RightsOptions } from "./agent-manifests.js";
import { type NodeLevelOptions, nodeNameOf, startNodeLevel } from "./agent-node.js";
import { startPull } from "./agent-pull.js";
import { publishArtifactReader } from "./artifact-access.js";
import { Closers } from "./closers.js";
import { startHealth } from "./health.js";
import { hostServiceAddress, hostServices } from "./host-services.js";
import { AGENT_FOLLOWED, nodeIdentity } from "./identities.js";
import { ensureNamespace, installKinds, requireKinds } from "./install.js";
import { servesKarmada, withKarmada } from "./karmada.js";
import { type Layout, layoutOf, takeDirectory } from "./layout.js";
import { controllersAt, kindsAt, runControllers, selectModules } from "./level.js";
import { rotatingLogFile } from "./log-file.js";
import { type MemberConnections, memberConnections } from "./members.js";
import { allModules, controllerModules, platformGateway } from "./modules.js";
import { anyPort } from "./ports.js";
import { type ServiceAddresses, type ServiceName, startPlatformServices } from "./services.js";
import { openStores, type Stores } from "./stores.js";
import { turnWords } from "./turns.js";

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
  /** Level cluster: it also fetches the member's objects from the hub that the member's Secret names. */
  readonly pull?: boolean;
  /** Level continuum: the API server of a real Karmada, where it is not the hub's own. */
  readonly karmadaKubeconfig?: string;
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
  /** Data directory of this machine's node agent, where its pods have a network of a plain user's own; default: this agent's. */
  readonly nodeDataDir?: string;
  /** Level continuum: where tracking and decisions, and the artifact store, listen; port 0: any free one. */
  readonly services: Readonly<Record<ServiceName, ListenAddress>>;
  /**
   * Level continuum: host by which pods of the members reach these services, or `services`: by the Services that `agentDeployment` makes there.
   * Default: where they listen.
   */
  readonly advertise?: string;
  /** Where the API server asks what the modules refuse and fill in; default: on the loopback, if the API server is there too, else nowhere. */
  readonly webhook?: ListenAddress;
  /** Below which this cluster's models have their hosts; default `<cluster>.argosy.localhost`. */
  readonly domain?: string;
  readonly health: ListenAddress;
  /** Level node. */
  readonly node: NodeLevelOptions;
  /** Says something between the lines of a log. */
  readonly note: (text: string) => void;
  /** Ends a start that may wait for something for ever; of a running agent it ends nothing. */
  readonly signal?: AbortSignal;
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
const trackingName = "tracking";

/** Runs the controllers of one level (or a node) against the API that a kubeconfig or a pod's ServiceAccount names. Throws `InputError` for what cannot be used. */
export async function startAgent(given: AgentOptions): Promise<Agent> {
  const { host, port } = given.ingress;
  // Models' addresses name the port.
  const options = port === 0 ? { ...given, ingress: { host, port: await anyPort(host) } } : given;
  const layout = layoutOf(options.dataDir);
  const closers = new Closers();
  closers.add(await takeDirectory(layout));
  try {
    const assembly = await assemble(options, layout, closers);
    const starting = options.level === "node" ? startNodeLevel(assembly) : startLevel(assembly);
    const summary = await unlessAborted(options.signal, starting);
    const { access, metrics, ending } = assembly;
    const health = await startHealth({
      ...options.health,
      metrics,
      notReady: () => notReady(access),
      unread: () => access.informers.faults(),
    });
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

/** What comes of it; rejects with the signal's reason as soon as that is aborted, whatever it waits for. */
function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, () => reject(abortReason(signal)));
    if (signal.aborted) reject(abortReason(signal));
    work.then(resolve, reject).finally(forget);
  });
}

/** The rights that an agent needs in its cluster, as manifests. Throws `InputError` for a module that there is not. */
export function describeRights(
  options: Omit<RightsOptions, "modules" | "hasTracking"> & { readonly modules?: readonly string[] },
): ReturnType<typeof agentRights> {
  const modules = declaredModules(options.modules);
  return agentRights({ ...options, modules, hasTracking: hasTracking(modules) });
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
  // Its routes are all that it has, and they need stores.
  const tracking: Module = { name: trackingName, summary: "", kinds: [], rules: {}, controllers: () => [] };
  return selectModules([...all, tracking], names);
}

function hasTracking(modules: readonly Module[]): boolean {
  return modules.some(({ name }) => name === trackingName);
}

async function assemble(options: AgentOptions, layout: Layout, closers: Closers): Promise<Assembly> {
  const write = rotatingLogFile(join(layout.logs, "argosy.log"));
  const log = createLogger({ clock: systemClock, level: "info", write }).with({ level: options.level });
  const surroundings = { clock: systemClock, random: systemRandom, log };
  const context = await contextOf(options);
  const name = options.cluster ?? context.cluster;
  const followed = options.level === "node" ? nodeIdentity(nodeNameOf(options.node)).followed : AGENT_FOLLOWED;
  const access = openAccess(name, await transportOf(options, context), surroundings, followed);
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

async function transportOf({ karmadaKubeconfig }: AgentOptions, { transport }: ClusterContext): Promise<Transport> {
  const hub = httpTransport(transport);
  if (karmadaKubeconfig === undefined) return hub;
  return withKarmada(hub, httpTransport((await loadKubeconfig(karmadaKubeconfig)).transport));
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
    if (error instanceof ApiError && !(error instanceof UnavailableError)) {
      throw error;
    }
    // Without its cause: that nothing listens means elsewhere that Argosy does not run.
    throw new ArgosyError("Unreachable", `${transport.server} does not answer: ${messageOf(error)}`);
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
  const { level, namespace } = options;
  if (options.pull === true && level !== "cluster")
    throw new InputError("--pull is for the agent of a member: --level cluster");
  const stores = await openStores(layout, surroundings, closers);
  const nodes = options.nodeDataDir === undefined ? layout : layoutOf(options.nodeDataDir);
  const gateway = platformGateway(layout, surroundings, nodes);
  const members = memberConnections(surroundings);
  const hasKarmada =
    level === "continuum" && (options.karmadaKubeconfig !== undefined || (await servesKarmada(access.client)));
  if (hasKarmada) options.note("a Karmada runs there: it delivers the Works and watches the members");
  const modules = await modulesOf(assembly, { gateway, stores, members, hasKarmada });
  const specs = controllersAt(modules, level, access);
  const serves = level === "continuum" && hasTracking(modules);
  if (specs.length === 0 && !serves) {
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
  const services = serves ? await serve(assembly, stores, modules) : undefined;
  closers.add(() => members.close());
  const admission = await admissionOf(assembly, modules);
  const identity = candidate(surroundings);
  const delivers = level === "continuum" && !hasKarmada && modules.some(({ name }) => name === "fleet");
  runControllers({
    ...surroundings,
    log: surroundings.log.with({ cluster: access.name }),
    cluster: access,
    specs: [...specs, ...(delivers ? [members.controller] : []), ...admission],
    closers,
    metrics,
    election: { namespace, name: agentName(level), identity, onLeader: tellTurns(options, agentName(level)) },
  });
  const summary = summaryOf(assembly, modules, services);
  return options.pull === true ? `${summary}; ${await startPull({ ...assembly, identity })}` : summary;
}

/** Says, once something else than this agent's own work is to be said, whose turn it is. */
function tellTurns({ note, namespace }: AgentOptions, name: string): (holder: string | undefined) => void {
  const words = turnWords(namespace, name);
  let hasWaited = false;
  return (holder) => {
    hasWaited ||= holder !== undefined;
    if (hasWaited) note(words(holder));
  };
}

/** What registers the modules' admission, where there is any and the API server can ask for it. */
async function admissionOf(assembly: Assembly, modules: readonly Module[]): Promise<ControllerSpec[]> {
  const { options, layout, closers, access, context, clock, random, log } = assembly;
  const { level, namespace, kubeconfig, webhook, advertise, note } = options;
  if (!hasAdmission(modules, level)) return [];
  const { server } = context.transport;
  const place = admissionPlace({ level, namespace, server, kubeconfig, webhook, advertise });
  if (typeof place === "string") {
    note(notServed(place));
    return [];
  }
  return serveAdmission({ clock, random, log, level, namespace, modules, access, layout, closers, place, note });
}

/** The modules wanted, of those that this level has. */
async function modulesOf(
  { options, access, clock, random, log }: Assembly,
  parts: { gateway: GatewayDriver; stores: Stores; members: MemberConnections; hasKarmada: boolean },
): Promise<readonly Module[]> {
  const { level, ingress, modules } = options;
  const input = {
    clock,
    random,
    log,
    gateway: parts.gateway,
    ledger: parts.stores.ledger,
    head: ingress,
    places: level === "cluster" ? [{ name: access.name, domain: domainOf(options, access), ...ingress }] : [],
    members: (name: string) => parts.members.access(name),
    speakers: (name: string) => parts.members.speaker(name),
    hasKarmada: parts.hasKarmada,
  };
  const all = level === "continuum" ? await allModules(input, parts.stores) : controllerModules(input);
  return selectModules(all, modules);
}

function domainOf(options: AgentOptions, access: OwnedAccess): string {
  return options.domain ?? `${access.name}.argosy.localhost`;
}

/** Serves tracking, decisions and artifacts of the hub, and leaves the key that reads artifacts in a Secret of the hub. */
async function serve(assembly: Assembly, stores: Stores, modules: readonly Module[]): Promise<ServiceAddresses> {
  const { options, layout, closers, access, clock, random, log } = assembly;
  const { services, namespace } = options;
  const started = await startPlatformServices({
    clock,
    random,
    log,
    layout,
    stores,
    closers,
    routes: modules.flatMap((module) => module.routes ?? []),
    hubClient: access.client,
    hosts: { northbound: services.northbound.host, artifacts: services.artifacts.host },
    listen: (name, start) => start(services[name].port),
    names: certified(options),
  });
  const { host } = new URL(fromPods(options, "artifacts", started.artifacts));
  await publishArtifactReader(access.client, started.reader, { host, caPem: started.caPem, namespace });
  await writeAddresses(layout, {
    clusters: [],
    ingress: `http://${options.ingress.host}:${options.ingress.port}`,
    northbound: fromHere(started.northbound),
    northboundFromPods: fromPods(options, "northbound", started.northbound),
    artifacts: fromHere(started.artifacts),
    kubeconfig: options.kubeconfig ?? "",
    caFile: join(layout.pki, "ca.crt"),
  });
  return started;
}

/** Names and addresses, besides the usual, for which the services' certificate stands. */
function certified({ services, advertise }: AgentOptions): string[] {
  const listening = Object.values(services).map(({ host }) => host);
  const told = advertise === undefined || advertise === "services" ? [] : [advertise];
  return [...new Set([hostname(), ...listening.filter((host) => !isEveryAddress(host)), ...told])];
}

const isEveryAddress = (host: string): boolean => host === "0.0.0.0" || host === "::" || host === "[::]";

/** An address by which programs of this machine reach what listens on all of its addresses. */
function fromHere(address: string): string {
  const url = new URL(address);
  if (isEveryAddress(url.hostname)) url.hostname = "127.0.0.1";
  return url.href.replace(/\/$/, "");
}

/** Throws `InputError` where pods cannot know an address. */
function fromPods({ advertise }: AgentOptions, service: ServiceName, address: string): string {
  if (advertise === "services") return hostServiceAddress(hostServices[service]);
  const url = new URL(address);
  if (advertise !== undefined) url.hostname = advertise;
  else if (isEveryAddress(url.hostname))
    throw new InputError(`--${service} listens on every address: say with --advertise by which one pods reach it`);
  return url.href.replace(/\/$/, "");
}

function summaryOf(
  { options, access }: Assembly,
  modules: readonly Module[],
  services: ServiceAddresses | undefined,
): string {
  const { level, ingress } = options;
  const count = controllersAt(modules, level, access).length;
  const working = modules.filter((module) => controllersAt([module], level, access).length > 0 || module.routes);
  return [
    `${working.map(({ name }) => name).join(", ")}: ${count} controllers`,
    ...(level === "cluster" ? [`models below ${domainOf(options, access)}`] : []),
    `ingress http://${ingress.host}:${ingress.port}`,
    ...(services === undefined ? [] : [`tracking ${services.northbound}, artifacts ${services.artifacts}`]),
  ].join("; ");
}

/** Starts the gateway, or adopts the one that runs, and has it listen: others were told of this address, so it steps aside for nobody. */
async function openIngress(gateway: GatewayDriver, { level, ingress }: AgentOptions, cluster: string): Promise<void> {
  await gateway.start();
  try {
    await gateway.open(
      level === "continuum"
        ? { name: "head", ...ingress }
        : { name: `ingress-${cluster}`, ...ingress, trustForwarded: true },
    );
  } catch (error) {
    const cause = error instanceof Error ? { cause: error } : {};
    throw new ArgosyError("CannotListen", `${messageOf(error)}; --ingress HOST:PORT says where else`, cause);
  }
}

/** A name that no other candidate has: machine, process and chance. */
function candidate({ random }: Surroundings): string {
  return `${hostname()}_${process.pid}_${Math.floor(random.next() * 0x1_0000_0000).toString(16)}`;
}
