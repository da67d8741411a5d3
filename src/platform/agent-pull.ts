import type { Metrics } from "../kernel/metrics/index.js";
import { pullControllers } from "../modules/fleet/index.js";
import type { OwnedAccess, Surroundings } from "./access.js";
import { pullLease } from "./agent-manifests.js";
import type { Closers } from "./closers.js";
import { openHub } from "./hub-credential.js";
import { runControllers } from "./level.js";

interface PullInput extends Surroundings {
  readonly options: { readonly namespace: string };
  /** The member. */
  readonly access: OwnedAccess;
  readonly closers: Closers;
  readonly metrics: Metrics;
  /** Of this candidate. */
  readonly identity: string;
}

/**
 * Fetches the member's Works from the hub that its Secret names, makes them true, and keeps the credential fresh. Of several agents of a member the holder of
 * a Lease in the member works. Returns a line for people. Throws `InputError` where the hub does not let it in.
 */
export async function startPull(input: PullInput): Promise<string> {
  const { access, closers, clock, random, log, metrics, identity } = input;
  const { namespace } = input.options;
  const hub = await openHub({ clock, random, log, member: access, namespace });
  closers.add(() => hub.access.close());
  const stop = new AbortController();
  const kept = hub.keep(stop.signal);
  closers.add(async () => {
    stop.abort();
    await kept;
  });
  runControllers({
    clock,
    random,
    log: log.with({ cluster: access.name, part: "pull" }),
    cluster: hub.access,
    specs: pullControllers(access, { credentialEnds: () => hub.expiresMs() }),
    closers,
    metrics,
    election: { namespace, name: pullLease, identity, client: access.client },
  });
  return `fetches from ${hub.server}`;
}
