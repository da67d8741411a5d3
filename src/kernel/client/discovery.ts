import { isNotFound } from "../errors/index.js";
import { type Kind, parseApiVersion } from "../kinds/index.js";
import { isObject } from "../schema/index.js";
import type { Exchange } from "./exchange.js";
import { groupPath } from "./paths.js";

/** A small answer that everything about its kinds waits for: one that got lost must not be waited for as long as a list may take. */
const TIMEOUT_MS = 5000;

/** The kinds of one group and version, by kind. */
async function readKinds(exchange: Exchange, apiVersion: string): Promise<ReadonlyMap<string, Kind>> {
  const { group, version } = parseApiVersion(apiVersion);
  const kinds = new Map<string, Kind>();
  const answer = await exchange
    .json("GET", groupPath({ group, version }), { timeoutMs: TIMEOUT_MS })
    .catch((error: unknown) => {
      if (isNotFound(error)) return null;
      throw error;
    });
  const resources = isObject(answer) && Array.isArray(answer["resources"]) ? answer["resources"] : [];
  for (const resource of resources) {
    if (!isObject(resource)) continue;
    const { name, kind, namespaced } = resource;
    // Names with a slash are subresources, whose kinds (Scale, Eviction, …) are not kinds of this group.
    if (typeof name !== "string" || typeof kind !== "string" || name.includes("/") || kinds.has(kind)) continue;
    kinds.set(kind, { group, version, kind, plural: name, namespaced: namespaced === true });
  }
  return kinds;
}

/** Finds kinds by apiVersion and kind; what was found is kept, what was not is asked for again. */
export function createDiscovery(exchange: Exchange): (apiVersion: string, kind: string) => Promise<Kind | undefined> {
  const known = new Map<string, ReadonlyMap<string, Kind>>();
  const reading = new Map<string, Promise<ReadonlyMap<string, Kind>>>();
  const refresh = (apiVersion: string): Promise<ReadonlyMap<string, Kind>> => {
    const running = reading.get(apiVersion);
    if (running !== undefined) return running;
    const started = readKinds(exchange, apiVersion).finally(() => reading.delete(apiVersion));
    reading.set(apiVersion, started);
    return started;
  };
  return async (apiVersion, kind) => {
    const hit = known.get(apiVersion)?.get(kind);
    if (hit !== undefined) return hit;
    const kinds = await refresh(apiVersion);
    known.set(apiVersion, kinds);
    return kinds.get(kind);
  };
}
