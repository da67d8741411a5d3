import { type FSWatcher, watch } from "node:fs";
import { chmod, mkdir, readFile, rm, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import type { Clock, Random, Timer } from "../../kernel/clock/types.js";
import { ArgosyError, messageOf } from "../../kernel/errors/index.js";
import { isMissing, isRunning, markOf, replaceFile } from "../../kernel/files/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { NetworkSockets } from "../../kernel/netns/index.js";
import { type ClientLimits, DEFAULT_LIMITS, type GatewayCore } from "./core.js";
import { HealthChecker } from "./health.js";
import { Listeners } from "./listeners.js";
import { type GatewayMark, readMark } from "./process-file.js";
import { Routing } from "./routing.js";
import { type GatewayState, markOfState, renderMetrics, reportRoute } from "./state.js";
import { EMPTY_TABLE, parseTable } from "./table.js";

const SWEEP_MS = 200;
/** How long `/state?since=…` waits at most, and how often it looks. */
const MAX_WAIT_MS = 3_000;
const WAIT_STEP_MS = 100;
const POLL_MS = 1000;

/** Files in a gateway's directory. */
export const GATEWAY_FILES = {
  table: "table.json",
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
  #lastText: string | undefined;
  /** Of the file that was read last: an unchanged one is not read again. */
  #stamp = "";
  #reloading: Promise<string> | undefined;
  #isClosed = false;

  constructor(options: GatewayOptions) {
    this.#options = options;
    const { clock, log, random } = options;
    const { podNetworkFile } = options;
    this.#network = podNetworkFile === undefined ? undefined : new NetworkSockets(podNetworkFile);
    const routing = new Routing(EMPTY_TABLE, new HealthChecker(() => this.#core, random), this.#network);
    this.#core = {
      clock,
      log,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      routing,
      nowMs: clock.monotonicMs(),
      isDraining: false,
      totals: { connections: 0, refusedConnections: 0, badRequests: 0, unrouted: 0, clientAborts: 0 },
    };
    this.#listeners = new Listeners(this.#core);
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
        if (name === GATEWAY_FILES.table) void this.reload();
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
    let text: string;
    try {
      const { mtimeMs, ino, size } = await stat(this.#file("table"));
      const stamp = `${mtimeMs} ${ino} ${size}`;
      if (stamp === this.#stamp) return this.#tableError;
      this.#stamp = stamp;
      text = await readFile(this.#file("table"), "utf8");
    } catch (error) {
      if (isMissing(error)) return this.#tableError;
      return this.#refuse(`cannot read it: ${messageOf(error)}`);
    }
    if (text === this.#lastText || this.#isClosed) return this.#tableError;
    this.#lastText = text;
    return this.#use(text, true);
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
      await this.#use(await readFile(this.#file("accepted"), "utf8"), false);
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
    const { routing, totals } = this.#core;
    return {
      version: 1,
      pid: this.#mark.pid,
      startedAt: this.#mark.startedAt,
      mark: this.#stateMark(),
      generation: routing.table.generation,
      tableError: this.#tableError,
      listeners: this.#listeners.report(),
      routes: [...routing.routes.values()].map(reportRoute),
      totals,
    };
  }

  #stateMark(): string {
    const { routing } = this.#core;
    const facts = {
      generation: routing.table.generation,
      tableError: this.#tableError,
      listeners: this.#listeners.report(),
    };
    return markOfState(facts, routing.routes.values());
  }

  /** Resolves when the mark is another one than `since`, the caller is gone, or the longest wait is over. */
  async #untilChanged(since: string, response: ServerResponse): Promise<void> {
    const { clock } = this.#core;
    const end = clock.monotonicMs() + MAX_WAIT_MS;
    while (!this.#isClosed && !response.destroyed && clock.monotonicMs() < end && this.#stateMark() === since) {
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
      const since = new URLSearchParams(query).get("since");
      if (since !== null) await this.#untilChanged(since, response);
      send(200, "application/json", JSON.stringify(this.state()));
    } else if (key === "GET /metrics") {
      send(200, "text/plain; version=0.0.4", renderMetrics(this.state(), this.#core.routing.routes.values()));
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
        JSON.stringify({ error: `no ${key}; there are GET /state, /metrics, /healthz and POST /reload` }),
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
