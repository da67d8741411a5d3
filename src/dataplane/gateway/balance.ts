import type { BackendTable, RouteTable } from "./table.js";
import type { UpstreamPool } from "./upstream.js";

/** Failed attempts in a row after which an address is out of use, when no single one is proof. */
const EJECT_AFTER = 3;
/** Upper bounds of the classes that durations of requests are counted in. */
export const LATENCY_BOUNDS_MS: readonly number[] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

/** Counters of one backend of one route since the process began. */
export class BackendStats {
  requests = 0;
  /** Attempts that ended without an answer of the backend. */
  failures = 0;
  retries = 0;
  inFlight = 0;
  latencySumMs = 0;
  readonly byClass = [0, 0, 0, 0, 0, 0];
  readonly latency = LATENCY_BOUNDS_MS.map(() => 0);

  static readonly bounds: readonly number[] = LATENCY_BOUNDS_MS;

  record(status: number, durationMs: number): void {
    this.requests++;
    this.latencySumMs += durationMs;
    const statusClass = status >= 100 && status < 600 ? Math.trunc(status / 100) : 0;
    this.byClass[statusClass] = (this.byClass[statusClass] ?? 0) + 1;
    for (let index = 0; index < LATENCY_BOUNDS_MS.length; index++) {
      if (durationMs > (LATENCY_BOUNDS_MS[index] ?? 0)) continue;
      this.latency[index] = (this.latency[index] ?? 0) + 1;
      return;
    }
  }
}

/** One address of one backend, with its health. Shared by all routes that name the same address, Host and check. */
export class Endpoint {
  readonly address: string;
  readonly pool: UpstreamPool;
  readonly table: BackendTable;
  isHealthy = true;
  /** Why it is out of use; empty while healthy. */
  reason = "";
  /** Monotonic milliseconds of the last change of `isHealthy`. */
  sinceMs = 0;
  /** Monotonic milliseconds of the last answer to a request or a check. */
  lastAnswerMs = -1;
  successes = 0;
  consecutiveFailures = 0;
  /** Routes that use it; 0: to be dropped. */
  references = 0;
  /** Asks the checker to look soon; set by the checker. */
  wake: () => void = () => {};

  constructor(address: string, pool: UpstreamPool, table: BackendTable) {
    this.address = address;
    this.pool = pool;
    this.table = table;
  }

  /** Takes the address out of use at once; the checker brings it back. */
  eject(reason: string, nowMs: number): void {
    this.successes = 0;
    if (this.isHealthy) this.sinceMs = nowMs;
    this.isHealthy = false;
    this.reason = reason;
    this.pool.dropIdle();
    this.wake();
  }

  /** A failed attempt: takes the address out of use at once, or after several in a row. */
  blame(reason: string, isDecisive: boolean, nowMs: number): void {
    this.consecutiveFailures++;
    if (isDecisive || this.consecutiveFailures >= EJECT_AFTER) this.eject(reason, nowMs);
  }

  admit(nowMs: number): void {
    if (!this.isHealthy) this.sinceMs = nowMs;
    this.isHealthy = true;
    this.reason = "";
    this.consecutiveFailures = 0;
  }
}

/** A backend of a route: its weight, its addresses in turn, its counters. */
export class Backend {
  readonly table: BackendTable;
  readonly endpoints: readonly Endpoint[];
  readonly stats: BackendStats;
  /** Header line that names it in answers. */
  readonly nameLine: string;
  /** State of the smooth weighted round robin. */
  current = 0;
  #turn = 0;

  constructor(table: BackendTable, endpoints: readonly Endpoint[], stats: BackendStats) {
    this.table = table;
    this.endpoints = endpoints;
    this.stats = stats;
    this.nameLine = `X-Argosy-Backend: ${table.name.replaceAll(/[^!-~]/g, "?")}\r\n`;
  }

  get isHealthy(): boolean {
    return this.endpoints.some((endpoint) => endpoint.isHealthy);
  }

  /** It has answered a request or a check (a backend is taken for healthy until it fails). */
  get hasAnswered(): boolean {
    return this.endpoints.some((endpoint) => endpoint.isHealthy && endpoint.lastAnswerMs >= 0);
  }

  /** Why it gets no traffic; empty when it gets some. */
  get reason(): string {
    if (this.endpoints.length === 0) return this.table.reason ?? "it has no address";
    const sick = this.endpoints.find((endpoint) => !endpoint.isHealthy);
    if (!this.isHealthy && sick !== undefined) return `${sick.address}: ${sick.reason}`;
    return this.table.weight > 0 ? "" : (this.table.reason ?? "its weight is 0");
  }

  /** The next healthy address that was not tried yet. */
  nextEndpoint(tried: readonly Endpoint[]): Endpoint | undefined {
    const count = this.endpoints.length;
    for (let step = 0; step < count; step++) {
      const index = (this.#turn + step) % count;
      const endpoint = this.endpoints[index];
      if (endpoint === undefined || !endpoint.isHealthy || tried.includes(endpoint)) continue;
      this.#turn = index + 1;
      return endpoint;
    }
    return undefined;
  }

  hasUntried(tried: readonly Endpoint[]): boolean {
    for (const endpoint of this.endpoints) if (endpoint.isHealthy && !tried.includes(endpoint)) return true;
    return false;
  }
}

const NONE: readonly Endpoint[] = [];

/** A route with its run-time state. */
export class Route {
  readonly table: RouteTable;
  readonly backends: readonly Backend[];
  /** Without the trailing slash; empty for "/". */
  readonly prefix: string;
  /** Requests that found no backend. */
  unroutable = 0;

  constructor(table: RouteTable, backends: readonly Backend[]) {
    this.table = table;
    this.backends = backends;
    this.prefix = table.path.replace(/\/+$/, "");
  }

  /**
   * Smooth weighted round robin over the backends that are healthy and untried: each gains its weight, the richest is
   * chosen and pays the total. Any run of (sum of weights) choices splits exactly by weight.
   */
  choose(tried: readonly Endpoint[] = NONE): { backend: Backend; endpoint: Endpoint } | undefined {
    let total = 0;
    let best: Backend | undefined;
    for (const backend of this.backends) {
      const weight = backend.table.weight;
      if (weight <= 0 || !backend.hasUntried(tried)) continue;
      total += weight;
      backend.current += weight;
      if (best === undefined || backend.current > best.current) best = backend;
    }
    if (best === undefined) return undefined;
    best.current -= total;
    const endpoint = best.nextEndpoint(tried);
    return endpoint === undefined ? undefined : { backend: best, endpoint };
  }

  /** Whether an address other than this one could take a request. */
  hasOther(endpoint: Endpoint | undefined): boolean {
    const tried = endpoint === undefined ? NONE : [endpoint];
    return this.backends.some((backend) => backend.table.weight > 0 && backend.hasUntried(tried));
  }

  /** The path that the backend sees. */
  rewriteTarget(target: string): string {
    const rewrite = this.table.rewrite;
    if (rewrite === undefined) return target;
    const rest = target.slice(this.prefix.length);
    const base = rewrite.endsWith("/") ? rewrite.slice(0, -1) : rewrite;
    return rest.startsWith("/") ? base + rest : `${base}/${rest}`;
  }
}
