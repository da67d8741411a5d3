import {
  createClient,
  createInformerSet,
  type Followed,
  type Transport,
  type WatchedInformers,
} from "../kernel/client/index.js";
import type { Clock, Random } from "../kernel/clock/index.js";
import type { ClusterAccess } from "../kernel/control/types.js";
import type { Logger } from "../kernel/log/index.js";

/** What every room of the platform is given. */
export interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** A cluster with one identity, to be closed by whoever opened it. */
export interface OwnedAccess extends ClusterAccess {
  readonly informers: WatchedInformers;
  close(): Promise<void>;
}

/** A client and informers over a transport: to an embedded API server in this process, or to any other over HTTPS. Closing it closes the transport. */
export function openAccess(
  name: string,
  transport: Transport,
  { clock, random, log }: Surroundings,
  followed: Followed = {},
): OwnedAccess {
  const client = createClient({ transport, clock, random });
  const informers = createInformerSet({ client, clock, random, log: log.with({ cluster: name }), ...followed });
  return {
    name,
    client,
    informers,
    close: async () => {
      await informers.close();
      await client.close();
    },
  };
}
