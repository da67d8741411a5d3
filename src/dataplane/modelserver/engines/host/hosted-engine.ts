/** A model in a host that may hang, die or take too much: it is ended then, said so, and started again with a brake. */
import type { Clock, Timer } from "../../../../kernel/clock/types.js";
import { messageOf } from "../../../../kernel/errors/index.js";
import { HttpError } from "../../../../kernel/http1/index.js";
import type { TensorValue } from "../../../../kernel/tensors/index.js";
import { EngineFault, type FaultKind, ModelError } from "../../failures.js";
import type { Engine, EngineFile } from "../types.js";
import type { HostCall, HostReply, LoadedModel } from "./messages.js";
import type { Host, OpenHost } from "./types.js";

/** How to host a model. */
export interface HostedOptions {
  readonly file: EngineFile;
  readonly threads: number;
  readonly open: OpenHost;
  readonly clock: Clock;
  readonly loadTimeoutMs: number;
  /** A run that takes longer ends the host. */
  readonly runTimeoutMs: number;
  /** Told of each failure of the host. */
  readonly onFault: (kind: FaultKind, words: string) => void;
  /** Told when the model is loaded (again). */
  readonly onReady: () => void;
}

type CallBody = HostCall extends infer C ? (C extends HostCall ? Omit<C, "id"> : never) : never;

interface Pending {
  readonly resolve: (reply: HostReply) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: Timer;
}

const BRAKE_MS = 500;
const LONGEST_BRAKE_MS = 60_000;

/** Starts the host and loads the model. Throws `ModelError`. */
export async function startHosted(options: HostedOptions): Promise<Engine> {
  const engine = new HostedEngine(options);
  try {
    await engine.start();
  } catch (error) {
    await engine.close();
    throw error instanceof ModelError
      ? error
      : new ModelError("ModelLoadFailed", `${options.file.file} cannot be loaded: ${messageOf(error)}`, {
          cause: error,
        });
  }
  return engine;
}

class HostedEngine implements Engine {
  readonly concurrency = 1;
  readonly #options: HostedOptions;
  #loaded: LoadedModel = { platform: "", inputs: [], outputs: [], batchable: false };
  #host: Host | undefined;
  #starting: Promise<void> | undefined;
  #pending = new Map<number, Pending>();
  #nextId = 1;
  #failures = 0;
  #notBeforeMs = 0;
  #lastFault = "";
  #restart: Timer | undefined;
  #isClosed = false;

  constructor(options: HostedOptions) {
    this.#options = options;
  }

  get platform(): string {
    return this.#loaded.platform;
  }

  get inputs() {
    return this.#loaded.inputs;
  }

  get outputs() {
    return this.#loaded.outputs;
  }

  get batchable(): boolean {
    return this.#loaded.batchable;
  }

  get memoryBytes(): number {
    return this.#host?.memoryBytes() ?? 0;
  }

  /** Starts the host; concurrent calls share one start. */
  start(): Promise<void> {
    this.#starting ??= this.#startOnce().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async run(inputs: readonly TensorValue[]): Promise<TensorValue[]> {
    if (this.#isClosed) throw new EngineFault("restarting", "the model was unloaded");
    if (this.#host === undefined || this.#starting !== undefined) await this.#revive();
    const reply = await this.#call({ op: "run", inputs }, this.#options.runTimeoutMs);
    this.#failures = 0;
    if (reply.error !== undefined) throw new HttpError(reply.error.status ?? 500, reply.error.message);
    return [...(reply.outputs ?? [])];
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#restart?.cancel();
    this.#host?.kill();
    this.#host = undefined;
    this.#failPending(new EngineFault("restarting", "the model was unloaded"));
    await Promise.resolve();
  }

  async #startOnce(): Promise<void> {
    const { open, file, threads, loadTimeoutMs } = this.#options;
    const host = open({
      replied: (reply) => {
        if (this.#host === host) this.#settle(reply);
      },
      ended: (kind, words) => {
        if (this.#host === host) this.#lose(new EngineFault(kind, `the model's worker ${words}`));
      },
    });
    this.#host = host;
    const reply = await this.#call({ op: "load", file, threads }, loadTimeoutMs);
    if (reply.loaded !== undefined) {
      this.#loaded = reply.loaded;
      this.#options.onReady();
      return;
    }
    this.#host = undefined;
    host.kill();
    const { message = "the worker did not say why", reason } = reply.error ?? {};
    throw new ModelError(
      reason === "RuntimeUnavailable" || reason === "UnsupportedFormat" || reason === "ModelRefused"
        ? reason
        : "ModelLoadFailed",
      message,
    );
  }

  async #revive(): Promise<void> {
    const waitMs = this.#notBeforeMs - this.#options.clock.monotonicMs();
    if (this.#host === undefined && waitMs > 0) {
      throw new EngineFault(
        "restarting",
        `the model is restarted after a failure (${this.#lastFault})`,
        Math.ceil(waitMs / 1000),
      );
    }
    try {
      await this.start();
    } catch (error) {
      if (error instanceof EngineFault) throw error;
      const fault = new EngineFault("crash", `the model cannot be loaded again: ${messageOf(error)}`);
      this.#brake(fault);
      throw fault;
    }
  }

  #call(body: CallBody, timeoutMs: number): Promise<HostReply> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const timer = this.#options.clock.setTimer(timeoutMs, () => {
        const what = body.op === "run" ? "the model did not answer" : "the model was not loaded";
        this.#lose(new EngineFault("timeout", `${what} within ${timeoutMs} ms; its worker is restarted`));
      });
      this.#pending.set(id, { resolve, reject, timer });
      this.#host?.send({ ...body, id });
    });
  }

  #settle(reply: HostReply): void {
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return;
    this.#pending.delete(reply.id);
    pending.timer.cancel();
    pending.resolve(reply);
  }

  #lose(fault: EngineFault): void {
    this.#host?.kill();
    this.#host = undefined;
    this.#brake(fault);
    this.#failPending(fault);
  }

  /** The first failure costs no waiting, those after it ever more; a run that succeeds ends the row. */
  #brake(fault: EngineFault): void {
    const delayMs = this.#failures === 0 ? 0 : Math.min(LONGEST_BRAKE_MS, BRAKE_MS * 2 ** (this.#failures - 1));
    this.#failures++;
    this.#lastFault = fault.message;
    this.#notBeforeMs = this.#options.clock.monotonicMs() + delayMs;
    this.#options.onFault(fault.kind, fault.message);
    if (this.#isClosed || this.#loaded.platform === "") return;
    this.#restart?.cancel();
    this.#restart = this.#options.clock.setTimer(delayMs, () => {
      if (this.#host === undefined && !this.#isClosed) void this.#revive().catch(() => undefined);
    });
  }

  #failPending(fault: EngineFault): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of pending) {
      timer.cancel();
      reject(fault);
    }
  }
}
