import type { Random, Timer } from "../../kernel/clock/types.js";
import { HeadFault, latin1, parseResponseHead } from "../../kernel/http1/index.js";
import type { Endpoint } from "./balance.js";
import type { GatewayCore } from "./core.js";
import { GrpcProbe } from "./health-grpc.js";
import type { EndpointWatcher } from "./routing.js";
import type { UpstreamConnection, UpstreamUser } from "./upstream.js";

/** How a check ended. */
export type Outcome =
  | { readonly isAlive: true }
  | { readonly isAlive: false; readonly reason: string; readonly isSilence: boolean };

// How often a pod that is starting is asked: fast at first, then ever more slowly.
const STARTING_MS = [
  { untilMs: 5000, everyMs: 10 },
  { untilMs: 30_000, everyMs: 50 },
  { untilMs: Number.POSITIVE_INFINITY, everyMs: 250 },
] as const;
const STARTING_TIMEOUT_MS = 200;
// After one failed check the next follows at once: a hung backend is out within two timeouts and one interval.
const CONFIRM_MS = 100;

/** One question to one address. */
export interface Check {
  start(): void;
  cancel(): void;
}

/** Asks every endpoint with a check path at its interval, and those without one while they are out of use. */
export class HealthChecker implements EndpointWatcher {
  readonly #core: () => GatewayCore;
  readonly #random: Random;
  readonly #checks = new Map<Endpoint, EndpointCheck>();

  /** `core` is asked for on use: the routing that it holds needs this watcher first. */
  constructor(core: () => GatewayCore, random: Random) {
    this.#core = core;
    this.#random = random;
  }

  added(endpoint: Endpoint): void {
    const check = new EndpointCheck(this.#core(), endpoint);
    this.#checks.set(endpoint, check);
    endpoint.wake = () => check.schedule(isStarting(endpoint) ? waitOf(endpoint, this.#core()) : CONFIRM_MS);
    // Spread over the interval, so that a large table does not ask everyone in the same millisecond.
    if (isAsked(endpoint)) check.schedule(this.#random.int(Math.min(endpoint.table.health.intervalMs, 250)) + 1);
  }

  nowMs(): number {
    return this.#core().nowMs;
  }

  removed(endpoint: Endpoint): void {
    this.#checks.get(endpoint)?.close();
    this.#checks.delete(endpoint);
  }
}

class EndpointCheck {
  readonly #core: GatewayCore;
  readonly #endpoint: Endpoint;
  #timer: Timer | undefined;
  #dueMs = Number.POSITIVE_INFINITY;
  #probe: Check | undefined;
  #isClosed = false;

  constructor(core: GatewayCore, endpoint: Endpoint) {
    this.#core = core;
    this.#endpoint = endpoint;
  }

  /** Checks in `delayMs`, or earlier if that was planned already. */
  schedule(delayMs: number): void {
    const dueMs = this.#core.clock.monotonicMs() + delayMs;
    if (this.#isClosed || this.#probe !== undefined || dueMs >= this.#dueMs) return;
    this.#timer?.cancel();
    this.#dueMs = dueMs;
    this.#timer = this.#core.clock.setTimer(delayMs, () => this.#run());
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#probe?.cancel();
  }

  #run(): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
    const startedMs = this.#core.nowMs;
    const done = (outcome: Outcome): void => {
      this.#probe = undefined;
      if (!this.#isClosed) this.#conclude(outcome, startedMs);
    };
    const { grpc } = this.#endpoint.table.health;
    this.#probe =
      grpc === undefined
        ? new Probe(this.#core, this.#endpoint, done)
        : new GrpcProbe(this.#core, this.#endpoint, grpc, done);
    this.#probe.start();
  }

  #conclude(outcome: Outcome, startedMs: number): void {
    const endpoint = this.#endpoint;
    const { health } = endpoint.table;
    if (outcome.isAlive) this.#onAnswer();
    else this.#onFailure(outcome, startedMs);
    if (isStarting(endpoint)) {
      this.schedule(waitOf(endpoint, this.#core));
      return;
    }
    const isConfirming = !outcome.isAlive && endpoint.isHealthy;
    if (!isAsked(endpoint) && endpoint.isHealthy) return;
    this.schedule(isConfirming ? Math.min(CONFIRM_MS, health.intervalMs) : health.intervalMs);
  }

  #onAnswer(): void {
    const endpoint = this.#endpoint;
    const { health, name } = endpoint.table;
    endpoint.successes++;
    endpoint.consecutiveFailures = 0;
    const now = this.#core.clock.monotonicMs();
    if (isAsked(endpoint)) endpoint.answered(this.#core.nowMs);
    if (endpoint.isHealthy || endpoint.successes < health.healthyThreshold || !endpoint.mayReturn(now)) return;
    endpoint.admit(now);
    this.#core.log.info("backend is back", { address: endpoint.address, backend: name });
  }

  #onFailure(failure: Outcome & { readonly isAlive: false }, startedMs: number): void {
    const endpoint = this.#endpoint;
    const { health, name } = endpoint.table;
    endpoint.successes = 0;
    endpoint.consecutiveFailures++;
    // A slow check says nothing while real requests are answered.
    const isContradicted = failure.isSilence && endpoint.lastAnswerMs > startedMs;
    if (!endpoint.isHealthy) endpoint.eject(failure.reason, this.#core.clock.monotonicMs());
    else if (!isContradicted && endpoint.consecutiveFailures >= health.unhealthyThreshold) {
      endpoint.eject(failure.reason, this.#core.clock.monotonicMs());
      if (failure.isSilence) endpoint.pool.announceSilence(endpoint, failure.reason);
      this.#core.log.warn("backend out of use", { address: endpoint.address, backend: name, reason: failure.reason });
    }
  }
}

function isStarting(endpoint: Endpoint): boolean {
  return endpoint.isCandidate && !endpoint.isHealthy;
}

/** When a starting pod is asked next. */
function waitOf({ sinceMs }: Endpoint, { clock }: GatewayCore): number {
  const passedMs = clock.monotonicMs() - sinceMs;
  return STARTING_MS.find(({ untilMs }) => passedMs < untilMs)?.everyMs ?? 250;
}

/** Whether it is asked while it is in use, and not only when it is to come back. */
function isAsked({ table: { health } }: Endpoint): boolean {
  return health.path !== undefined || health.grpc !== undefined;
}

/** One check: `GET path`, any answer below 500 is good; without a path, a connection. */
class Probe implements UpstreamUser {
  readonly #core: GatewayCore;
  readonly #endpoint: Endpoint;
  readonly #done: (outcome: Outcome) => void;
  #upstream: UpstreamConnection | undefined;
  #timer: Timer | undefined;
  #text = "";
  #isOver = false;

  constructor(core: GatewayCore, endpoint: Endpoint, done: (outcome: Outcome) => void) {
    this.#core = core;
    this.#endpoint = endpoint;
    this.#done = done;
  }

  start(): void {
    const { health } = this.#endpoint.table;
    // A packet to a pod whose network is not there yet is lost, and the next one is not.
    const timeoutMs = isStarting(this.#endpoint) ? Math.min(health.timeoutMs, STARTING_TIMEOUT_MS) : health.timeoutMs;
    this.#timer = this.#core.clock.setTimer(timeoutMs, () =>
      this.#silence(`no answer to the health check within ${timeoutMs} ms`),
    );
    this.#open(false);
  }

  #open(fresh: boolean): void {
    const { health, host } = this.#endpoint.table;
    this.#upstream = this.#endpoint.pool.acquire(this, this.#core.nowMs, fresh || health.path === undefined);
    if (health.path === undefined) return;
    this.#upstream.write(
      `GET ${health.path} HTTP/1.1\r\nHost: ${host ?? this.#endpoint.address}\r\nUser-Agent: argosy-gateway-check\r\nX-Argosy-Check: 1\r\n\r\n`,
      "latin1",
    );
  }

  cancel(): void {
    this.#finish({ isAlive: true }, false);
  }

  onConnected(): void {
    if (this.#endpoint.table.health.path === undefined) this.#finish({ isAlive: true }, false);
  }

  onData(buffer: Buffer, length: number): boolean {
    this.#text += latin1(buffer, 0, length);
    const end = this.#text.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#text.length > 65_536)
        this.#finish({ isAlive: false, reason: "the health check got no HTTP answer", isSilence: false }, false);
      return true;
    }
    const head = parseResponseHead(this.#text, end + 2);
    if (head instanceof HeadFault)
      this.#finish(
        { isAlive: false, reason: `the health check got a malformed answer: ${head.message}`, isSilence: false },
        false,
      );
    else {
      const isWhole =
        head.fields.contentLength >= 0 &&
        this.#text.length === end + 4 + head.fields.contentLength &&
        !head.fields.close;
      const body = this.#text.slice(end + 4);
      // The size of the first chunk is none of its words.
      this.#finish(this.#judge(head.status, head.fields.isChunked ? body.replace(/^[^\n]*\n/, "") : body), isWhole);
    }
    return true;
  }

  #judge(status: number, body: string): Outcome {
    if (status < (this.#endpoint.isCandidate ? 400 : 500)) return { isAlive: true };
    const said = explanationIn(body);
    const path = this.#endpoint.table.health.path ?? "/";
    return {
      isAlive: false,
      reason: `GET ${path} answered ${status}${said === "" ? "" : ` (${said})`}`,
      isSilence: false,
    };
  }

  onDrain(): void {}

  onEnd(): void {
    this.#lost("the connection was closed without an answer to the health check");
  }

  onClosed(error: Error | undefined): void {
    this.#lost(error?.message ?? "the connection was closed without an answer to the health check");
  }

  #lost(reason: string): void {
    if (this.#isOver) return;
    const upstream = this.#upstream;
    if (upstream !== undefined && upstream.uses > 0) {
      upstream.user = undefined;
      upstream.close();
      this.#text = "";
      this.#open(true);
      return;
    }
    this.#finish({ isAlive: false, reason, isSilence: false }, false);
  }

  #silence(reason: string): void {
    this.#finish({ isAlive: false, reason, isSilence: true }, false);
  }

  #finish(outcome: Outcome, canReuse: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (upstream !== undefined) {
      if (canReuse) upstream.pool.release(upstream, this.#core.nowMs, -1);
      else {
        upstream.user = undefined;
        upstream.close();
      }
    }
    this.#done(outcome);
  }
}

/** The message of an error body such as the gateway's own, or its first line; at most 200 characters. */
function explanationIn(body: string): string {
  const message = /"message"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(body)?.[1] ?? body.split("\n")[0] ?? "";
  return message
    .replaceAll('\\"', '"')
    .replaceAll(/[^\x20-\x7e]/g, "")
    .slice(0, 200);
}
