import { type FSWatcher, watch } from "node:fs";
import { chmod, mkdir, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import type { Clock, Random, Timer } from "../../kernel/clock/types.js";
import { ArgosyError, messageOf } from "../../kernel/errors/index.js";
import { isMissing, isRunning, markOf, replaceFile } from "../../kernel/files/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { NetworkSockets } from "../../kernel/netns/index.js";
import type { ActivatorsReport } from "./activator-report.js";
import { ActivatorSet } from "./activator-set.js";
import { type ClientLimits, DEFAULT_LIMITS, type GatewayCore } from "./core.js";
import { HealthChecker } from "./health.js";
import { Http2Front } from "./http2-front.js";
import { Listeners } from "./listeners.js";
import { type GatewayMark, readMark } from "./process-file.js";
import { Routing } from "./routing.js";
import { factsOf, type GatewayState, renderMetrics, reportRoute } from "./state.js";
import { EMPTY_TABLE, parseChange, parseTable } from "./table.js";
import { TABLE_FILES, TableFiles } from "./table-files.js";

const SWEEP_MS = 200;
/** How long `/state?since=…` waits at most, and how often it looks. */
const MAX_WAIT_MS = 3_000;
const WAIT_STEP_MS = 100;
/** How long `/activators?since=…` waits at most: as often as loads are to be measured. */
const ACTIVATORS_MS = 1000;
const POLL_MS = 1000;

/** Files in a gateway's directory. */
export const GATEWAY_FILES = {
  ...TABLE_FILES,
  /** The last table that was good, for a start with a bad one. */
  accepted: "table.accepted.json",
  admin: "admin.sock",
  mark: "gateway.pid",
} as const;

export interface GatewayOptions {
  /** Holds `table.json`; the admin socket, the pid file and the last good table are put there. */
  readonly directory: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly limits?: Partial<ClientLimits>;
  /** Describes a network of pods that this process does not reach by itself; may come, change and go while it runs. */
  readonly podNetworkFile?: string;
}

/** A running gateway. */
export interface Gateway {
  /** Reads `table.json` now. Resolves with why it was refused, or an empty string. */
  reload(): Promise<string>;
  state(): GatewayState;
  /** What requests wait for, and how many there were. */
  activators(): ActivatorsReport;
  /** Stops accepting, lets running requests finish for up to `graceMs` (default 10 s), then cuts the rest. */
  close(graceMs?: number): Promise<void>;
}

/** The process that serves a directory; `undefined` when none does. */
export async function runningGateway(directory: string): Promise<number | undefined> {
  const mark = await readMark(join(directory, GATEWAY_FILES.mark));
  return mark !== undefined && isRunning(mark) ? mark.pid : undefined;
}

/**
 * Starts the gateway on a directory. A missing `table.json` is an empty table; a bad one is refused, reported in `/state`, and
 * the last good one is used, over restarts too. Throws `ArgosyError` (`GatewayRunning`) when a gateway serves the directory already.
 */
export async function runGateway(options: GatewayOptions): Promise<Gateway> {
  const gateway = new RunningGateway(options);
  await gateway.start();
  return gateway;
}

class RunningGateway implements Gateway {
  readonly #options: GatewayOptions;
  readonly #core: GatewayCore;
  readonly #listeners: Listeners;
  readonly #mark: GatewayMark;
  readonly #network: NetworkSockets | undefined;
  #admin: Server | undefined;
  #watcher: FSWatcher | undefined;
  #sweep: Timer | undefined;
  #poll: Timer | undefined;
  #tableError = "";
  readonly #files: TableFiles;
  #reloading: Promise<string> | undefined;
  #isClosed = false;

  constructor(options: GatewayOptions) {
    this.#options = options;
    const { clock, log, random } = options;
    const { podNetworkFile } = options;
    this.#network = podNetworkFile === undefined ? undefined : new NetworkSockets(podNetworkFile);
    const activators = new ActivatorSet(clock, random);
    const watcher = new HealthChecker(() => this.#core, random);
    const routing = new Routing(EMPTY_TABLE, { watcher, activators }, this.#network);
    this.#core = {
      http2: new Http2Front(() => this.#core),
      timed: new Set(),
      clock,
      log,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      routing,
      nowMs: clock.monotonicMs(),
      isDraining: false,
      totals: { connections: 0, refusedConnections: 0, badRequests: 0, unrouted: 0, clientAborts: 0 },
    };
    this.#listeners = new Listeners(this.#core);
    this.#files = new TableFiles(options.directory);
    this.#mark = {
      pid: process.pid,
      startedAt: new Date(clock.now()).toISOString(),
      startTicks: markOf(process.pid)?.startTicks ?? "",
    };
  }

  async start(): Promise<void> {
    const { directory, log } = this.#options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await this.#claim();
    const error = await this.reload();
    if (error !== "") await this.#useAccepted();
    this.#scheduleSweep();
    this.#schedulePoll();
    try {
      // Renames are seen at once; the poll is for file systems that do not tell.
      this.#watcher = watch(directory, { persistent: false }, (_event, name) => {
        if (name === GATEWAY_FILES.table || name === GATEWAY_FILES.changes) void this.reload();
      });
      this.#watcher.on("error", (cause) => log.debug("cannot watch the table", { err: cause }));
    } catch (cause) {
      log.debug("cannot watch the table", { err: cause });
    }
    await this.#openAdmin();
    await replaceFile(this.#file("mark"), JSON.stringify(this.#mark));
    log.info("gateway is up", { directory, pid: this.#mark.pid, listeners: this.#core.routing.table.listeners.length });
  }

  #file(name: keyof typeof GATEWAY_FILES): string {
    return join(this.#options.directory, GATEWAY_FILES[name]);
  }

  /** One gateway a directory: refuses when another one answers there. */
  async #claim(): Promise<void> {
    const mark = await readMark(this.#file("mark"));
    const isOther = mark !== undefined && (mark.pid !== this.#mark.pid || mark.startTicks !== this.#mark.startTicks);
    if (isOther && isRunning(mark) && (await answers(this.#file("admin")))) {
      throw new ArgosyError(
        "GatewayRunning",
        `a gateway (process ${mark.pid}) serves ${this.#options.directory} already`,
      );
    }
    await rm(this.#file("admin"), { force: true });
  }

  reload(): Promise<string> {
    const previous = this.#reloading ?? Promise.resolve("");
    const next = previous.then(() => this.#reloadNow());
    this.#reloading = next;
    return next;
  }

  async #reloadNow(): Promise<string> {
    if (this.#isClosed) return this.#tableError;
    try {
      const { whole, lines } = await this.#files.look(this.#core.routing.table.generation);
      if (whole !== undefined && (await this.#use(whole, true)) !== "") return this.#tableError;
      return await this.#change(lines);
    } catch (error) {
      if (isMissing(error)) return this.#tableError;
      return this.#refuse(`cannot read it: ${messageOf(error)}`);
    }
  }

  /** Changes of the table in force. Between two of them the loop takes its turn: requests do not wait for a long list. */
  async #change(lines: readonly string[]): Promise<string> {
    for (const line of lines) {
      try {
        this.#core.routing.change(parseChange(JSON.parse(line)));
        this.#tableError = "";
      } catch (error) {
        return this.#refuse(`a change of it: ${messageOf(error)}`);
      }
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    return this.#tableError;
  }

  async #use(text: string, keep: boolean): Promise<string> {
    try {
      const table = parseTable(JSON.parse(text));
      this.#core.routing.apply(table);
      this.#tableError = "";
      await this.#listeners.apply(table.listeners);
    } catch (error) {
      return this.#refuse(messageOf(error));
    }
    if (!keep) return "";
    try {
      await replaceFile(this.#file("accepted"), text);
    } catch (error) {
      this.#core.log.warn("cannot keep a copy of the table", { err: error });
    }
    return "";
  }

  #refuse(reason: string): string {
    this.#tableError = `${this.#file("table")} is not used, the table before it stays in force: ${reason}`;
    this.#core.log.warn("table refused", { reason });
    return this.#tableError;
  }

  async #useAccepted(): Promise<void> {
    const reason = this.#tableError;
    try {
      const text = await readFile(this.#file("accepted"), "utf8");
      await this.#use(text, false);
      this.#files.follow(text);
      await this.#change(await this.#files.changes());
    } catch (error) {
      this.#core.log.debug("no earlier table", { err: error });
    }
    this.#tableError = reason;
  }

  #scheduleSweep(): void {
    this.#sweep = this.#core.clock.setTimer(SWEEP_MS, () => {
      const now = this.#core.clock.monotonicMs();
      this.#core.nowMs = now;
      this.#listeners.sweep(now);
      for (const pool of this.#core.routing.pools.values()) pool.sweep(now);
      this.#scheduleSweep();
    });
  }

  #schedulePoll(): void {
    this.#poll = this.#core.clock.setTimer(POLL_MS, () => {
      void this.reload();
      this.#schedulePoll();
    });
  }

  state(): GatewayState {
    return this.#stateSince(-1);
  }

  /** The state, of routes only those that changed or were used after turn `since`. */
  #stateSince(since: number): GatewayState {
    const { routing, totals } = this.#core;
    const now = this.#core.clock.monotonicMs();
    const isPartial = since >= routing.wholeAt;
    const routes = [...routing.routes.values()].filter(
      (route) => !isPartial || route.changedAt > since || route.usedAt > since || route.isWarming(now),
    );
    const state: GatewayState = {
      version: 1,
      pid: this.#mark.pid,
      startedAt: this.#mark.startedAt,
      mark: `${this.#mark.pid}.${routing.turn}.${this.#facts()}`,
      generation: routing.table.generation,
      tableError: this.#tableError,
      listeners: this.#listeners.report(),
      partial: isPartial,
      routes: routes.map((route) => reportRoute(route, now)),
      totals,
    };
    routing.turn++;
    return state;
  }

  activators(): ActivatorsReport {
    const { activators } = this.#core.routing;
    return { pid: this.#mark.pid, turn: activators.turn, activators: activators.report() };
  }

  #facts(): string {
    return factsOf({
      generation: this.#core.routing.table.generation,
      tableError: this.#tableError,
      listeners: this.#listeners.report(),
    });
  }

  /** The turn of a mark of this process, and whether something that matters is new since. */
  #readMark(mark: string): { readonly turn: number; readonly isOld: boolean } {
    const [pid, turn = "", facts] = mark.split(".");
    if (pid !== String(this.#mark.pid) || !/^\d+$/.test(turn)) return { turn: -1, isOld: true };
    return { turn: Number(turn), isOld: facts !== this.#facts() || this.#core.routing.newsAt > Number(turn) };
  }

  /** Resolves when there is news since the mark, the caller is gone, or the longest wait is over. */
  async #untilChanged(since: string, response: ServerResponse): Promise<void> {
    const { clock } = this.#core;
    const end = clock.monotonicMs() + MAX_WAIT_MS;
    while (!this.#isClosed && !response.destroyed && clock.monotonicMs() < end && !this.#readMark(since).isOld) {
      await clock.sleep(WAIT_STEP_MS);
    }
  }

  async #openAdmin(): Promise<void> {
    const server = createServer((request, response) => void this.#answerAdmin(request, response));
    server.requestTimeout = 10_000;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#file("admin"), () => resolve());
    });
    await chmod(this.#file("admin"), 0o600);
    this.#admin = server;
  }

  async #answerAdmin(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume();
    const [path = "", query] = (request.url ?? "").split("?");
    const key = `${request.method} ${path}`;
    const send = (status: number, type: string, body: string): void => {
      response.writeHead(status, { "content-type": type });
      response.end(body);
    };
    if (key === "GET /state") {
      const options = new URLSearchParams(query);
      const since = options.get("since");
      if (since !== null && !options.has("now")) await this.#untilChanged(since, response);
      send(200, "application/json", JSON.stringify(this.#stateSince(since === null ? -1 : this.#readMark(since).turn)));
    } else if (key === "GET /activators") {
      const since = new URLSearchParams(query).get("since");
      if (since !== null) await this.#core.routing.activators.untilWoken(Number(since), ACTIVATORS_MS);
      send(200, "application/json", JSON.stringify(this.activators()));
    } else if (key === "GET /metrics") {
      send(
        200,
        "text/plain; version=0.0.4",
        renderMetrics(this.state(), this.#core.routing.routes.values(), this.#core.clock.monotonicMs()),
      );
    } else if (key === "POST /reload") {
      const error = await this.reload();
      // Who asks may have just freed a port.
      await this.#listeners.retry();
      send(error === "" ? 200 : 422, "application/json", JSON.stringify({ error }));
    } else if (key === "GET /healthz") send(200, "text/plain", "ok");
    else
      send(
        404,
        "application/json",
        JSON.stringify({ error: `no ${key}; there are GET /state, /activators, /metrics, /healthz and POST /reload` }),
      );
  }

  async close(graceMs = 10_000): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#core.isDraining = true;
    this.#watcher?.close();
    this.#poll?.cancel();
    await this.#listeners.drain();
    const endMs = this.#core.clock.monotonicMs() + graceMs;
    while (this.#listeners.connectionCount > 0 && this.#core.clock.monotonicMs() < endMs) {
      await this.#core.clock.sleep(20);
    }
    this.#listeners.destroy();
    this.#sweep?.cancel();
    this.#core.routing.close();
    this.#network?.close();
    this.#admin?.close();
    this.#admin?.closeAllConnections();
    const mark = await readMark(this.#file("mark"));
    if (mark?.pid === this.#mark.pid && mark.startTicks === this.#mark.startTicks)
      await rm(this.#file("mark"), { force: true });
    await rm(this.#file("admin"), { force: true });
  }
}

function answers(socketFile: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketFile);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
