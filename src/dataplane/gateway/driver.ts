import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock, Timer } from "../../kernel/clock/types.js";
import { ArgosyError, InputError, messageOf } from "../../kernel/errors/index.js";
import { replaceFile } from "../../kernel/files/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { callAdmin, readState } from "./admin-client.unsafe.js";
import { GATEWAY_FILES } from "./gateway.js";
import type { GatewayState } from "./state.js";
import { GatewaySupervisor, type SupervisorReport } from "./supervisor.js";
import { type GatewayTable, type ListenerInput, parseTable, type RouteInput } from "./table.js";

/** While the gateway is silent. */
const OBSERVE_MS = 500;
/** After a change of the table its effect is looked for more often for a while. */
const HURRIED_OBSERVE_MS = 100;
const HURRY_MS = 3000;
/** How long a listener is waited for while the gateway does not say how it stands. */
const OPEN_MS = 10_000;
const OPEN_STEP_MS = 25;

/** What one controller wants of the gateway. Listener names and route ids are common to all sources; a route may name another source's listener. */
export interface GatewayPart {
  readonly listeners: readonly ListenerInput[];
  readonly routes: readonly RouteInput[];
}

export interface GatewayDriverOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** How to start the process when none is running; absent: somebody else does. */
  readonly supervise?: { readonly command: readonly string[]; readonly environment?: Readonly<Record<string, string>> };
}

/** The control plane's side of a gateway. */
export interface GatewayDriver {
  /** Reads what earlier control planes left, adopts or starts the process, begins to observe. */
  start(): Promise<void>;
  /**
   * Replaces one source's part and brings the whole table into force. Throws `InputError` when the part is faulty (nothing
   * changes then), or when it claims a listener or route of another source.
   */
  apply(source: string, part: GatewayPart): Promise<void>;
  /**
   * Brings one listener into force, in the place of what any source said of it before, and resolves when the gateway listens there. Throws
   * `ArgosyError`: `PortInUse` when another program has the port (the listener then waits for it to be free), `GatewayUnreachable` when
   * the gateway does not say how it stands for 10 s.
   */
  open(listener: ListenerInput): Promise<void>;
  /** The state now. Throws `ArgosyError` (`GatewayUnreachable`). */
  observe(): Promise<GatewayState>;
  /** The state of the last observation; undefined while the gateway does not answer. */
  readonly lastState: GatewayState | undefined;
  /** Called after each observation: at once when health or table change, else every three seconds. Returns its removal. */
  onState(handler: (state: GatewayState | undefined) => void): () => void;
  readonly process: SupervisorReport;
  /** Stops observing. The process goes on unless `stopProcess`. */
  close(options?: { readonly stopProcess?: boolean }): Promise<void>;
}

/** Ports on which the gateway of a directory listens at the moment; none when it does not run. */
export async function gatewayPorts(directory: string): Promise<ReadonlySet<number>> {
  try {
    const { listeners } = await readState(join(directory, GATEWAY_FILES.admin));
    return new Set(
      listeners.filter(({ listening }) => listening).map(({ address }) => Number(address.split(":").at(-1))),
    );
  } catch {
    return new Set();
  }
}

/** Makes the driver of the gateway in a directory; one a directory at a time. */
export function gatewayDriver(options: GatewayDriverOptions): GatewayDriver {
  return new FileGatewayDriver(options);
}

class FileGatewayDriver implements GatewayDriver {
  readonly #options: GatewayDriverOptions;
  readonly #supervisor: GatewaySupervisor;
  readonly #handlers = new Set<(state: GatewayState | undefined) => void>();
  #parts: ReadonlyMap<string, GatewayPart> | undefined;
  #written = "";
  /** Of the table that was written last. */
  #generation = "";
  #lastState: GatewayState | undefined;
  #timer: Timer | undefined;
  #tail: Promise<void> = Promise.resolve();
  #isClosed = false;
  readonly #stop = new AbortController();
  #hurryUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: GatewayDriverOptions) {
    this.#options = options;
    this.#supervisor = new GatewaySupervisor(options);
  }

  get lastState(): GatewayState | undefined {
    return this.#lastState;
  }

  get process(): SupervisorReport {
    return this.#supervisor.report;
  }

  async start(): Promise<void> {
    await mkdir(this.#options.directory, { recursive: true, mode: 0o700 });
    await this.#load();
    await this.#supervisor.start();
    await this.#poll();
  }

  apply(source: string, part: GatewayPart): Promise<void> {
    const next = this.#tail.then(() => this.#apply(source, part));
    this.#tail = next.catch(() => {});
    return next;
  }

  open(listener: ListenerInput): Promise<void> {
    const next = this.#tail.then(() => this.#open(listener));
    this.#tail = next.catch(() => {});
    return next;
  }

  async #open(listener: ListenerInput): Promise<void> {
    const parts = new Map<string, GatewayPart>();
    const before = [...(await this.#load())];
    const gone = new Set(
      before.flatMap(([, { listeners }]) =>
        listeners.filter((other) => isInTheWay(other, listener)).map(({ name }) => name),
      ),
    );
    for (const [source, part] of before) parts.set(source, withListener(part, listener, gone));
    const source = `listener ${listener.name}`;
    parts.set(source, { listeners: [listener], routes: [] });
    await this.#write(parts, source);
    const { clock, directory } = this.#options;
    const endMs = clock.monotonicMs() + OPEN_MS;
    let said = "";
    // Also where the table is as it was: one that could not listen tries again. A gateway that is not there yet reads it when it is.
    await callAdmin(join(directory, GATEWAY_FILES.admin), "POST", "/reload").catch(() => "");
    do {
      const state = await this.observe().catch((error: unknown) => {
        said = messageOf(error);
      });
      if (state?.generation === this.#generation) {
        const report = state.listeners.find(({ name }) => name === listener.name);
        if (report?.listening === true) return;
        if (report?.taken === true) throw new ArgosyError("PortInUse", report.reason);
        said = report?.reason ?? "";
      } else if (state !== undefined) said = state.tableError;
      await clock.sleep(OPEN_STEP_MS);
    } while (clock.monotonicMs() < endMs);
    throw new ArgosyError(
      "GatewayUnreachable",
      `the gateway does not listen on ${listener.host}:${listener.port}: ${said}`,
    );
  }

  async #apply(source: string, part: GatewayPart): Promise<void> {
    const parts = new Map(await this.#load());
    if (part.listeners.length + part.routes.length === 0) parts.delete(source);
    else parts.set(source, part);
    await this.#write(parts, source);
  }

  async #write(parts: ReadonlyMap<string, GatewayPart>, source: string): Promise<void> {
    const { text, generation } = renderTable(parts, source);
    this.#generation = generation;
    if (text === this.#written) return;
    const { directory } = this.#options;
    await replaceFile(join(directory, "sources.json"), JSON.stringify(Object.fromEntries(parts)));
    await replaceFile(join(directory, GATEWAY_FILES.table), text);
    this.#parts = parts;
    this.#written = text;
    try {
      await callAdmin(join(directory, GATEWAY_FILES.admin), "POST", "/reload");
      await this.observe();
      this.#tell();
      this.#hurry();
    } catch (error) {
      // It reads the file when it is back, or by its own watch.
      this.#options.log.debug("gateway was not told of its new table", { err: error });
    }
  }

  /** What was applied before this process began: kept until each source speaks again, so that a restart removes no route. */
  async #load(): Promise<ReadonlyMap<string, GatewayPart>> {
    if (this.#parts !== undefined) return this.#parts;
    const parts = new Map<string, GatewayPart>();
    try {
      const value: unknown = JSON.parse(await readFile(join(this.#options.directory, "sources.json"), "utf8"));
      const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
      for (const [source, part] of entries) parts.set(source, parsePart(part));
      this.#written = await readFile(join(this.#options.directory, GATEWAY_FILES.table), "utf8");
    } catch (error) {
      this.#options.log.debug("no earlier gateway sources", { reason: messageOf(error) });
    }
    this.#parts = parts;
    return parts;
  }

  async observe(): Promise<GatewayState> {
    const state = await readState(join(this.#options.directory, GATEWAY_FILES.admin));
    this.#lastState = state;
    return state;
  }

  onState(handler: (state: GatewayState | undefined) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  async #poll(): Promise<void> {
    this.#timer = undefined;
    try {
      const isHurried = this.#options.clock.monotonicMs() < this.#hurryUntilMs;
      const since = isHurried ? undefined : this.#lastState?.mark;
      this.#lastState = await readState(join(this.#options.directory, GATEWAY_FILES.admin), {
        signal: this.#stop.signal,
        ...(since === undefined ? {} : { since }),
      });
      this.#supervisor.onAnswer(this.#lastState?.pid);
    } catch (error) {
      if (this.#isClosed) return;
      this.#lastState = undefined;
      await this.#supervisor.onSilence(messageOf(error));
    }
    if (this.#isClosed) return;
    this.#tell();
    const { clock } = this.#options;
    // The gateway itself waits for something to tell, so that a quiet one is asked once in three seconds.
    const delayMs = this.#lastState === undefined ? OBSERVE_MS : HURRIED_OBSERVE_MS;
    this.#timer = clock.setTimer(delayMs, () => void this.#poll());
  }

  #hurry(): void {
    const { clock } = this.#options;
    this.#hurryUntilMs = clock.monotonicMs() + HURRY_MS;
    // While a poll is running there is no timer to bring forward; it sets the next one itself.
    if (this.#timer === undefined || this.#isClosed) return;
    this.#timer.cancel();
    this.#timer = clock.setTimer(HURRIED_OBSERVE_MS, () => void this.#poll());
  }

  #tell(): void {
    for (const handler of this.#handlers) handler(this.#lastState);
  }

  async close(options?: { readonly stopProcess?: boolean }): Promise<void> {
    this.#isClosed = true;
    this.#stop.abort();
    this.#timer?.cancel();
    this.#handlers.clear();
    await this.#tail;
    await this.#supervisor.close(options?.stopProcess === true);
  }
}

/** Whether a listener of an earlier start has the address that another one is to have now. */
function isInTheWay(other: ListenerInput, { name, host, port }: ListenerInput): boolean {
  return other.name !== name && port !== 0 && other.host === host && other.port === port;
}

/** A part with a listener in the place of its former self, without those that are gone and their routes. */
function withListener(part: GatewayPart, listener: ListenerInput, gone: ReadonlySet<string>): GatewayPart {
  return {
    listeners: part.listeners
      .filter(({ name }) => !gone.has(name))
      .map((other) => (other.name === listener.name ? listener : other)),
    routes: part.routes.filter((route) => !gone.has(route.listener)),
  };
}

/** The whole table. Faults are blamed on `source`, the part that changed. */
function renderTable(
  parts: ReadonlyMap<string, GatewayPart>,
  source: string,
): { readonly text: string; readonly generation: string } {
  const listeners = new Map<string, ListenerInput>();
  const routes = new Map<string, RouteInput>();
  for (const [name, part] of parts) {
    for (const listener of part.listeners) {
      const other = listeners.get(listener.name);
      if (other !== undefined && identityOf(other) !== identityOf(listener)) {
        throw new InputError(
          `gateway source "${source}": listener "${listener.name}" is described differently by another source`,
        );
      }
      listeners.set(listener.name, listener);
    }
    for (const route of part.routes) {
      if (routes.has(route.id))
        throw new InputError(`gateway source "${source}": route "${route.id}" exists already (also in "${name}")`);
      routes.set(route.id, route);
    }
  }
  const byName = <T>(map: ReadonlyMap<string, T>): T[] =>
    [...map].sort((a, b) => (a[0] < b[0] ? -1 : 1)).map((entry) => entry[1]);
  const body = { listeners: byName(listeners), routes: byName(routes) };
  const generation = createHash("sha256").update(JSON.stringify(body)).digest("hex").slice(0, 16);
  const table = { version: 1, generation, ...body };
  parseTable(table);
  return { text: JSON.stringify(table), generation };
}

/** The same for the same listener, with its defaults written out or not. */
function identityOf({ host, port, tls, trustForwarded = false }: ListenerInput): string {
  return JSON.stringify([host, port, tls?.certFile, tls?.keyFile, trustForwarded]);
}

/** A part as it was written by an earlier process, with all defaults filled in. */
function parsePart(value: unknown): GatewayPart {
  const fields = new Map<string, unknown>(typeof value === "object" && value !== null ? Object.entries(value) : []);
  const listeners = fields.get("listeners");
  const routes = fields.get("routes");
  // Listeners of other sources may be named, so every listener a route names is declared for the check.
  const table: GatewayTable = parseTable({
    version: 1,
    listeners: [...(Array.isArray(listeners) ? listeners : []), ...foreignListeners(listeners, routes)],
    routes,
  });
  return { listeners: table.listeners.filter((listener) => !listener.host.startsWith("\0")), routes: table.routes };
}

function foreignListeners(listeners: unknown, routes: unknown): unknown[] {
  const names = (list: unknown, field: string): string[] =>
    (Array.isArray(list) ? list : []).flatMap((item: unknown) => {
      const name =
        typeof item === "object" && item !== null
          ? new Map<string, unknown>(Object.entries(item)).get(field)
          : undefined;
      return typeof name === "string" ? [name] : [];
    });
  const own = new Set(names(listeners, "name"));
  return [...new Set(names(routes, "listener"))]
    .filter((name) => !own.has(name))
    .map((name, index) => ({ name, host: `\0${index}`, port: 1 }));
}
