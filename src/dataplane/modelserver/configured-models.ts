/** Models that a file lists, followed while the server runs: KServe's `models.json`, as TrainedModels make it. */
import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../kernel/clock/types.js";
import { InputError, messageOf } from "../../kernel/errors/index.js";
import { errnoOf } from "../../kernel/files/index.js";
import type { Logger } from "../../kernel/log/types.js";
import { asObject, asString, isObject, parseJson } from "../../kernel/schema/index.js";
import { ModelError } from "./failures.js";
import type { Repository } from "./repository.js";

/** How a listed model is. */
export interface ConfiguredState {
  readonly name: string;
  /** Of the entry, as whoever wrote it named it. */
  readonly revision: string;
  readonly state: "LOADING" | "READY" | "UNAVAILABLE";
  /** `ModelDownloadFailed: …` and the like where it is not ready. */
  readonly reason: string;
}

/** What the list is carried out with. */
export interface ConfiguredModelsOptions {
  readonly file: string;
  /** Where models are laid out; its own. */
  readonly folder: string;
  /** Brings a model to a folder and returns where it is; rejects with a `ModelError`. The signal says that nobody wants it any more. */
  readonly fetch: (uri: string, destination: string, signal: AbortSignal) => Promise<string>;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Entry {
  readonly name: string;
  readonly uri: string;
  readonly revision: string;
  /** Aborted when it is not wanted any more. */
  readonly stop: AbortController;
}

const LOOK_MS = 500;
const MAX_FETCHING = 8;
const RETRY_MS = [2000, 5000, 15_000, 30_000] as const;

/** Follows the list: what is added is fetched and loaded, what changes is loaded anew, what is gone is unloaded. */
export class ConfiguredModels {
  readonly #options: ConfiguredModelsOptions;
  readonly #stop = new AbortController();
  readonly #entries = new Map<string, Entry>();
  readonly #states = new Map<string, ConfiguredState>();
  /** Work on one model, one after the other. */
  readonly #lanes = new Map<string, Promise<void>>();
  #seen: string | undefined;
  #fetching = 0;
  readonly #waiting: (() => void)[] = [];
  #following: Promise<void> = Promise.resolve();

  constructor(options: ConfiguredModelsOptions) {
    this.#options = options;
  }

  /** Begins; models are announced to the repository before this returns its first look. */
  start(repository: Repository): void {
    this.#following = this.#follow(repository);
  }

  state(name: string): ConfiguredState | undefined {
    return this.#states.get(name);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#following;
    for (const { stop } of this.#entries.values()) stop.abort();
    await Promise.all(this.#lanes.values());
  }

  async #follow(repository: Repository): Promise<void> {
    const { clock, log } = this.#options;
    let isFollowed = true;
    while (!this.#stop.signal.aborted) {
      try {
        await this.#look(repository);
        isFollowed = true;
      } catch (error) {
        if (isFollowed) log.error("the list of models cannot be followed", { file: this.#options.file, err: error });
        isFollowed = false;
      }
      await clock.sleep(LOOK_MS, this.#stop.signal).catch(() => undefined);
    }
  }

  async #look(repository: Repository): Promise<void> {
    const text = await readFile(this.#options.file, "utf8").catch((error: unknown) => {
      // Only a list that is not there is an empty one: what cannot be read just now takes no model away.
      if (errnoOf(error) === "ENOENT") return "[]";
      throw error;
    });
    if (text === this.#seen) return;
    this.#seen = text;
    const wanted = new Map(readList(text).map((entry) => [entry.name, entry]));
    for (const name of [...this.#entries.keys()]) if (!wanted.has(name)) this.#change(name, undefined, repository);
    for (const entry of wanted.values()) {
      const { uri, revision } = this.#entries.get(entry.name) ?? {};
      if (uri !== entry.uri || revision !== entry.revision) this.#change(entry.name, entry, repository);
    }
  }

  #change(name: string, entry: Entry | undefined, repository: Repository): void {
    this.#entries.get(name)?.stop.abort();
    if (entry === undefined) {
      this.#entries.delete(name);
      this.#states.delete(name);
    } else {
      this.#entries.set(name, entry);
      this.#say(entry, "LOADING", "the model is being fetched");
    }
    const before = this.#lanes.get(name) ?? Promise.resolve();
    const lane = before.then(async () => {
      await this.#remove(name, repository);
      if (entry !== undefined) await this.#bring(entry, repository);
    });
    this.#lanes.set(name, lane);
    void lane.then(() => {
      if (this.#lanes.get(name) === lane && !this.#entries.has(name)) this.#lanes.delete(name);
    });
  }

  async #remove(name: string, repository: Repository): Promise<void> {
    await repository.remove(name);
    await rm(this.#folderOf(name), { recursive: true, force: true }).catch(() => undefined);
  }

  /** Tries until it is there, or not wanted any more. Never rejects. */
  async #bring(entry: Entry, repository: Repository): Promise<void> {
    const { clock, fetch, log } = this.#options;
    const { signal } = entry.stop;
    const isWanted = (): boolean => !signal.aborted && !this.#stop.signal.aborted;
    for (let tries = 0; isWanted(); tries++) {
      try {
        repository.announce(entry.name, "the model is being fetched");
        const destination = join(
          this.#folderOf(entry.name),
          createHash("sha256").update(entry.uri).digest("hex").slice(0, 16),
        );
        await this.#turn();
        try {
          if (!isWanted()) return;
          const folder = await fetch(entry.uri, destination, signal);
          if (!isWanted()) return;
          await repository.load(entry.name, { config: undefined, folder });
        } finally {
          this.#endTurn();
        }
        this.#say(entry, "READY", "");
        return;
      } catch (error) {
        if (!isWanted()) return;
        const words = `${error instanceof ModelError ? error.reason : "ModelLoadFailed"}: ${messageOf(error)}`;
        log.warn("a listed model is not there", { model: entry.name, err: error });
        this.#say(entry, "UNAVAILABLE", words);
        const pauseMs = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] ?? LOOK_MS;
        await clock.sleep(pauseMs, signal).catch(() => undefined);
      }
    }
  }

  /** Of very many models only some are fetched at once: each takes connections, files and memory. */
  async #turn(): Promise<void> {
    if (this.#fetching < MAX_FETCHING) this.#fetching++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #endTurn(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#fetching--;
    else next();
  }

  #say({ name, revision, uri }: Entry, state: ConfiguredState["state"], reason: string): void {
    if (this.#entries.get(name)?.revision === revision && this.#entries.get(name)?.uri === uri)
      this.#states.set(name, { name, revision, state, reason });
  }

  #folderOf(name: string): string {
    return join(this.#options.folder, encodeURIComponent(name));
  }
}

const NAME = /^[a-zA-Z0-9_-]{1,253}$/;

/** Reads `[{"modelName", "modelSpec": {"storageUri", …}, "revision"}]`. Throws `InputError`. */
function readList(text: string): Entry[] {
  const list = parseJson(text);
  if (!Array.isArray(list)) throw new InputError("the list of models is no JSON list");
  return list.filter(isObject).map((item, index) => {
    const name = asString(item["modelName"]);
    const uri = asString(asObject(item["modelSpec"])["storageUri"]);
    if (!NAME.test(name)) throw new InputError(`[${index}].modelName must be letters, digits, - and _`);
    if (uri === "") throw new InputError(`[${index}].modelSpec.storageUri is missing`);
    return { name, uri, revision: asString(item["revision"]), stop: new AbortController() };
  });
}
