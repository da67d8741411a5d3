import type { Clock, Random } from "../clock/index.js";
import type { Json, Kind, KubeObject } from "../kinds/index.js";
import { createDiscovery } from "./discovery.js";
import { createExchange } from "./exchange.js";
import { createResourceClient } from "./resource-client.js";
import type { AcknowledgedWrite, ApiClient, ResourceClient, Transport } from "./types.js";
import { kindAs, perKind } from "./wire.unsafe.js";

/** What a client needs. */
export interface ClientOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  /** Default `argosy`. The server derives the default field manager from it. */
  readonly userAgent?: string;
}

/** A client of one cluster with the transport's identity. Closing it closes the transport. */
export function createClient(options: ClientOptions): ApiClient {
  const { transport, clock } = options;
  const exchange = createExchange(transport, clock, options.userAgent ?? "argosy");
  const findKind = createDiscovery(exchange);
  const listeners = new Set<(kind: Kind, write: AcknowledgedWrite) => void>();
  const resource = perKind(
    <T extends KubeObject>(kind: Kind<T>): ResourceClient<T> =>
      createResourceClient(kind, {
        exchange,
        onWrite: (write) => {
          for (const listener of listeners) listener(kind, write);
        },
      }),
  );
  return {
    transport,
    resource,
    dynamic: (kind) => resource(kindAs<KubeObject & Record<string, unknown>>(kind)),
    findKind,
    json: (method: string, path: string, body?: Json, callOptions = {}) =>
      exchange.json(method, path, { ...callOptions, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }),
    onWrite(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => transport.close(),
  };
}
