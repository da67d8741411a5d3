import type { Clock } from "../../../kernel/clock/types.js";
import { isConflict, isNotFound } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/types.js";
import { cloneObject, equalJson } from "../../../kernel/schema/index.js";
import type { Store, Stored, StoreEvent } from "../types.js";
import { acceptNames, establish, isEstablished, isTerminating, setTerminating } from "./definition-status.js";
import { asList, asObject, asString } from "./read.js";

/** The finalizer that keeps a CRD until its objects are gone. */
export const cleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io";
const prefix = "/apiextensions.k8s.io/customresourcedefinitions/";

/** Where definitions are served. */
export interface DefinitionHost {
  setDefinition(name: string, definition: JsonObject | undefined): void;
}

/** What following the definitions of a store needs. */
export interface DefinitionOptions {
  readonly store: Store;
  readonly registry: DefinitionHost;
  readonly clock: Clock;
  readonly log: Logger;
  /** Records who wrote the status. */
  readonly track: (object: JsonObject, old: JsonObject, now: string) => void;
  /** Deletes every object of a resource as a client would (finalizers count); returns how many are still there. */
  readonly deleteAll: (resource: {
    group: string;
    version: string;
    plural: string;
    namespaced: boolean;
  }) => Promise<number>;
}

const cleanupRetryMs = 500;

/** Follows the CustomResourceDefinitions of a store: serves them at once, keeps their conditions, cleans up behind deleted ones. */
export class DefinitionController {
  readonly #options: DefinitionOptions;
  readonly #known = new Map<string, Stored>();
  #watch: { close(): void } | undefined;
  #closed = false;
  readonly #cleaning = new Set<string>();

  constructor(options: DefinitionOptions) {
    this.#options = options;
  }

  /** Serves what is stored, then follows changes. */
  start(): void {
    const { store } = this.#options;
    const { items, revision } = store.list(prefix);
    const present = new Set(items.map((item) => nameOf(item.value)));
    for (const name of [...this.#known.keys()]) if (!present.has(name)) this.#gone(name);
    for (const item of items) this.#put(item);
    this.#watch = store.watch(prefix, revision, {
      onEvents: (events) => this.#onEvents(events),
      onClose: () => {
        if (!this.#closed) this.start();
      },
    });
    for (const item of items) this.#reconcile(item);
  }

  close(): void {
    this.#closed = true;
    this.#watch?.close();
  }

  #onEvents(events: readonly StoreEvent[]): void {
    for (const event of events) {
      if (event.type === "put") {
        this.#put(event.now);
        this.#reconcile(event.now);
      } else this.#gone(nameOf(event.now.value));
    }
  }

  #put(stored: Stored): void {
    const name = nameOf(stored.value);
    const before = this.#known.get(name);
    this.#known.set(name, stored);
    const accepted = acceptNames(stored.value, this.#others(name));
    const served = isEstablished(stored.value) || accepted.complete;
    const wasServed =
      before !== undefined &&
      equalJson(before.value["spec"], stored.value["spec"]) &&
      isEstablished(before.value) === isEstablished(stored.value);
    if (!wasServed || (served && !isEstablished(stored.value)))
      this.#options.registry.setDefinition(name, served ? stored.value : undefined);
  }

  #others(name: string): JsonObject[] {
    return [...this.#known].filter(([other]) => other !== name).map(([, stored]) => stored.value);
  }

  #gone(name: string): void {
    this.#known.delete(name);
    this.#options.registry.setDefinition(name, undefined);
    // Names that were taken may be free now.
    for (const stored of this.#known.values()) {
      this.#put(stored);
      this.#reconcile(stored);
    }
  }

  #reconcile(stored: Stored): void {
    const work = isTerminating(stored.value) ? this.#cleanUp(stored) : this.#writeStatus(stored);
    work.catch((error: unknown) => {
      if (!isConflict(error) && !isNotFound(error) && !this.#closed)
        this.#options.log.error("a custom resource definition could not be brought up to date", {
          err: error,
          definition: nameOf(stored.value),
        });
    });
  }

  async #writeStatus(stored: Stored): Promise<void> {
    const object = cloneObject(stored.value);
    const now = this.#now();
    const accepted = acceptNames(object, this.#others(nameOf(object)));
    establish(object, accepted, now);
    if (equalJson(object["status"], stored.value["status"])) return;
    this.#options.track(object, stored.value, now);
    await this.#options.store.update(stored.key, stored.revision, object);
  }

  #now(): string {
    return `${new Date(this.#options.clock.now()).toISOString().slice(0, 19)}Z`;
  }

  async #cleanUp(stored: Stored): Promise<void> {
    const name = nameOf(stored.value);
    if (!finalizersOf(stored.value).includes(cleanupFinalizer) || this.#cleaning.has(name)) return;
    this.#cleaning.add(name);
    try {
      while (!this.#closed && (await this.#deleteObjects(stored.value)) > 0)
        await this.#options.clock.sleep(cleanupRetryMs);
    } finally {
      this.#cleaning.delete(name);
    }
    if (!this.#closed) await this.#removeFinalizer(stored.key);
  }

  async #deleteObjects(definition: JsonObject): Promise<number> {
    const spec = asObject(definition["spec"]);
    const storage = asList(spec["versions"])
      .map(asObject)
      .find((version) => version["storage"] === true);
    return this.#options.deleteAll({
      group: asString(spec["group"]),
      version: asString(storage?.["name"]),
      plural: asString(asObject(spec["names"])["plural"]),
      namespaced: spec["scope"] === "Namespaced",
    });
  }

  async #removeFinalizer(key: string): Promise<void> {
    const { store } = this.#options;
    for (;;) {
      const latest = store.get(key);
      if (latest === undefined) return;
      const object = cloneObject(latest.value);
      setTerminating(object, "False", {
        reason: "InstanceDeletionCompleted",
        message: "removed all instances",
        now: this.#now(),
      });
      const rest = finalizersOf(object).filter((finalizer) => finalizer !== cleanupFinalizer);
      const metadata = asObject(object["metadata"]);
      if (rest.length === 0) delete metadata["finalizers"];
      else metadata["finalizers"] = rest;
      try {
        if (rest.length === 0) await store.delete(key, latest.revision);
        else await store.update(key, latest.revision, object);
        return;
      } catch (error) {
        if (!isConflict(error)) throw error;
      }
    }
  }
}

function nameOf(object: JsonObject): string {
  return asString(asObject(object["metadata"])["name"]);
}

function finalizersOf(object: JsonObject): string[] {
  return asList(asObject(object["metadata"])["finalizers"]).filter((item): item is string => typeof item === "string");
}
