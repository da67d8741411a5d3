import { onAbort } from "../clock/index.js";
import type { Informer, Key } from "../control/types.js";
import { messageOf } from "../errors/index.js";
import type { Kind, KubeObject } from "../kinds/index.js";
import type { Logger } from "../log/index.js";

/** Order of two resourceVersions of one cluster; `undefined` when they are opaque. */
export function compareVersions(a: string, b: string): number | undefined {
  if (!/^\d+$/.test(a) || !/^\d+$/.test(b)) return undefined;
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

const isOlder = (a: string, b: string): boolean => (compareVersions(a, b) ?? 0) < 0;

type Handler<T> = (now: T | undefined, old: T | undefined) => void;

interface Index<T> {
  readonly values: (object: T) => readonly string[];
  readonly objects: Map<string, Set<T>>;
}

/** The local copy behind one informer: objects by namespace and name, indexes, handlers. Fed by a reflector and by own writes. */
export class ObjectCache<T extends KubeObject> implements Informer<T> {
  readonly kind: Kind<T>;
  readonly #log: Logger;
  readonly #namespaces = new Map<string, Map<string, T>>();
  readonly #indexes = new Map<string, Index<T>>();
  readonly #handlers = new Set<Handler<T>>();
  /** Objects that an own delete removed before the watch told so. */
  readonly #buried = new Set<string>();
  readonly #waiting = new Set<() => void>();
  #all: readonly T[] | undefined;
  #isSynced = false;
  /** How far the reflector has seen this kind's history. */
  #seenVersion = "";

  constructor(kind: Kind<T>, log: Logger) {
    this.kind = kind;
    this.#log = log;
  }

  get(key: Key): T | undefined {
    return this.#namespaces.get(key.namespace)?.get(key.name);
  }

  list(namespace?: string): readonly T[] {
    if (namespace !== undefined) return [...(this.#namespaces.get(namespace)?.values() ?? [])];
    this.#all ??= [...this.#namespaces.values()].flatMap((objects) => [...objects.values()]);
    return this.#all;
  }

  byIndex(index: string, value: string): readonly T[] {
    return [...(this.#indexes.get(index)?.objects.get(value) ?? [])];
  }

  addIndex(index: string, values: (object: T) => readonly string[]): void {
    if (this.#indexes.has(index)) return;
    const added: Index<T> = { values, objects: new Map() };
    this.#indexes.set(index, added);
    for (const object of this.list()) this.#indexObject(added, object);
  }

  onChange(handler: Handler<T>): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  synced(signal?: AbortSignal): Promise<void> {
    if (this.#isSynced) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const done = (): void => {
        forget?.();
        resolve();
      };
      const stop = (): void => {
        this.#waiting.delete(done);
        reject(signal?.reason);
      };
      const forget = signal === undefined ? undefined : onAbort(signal, stop);
      this.#waiting.add(done);
    });
  }

  /** A complete list: what is not in it is gone. */
  replace(items: readonly T[], resourceVersion: string): void {
    this.#buried.clear();
    const listed = new Set(items.map((item) => `${item.metadata.namespace ?? ""}/${item.metadata.name}`));
    const gone = this.list().filter(
      (object) => !listed.has(`${object.metadata.namespace ?? ""}/${object.metadata.name}`),
    );
    for (const object of gone) {
      if (!this.#wroteAfter(object, resourceVersion)) this.#remove(object);
    }
    for (const item of items) this.put(item);
    this.#seenVersion = resourceVersion;
    if (this.#isSynced) return;
    this.#isSynced = true;
    for (const done of this.#waiting) done();
    this.#waiting.clear();
  }

  /** A watch event. */
  observe(type: "ADDED" | "MODIFIED" | "DELETED", object: T): void {
    this.#seenVersion = object.metadata.resourceVersion;
    if (type === "DELETED") {
      this.#buried.delete(object.metadata.uid);
      const known = this.get({ namespace: object.metadata.namespace ?? "", name: object.metadata.name });
      if (known !== undefined && known.metadata.uid === object.metadata.uid) this.#remove(known);
    } else this.put(object);
  }

  /** A bookmark: nothing happened up to here. */
  advance(resourceVersion: string): void {
    this.#seenVersion = resourceVersion;
  }

  /** What an own write answered, perhaps before the watch tells: taken unless the watch is already past it. */
  remember(object: T): void {
    if (!this.#isSynced) return;
    const order = compareVersions(object.metadata.resourceVersion, this.#seenVersion);
    if (order !== undefined && order > 0) this.put(object);
  }

  /** An own delete took effect at once. */
  forget(namespace: string, name: string, uid: string): void {
    const known = this.get({ namespace, name });
    if (known === undefined || known.metadata.uid !== uid) return;
    this.#buried.add(uid);
    this.#remove(known);
  }

  /** Takes an object unless a newer state of it is known. */
  put(object: T): void {
    const { namespace = "", name, uid, resourceVersion } = object.metadata;
    if (this.#buried.has(uid)) return;
    const old = this.get({ namespace, name });
    if (old !== undefined) {
      const oldVersion = old.metadata.resourceVersion;
      if (oldVersion === resourceVersion || isOlder(resourceVersion, oldVersion)) return;
      if (old.metadata.uid !== uid) this.#remove(old);
    }
    if (object.metadata.managedFields !== undefined) {
      // Rebuilt: an object that a member was deleted from takes far more room.
      const { managedFields: _managers, ...metadata } = object.metadata;
      object.metadata = metadata;
    }
    let objects = this.#namespaces.get(namespace);
    if (objects === undefined) {
      objects = new Map();
      this.#namespaces.set(namespace, objects);
    }
    const current = objects.get(name);
    objects.set(name, object);
    this.#all = undefined;
    for (const index of this.#indexes.values()) {
      if (current !== undefined) this.#unindexObject(index, current);
      this.#indexObject(index, object);
    }
    this.#notify(object, current);
  }

  /** Whether an own write put this object here after the moment that a list shows. */
  #wroteAfter(object: T, listVersion: string): boolean {
    const order = compareVersions(object.metadata.resourceVersion, listVersion);
    return order !== undefined && order > 0;
  }

  #remove(object: T): void {
    const { namespace = "", name } = object.metadata;
    const objects = this.#namespaces.get(namespace);
    objects?.delete(name);
    if (objects?.size === 0) this.#namespaces.delete(namespace);
    this.#all = undefined;
    for (const index of this.#indexes.values()) this.#unindexObject(index, object);
    this.#notify(undefined, object);
  }

  #indexObject(index: Index<T>, object: T): void {
    for (const value of index.values(object)) {
      const objects = index.objects.get(value);
      if (objects === undefined) index.objects.set(value, new Set([object]));
      else objects.add(object);
    }
  }

  #unindexObject(index: Index<T>, object: T): void {
    for (const value of index.values(object)) {
      const objects = index.objects.get(value);
      objects?.delete(object);
      if (objects?.size === 0) index.objects.delete(value);
    }
  }

  #notify(now: T | undefined, old: T | undefined): void {
    for (const handler of this.#handlers) {
      try {
        handler(now, old);
      } catch (error) {
        this.#log.error("informer handler failed", { kind: this.kind.kind, err: error, reason: messageOf(error) });
      }
    }
  }
}
