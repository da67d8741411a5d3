import { hostname } from "node:os";
import type { ApiClient } from "../kernel/client/index.js";
import type { Clock } from "../kernel/clock/index.js";
import { LeaseKind, timeOf } from "../kernel/kinds/index.js";
import type { Level } from "../kernel/module/types.js";
import { agentName } from "./agent-manifests.js";
import { ensureNamespace } from "./install.js";

/** Where agents look for the lease unless told otherwise. */
const NAMESPACE = "argosy-system";
const OWN = "argosy up on ";
/** It is never renewed: whoever could take it over needs this process to answer. */
const FOR_EVER_SECONDS = 10 * 365 * 86_400;

/**
 * Takes the turn of a level in an embedded cluster for this process, whose modules work there from now on, from whoever has it; so an agent that is started
 * besides waits, and says for whom.
 */
export async function takeTurn(client: ApiClient, level: Level, clock: Clock): Promise<void> {
  await ensureNamespace(client, NAMESPACE);
  const renewTime = timeOf(clock.now()).replace("Z", ".000000Z");
  const holderIdentity = `${OWN}${hostname()}, process ${process.pid}`;
  const spec = { holderIdentity, leaseDurationSeconds: FOR_EVER_SECONDS, acquireTime: renewTime, renewTime };
  await client
    .resource(LeaseKind)
    .apply(
      { metadata: { name: agentName(level), namespace: NAMESPACE }, spec },
      { fieldManager: "argosy-up", force: true },
    );
}

/** Gives the turn that an earlier process took to whoever comes. */
export async function freeTurn(client: ApiClient, level: Level): Promise<void> {
  const leases = client.resource(LeaseKind);
  const at = { namespace: NAMESPACE };
  const lease = await leases.find(agentName(level), at);
  if (lease?.spec.holderIdentity?.startsWith(OWN) === true) await leases.delete(agentName(level), at);
}

/** What an agent says of whose turn it is. */
export function turnWords(namespace: string, name: string): (holder: string | undefined) => string {
  return (holder) =>
    holder === undefined
      ? `works: it holds the lease ${namespace}/${name}`
      : `waits: ${holder} holds the lease ${namespace}/${name} and works; this one takes over when that one ends`;
}
