import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import { isRunning } from "../../kernel/files/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { GATEWAY_FILES } from "./gateway.js";
import { readMark } from "./process-file.js";

const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 10_000;
/** A process that lived this long is given a fresh start without waiting. */
const STABLE_MS = 10_000;
/** A process that lives but does not answer for this long is killed. */
const HUNG_MS = 8000;

/** What the driver knows of the gateway process. */
export interface SupervisorReport {
  readonly running: boolean;
  readonly pid: number | undefined;
  /** It ran already when this control plane began. */
  readonly adopted: boolean;
  /** Starts after the first by this control plane. */
  readonly restarts: number;
  /** What is wrong; empty while it runs. */
  readonly reason: string;
}

interface SupervisorOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly supervise?: { readonly command: readonly string[]; readonly environment?: Readonly<Record<string, string>> };
}

/** Keeps the gateway process running: adopts the one that runs, starts it when there is none, again when it dies or hangs. */
export class GatewaySupervisor {
  readonly #options: SupervisorOptions;
  #report: SupervisorReport = {
    running: false,
    pid: undefined,
    adopted: false,
    restarts: 0,
    reason: "not started yet",
  };
  #startedMs = Number.NEGATIVE_INFINITY;
  #backoffMs = 0;
  #silentSinceMs: number | undefined;
  #starts = 0;
  /** The process that this supervisor started, until it ends. */
  #child: ChildProcess | undefined;
  #isClosed = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  get report(): SupervisorReport {
    return this.#report;
  }

  async start(): Promise<void> {
    const mark = await readMark(this.#file("mark"));
    if (mark !== undefined && isRunning(mark)) {
      this.#report = { running: true, pid: mark.pid, adopted: true, restarts: 0, reason: "" };
      this.#options.log.info("gateway adopted", { pid: mark.pid });
      return;
    }
    this.#spawn();
  }

  onAnswer(pid: number | undefined): void {
    this.#silentSinceMs = undefined;
    if (this.#options.clock.monotonicMs() - this.#startedMs > STABLE_MS) this.#backoffMs = 0;
    if (!this.#report.running || this.#report.pid !== pid || this.#report.reason !== "") {
      this.#report = { ...this.#report, running: true, pid, reason: "" };
    }
  }

  /** Called when the admin socket did not answer. */
  async onSilence(reason: string): Promise<void> {
    const now = this.#options.clock.monotonicMs();
    this.#silentSinceMs ??= now;
    const mark = await readMark(this.#file("mark"));
    const isUp = mark !== undefined && isRunning(mark);
    this.#report = { ...this.#report, running: isUp, pid: isUp ? mark.pid : undefined, reason };
    if (this.#options.supervise === undefined || this.#isClosed) return;
    const pid = isUp ? mark.pid : this.#child?.pid;
    if (pid !== undefined) {
      if (now - Math.max(this.#silentSinceMs, this.#startedMs) < HUNG_MS) return;
      this.#options.log.warn("gateway hangs and is killed", { pid });
      signal(pid, "SIGKILL");
      this.#silentSinceMs = undefined;
      return;
    }
    if (now - this.#startedMs < this.#backoffMs) return;
    this.#spawn();
  }

  #spawn(): void {
    const { supervise, directory, log, clock } = this.#options;
    const [program, ...args] = supervise?.command ?? [];
    if (supervise === undefined || program === undefined) return;
    this.#startedMs = clock.monotonicMs();
    this.#backoffMs = Math.min(Math.max(this.#backoffMs * 2, FIRST_BACKOFF_MS), LAST_BACKOFF_MS);
    const restarts = this.#starts++;
    try {
      const output = openSync(join(directory, "gateway.log"), "a", 0o600);
      const child = spawn(program, args, {
        detached: true,
        stdio: ["ignore", output, output],
        ...(supervise.environment === undefined ? {} : { env: { ...supervise.environment } }),
      });
      closeSync(output);
      child.unref();
      this.#child = child;
      child.on("error", (error) => {
        this.#child = undefined;
        this.#report = { ...this.#report, running: false, reason: `cannot start ${program}: ${error.message}` };
      });
      child.on("exit", (code, name) => {
        this.#child = undefined;
        const how = name === null ? `exit code ${code}` : name;
        this.#report = {
          ...this.#report,
          running: false,
          pid: undefined,
          reason: `the gateway ended (${how}); see ${join(directory, "gateway.log")}`,
        };
        if (this.#isClosed) return;
        log.warn("gateway ended", { how });
        // At once if it had run for a while: every moment without it is lost requests.
        const livedMs = clock.monotonicMs() - this.#startedMs;
        if (livedMs > STABLE_MS) this.#backoffMs = 0;
        clock.setTimer(Math.max(this.#backoffMs - livedMs, 0), () => {
          if (!this.#isClosed && this.#child === undefined) this.#spawn();
        });
      });
      this.#report = { running: false, pid: child.pid, adopted: false, restarts, reason: "starting" };
      log.info("gateway started", { pid: child.pid, restarts });
    } catch (error) {
      this.#report = {
        running: false,
        pid: undefined,
        adopted: false,
        restarts,
        reason: `cannot start ${program}: ${messageOf(error)}`,
      };
    }
  }

  /** With `stopProcess` the gateway is asked to end (it finishes running requests) and waited for, at most 15 s. */
  async close(stopProcess: boolean): Promise<void> {
    this.#isClosed = true;
    if (!stopProcess) return;
    const mark = await readMark(this.#file("mark"));
    if (mark === undefined || !isRunning(mark)) return;
    signal(mark.pid, "SIGTERM");
    const { clock } = this.#options;
    const endMs = clock.monotonicMs() + 15_000;
    while (isRunning(mark) && clock.monotonicMs() < endMs) await clock.sleep(20);
    if (isRunning(mark)) signal(mark.pid, "SIGKILL");
  }

  #file(name: keyof typeof GATEWAY_FILES): string {
    return join(this.#options.directory, GATEWAY_FILES[name]);
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Gone already.
  }
}
