import type { ApiClient } from "../kernel/client/index.js";
import { ClusterKind } from "../modules/fleet/index.js";

const fieldManager = "argosy-platform";

/** A member of this start. */
export interface RegisteredMember {
  readonly name: string;
  /** Of its API. */
  readonly url: string;
  readonly ingressPort: number;
}

/**
 * Tells the hub which members there are and where their models are reached. Members of earlier starts that are `resting` now keep their
 * Cluster, but are sent no requests until they are back.
 */
export async function registerMembers(
  hub: ApiClient,
  members: readonly RegisteredMember[],
  resting: readonly string[],
): Promise<void> {
  const clusters = hub.resource(ClusterKind);
  for (const name of resting) {
    if ((await clusters.find(name)) === undefined) continue;
    const annotations = { "argosy.dev/drain": "it is not among the members of this start" };
    await clusters.apply({ metadata: { name, annotations } }, { fieldManager, force: true });
  }
  for (const { name, url, ingressPort } of members) {
    const annotations = { "argosy.dev/ingress-address": `127.0.0.1:${ingressPort}` };
    const spec = { syncMode: "Push", apiEndpoint: url };
    await clusters.apply({ metadata: { name, annotations }, spec }, { fieldManager, force: true });
  }
}
