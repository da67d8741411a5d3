import type { Clock } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import { HttpError } from "../../kernel/http1/index.js";
import type { Json } from "../../kernel/kinds/object.js";
import type { Logger } from "../../kernel/log/types.js";
import type { EngineLimits } from "./engines/limits.js";
import { ModelError } from "./failures.js";
import type { ServerMetrics } from "./metrics.js";
import { listModelFolders, listVersions, type ModelConfig, readModelConfig, sentConfig } from "./model-folder.js";
import { createResidency, type Residency, type ResidencyState } from "./residency.js";
import type { SentModel } from "./sent-models.js";
import type { Turns } from "./turns.js";
import { type LoadedVersion, loadVersions, type ServedModel, type VersionFailure } from "./versions.js";

export type { ServedModel } from "./versions.js";

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
  /** How long a request waits for company where the model's configuration does not say, milliseconds. */
  readonly maxBatchDelayMs: number;
  /** The same while so many take no longer than a millisecond; at least `maxBatchRows`. */
  readonly maxShortBatchRows: number;
  readonly maxWaiting: number;
  readonly limits: EngineLimits;
  /** Most bytes of all models in memory; those not used for longest leave, and come back when asked for. */
  readonly memoryBudgetBytes: number;
  /** Resident bytes of this process; default: as the system says. */
  readonly processBytes?: () => number;
  readonly metrics: ServerMetrics;
  readonly clock: Clock;
  readonly turns: Turns;
  readonly log: Logger;
}

/** The models of a server, their versions side by side. */
export interface Repository {
  /** Loads everything; resolves when every model was tried. Single models: rejects with the `ModelError`. */
  loadAll(): Promise<void>;
  /** Reads a model's folder anew and loads its versions, or what was sent instead; the versions before answer until then. Throws `ModelError`. */
  load(name: string, sent?: SentModel): Promise<void>;
  unload(name: string): Promise<void>;
  /** Says of a model that is not there yet that it is on its way, or why it will not come. */
  announce(name: string, reason: string, state?: "LOADING" | "UNAVAILABLE"): void;
  /** Unloads a model and forgets it; of none, nothing. */
  remove(name: string): Promise<void>;
  /** A version that answers, the greatest where none is named. Throws 404 for what is not there, 503 for what does not answer (yet). */
  find(name: string, version?: string): ServedModel;
  /** Versions that answer, oldest first. */
  versions(name: string): readonly string[];
  /** Names for versions. */
  labels(name: string): Readonly<Record<string, string>>;
  names(): readonly string[];
  config(name: string): Json;
  index(): readonly IndexEntry[];
  /** What is in memory. */
  memory(): ResidencyState;
  close(): Promise<void>;
}

interface Slot {
  state: "READY" | "LOADING" | "UNAVAILABLE";
  /** Words for people when it is not ready. */
  reason: string;
  config: Json;
  labels: ModelConfig["labels"];
  versions: readonly LoadedVersion[];
  failed: readonly VersionFailure[];
  /** Versions that were there until the model was unloaded. */
  unloaded: readonly string[];
  /** Loads and unloads of one model happen one after the other. */
  lane: Promise<unknown>;
}

/** Opens a repository; nothing is loaded yet. */
export function createRepository(options: RepositoryOptions): Repository {
  return new FolderRepository(options);
}

class FolderRepository implements Repository {
  readonly #options: RepositoryOptions;
  readonly #slots = new Map<string, Slot>();
  readonly #residency: Residency;
  #isClosed = false;

  constructor(options: RepositoryOptions) {
    this.#options = options;
    this.#residency = createResidency({
      budgetBytes: options.memoryBudgetBytes,
      processBytes: options.processBytes ?? (() => process.memoryUsage.rss()),
      onEvicted: (label) => {
        options.metrics.evicted();
        options.log.debug("model left memory for others", { model: label });
      },
    });
  }

  async loadAll(): Promise<void> {
    const names = [...(await this.#folders()).keys()];
    for (const name of names) this.#slotOf(name).state = "LOADING";
    for (const name of names) {
      if (this.#isClosed) return;
      try {
        await this.load(name);
      } catch (error) {
        if ("name" in this.#options.source) throw error;
      }
    }
  }

  load(name: string, sent?: SentModel): Promise<void> {
    return this.#inTurn(this.#slots.get(name), () => this.#load(name, sent));
  }

  async unload(name: string): Promise<void> {
    const slot = this.#slots.get(name);
    if (slot === undefined) throw new ModelError("ModelNotFound", `there is no model ${name}`);
    await this.#inTurn(slot, async () => {
      const { versions } = slot;
      const unloaded = versions.length === 0 ? slot.unloaded : versions.map(({ served }) => served.version);
      Object.assign(slot, { state: "UNAVAILABLE", reason: "unloaded", versions: [], failed: [], unloaded });
      await Promise.all(versions.map(closeVersion));
    });
  }

  announce(name: string, reason: string, state: "LOADING" | "UNAVAILABLE" = "LOADING"): void {
    const slot = this.#slotOf(name);
    if (slot.versions.length === 0) Object.assign(slot, { state, reason });
  }

  async remove(name: string): Promise<void> {
    const slot = this.#slots.get(name);
    if (slot === undefined) return;
    await this.unload(name);
    if (this.#slots.get(name) === slot) this.#slots.delete(name);
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

  labels(name: string): Readonly<Record<string, string>> {
    return this.#slots.get(name)?.labels ?? {};
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

  memory(): ResidencyState {
    return this.#residency.state();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const slots = [...this.#slots.values()];
    await Promise.all(slots.map((slot) => slot.lane));
    const all = slots.flatMap((slot) => slot.versions);
    this.#slots.clear();
    await Promise.all(all.map(closeVersion));
  }

  #inTurn<T>(slot: Slot | undefined, work: () => Promise<T>): Promise<T> {
    if (slot === undefined) return work();
    const turn = slot.lane.then(work, work);
    slot.lane = turn.catch(() => undefined);
    return turn;
  }

  async #load(name: string, sent?: SentModel): Promise<void> {
    const folder = sent?.folder ?? (await this.#folders()).get(name);
    if (folder === undefined) throw new ModelError("ModelNotFound", `the repository has no model ${name}`);
    const slot = this.#slotOf(name);
    const before = slot.versions;
    if (before.length === 0) slot.state = "LOADING";
    try {
      const config = sent?.config === undefined ? await readModelConfig(folder) : sentConfig(sent.config);
      const folders = await listVersions(folder, config);
      const loaded = await loadVersions(name, folders, config, { ...this.#options, residency: this.#residency });
      const [failure] = loaded.failed;
      if (loaded.versions.length === 0 && failure !== undefined) throw failure.error;
      Object.assign(slot, {
        ...loaded,
        state: "READY",
        config: config.raw,
        labels: config.labels,
        reason: "",
        unloaded: [],
      });
      this.#options.metrics.loaded(name, true);
      this.#options.log.info("model loaded", { model: name, versions: this.versions(name) });
      await Promise.all(before.map(closeVersion));
    } catch (error) {
      // Versions that answered before go on answering.
      const words = error instanceof ModelError ? `${error.reason}: ${error.message}` : messageOf(error);
      if (before.length === 0) Object.assign(slot, { state: "UNAVAILABLE", reason: words });
      this.#options.metrics.loaded(name, false);
      this.#options.log.error("model cannot be loaded", { model: name, err: error });
      throw error;
    }
  }

  async #folders(): Promise<ReadonlyMap<string, string>> {
    const { source } = this.#options;
    return "name" in source ? new Map([[source.name, source.folder]]) : listModelFolders(source.repository);
  }

  #slotOf(name: string): Slot {
    const fresh: Slot = {
      ...{ state: "UNAVAILABLE", reason: "", config: {}, labels: {}, versions: [], failed: [], unloaded: [] },
      lane: Promise.resolve(),
    };
    const slot = this.#slots.get(name) ?? fresh;
    this.#slots.set(name, slot);
    return slot;
  }
}

/** Requests that were accepted are answered first. */
async function closeVersion({ served, engine }: LoadedVersion): Promise<void> {
  await served.batcher.idle();
  await engine.close();
}

const unavailable = (what: string, reason: string): HttpError =>
  new HttpError(503, reason === "" ? what : `${what}: ${reason}`, { "retry-after": "1" });

function indexOf(name: string, slot: Slot): IndexEntry[] {
  const loaded: IndexEntry[] = slot.versions.map(({ served }) => {
    const { unhealthy } = served;
    return unhealthy === undefined
      ? { name, version: served.version, state: "READY", reason: "" }
      : { name, version: served.version, state: "UNAVAILABLE", reason: `RuntimeUnhealthy: ${unhealthy}` };
  });
  const failed: IndexEntry[] = slot.failed.map(({ version, reason }) => ({
    name,
    version,
    state: "UNAVAILABLE",
    reason,
  }));
  if (loaded.length + failed.length > 0) return [...loaded, ...failed];
  const { state, reason, unloaded } = slot;
  return unloaded.length > 0
    ? unloaded.map((version) => ({ name, version, state, reason }))
    : [{ name, state, reason }];
}
