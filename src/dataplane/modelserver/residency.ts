/** Which models are in memory: a budget in bytes, the ones not used for longest leave first, and come back when they are asked for. */
import { stat } from "node:fs/promises";
import { messageOf } from "../../kernel/errors/index.js";
import type { TensorSpec, TensorValue } from "../../kernel/tensors/index.js";
import type { Engine } from "./engines/types.js";
import { EngineFault, ModelError } from "./failures.js";

/** A budget for models. */
export interface ResidencyOptions {
  /** Most bytes that loaded models may hold together. */
  readonly budgetBytes: number;
  /** Resident bytes of the whole process. */
  readonly processBytes: () => number;
  /** A model left memory for others. */
  readonly onEvicted: (label: string) => void;
}

/** A model that can be loaded any number of times. */
export interface ResidentModel {
  /** For people: model and version. */
  readonly label: string;
  /** Models of one kind share a runtime, whose own memory is no model's. */
  readonly kind: string;
  /** What is loaded; its size and time tell whether it is still the same. */
  readonly file: string;
  readonly open: () => Promise<Engine>;
}

/** What is in memory now. */
export interface ResidencyState {
  readonly budgetBytes: number;
  readonly residentBytes: number;
  readonly resident: number;
  readonly known: number;
}

/** Keeps models within a budget. */
export interface Residency {
  /** Loads a model for the first time. The engine is good for the model's whole life: it reloads what was evicted. Throws `ModelError`. */
  admit(model: ResidentModel): Promise<Engine>;
  state(): ResidencyState;
}

/** A session, its plan, and what the allocator keeps. */
const MOST_OVERHEAD_BYTES = 4 * 2 ** 20;

/** A keeper of models with nothing in memory. */
export function createResidency(options: ResidencyOptions): Residency {
  return new Keeper(options);
}

class Keeper implements Residency {
  readonly options: ResidencyOptions;
  /** All that are known, the one used longest ago first. */
  readonly #known = new Set<ResidentEngine>();
  /** Kinds whose runtime is loaded. */
  readonly #running = new Set<string>();
  /** One load at a time: what a model takes is measured on the process as a whole. */
  #lane: Promise<unknown> = Promise.resolve();

  constructor(options: ResidencyOptions) {
    this.options = options;
  }

  async admit(model: ResidentModel): Promise<Engine> {
    const engine = new ResidentEngine(model, this);
    await engine.load();
    return engine;
  }

  state(): ResidencyState {
    const resident = [...this.#known].filter((each) => each.isLoaded);
    return {
      budgetBytes: this.options.budgetBytes,
      residentBytes: resident.reduce((sum, each) => sum + each.bytes, 0),
      resident: resident.length,
      known: this.#known.size,
    };
  }

  used(engine: ResidentEngine): void {
    this.#known.delete(engine);
    this.#known.add(engine);
  }

  forget(engine: ResidentEngine): void {
    this.#known.delete(engine);
  }

  /** What a model of so many bytes of file took, by what the process grew: others work meanwhile, so that is believed within bounds only. */
  measure(kind: string, size: number, grownBytes: number): number {
    const isFirst = !this.#running.has(kind);
    this.#running.add(kind);
    return isFirst ? size : Math.max(size, Math.min(grownBytes, 8 * size + MOST_OVERHEAD_BYTES));
  }

  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lane.then(work, work);
    this.#lane = turn.catch(() => undefined);
    return turn;
  }

  /** Evicts until so many bytes more fit beside the others. False when those that run now leave no room. */
  async makeRoom(bytes: number, except: ResidentEngine): Promise<boolean> {
    const { budgetBytes, onEvicted } = this.options;
    let { residentBytes } = this.state();
    for (const each of [...this.#known]) {
      if (residentBytes + bytes <= budgetBytes) return true;
      if (each === except || !each.isLoaded || each.isBusy) continue;
      residentBytes -= each.bytes;
      await each.evict();
      onEvicted(each.label);
    }
    return residentBytes + bytes <= budgetBytes;
  }
}

class ResidentEngine implements Engine {
  readonly #model: ResidentModel;
  readonly #keeper: Keeper;
  #engine: Engine | undefined;
  #loading: Promise<Engine> | undefined;
  #described: Pick<Engine, "platform" | "inputs" | "outputs" | "batchable"> | undefined;
  #fingerprint = "";
  #running = 0;
  #measured = 0;
  #isClosed = false;

  constructor(model: ResidentModel, keeper: Keeper) {
    this.#model = model;
    this.#keeper = keeper;
  }

  get label(): string {
    return this.#model.label;
  }

  get platform(): string {
    return this.#described?.platform ?? "";
  }

  get inputs(): readonly TensorSpec[] {
    return this.#described?.inputs ?? [];
  }

  get outputs(): readonly TensorSpec[] {
    return this.#described?.outputs ?? [];
  }

  get batchable(): boolean {
    return this.#described?.batchable ?? false;
  }

  get concurrency(): number {
    return this.#engine?.concurrency ?? 1;
  }

  get memoryBytes(): number {
    return this.isLoaded ? this.bytes : 0;
  }

  get isLoaded(): boolean {
    return this.#engine !== undefined;
  }

  get isBusy(): boolean {
    return this.#running > 0;
  }

  /** What it takes in memory, or took when it was there last; 0: it was never there. */
  get bytes(): number {
    return Math.max(this.#measured, this.#engine?.memoryBytes ?? 0);
  }

  run(inputs: readonly TensorValue[]): Promise<TensorValue[]> {
    this.#keeper.used(this);
    this.#running++;
    return this.#engine === undefined ? this.#runLater(inputs) : this.#runNow(this.#engine, inputs);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#keeper.forget(this);
    await this.#loading?.catch(() => undefined);
    await this.evict();
  }

  async evict(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.close();
  }

  load(): Promise<Engine> {
    this.#loading ??= this.#keeper
      .inTurn(() => this.#load())
      .finally(() => {
        this.#loading = undefined;
      });
    return this.#loading;
  }

  async #runNow(engine: Engine, inputs: readonly TensorValue[]): Promise<TensorValue[]> {
    try {
      return await engine.run(inputs);
    } finally {
      this.#running--;
    }
  }

  async #runLater(inputs: readonly TensorValue[]): Promise<TensorValue[]> {
    try {
      return await (await this.load()).run(inputs);
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      throw new EngineFault("restarting", `the model cannot be loaded again: ${error.reason}: ${error.message}`);
    } finally {
      this.#running--;
    }
  }

  async #load(): Promise<Engine> {
    if (this.#engine !== undefined) return this.#engine;
    if (this.#isClosed) throw new EngineFault("restarting", "the model was unloaded");
    const { file } = this.#model;
    const { size, fingerprint } = await look(file);
    if (this.#described !== undefined && fingerprint !== this.#fingerprint)
      throw new ModelError("ModelChanged", `${file} is not the file that was loaded before; load the model again`);
    await this.#findRoom(size);
    const { processBytes } = this.#keeper.options;
    const before = processBytes();
    const engine = await this.#model.open();
    // A reload finds memory that the eviction left: what it took first stays true.
    this.#measured = Math.max(this.#measured, this.#keeper.measure(this.#model.kind, size, processBytes() - before));
    if (this.#isClosed) {
      await engine.close();
      throw new EngineFault("restarting", "the model was unloaded");
    }
    this.#engine = engine;
    this.#fingerprint = fingerprint;
    const { platform, inputs, outputs, batchable } = engine;
    this.#described ??= { platform, inputs, outputs, batchable };
    this.#keeper.used(this);
    // It may have turned out larger than its file said.
    await this.#keeper.makeRoom(0, this);
    return engine;
  }

  async #findRoom(size: number): Promise<void> {
    const { budgetBytes } = this.#keeper.options;
    const bytes = Math.min(Math.max(size, this.bytes), budgetBytes);
    if (size > budgetBytes)
      throw new ModelError(
        "ModelTooLarge",
        `${this.#model.label} takes ${size} bytes, more than the ${budgetBytes} that all models may have (--memory-budget-bytes)`,
      );
    if (!(await this.#keeper.makeRoom(bytes, this)))
      throw new EngineFault("restarting", "the models that answer now leave no memory for this one");
  }
}

async function look(file: string): Promise<{ size: number; fingerprint: string }> {
  try {
    const { size, mtimeMs, ino } = await stat(file);
    return { size, fingerprint: `${ino}:${size}:${mtimeMs}` };
  } catch (error) {
    throw new ModelError("ModelNotFound", `${file} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
