import { dirname } from "node:path";
import type { Clock } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import { HttpError } from "../../kernel/http1/index.js";
import type { Json } from "../../kernel/kinds/object.js";
import type { Logger } from "../../kernel/log/types.js";
import type { Batcher } from "./batcher.js";
import { createBatcher } from "./batcher.js";
import type { TensorSpec } from "./datatypes.js";
import { typeInfo } from "./datatypes.js";
import type { Engine } from "./engine.unsafe.js";
import { loadEngine } from "./engine.unsafe.js";
import { ModelError } from "./failures.js";
import type { ServerMetrics } from "./metrics.js";
import type { ModelConfig, ModelVersionFile } from "./model-folder.js";
import { listModelFolders, listVersions, readModelConfig } from "./model-folder.js";

/** A version that answers. */
export interface ServedModel {
  readonly name: string;
  readonly version: string;
  /** Where the version's files are. */
  readonly folder: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly batcher: Batcher;
}

/** One line of the repository index. */
export interface IndexEntry {
  readonly name: string;
  readonly version?: string;
  readonly state: "READY" | "LOADING" | "UNAVAILABLE";
  readonly reason: string;
}

/** Where models come from: a folder of model folders, or one model under a name. */
export type ModelSource = { readonly repository: string } | { readonly name: string; readonly folder: string };

/** How models are run. */
export interface RepositoryOptions {
  readonly source: ModelSource;
  readonly threads: number;
  /** Most rows of a shared run where the model's configuration does not say. */
  readonly maxBatchRows: number;
  readonly maxWaiting: number;
  readonly metrics: ServerMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The models of a server, their versions side by side. */
export interface Repository {
  /** Loads everything; resolves when every model was tried. Single models: rejects with the `ModelError`. */
  loadAll(): Promise<void>;
  /** Reads a model's folder anew and loads its versions; the versions before answer until then. Throws `ModelError`. */
  load(name: string): Promise<void>;
  unload(name: string): Promise<void>;
  /** A version that answers, the greatest where none is named. Throws 404 for what is not there, 503 for what does not answer (yet). */
  find(name: string, version?: string): ServedModel;
  /** Versions that answer, oldest first. */
  versions(name: string): readonly string[];
  names(): readonly string[];
  config(name: string): Json;
  index(): readonly IndexEntry[];
  close(): Promise<void>;
}

interface FailedVersion {
  readonly version: string;
  readonly error: ModelError;
  readonly reason: string;
}

interface Slot {
  state: "READY" | "LOADING" | "UNAVAILABLE";
  /** Words for people when it is not ready. */
  reason: string;
  config: Json;
  versions: readonly { served: ServedModel; engine: Engine }[];
  failed: readonly FailedVersion[];
}

/** Opens a repository; nothing is loaded yet. */
export function createRepository(options: RepositoryOptions): Repository {
  return new FolderRepository(options);
}

class FolderRepository implements Repository {
  readonly #options: RepositoryOptions;
  readonly #slots = new Map<string, Slot>();

  constructor(options: RepositoryOptions) {
    this.#options = options;
  }

  async loadAll(): Promise<void> {
    const names = [...(await this.#folders()).keys()];
    for (const name of names) this.#slotOf(name).state = "LOADING";
    for (const name of names) {
      try {
        await this.load(name);
      } catch (error) {
        if ("name" in this.#options.source) throw error;
      }
    }
  }

  async load(name: string): Promise<void> {
    const folder = (await this.#folders()).get(name);
    if (folder === undefined) throw new ModelError("ModelNotFound", `the repository has no model ${name}`);
    const slot = this.#slotOf(name);
    const before = slot.versions;
    if (before.length === 0) slot.state = "LOADING";
    try {
      const config = await readModelConfig(folder);
      const loaded = await loadVersions(name, await listVersions(folder, config.versionPolicy), config, this.#options);
      const [failure] = loaded.failed;
      if (loaded.versions.length === 0 && failure !== undefined) throw failure.error;
      Object.assign(slot, { ...loaded, state: "READY", config: config.raw, reason: "" });
      this.#options.log.info("model loaded", { model: name, versions: this.versions(name) });
      await Promise.all(before.map(closeVersion));
    } catch (error) {
      // Versions that answered before go on answering.
      if (before.length === 0) Object.assign(slot, { state: "UNAVAILABLE", reason: messageOf(error) });
      this.#options.log.error("model cannot be loaded", { model: name, err: error });
      throw error;
    }
  }

  async unload(name: string): Promise<void> {
    const slot = this.#slots.get(name);
    if (slot === undefined) throw new ModelError("ModelNotFound", `there is no model ${name}`);
    const { versions } = slot;
    Object.assign(slot, { state: "UNAVAILABLE", reason: "unloaded", versions: [], failed: [] });
    await Promise.all(versions.map(closeVersion));
  }

  find(name: string, version?: string): ServedModel {
    const slot = this.#slots.get(name);
    if (slot === undefined) throw new HttpError(404, `there is no model ${name}`);
    if (slot.state !== "READY")
      throw unavailable(
        `model ${name} is ${slot.state === "LOADING" ? "still loading" : "not available"}`,
        slot.reason,
      );
    const entry =
      version === undefined ? slot.versions.at(-1) : slot.versions.find(({ served }) => served.version === version);
    if (entry !== undefined) return entry.served;
    const failure = slot.failed.find((each) => each.version === version);
    if (failure !== undefined)
      throw unavailable(`model ${name} version ${failure.version} is not available`, failure.reason);
    throw new HttpError(404, `model ${name} has no version ${version ?? ""}`);
  }

  versions(name: string): readonly string[] {
    return this.#slots.get(name)?.versions.map(({ served }) => served.version) ?? [];
  }

  names(): readonly string[] {
    return [...this.#slots.keys()];
  }

  config(name: string): Json {
    return this.#slots.get(name)?.config ?? {};
  }

  index(): readonly IndexEntry[] {
    return [...this.#slots.entries()].flatMap(([name, slot]) => indexOf(name, slot));
  }

  async close(): Promise<void> {
    const all = [...this.#slots.values()].flatMap((slot) => slot.versions);
    this.#slots.clear();
    await Promise.all(all.map(closeVersion));
  }

  async #folders(): Promise<ReadonlyMap<string, string>> {
    const { source } = this.#options;
    return "name" in source ? new Map([[source.name, source.folder]]) : listModelFolders(source.repository);
  }

  #slotOf(name: string): Slot {
    const slot = this.#slots.get(name) ?? { state: "UNAVAILABLE", reason: "", config: {}, versions: [], failed: [] };
    this.#slots.set(name, slot);
    return slot;
  }
}

/** Requests that were accepted are answered first. */
async function closeVersion({ served, engine }: Slot["versions"][number]): Promise<void> {
  await served.batcher.idle();
  await engine.close();
}

const unavailable = (what: string, reason: string): HttpError =>
  new HttpError(503, reason === "" ? what : `${what}: ${reason}`, { "retry-after": "1" });

function indexOf(name: string, slot: Slot): IndexEntry[] {
  const ready: IndexEntry[] = slot.versions.map(({ served }) => ({
    name,
    version: served.version,
    state: "READY",
    reason: "",
  }));
  const failed: IndexEntry[] = slot.failed.map(({ version, reason }) => ({
    name,
    version,
    state: "UNAVAILABLE",
    reason,
  }));
  return ready.length + failed.length > 0 ? [...ready, ...failed] : [{ name, state: slot.state, reason: slot.reason }];
}

async function loadVersions(
  name: string,
  files: readonly ModelVersionFile[],
  config: ModelConfig,
  options: RepositoryOptions,
): Promise<Pick<Slot, "versions" | "failed">> {
  const versions: { served: ServedModel; engine: Engine }[] = [];
  const failed: FailedVersion[] = [];
  for (const { version, file } of files) {
    try {
      const engine = await loadEngine(file, { threads: options.threads });
      await warmUp(engine, file);
      const batcher = createBatcher(engine, {
        maxRows: config.maxBatchSize ?? options.maxBatchRows,
        maxDelayMs: config.maxDelayMs,
        maxWaiting: options.maxWaiting,
        clock: options.clock,
        onRun: options.metrics.runOf(name, version),
      });
      versions.push({
        engine,
        served: { name, version, folder: dirname(file), inputs: engine.inputs, outputs: engine.outputs, batcher },
      });
    } catch (error) {
      const known =
        error instanceof ModelError ? error : new ModelError("ModelLoadFailed", messageOf(error), { cause: error });
      failed.push({ version, error: known, reason: `${known.reason}: ${known.message}` });
    }
  }
  return { versions, failed };
}

/** One inference on zeros (empty texts), free dimensions 1: a model is ready when it has answered, not when it was read. */
async function warmUp(engine: Engine, file: string): Promise<void> {
  const inputs = engine.inputs.map((spec) => {
    const shape = spec.shape.map((size) => (size < 0 ? 1 : size));
    const count = shape.reduce((product, size) => product * size, 1);
    const data =
      spec.datatype === "BYTES" ? Array.from({ length: count }, () => "") : typeInfo(spec.datatype).make(count);
    return { name: spec.name, datatype: spec.datatype, shape, data };
  });
  try {
    await engine.run(inputs);
  } catch (error) {
    await engine.close();
    throw new ModelError("ModelLoadFailed", `${file} was loaded, but its first inference failed: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
