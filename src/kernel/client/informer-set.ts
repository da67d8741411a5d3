import { setMaxListeners } from "node:events";
import type { Clock, Random } from "../clock/index.js";
import type { Informer, InformerSet } from "../control/types.js";
import { ArgosyError, messageOf } from "../errors/index.js";
import { apiVersionOf, type Kind, type KubeObject } from "../kinds/index.js";
import type { Logger } from "../log/index.js";
import { cacheAs, objectAs } from "./informer-set.unsafe.js";
import { ObjectCache } from "./object-cache.js";
import { runReflector } from "./reflector.js";
import type { ApiClient } from "./types.js";

/** Of what kinds (`v1/pods`) only a part is followed, and asked for; default: everything is. */
export interface Followed {
  readonly fieldSelectors?: Readonly<Record<string, string>>;
  /** The one namespace. */
  readonly namespaces?: Readonly<Record<string, string>>;
}

/** What a set of informers needs. */
export interface InformerSetOptions extends Followed {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Default 150 s: servers send bookmarks about each minute, so this is two missed ones. */
  readonly inactivityMs?: number;
}

/** A set of informers that says which of them do not follow the server. */
export interface WatchedInformers extends InformerSet {
  /** What cannot be read now, by `pods` or `works.work.karmada.io`, and why. Watches that end as they should are no fault. */
  faults(): ReadonlyMap<string, string>;
}

const defaultInactivityMs = 150_000;

/**
 * The informers of one cluster. Each starts with the first call for its kind and never stops trying. What the same client
 * writes is in the informers when the write's promise resolves, so a controller reads its own writes.
 */
export function createInformerSet(options: InformerSetOptions): WatchedInformers {
  const { client, clock, random, log } = options;
  const stop = new AbortController();
  // One listener for each thing that runs: no leak.
  setMaxListeners(0, stop.signal);
  const caches = new Map<string, ObjectCache<KubeObject>>();
  const running: Promise<void>[] = [];
  const faults = new Map<string, string>();
  const keyOf = (kind: Kind): string => `${apiVersionOf(kind)}/${kind.plural}`;

  const stopListening = client.onWrite?.((kind, write) => {
    const cache = caches.get(keyOf(kind));
    if (cache === undefined) return;
    // What a write answers is nobody's to change; the cache takes managedFields off.
    if (write.type === "put") cache.remember(write.isShared ? write.object : ownCopy(write.object));
    else cache.forget(write.namespace, write.name, write.uid);
  });

  return {
    informer<T extends KubeObject>(kind: Kind<T>): Informer<T> {
      const known = caches.get(keyOf(kind));
      if (known !== undefined) return cacheAs<T>(known);
      if (stop.signal.aborted) throw new ArgosyError("Closed", `informers are closed; ${kind.kind} was asked for`);
      const cache = new ObjectCache<T>(kind, log);
      caches.set(keyOf(kind), objectAs(cache));
      const fieldSelector = options.fieldSelectors?.[keyOf(kind)];
      const namespace = options.namespaces?.[keyOf(kind)];
      const called = kind.group === "" ? kind.plural : `${kind.plural}.${kind.group}`;
      running.push(
        runReflector({
          resource: client.resource(kind),
          cache,
          clock,
          random,
          log,
          signal: stop.signal,
          onRound(fault) {
            if (fault === undefined) faults.delete(called);
            else faults.set(called, messageOf(fault));
          },
          inactivityMs: options.inactivityMs ?? defaultInactivityMs,
          ...(fieldSelector === undefined ? {} : { fieldSelector }),
          ...(namespace === undefined ? {} : { namespace }),
        }),
      );
      return cache;
    },
    faults: () => faults,
    async close() {
      stopListening?.();
      stop.abort(new ArgosyError("Closed", "informers are closed"));
      await Promise.all(running);
    },
  };
}

/** The same object, with metadata of its own. */
function ownCopy(object: KubeObject): KubeObject {
  return { ...object, metadata: { ...object.metadata } };
}
