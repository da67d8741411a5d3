/**
 * Subresources that are more than a read or write of their object: tokens, binding, eviction, and the streams that a
 * node's agent or a pod answers. In: authorized requests. Out: answers, or raw streams after an upgrade. May use: the API
 * server's store, auth, request and types; kernel identity; node:http(s).
 */
import type { Clock } from "../../../kernel/clock/index.js";
import type { ServiceAccountTokens } from "../../../kernel/identity/index.js";
import type { Connect } from "../../../kernel/netns/index.js";
import type { Submit } from "../admission/index.js";
import type { Store, SubresourceHandler, VirtualResource } from "../types.js";
import { podBindings } from "./binding.js";
import { podEviction } from "./eviction.js";
import { nodeAgents } from "./node-agents.js";
import type { NodeCredentials } from "./node-connection.js";
import { type ObjectProxy, objectProxies } from "./object-proxies.js";
import { podStreams } from "./pod-streams.js";
import { proxies } from "./proxies.js";
import { tokenRequests } from "./token-request.js";

export { type NodeAgents, nodeAgents } from "./node-agents.js";
export { forward, type NodeCredentials, nodeAddress } from "./node-connection.js";
export type { ObjectProxy } from "./object-proxies.js";

export interface SubresourceOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly serviceAccountTokens: ServiceAccountTokens;
  /** Runs a request as the server itself (`system:apiserver`). */
  readonly submit: Submit;
  /** The current client certificate for node agents; `undefined` while there is none. */
  readonly nodeCredentials: () => NodeCredentials | undefined;
  /** How pods are reached. */
  readonly connect: Connect;
  /** Who answers the proxies of kinds of others. */
  readonly proxies: readonly ObjectProxy[];
}

export interface Subresources {
  /** `pods/proxy` and its kin also answer paths below them. */
  readonly handlers: readonly SubresourceHandler[];
  readonly virtualResources: readonly VirtualResource[];
  close(): void;
}

/** The handlers for an API server over one store. */
export function createSubresources(options: SubresourceOptions): Subresources {
  const agents = nodeAgents(options.nodeCredentials);
  return {
    handlers: [...podStreams(agents), ...proxies(agents, options.connect), ...objectProxies(options.proxies)],
    virtualResources: [tokenRequests(options), podEviction(options), ...podBindings(options)],
    close: () => agents.close(),
  };
}
