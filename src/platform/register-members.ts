import type { ApiClient } from "../kernel/client/index.js";
import { ClusterRoleBindingKind, ClusterRoleKind } from "../kernel/kinds/index.js";
import { ClusterKind, clusterIdentity, enrolCluster, revokeCluster } from "../modules/fleet/index.js";
import { ensureNamespace } from "./install.js";

const fieldManager = "argosy-platform";
/** Holds the drain alone: what it does not name any more goes. */
const drainManager = "argosy-platform-drain";

/** Where Karmada's own things are, and the credentials of members: its clients expect them. */
const KARMADA_SPACES = ["karmada-system", "karmada-cluster"] as const;

/** A member of this start. */
export interface RegisteredMember {
  readonly name: string;
  /** Tells its identity, whatever its name is. */
  readonly client: ApiClient;
  /** Of its API. */
  readonly url: string;
  readonly ingressPort: number;
  /** It fetches its Works itself. */
  readonly isPull?: boolean;
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
  for (const name of KARMADA_SPACES) await ensureNamespace(hub, name);
  await letAdministratorThrough(hub);
  const clusters = hub.resource(ClusterKind);
  const drain = (name: string, annotations: Record<string, string>): Promise<unknown> =>
    clusters.apply({ metadata: { name, annotations } }, { fieldManager: drainManager, force: true });
  for (const name of resting) {
    if ((await clusters.find(name)) !== undefined)
      await drain(name, { "argosy.dev/drain": "it is not among the members of this start" });
  }
  for (const { name, client, url, ingressPort, isPull } of members) {
    const id = await clusterIdentity(client);
    const annotations = { "argosy.dev/ingress-address": `127.0.0.1:${ingressPort}` };
    const spec = { id, syncMode: isPull === true ? "Pull" : "Push", apiEndpoint: url };
    const cluster = await clusters.apply({ metadata: { name, annotations }, spec }, { fieldManager, force: true });
    if (cluster.metadata.annotations?.["argosy.dev/drain"] !== undefined) await drain(name, {});
    if (isPull === true) await enrolCluster(hub, { name });
    else await revokeCluster(hub, name);
  }
}

/** The hub's administrator may be spoken for in members by name: a role of everything names nobody. As `karmadactl init` does. */
async function letAdministratorThrough(hub: ApiClient): Promise<void> {
  const options = { fieldManager, force: true };
  const metadata = { name: "cluster-proxy-admin" };
  const apiGroup = "rbac.authorization.k8s.io";
  const rules = [{ apiGroups: ["cluster.karmada.io"], resources: ["clusters/proxy"], verbs: ["*"] }];
  await hub.resource(ClusterRoleKind).apply({ metadata, rules }, options);
  await hub.resource(ClusterRoleBindingKind).apply(
    {
      metadata,
      roleRef: { apiGroup, kind: "ClusterRole", name: metadata.name },
      subjects: [{ apiGroup, kind: "User", name: "argosy:admin" }],
    },
    options,
  );
}
