import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock, Timer } from "../../kernel/clock/types.js";
import { ArgosyError, messageOf } from "../../kernel/errors/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { ActivatorFeed } from "./activator-feed.js";
import type { ActivatorsReport } from "./activator-report.js";
import { callAdmin, readActivators, readState } from "./admin-client.unsafe.js";
import { GATEWAY_FILES } from "./gateway.js";
import { KeptFiles } from "./kept-files.js";
import type { GatewayState, RouteReport } from "./state.js";
import { GatewaySupervisor, type SupervisorReport } from "./supervisor.js";
import type { ListenerInput, RouteInput } from "./table.js";
import { TableWriter } from "./table-writer.js";

/** While the gateway is silent. */
const OBSERVE_MS = 500;
/** After a change of the table its effect is looked for more often for a while. */
const HURRIED_OBSERVE_MS = 100;
const HURRY_MS = 3000;
/** How long a listener is waited for while the gateway does not say how it stands. */
const OPEN_MS = 10_000;
const OPEN_STEP_MS = 25;

/** Certificates and keys that the table names. */
const KEPT_FOLDER = "secrets";

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
  /** What the table has of a source: what it last wanted, or what an earlier control plane left of it; undefined: nothing. */
  partOf(source: string): GatewayPart | undefined;
  /** Keeps a text, such as a certificate or its key, in a file that only the gateway's user can read; resolves with its path. */
  keep(text: string): Promise<string>;
  /** The state now. Throws `ArgosyError` (`GatewayUnreachable`). */
  observe(): Promise<GatewayState>;
  /** The state of the last observation; undefined while the gateway does not answer. */
  readonly lastState: GatewayState | undefined;
  /** Called after each observation: at once when health or table change, else every three seconds. Returns its removal. */
  onState(handler: (state: GatewayState | undefined) => void): () => void;
  /** Called with what the activators count: every second, and at once when a request meets one without a pod; with undefined while the gateway does not answer. Returns its removal. */
  onActivators(handler: (report: ActivatorsReport | undefined) => void): () => void;
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
  readonly #activators: ActivatorFeed;
  readonly #table: TableWriter;
  readonly #kept: KeptFiles;
  #lastState: GatewayState | undefined;
  #timer: Timer | undefined;
  #tail: Promise<void> = Promise.resolve();
  #isClosed = false;
  readonly #stop = new AbortController();
  #hurryUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: GatewayDriverOptions) {
    this.#options = options;
    this.#table = new TableWriter(options.directory, options.log);
    this.#kept = new KeptFiles(join(options.directory, KEPT_FOLDER), options.clock);
    this.#supervisor = new GatewaySupervisor(options);
    const admin = join(options.directory, GATEWAY_FILES.admin);
    this.#activators = new ActivatorFeed(options.clock, (since, signal) => readActivators(admin, { since, signal }));
  }

  get lastState(): GatewayState | undefined {
    return this.#lastState;
  }

  get process(): SupervisorReport {
    return this.#supervisor.report;
  }

  async start(): Promise<void> {
    await mkdir(this.#options.directory, { recursive: true, mode: 0o700 });
    await this.#table.load();
    await this.#supervisor.start();
    await this.#poll();
  }

  apply(source: string, part: GatewayPart): Promise<void> {
    const next = this.#tail.then(() => this.#apply(source, part));
    this.#tail = next.catch(() => {});
    return next;
  }

  keep(text: string): Promise<string> {
    return this.#kept.keep(text);
  }

  partOf(source: string): GatewayPart | undefined {
    return this.#table.parts().get(source);
  }

  open(listener: ListenerInput): Promise<void> {
    const next = this.#tail.then(() => this.#open(listener));
    this.#tail = next.catch(() => {});
    return next;
  }

  async #open(listener: ListenerInput): Promise<void> {
    await this.#table.load();
    const parts = new Map<string, GatewayPart>();
    const before = [...this.#table.parts()];
    const gone = new Set(
      before.flatMap(([, { listeners }]) =>
        listeners.filter((other) => isInTheWay(other, listener)).map(({ name }) => name),
      ),
    );
    for (const [source, part] of before) parts.set(source, withListener(part, listener, gone));
    parts.set(`listener ${listener.name}`, { listeners: [listener], routes: [] });
    await this.#write(parts);
    const { clock, directory } = this.#options;
    const endMs = clock.monotonicMs() + OPEN_MS;
    let said = "";
    // Also where the table is as it was: one that could not listen tries again. A gateway that is not there yet reads it when it is.
    await callAdmin(join(directory, GATEWAY_FILES.admin), "POST", "/reload").catch(() => "");
    do {
      const state = await this.observe().catch((error: unknown) => {
        said = messageOf(error);
      });
      if (state?.generation === this.#table.generation) {
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
    await this.#table.load();
    await this.#write(new Map([[source, part]]));
  }

  async #write(parts: ReadonlyMap<string, GatewayPart>): Promise<void> {
    if (!(await this.#table.write(parts))) return;
    const { directory } = this.#options;
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

  async observe(): Promise<GatewayState> {
    return this.#read({ now: true });
  }

  /** The state, put together from what was read before and what is new. */
  async #read(how: { readonly now: boolean; readonly signal?: AbortSignal }): Promise<GatewayState> {
    const before = this.#lastState;
    const since = before === undefined ? {} : { since: before.mark };
    const state = await readState(join(this.#options.directory, GATEWAY_FILES.admin), { ...how, ...since });
    const merged =
      state.partial && before !== undefined ? { ...state, routes: mergeRoutes(before.routes, state.routes) } : state;
    // Of two that are read at the same time the older one may come later, and has nothing to add.
    if (this.#lastState === before) this.#lastState = merged;
    return merged;
  }

  onState(handler: (state: GatewayState | undefined) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  onActivators(handler: (report: ActivatorsReport | undefined) => void): () => void {
    return this.#activators.subscribe(handler);
  }

  async #poll(): Promise<void> {
    this.#timer = undefined;
    try {
      const isHurried = this.#options.clock.monotonicMs() < this.#hurryUntilMs;
      const { pid, generation } = await this.#read({ now: isHurried, signal: this.#stop.signal });
      this.#supervisor.onAnswer(pid);
      // While it goes by another table it reads what that names.
      if (generation === this.#table.generation) await this.#kept.tidy(() => this.#table.texts());
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
    this.#activators.close();
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

/** Reports by id: what is new takes the place of what was. */
function mergeRoutes(before: readonly RouteReport[], news: readonly RouteReport[]): readonly RouteReport[] {
  if (news.length === 0) return before;
  const merged = new Map(before.map((report) => [report.id, report]));
  for (const report of news) merged.set(report.id, report);
  return [...merged.values()];
}
