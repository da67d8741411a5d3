import type { NetworkSockets } from "../../kernel/netns/index.js";
import { Backend, BackendStats, Endpoint, Route } from "./balance.js";
import type { BackendTable, GatewayTable, RouteTable } from "./table.js";
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
}

/** The table in use, with everything that must outlive a change of it: connections, health, counters, positions in the round robin. */
export class Routing {
  table: GatewayTable;
  readonly pools = new Map<string, UpstreamPool>();
  readonly endpoints = new Map<string, Endpoint>();
  routes: ReadonlyMap<string, Route> = new Map();
  #listeners = new Map<string, HostMap>();
  readonly #watcher: EndpointWatcher;
  readonly #network: NetworkSockets | undefined;

  constructor(empty: GatewayTable, watcher: EndpointWatcher, network?: NetworkSockets) {
    this.table = empty;
    this.#watcher = watcher;
    this.#network = network;
  }

  find(listener: string, host: string, target: string): Route | undefined {
    const question = target.indexOf("?");
    return this.#listeners.get(listener)?.find(host, question < 0 ? target : target.slice(0, question));
  }

  /** Puts a new table into force. Running exchanges keep the route that they began with. */
  apply(table: GatewayTable): void {
    for (const endpoint of this.endpoints.values()) endpoint.references = 0;
    const routes = new Map<string, Route>();
    const listeners = new Map<string, HostMap>();
    for (const listener of table.listeners) listeners.set(listener.name, new HostMap());
    for (const routeTable of table.routes) {
      const route = this.#buildRoute(routeTable, this.routes.get(routeTable.id));
      routes.set(routeTable.id, route);
      listeners.get(routeTable.listener)?.add(route);
    }
    this.table = table;
    this.routes = routes;
    this.#listeners = listeners;
    this.#dropUnused();
    // A new table is often news of a backend: those that are out of use are looked at now, not at their next turn.
    for (const endpoint of this.endpoints.values()) if (!endpoint.isHealthy) endpoint.wake();
  }

  #buildRoute(table: RouteTable, before: Route | undefined): Route {
    const old = new Map(before?.backends.map((backend) => [backend.table.name, backend]));
    const sameWeights =
      before?.backends.length === table.backends.length &&
      table.backends.every((backend) => old.get(backend.name)?.table.weight === backend.weight);
    const backends = table.backends.map((backendTable) => {
      const previous = old.get(backendTable.name);
      const endpoints = backendTable.addresses.map((address) => this.#endpoint(address, backendTable));
      const backend = new Backend(backendTable, endpoints, previous?.stats ?? new BackendStats());
      if (sameWeights) backend.current = previous?.current ?? 0;
      return backend;
    });
    const route = new Route(table, backends);
    route.unroutable = before?.unroutable ?? 0;
    return route;
  }

  #endpoint(address: string, table: BackendTable): Endpoint {
    const tls = table.tls === undefined ? "" : JSON.stringify(table.tls);
    const key = JSON.stringify([address, tls, table.host ?? "", table.health]);
    let endpoint = this.endpoints.get(key);
    if (endpoint === undefined) {
      const poolKey = `${address} ${tls}`;
      const pool = this.pools.get(poolKey) ?? new UpstreamPool(address, table.tls, this.#network);
      this.pools.set(poolKey, pool);
      pool.unretire();
      endpoint = new Endpoint(address, pool, table);
      this.endpoints.set(key, endpoint);
      this.#watcher.added(endpoint);
    }
    endpoint.references++;
    return endpoint;
  }

  #dropUnused(): void {
    const used = new Set<UpstreamPool>();
    for (const [key, endpoint] of this.endpoints) {
      if (endpoint.references > 0) used.add(endpoint.pool);
      else {
        this.endpoints.delete(key);
        this.#watcher.removed(endpoint);
      }
    }
    for (const [key, pool] of this.pools) {
      if (used.has(pool)) continue;
      pool.retire();
      this.pools.delete(key);
    }
  }

  close(): void {
    for (const endpoint of this.endpoints.values()) this.#watcher.removed(endpoint);
    for (const pool of this.pools.values()) pool.destroy();
  }
}
