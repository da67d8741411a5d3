import type { Clock, Random, Timer } from "../../../kernel/clock/index.js";
import { type ClusterAccess, createEventRecorder, type OwnedEventRecorder } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { EndpointSliceKind, type Service, ServiceKind } from "../../../kernel/kinds/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import type { PodNetwork } from "../network/types.js";
import { ProxyListener, type Refusal } from "./listener.js";
import { planService, type WantedListener } from "./table.js";

/** What the proxy of one cluster needs. */
export interface ServiceProxyOptions {
  /** Needs to read Services and EndpointSlices and to write Events. */
  readonly cluster: ClusterAccess;
  /** Started by its owner. */
  readonly network: PodNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The cluster's ClusterIPs (`198.19.1.0/24`): made this machine's at once; absent: one by one. */
  readonly serviceCidrs?: readonly string[];
  /** Who may not reach whom; default: everybody reaches everything. */
  readonly refusal?: (...about: [...Parameters<Refusal>, Service]) => string | undefined;
  /** Where node ports answer; default the loopback and the machine's address in the pod network. */
  readonly nodePortAddresses?: readonly string[];
}

/** Makes ClusterIPs and node ports of one cluster answer on this machine. */
export interface ServiceProxy {
  /** Resolves when everything that was there answers. */
  start(): Promise<void>;
  close(): Promise<void>;
}

const serviceNameLabel = "kubernetes.io/service-name";
const serviceIndex = "argosy.dev/service";
const retryMs = 5_000;
/** Causes that are remembered so that they are told once. */
const maxTold = 10_000;

/** A userspace kube-proxy: a listener for each address with ready endpoints, nothing where there are none. */
export function createServiceProxy(options: ServiceProxyOptions): ServiceProxy {
  return new UserspaceProxy(options);
}

interface OpenListener {
  readonly listener: ProxyListener;
  readonly bound: Promise<boolean>;
}

class UserspaceProxy implements ServiceProxy {
  readonly #options: ServiceProxyOptions;
  readonly #events: OwnedEventRecorder;
  readonly #open = new Map<string, OpenListener>();
  /** Addresses of each service, to take them away with it. */
  readonly #addresses = new Map<string, ReadonlySet<string>>();
  readonly #told = new Set<string>();
  readonly #dirty = new Set<string>();
  /** Services with an address that could not be bound. */
  readonly #unbound = new Set<string>();
  readonly #stops: (() => void)[] = [];
  #working: Promise<void> | undefined;
  #retry: Timer | undefined;
  #closed = false;

  constructor(options: ServiceProxyOptions) {
    this.#options = options;
    const { clock, random, log, cluster } = options;
    this.#events = createEventRecorder({ client: cluster.client, clock, random, log, component: "service-proxy" });
  }

  async start(): Promise<void> {
    const { cluster, network, serviceCidrs = [] } = this.#options;
    for (const cidr of serviceCidrs) await network.claimRange(cidr);
    const services = cluster.informers.informer(ServiceKind);
    const slices = cluster.informers.informer(EndpointSliceKind);
    slices.addIndex(serviceIndex, (slice) => [
      `${slice.metadata.namespace ?? ""}/${slice.metadata.labels?.[serviceNameLabel] ?? ""}`,
    ]);
    await Promise.all([services.synced(), slices.synced()]);
    this.#stops.push(
      services.onChange((now, old) => {
        const service = now ?? old;
        if (service !== undefined) this.#look(`${service.metadata.namespace ?? ""}/${service.metadata.name}`);
      }),
      slices.onChange((now, old) => {
        for (const slice of [now, old]) {
          const name = slice?.metadata.labels?.[serviceNameLabel];
          if (slice !== undefined && name !== undefined) this.#look(`${slice.metadata.namespace ?? ""}/${name}`);
        }
      }),
    );
    for (const service of services.list()) this.#look(`${service.metadata.namespace ?? ""}/${service.metadata.name}`);
    await this.#working;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    for (const stop of this.#stops) stop();
    await this.#working;
    for (const { listener } of this.#open.values()) listener.close(true);
    await this.#events.close();
  }

  #look(key: string): void {
    if (this.#closed) return;
    this.#dirty.add(key);
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  async #work(): Promise<void> {
    // One turn later, so that changes that come together are seen together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#dirty.size > 0 && !this.#closed) {
      const keys = [...this.#dirty];
      this.#dirty.clear();
      await Promise.all(keys.map((key) => this.#sync(key)));
    }
  }

  async #sync(key: string): Promise<void> {
    const { cluster, network, nodePortAddresses } = this.#options;
    const [namespace = "", name = ""] = key.split("/");
    const service = cluster.informers.informer(ServiceKind).get({ namespace, name });
    const slices = cluster.informers.informer(EndpointSliceKind).byIndex(serviceIndex, key);
    const addresses = nodePortAddresses ?? [...new Set(["127.0.0.1", network.hostAddress])];
    const plan = service === undefined ? { listeners: [], problems: [] } : planService(service, slices, addresses);
    const wanted = new Set(plan.listeners.map(addressOf));
    for (const address of this.#addresses.get(key) ?? []) if (!wanted.has(address)) this.#shut(address);
    this.#addresses.set(key, wanted);
    if (service === undefined) {
      this.#addresses.delete(key);
      return;
    }
    for (const problem of plan.problems) this.#tell(service, "UnsupportedProtocol", problem);
    const bound = await Promise.all(plan.listeners.map((listener) => this.#ensure(service, listener)));
    if (bound.includes(false)) this.#tryAgain(key);
  }

  #shut(address: string): void {
    this.#open.get(address)?.listener.close(false);
    this.#open.delete(address);
  }

  async #ensure(service: Service, wanted: WantedListener): Promise<boolean> {
    const address = addressOf(wanted);
    const present = this.#open.get(address);
    if (present !== undefined) {
      present.listener.update(wanted.spread);
      return present.bound;
    }
    const { clock, network } = this.#options;
    const listener = new ProxyListener(clock, network, wanted.spread, (from, to) => this.#refuse(service, from, to));
    const bound = this.#bind(service, wanted, listener);
    this.#open.set(address, { listener, bound });
    const isBound = await bound;
    if (!isBound) this.#open.delete(address);
    return isBound;
  }

  #refuse(service: Service, from: string, to: string): string | undefined {
    const { namespace = "", name } = service.metadata;
    const now = this.#options.cluster.informers.informer(ServiceKind).get({ namespace, name }) ?? service;
    const words = this.#options.refusal?.(from, to, now);
    if (words !== undefined) this.#tell(service, "CallerRefused", words);
    return words;
  }

  async #bind(service: Service, { ip, port }: WantedListener, listener: ProxyListener): Promise<boolean> {
    try {
      const isClusterIp = ip === service.spec.clusterIP;
      if (isClusterIp && this.#options.serviceCidrs === undefined) await this.#options.network.claimRange(`${ip}/32`);
      await listener.listen(ip, port);
      return true;
    } catch (error) {
      this.#tell(service, "PortNotBound", explain(error, ip, port));
      return false;
    }
  }

  /** Once for each cause: an event on the service, where its owner looks. */
  #tell(service: Service, reason: string, message: string): void {
    const key = `${service.metadata.uid}/${reason}/${message}`;
    if (this.#told.has(key)) return;
    if (this.#told.size >= maxTold) this.#told.clear();
    this.#told.add(key);
    this.#events.record(service, "Warning", reason, message);
    this.#options.log.warn("a service's address does not answer as it could", {
      service: service.metadata.name,
      namespace: service.metadata.namespace,
      cause: message,
    });
  }

  #tryAgain(key: string): void {
    this.#unbound.add(key);
    this.#retry ??= this.#options.clock.setTimer(retryMs, () => {
      this.#retry = undefined;
      const keys = [...this.#unbound];
      this.#unbound.clear();
      for (const each of keys) this.#look(each);
    });
  }
}

const addressOf = ({ ip, port }: { readonly ip: string; readonly port: number }): string => `${ip}:${port}`;

function explain(error: unknown, ip: string, port: number): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "EACCES") {
    return `${ip}:${port} cannot be bound by a plain user without a network of his own (argosy doctor says why): run Argosy as root, lower sysctl net.ipv4.ip_unprivileged_port_start, or give the service a port of 1024 or more`;
  }
  if (code === "EADDRINUSE")
    return `${ip}:${port} is in use by another program on this machine; it is tried again every 5 s`;
  return `${ip}:${port} cannot be bound: ${messageOf(error)}`;
}
