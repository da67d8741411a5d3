import type { Activator } from "./activator.js";
import { LatencyClasses } from "./latency.js";
import { hashOf, pickByHash, type Session, tokenOf } from "./sessions.js";
import type { Shadow } from "./shadow.js";
import type { BackendTable, RouteTable } from "./table.js";
import type { UpstreamPool } from "./upstream.js";

/** Failed attempts in a row after which an address is out of use, when no single one is proof. */
const EJECT_AFTER = 3;
/** The share of its weight with which an address that is new or back begins, under slow start. */
const COLD_SHARE = 0.1;

/** Counters of one backend of one route since the process began. */
export class BackendStats {
  requests = 0;
  /** Attempts that ended without an answer of the backend. */
  failures = 0;
  retries = 0;
  hedges = 0;
  inFlight = 0;
  latencySumMs = 0;
  readonly byClass = [0, 0, 0, 0, 0, 0];
  readonly latency = new LatencyClasses();

  record(status: number, durationMs: number): void {
    this.requests++;
    this.latencySumMs += durationMs;
    const statusClass = status >= 100 && status < 600 ? Math.trunc(status / 100) : 0;
    this.byClass[statusClass] = (this.byClass[statusClass] ?? 0) + 1;
    this.latency.add(durationMs);
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
  /** Answers of 500 and above in a row, and how often that took it out of use since it last did well for long. */
  consecutiveErrors = 0;
  ejections = 0;
  /** Monotonic milliseconds until which it stays out of use, whatever the checks say. */
  heldUntilMs = 0;
  /** Monotonic milliseconds at which its slow start began; negative infinity: it needs none. */
  warmSinceMs = Number.NEGATIVE_INFINITY;
  /** Its pod is not ready yet: it is asked often, and only a good answer counts. */
  isCandidate = false;
  /** Its pod was ready once, so that it is no candidate any more when it is not. */
  wasReady = false;
  /** Names it in cookies. */
  readonly token: string;
  /** Told when `isHealthy` or `reason` changes, and at its first answer; set by the routing. */
  changed: () => void = () => {};
  /** Routes that use it; none: to be dropped. */
  readonly routes = new Set<Route>();
  /** Asks the checker to look soon; set by the checker. */
  wake: () => void = () => {};

  constructor(address: string, pool: UpstreamPool, table: BackendTable) {
    this.address = address;
    this.pool = pool;
    this.table = table;
    this.token = tokenOf(`${table.name} ${address}`);
  }

  /** An answer came, to a request or a check. */
  answered(nowMs: number): void {
    const isFirst = this.lastAnswerMs < 0;
    this.lastAnswerMs = nowMs;
    if (isFirst) this.changed();
  }

  /** Takes the address out of use at once; the checker brings it back. */
  eject(reason: string, nowMs: number): void {
    this.successes = 0;
    if (this.isHealthy) this.sinceMs = nowMs;
    const isNews = this.isHealthy || this.reason !== reason;
    this.isHealthy = false;
    this.reason = reason;
    this.pool.dropIdle();
    this.wake();
    if (isNews) this.changed();
  }

  /** Out of use for a while because its answers are bad: each time for longer. */
  hold(reason: string, nowMs: number, baseMs: number): void {
    if (nowMs - this.heldUntilMs > baseMs * 10) this.ejections = 0;
    this.ejections++;
    this.consecutiveErrors = 0;
    this.heldUntilMs = nowMs + baseMs * this.ejections;
    this.eject(reason, nowMs);
  }

  /** Whether the checks may bring it back. */
  mayReturn(nowMs: number): boolean {
    return nowMs >= this.heldUntilMs;
  }

  /** A failed attempt: takes the address out of use at once, or after several in a row. */
  blame(reason: string, isDecisive: boolean, nowMs: number): void {
    this.consecutiveFailures++;
    if (isDecisive || this.consecutiveFailures >= EJECT_AFTER) this.eject(reason, nowMs);
  }

  admit(nowMs: number): void {
    const isNews = !this.isHealthy;
    if (isNews) {
      this.sinceMs = nowMs;
      this.warmSinceMs = nowMs;
    }
    this.isHealthy = true;
    this.reason = "";
    this.consecutiveFailures = 0;
    this.consecutiveErrors = 0;
    if (isNews) this.changed();
  }

  /** Share of its weight while it warms up: from a tenth to 1. */
  warmth(nowMs: number, slowStartMs: number): number {
    if (slowStartMs <= 0) return 1;
    return Math.min(1, Math.max(COLD_SHARE, (nowMs - this.warmSinceMs) / slowStartMs));
  }
}

/** A backend of a route: its weight, its addresses in turn, its counters. */
export class Backend {
  readonly table: BackendTable;
  readonly endpoints: readonly Endpoint[];
  readonly stats: BackendStats;
  readonly activator: Activator | undefined;
  /** Header line that names it in answers. */
  readonly nameLine: string;
  /** State of the smooth weighted round robin. */
  current = 0;
  #turn = 0;

  constructor(table: BackendTable, endpoints: readonly Endpoint[], stats: BackendStats, activator?: Activator) {
    this.table = table;
    this.endpoints = endpoints;
    this.stats = stats;
    this.activator = activator;
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
    if (this.table.draining) return this.table.reason ?? "it is drained";
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

  /** The address in use that a cookie names. */
  endpointOf(token: string): Endpoint | undefined {
    return this.endpoints.find((endpoint) => endpoint.isHealthy && endpoint.token === token);
  }

  /** Its weight as far as its addresses have warmed up. */
  warmWeight(nowMs: number, slowStartMs: number): number {
    if (slowStartMs <= 0) return this.table.weight;
    let warmth = 0;
    let count = 0;
    for (const endpoint of this.endpoints) {
      if (!endpoint.isHealthy) continue;
      warmth += endpoint.warmth(nowMs, slowStartMs);
      count++;
    }
    return count === 0 ? 0 : (this.table.weight * warmth) / count;
  }

  hasUntried(tried: readonly Endpoint[]): boolean {
    for (const endpoint of this.endpoints) if (endpoint.isHealthy && !tried.includes(endpoint)) return true;
    return false;
  }
}

const NONE: readonly Endpoint[] = [];

/** Where one attempt goes. */
export interface Choice {
  readonly backend: Backend;
  readonly endpoint: Endpoint;
}

/** What each backend of a route gets now. */
export interface EffectiveWeight {
  readonly weight: number;
  /** Why it is less than the table says; empty otherwise. */
  readonly reason: string;
  /** The same as one word, for a backend that is in use. */
  readonly word: "" | "StandsBy" | "WarmingUp";
}

/** A route with its run-time state. */
export class Route {
  readonly table: RouteTable;
  readonly backends: readonly Backend[];
  readonly shadows: readonly Shadow[];
  /** Without the trailing slash; empty for "/". */
  readonly prefix: string;
  /** Requests that found no backend. */
  unroutable = 0;
  /** Requests that began, for the share of those that are sent twice. */
  begun = 0;
  hedged = 0;
  /** Turns of the state in which its health changed last, and in which it last had a request. */
  changedAt = 0;
  usedAt = 0;
  /** Some backend of it holds requests. */
  readonly isActivated: boolean;
  /** Weights alone decide. */
  readonly #isSimple: boolean;

  constructor(table: RouteTable, backends: readonly Backend[], shadows: readonly Shadow[] = []) {
    this.table = table;
    this.backends = backends;
    this.shadows = shadows;
    this.prefix = table.path.replace(/\/+$/, "");
    this.isActivated = backends.some(({ activator }) => activator !== undefined);
    this.#isSimple =
      table.affinity === undefined &&
      table.pin === undefined &&
      table.slowStartMs === 0 &&
      backends.every(({ table: { priority, draining } }) => priority === 0 && !draining);
  }

  /**
   * Smooth weighted round robin over the backends that are healthy and untried: each gains its weight, the richest is
   * chosen and pays the total. Any run of (sum of weights) choices splits exactly by weight.
   */
  choose(tried: readonly Endpoint[] = NONE, nowMs = 0, session?: Session): Choice | undefined {
    if (!this.#isSimple) return this.#chooseAmong(tried, nowMs, session);
    let total = 0;
    let best: Backend | undefined;
    for (const backend of this.backends) {
      const weight = backend.table.weight;
      if (weight <= 0 || !backend.hasUntried(tried)) continue;
      total += weight;
      backend.current += weight;
      if (best === undefined || backend.current > best.current) best = backend;
    }
    return this.#take(best, total, tried);
  }

  /** The same, but the turn is not taken: what is no load leaves the shares of what is as they are. */
  peek(tried: readonly Endpoint[], nowMs: number, session?: Session): Choice | undefined {
    const turns = this.backends.map(({ current }) => current);
    const choice = this.choose(tried, nowMs, session);
    for (const [at, backend] of this.backends.entries()) backend.current = turns[at] ?? 0;
    return choice;
  }

  #take(best: Backend | undefined, total: number, tried: readonly Endpoint[]): Choice | undefined {
    if (best === undefined) return undefined;
    best.current -= total;
    const endpoint = best.nextEndpoint(tried);
    return endpoint === undefined ? undefined : { backend: best, endpoint };
  }

  /** The backend by weights alone, where those that hold requests need no address; undefined when none can take a request. */
  chooseBackend(tried: readonly Endpoint[]): Backend | undefined {
    let total = 0;
    let best: Backend | undefined;
    for (const backend of this.backends) {
      const { weight, draining } = backend.table;
      if (weight <= 0 || draining || (backend.activator === undefined && !backend.hasUntried(tried))) continue;
      total += weight;
      backend.current += weight;
      if (best === undefined || backend.current > best.current) best = backend;
    }
    if (best !== undefined) best.current -= total;
    return best;
  }

  /** The same with sessions, failover order, drain and slow start. */
  #chooseAmong(tried: readonly Endpoint[], nowMs: number, session: Session | undefined): Choice | undefined {
    if (session?.by === "pin") return this.#choosePinned(tried, session.value);
    if (session?.by === "cookie") {
      for (const backend of this.backends) {
        if (backend.table.weight <= 0 && !backend.table.draining) continue;
        const endpoint = backend.endpointOf(session.value);
        if (endpoint !== undefined && !tried.includes(endpoint)) return { backend, endpoint };
      }
    }
    const { slowStartMs } = this.table;
    const priority = this.#priorityInUse(tried);
    const usable = this.backends.filter((backend) => isOffered(backend, tried) && backend.table.priority === priority);
    if (session?.by === "header") return this.#chooseByHash(usable, tried, session.value);
    let total = 0;
    let best: Backend | undefined;
    for (const backend of usable) {
      const weight = backend.warmWeight(nowMs, slowStartMs);
      total += weight;
      backend.current += weight;
      if (best === undefined || backend.current > best.current) best = backend;
    }
    return this.#take(best, total, tried);
  }

  /** Whatever its weight is; where it does not answer, or is not there, nobody else does in its place. */
  #choosePinned(tried: readonly Endpoint[], name: string): Choice | undefined {
    const backend = this.backends.find(({ table }) => table.name === name);
    const endpoint = backend?.nextEndpoint(tried);
    return backend === undefined || endpoint === undefined ? undefined : { backend, endpoint };
  }

  #chooseByHash(usable: readonly Backend[], tried: readonly Endpoint[], value: string): Choice | undefined {
    const backend = pickByHash(usable, (one) => ({
      key: hashOf(`${value}\0${one.table.name}`),
      weight: one.table.weight,
    }));
    const endpoints = backend?.endpoints.filter((endpoint) => endpoint.isHealthy && !tried.includes(endpoint)) ?? [];
    const endpoint = pickByHash(endpoints, (one) => ({ key: hashOf(`${value}\0${one.token}`), weight: 1 }));
    return backend === undefined || endpoint === undefined ? undefined : { backend, endpoint };
  }

  /** The lowest number among the backends that can take a request. */
  #priorityInUse(tried: readonly Endpoint[]): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const backend of this.backends)
      if (backend.table.priority < lowest && isOffered(backend, tried)) lowest = backend.table.priority;
    return lowest;
  }

  /** Its shares change by themselves. */
  isWarming(nowMs: number): boolean {
    const { slowStartMs } = this.table;
    if (slowStartMs === 0) return false;
    return this.backends.some(({ endpoints }) =>
      endpoints.some((endpoint) => endpoint.isHealthy && endpoint.warmth(nowMs, slowStartMs * 1.2) < 1),
    );
  }

  /** What each backend gets now, in the table's order. */
  effectiveWeights(nowMs: number): EffectiveWeight[] {
    const { slowStartMs } = this.table;
    const priority = this.#priorityInUse(NONE);
    return this.backends.map((backend) => {
      if (!isOffered(backend, NONE)) return { weight: 0, reason: backend.reason, word: "" };
      if (backend.table.priority > priority)
        return {
          weight: 0,
          reason: `it stands by while a backend of priority ${priority} is in use`,
          word: "StandsBy",
        };
      const weight = Math.round(backend.warmWeight(nowMs, slowStartMs) * 1000) / 1000;
      if (weight >= backend.table.weight) return { weight, reason: "", word: "" };
      return { weight, reason: `it is new or back and warms up for ${slowStartMs} ms`, word: "WarmingUp" };
    });
  }

  /** Whether an address other than this one could take a request. */
  hasOther(endpoint: Endpoint | undefined): boolean {
    const tried = endpoint === undefined ? NONE : [endpoint];
    return this.backends.some((backend) => isOffered(backend, tried));
  }

  /** An address answered. Milliseconds are monotonic. */
  onAnswer(endpoint: Endpoint, status: number, nowMs: number): void {
    endpoint.answered(nowMs);
    endpoint.consecutiveFailures = 0;
    if (status >= 500) this.#onError(endpoint, status, nowMs);
    else endpoint.consecutiveErrors = 0;
  }

  /** An answer of 500 or above came from an address: out of use after several in a row, as far as the route allows. */
  #onError(endpoint: Endpoint, status: number, nowMs: number): void {
    const { outlier } = this.table;
    if (outlier === undefined || ++endpoint.consecutiveErrors < outlier.consecutiveErrors || !endpoint.isHealthy)
      return;
    const all = new Set(this.backends.flatMap((backend) => backend.endpoints));
    const held = [...all].filter((one) => !one.isHealthy && one.heldUntilMs > nowMs).length;
    if (((held + 1) * 100) / all.size > outlier.maxEjectedPercent || !this.hasOther(endpoint)) return;
    endpoint.hold(
      `it answered ${status}, the last of ${endpoint.consecutiveErrors} answers of 500 and above in a row`,
      nowMs,
      outlier.baseEjectionMs,
    );
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

/** Whether a backend can be given a new client's request. */
function isOffered(backend: Backend, tried: readonly Endpoint[]): boolean {
  return backend.table.weight > 0 && !backend.table.draining && backend.hasUntried(tried);
}
