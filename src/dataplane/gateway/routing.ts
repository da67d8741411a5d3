import { InputError } from "../../kernel/errors/index.js";
import type { NetworkSockets } from "../../kernel/netns/index.js";
import type { ActivatorSet } from "./activator-set.js";
import { Backend, BackendStats, Endpoint, Route } from "./balance.js";
import { Shadow, ShadowStats } from "./shadow.js";
import type { ShadowTable } from "./shadow-table.js";
import type { BackendTable, GatewayTable, RouteTable, TableChange } from "./table.js";
import { UpstreamPool } from "./upstream.js";

/** Routes of one host, found by the longest path that matches in whole segments. */
class PathMap {
  readonly #exact = new Map<string, Route>();
  readonly #prefixes = new Map<string, Route>();
  #deepest = 0;

  add(route: Route): void {
    if (route.table.exact) this.#exact.set(route.table.path, route);
    else {
      this.#prefixes.set(route.prefix, route);
      this.#deepest = Math.max(this.#deepest, route.prefix.split("/").length - 1);
    }
  }

  remove(route: Route): void {
    const map = route.table.exact ? this.#exact : this.#prefixes;
    const key = route.table.exact ? route.table.path : route.prefix;
    if (map.get(key) === route) map.delete(key);
  }

  find(path: string): Route | undefined {
    const exact = this.#exact.size > 0 ? this.#exact.get(path) : undefined;
    if (exact !== undefined) return exact;
    let best = this.#prefixes.get("");
    let position = 0;
    for (let depth = 0; depth < this.#deepest && position >= 0; depth++) {
      position = path.indexOf("/", position + 1);
      best = this.#prefixes.get(position < 0 ? path : path.slice(0, position)) ?? best;
    }
    return best;
  }
}

/** Routes of one listener. An exact host goes before `*.domain`, that before `*`; a host without a matching path falls through. */
class HostMap {
  readonly #hosts = new Map<string, PathMap>();

  add(route: Route): void {
    for (const host of route.table.hosts) {
      const paths = this.#hosts.get(host) ?? new PathMap();
      this.#hosts.set(host, paths);
      paths.add(route);
    }
  }

  remove(route: Route): void {
    for (const host of route.table.hosts) this.#hosts.get(host)?.remove(route);
  }

  find(host: string, path: string): Route | undefined {
    const exact = this.#hosts.get(host)?.find(path);
    if (exact !== undefined) return exact;
    const dot = host.indexOf(".");
    const wildcard = dot < 0 ? undefined : this.#hosts.get(`*${host.slice(dot)}`)?.find(path);
    return wildcard ?? this.#hosts.get("*")?.find(path);
  }
}

/** What endpoints come and go with a table; the checker follows them. */
export interface EndpointWatcher {
  added(endpoint: Endpoint): void;
  removed(endpoint: Endpoint): void;
  /** Monotonic milliseconds. */
  nowMs(): number;
}

/** The table in use, with everything that must outlive a change of it: connections, health, counters, positions in the round robin. */
export class Routing {
  table: Pick<GatewayTable, "generation" | "listeners">;
  readonly pools = new Map<string, UpstreamPool>();
  readonly endpoints = new Map<string, Endpoint>();
  routes = new Map<string, Route>();
  /** Counts the reports that were given; what changes afterwards is marked with it. */
  turn = 1;
  /** Turn of the last change that somebody may wait for; and from which on a report can leave routes out. */
  newsAt = 0;
  wholeAt = 0;
  readonly #keys = new Map<Endpoint, string>();
  readonly #poolKeys = new Map<UpstreamPool, string>();
  #listeners = new Map<string, HostMap>();
  readonly activators: ActivatorSet;
  readonly #watcher: EndpointWatcher;
  readonly #network: NetworkSockets | undefined;

  constructor(
    empty: GatewayTable,
    parts: { readonly watcher: EndpointWatcher; readonly activators: ActivatorSet },
    network?: NetworkSockets,
  ) {
    this.table = empty;
    this.activators = parts.activators;
    this.#watcher = parts.watcher;
    this.#network = network;
  }

  find(listener: string, host: string, target: string): Route | undefined {
    const question = target.indexOf("?");
    return this.#listeners.get(listener)?.find(host, question < 0 ? target : target.slice(0, question));
  }

  /** Puts a new table into force. Running exchanges keep the route that they began with. */
  apply(table: GatewayTable): void {
    const before = this.routes;
    const routes = new Map<string, Route>();
    this.#listeners = new Map(table.listeners.map((listener) => [listener.name, new HostMap()]));
    for (const routeTable of table.routes) {
      const route = this.#buildRoute(routeTable, before.get(routeTable.id));
      routes.set(routeTable.id, route);
      this.#listeners.get(routeTable.listener)?.add(route);
    }
    this.table = { generation: table.generation, listeners: table.listeners };
    this.routes = routes;
    for (const route of before.values()) this.#forget(route);
    for (const route of routes.values())
      if (route.isActivated) for (const { activator } of route.backends) activator?.pump();
    this.wholeAt = this.turn;
    this.newsAt = this.turn;
    // A new table is often news of a backend: those that are out of use are looked at now, not at their next turn.
    for (const endpoint of this.endpoints.values()) if (!endpoint.isHealthy) endpoint.wake();
  }

  /** Puts some routes in the place of their former selves, and lets others go. The rest of the table is not touched. Throws `InputError`, and changes nothing then. */
  change(change: TableChange): void {
    for (const { id, listener } of change.routes)
      if (!this.#listeners.has(listener))
        throw new InputError(`route "${id}" names listener "${listener}", which does not exist`);
    for (const id of change.removed) this.#remove(id);
    for (const table of change.routes) this.#replace(table);
    this.table = { ...this.table, generation: change.generation };
    this.newsAt = this.turn;
  }

  #remove(id: string): void {
    const route = this.routes.get(id);
    if (route === undefined) return;
    this.#listeners.get(route.table.listener)?.remove(route);
    this.routes.delete(id);
    this.#forget(route);
    this.wholeAt = this.turn;
  }

  #replace(table: RouteTable): void {
    const before = this.routes.get(table.id);
    const route = this.#buildRoute(table, before);
    if (before !== undefined) this.#listeners.get(before.table.listener)?.remove(before);
    this.#listeners.get(table.listener)?.add(route);
    this.routes.set(table.id, route);
    if (before !== undefined) this.#forget(before);
    for (const { endpoints, activator } of route.backends) {
      for (const endpoint of endpoints) if (!endpoint.isHealthy) endpoint.wake();
      activator?.pump();
    }
  }

  #buildRoute(table: RouteTable, before: Route | undefined): Route {
    const old = new Map(before?.backends.map((backend) => [backend.table.name, backend]));
    const sameWeights =
      before?.backends.length === table.backends.length &&
      table.backends.every((backend) => old.get(backend.name)?.table.weight === backend.weight);
    const backends = table.backends.map((backendTable) => {
      const previous = old.get(backendTable.name);
      const backend = this.#buildBackend(backendTable, before);
      if (sameWeights) backend.current = previous?.current ?? 0;
      return backend;
    });
    const shadows = table.shadows.map((shadow) => this.#shadow(shadow, before));
    const route = new Route(table, backends, shadows);
    route.unroutable = before?.unroutable ?? 0;
    route.begun = before?.begun ?? 0;
    route.hedged = before?.hedged ?? 0;
    route.changedAt = this.turn;
    for (const backend of backends) {
      for (const endpoint of backend.endpoints) endpoint.routes.add(route);
      backend.activator?.attach(backend, table.id);
    }
    return route;
  }

  #buildBackend(table: BackendTable, before: Route | undefined): Backend {
    const known = before?.backends.find((backend) => backend.table.name === table.name);
    const endpoints = table.addresses.map((address) => this.#readyEndpoint(address, table, before));
    const candidates = table.candidates.map((address) => this.#candidate(address, table, before));
    const activator = table.activator === undefined ? undefined : this.activators.get(table.activator);
    return new Backend(table, [...endpoints, ...candidates], known?.stats ?? new BackendStats(), activator);
  }

  /** Its pod says that it is ready: that counts as much as an answer to the gateway's own check. */
  #readyEndpoint(address: string, table: BackendTable, before: Route | undefined): Endpoint {
    const endpoint = this.#endpoint(address, table, before);
    const isBack = endpoint.isCandidate || endpoint.heldUntilMs === Number.POSITIVE_INFINITY;
    endpoint.isCandidate = false;
    endpoint.wasReady = true;
    if (isBack) endpoint.heldUntilMs = 0;
    if (isBack && !endpoint.isHealthy) endpoint.admit(this.#watcher.nowMs());
    return endpoint;
  }

  #candidate(address: string, table: BackendTable, before: Route | undefined): Endpoint {
    const endpoint = this.#endpoint(address, table, before);
    if (endpoint.wasReady) {
      if (endpoint.isHealthy) endpoint.eject("its pod is not ready", this.#watcher.nowMs());
      endpoint.heldUntilMs = Number.POSITIVE_INFINITY;
    } else if (!endpoint.isCandidate) {
      endpoint.isCandidate = true;
      endpoint.eject("it is starting", this.#watcher.nowMs());
    }
    return endpoint;
  }

  /** Its connections are its own, so that it never has one that a request could have had. */
  #shadow(table: ShadowTable, before: Route | undefined): Shadow {
    const known = before?.shadows.find((one) => one.table.name === table.name);
    const tls = table.tls === undefined ? "" : JSON.stringify(table.tls);
    const pools = table.addresses.map((address) => this.#pool(`shadow ${address} ${tls}`, address, table.tls));
    return new Shadow(table, pools, known?.stats ?? new ShadowStats());
  }

  #pool(key: string, address: string, tls: BackendTable["tls"]): UpstreamPool {
    const pool = this.pools.get(key) ?? new UpstreamPool(address, tls, this.#network);
    this.pools.set(key, pool);
    this.#poolKeys.set(pool, key);
    pool.unretire();
    pool.owners++;
    return pool;
  }

  #endpoint(address: string, table: BackendTable, before: Route | undefined): Endpoint {
    const tls = table.tls === undefined ? "" : JSON.stringify(table.tls);
    const key = JSON.stringify([address, tls, table.host ?? "", table.health]);
    const known = this.endpoints.get(key);
    if (known !== undefined) return known;
    const pool = this.#pool(`${address} ${tls}`, address, table.tls);
    const endpoint = new Endpoint(address, pool, table);
    // The first addresses of a route have nobody beside them to spare them.
    if (before !== undefined) endpoint.warmSinceMs = this.#watcher.nowMs();
    endpoint.changed = () => {
      for (const route of endpoint.routes) {
        route.changedAt = this.turn;
        if (route.isActivated) for (const { activator } of route.backends) activator?.pump();
      }
      this.newsAt = this.turn;
    };
    this.endpoints.set(key, endpoint);
    this.#keys.set(endpoint, key);
    this.#watcher.added(endpoint);
    return endpoint;
  }

  /** A route that is no longer in force lets go of its addresses; those that nobody uses any more are closed. */
  #forget(route: Route): void {
    for (const backend of route.backends) {
      this.activators.detach(backend);
      for (const endpoint of backend.endpoints) {
        endpoint.routes.delete(route);
        if (endpoint.routes.size === 0) this.#drop(endpoint);
      }
    }
    for (const { pools } of route.shadows) for (const pool of pools) this.#leave(pool);
  }

  #drop(endpoint: Endpoint): void {
    const key = this.#keys.get(endpoint);
    if (key === undefined) return;
    this.#keys.delete(endpoint);
    this.endpoints.delete(key);
    this.#watcher.removed(endpoint);
    this.#leave(endpoint.pool);
  }

  #leave(pool: UpstreamPool): void {
    pool.owners--;
    if (pool.owners > 0) return;
    pool.retire();
    this.pools.delete(this.#poolKeys.get(pool) ?? "");
    this.#poolKeys.delete(pool);
  }

  close(): void {
    this.activators.close();
    for (const endpoint of this.endpoints.values()) this.#watcher.removed(endpoint);
    for (const pool of this.pools.values()) pool.destroy();
  }
}
