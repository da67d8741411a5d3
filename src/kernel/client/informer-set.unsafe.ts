/** A map by kind cannot tell TypeScript that the cache under a kind's key is of that kind; the key guarantees it. */
import type { KubeObject } from "../kinds/index.js";
import type { ObjectCache } from "./object-cache.js";

/** The cache as one of its own type. */
export function cacheAs<T extends KubeObject>(cache: ObjectCache<KubeObject>): ObjectCache<T> {
  return cache as unknown as ObjectCache<T>;
}

/** The cache as one among caches of all kinds. */
export function objectAs<T extends KubeObject>(cache: ObjectCache<T>): ObjectCache<KubeObject> {
  return cache as unknown as ObjectCache<KubeObject>;
}
