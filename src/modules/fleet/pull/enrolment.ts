import type { ApiClient } from "../../../kernel/client/index.js";
import { InputError } from "../../../kernel/errors/index.js";
import { type JsonObject, NamespaceKind, ServiceAccountKind } from "../../../kernel/kinds/index.js";
import { asObject, asString } from "../../../kernel/schema/index.js";
import { clusterNameFaults } from "../admission/clusters.js";
import { type Cluster, ClusterKind } from "../kinds.js";
import { executionSpaceOf } from "../names.js";
import { agentAccountOf, CLUSTER_SPACE, ENROLLED, registrationAccountOf } from "./names.js";
import { enrolmentManifests, enrolmentPolicy } from "./rights.js";
import { type HubToken, requestToken } from "./tokens.js";

const MANAGER = "argosy-enrol";

/** A member that is to fetch its Works itself. */
export interface Enrolment {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly place?: { readonly region?: string; readonly provider?: string; readonly zones?: readonly string[] };
}

/**
 * Makes room for a pull member in the hub: its Cluster, its namespace, and accounts with the rights that it needs and no others; they go when the Cluster goes.
 * Doing it again changes nothing but what differs. `client` is an administrator's. Throws `InputError` for a name that cannot be one, or that is a push member's.
 */
export async function enrolCluster(client: ApiClient, { name, labels, place = {} }: Enrolment): Promise<Cluster> {
  const [wrong] = clusterNameFaults(name);
  if (wrong !== undefined) throw new InputError(`cluster ${JSON.stringify(name)}: ${wrong}`);
  const clusters = client.resource(ClusterKind);
  const present = await clusters.find(name);
  if (present?.spec?.syncMode === "Push")
    throw new InputError(
      `cluster ${name} is in the fleet by push: \`argosy clusters leave ${name}\` first, or choose another name`,
    );
  for (const space of [CLUSTER_SPACE, executionSpaceOf(name)]) await ensureNamespace(client, space);
  const { region, provider, zones } = place;
  const cluster = await clusters.apply(
    {
      metadata: {
        name,
        annotations: { [ENROLLED]: agentAccountOf(name) },
        ...(labels === undefined ? {} : { labels }),
      },
      spec: {
        syncMode: "Pull",
        ...(region === undefined ? {} : { region }),
        ...(provider === undefined ? {} : { provider }),
        ...(zones === undefined || zones.length === 0 ? {} : { zones: [...zones] }),
      },
    },
    { fieldManager: MANAGER, force: true },
  );
  const { apiVersion, kind, metadata } = cluster;
  const owner = { apiVersion, kind, name, uid: metadata.uid };
  for (const manifest of [...enrolmentManifests(name, owner), ...enrolmentPolicy()])
    await applyManifest(client, manifest);
  return cluster;
}

/** A token with which one member can register, once. */
export function registrationToken(client: ApiClient, name: string, lifetimeSeconds: number): Promise<HubToken> {
  return requestToken(client, registrationAccountOf(name), lifetimeSeconds);
}

/** Ends everything that a member's credentials open, at once; `enrolCluster` makes new accounts. Says whether there were any. */
export async function revokeCluster(client: ApiClient, name: string): Promise<boolean> {
  const accounts = client.resource(ServiceAccountKind);
  const names = [agentAccountOf(name), registrationAccountOf(name)];
  const found = await Promise.all(names.map((account) => accounts.find(account, { namespace: CLUSTER_SPACE })));
  for (const account of names) await accounts.delete(account, { namespace: CLUSTER_SPACE });
  return found.some((account) => account !== undefined);
}

async function ensureNamespace(client: ApiClient, name: string): Promise<void> {
  const namespaces = client.resource(NamespaceKind);
  if ((await namespaces.find(name)) === undefined)
    await namespaces.apply({ metadata: { name } }, { fieldManager: MANAGER, force: true });
}

/** An API server without a kind (an old one without admission policies) goes without. */
async function applyManifest(client: ApiClient, manifest: JsonObject): Promise<void> {
  const kind = await client.findKind(asString(manifest["apiVersion"]), asString(manifest["kind"]));
  if (kind === undefined) return;
  const { name, namespace, ...metadata } = asObject(manifest["metadata"]);
  const inSpace = typeof namespace === "string" ? { namespace } : {};
  await client
    .dynamic(kind)
    .apply(
      { ...manifest, metadata: { ...metadata, name: asString(name), ...inSpace } },
      { fieldManager: MANAGER, force: true, ...inSpace },
    );
}
