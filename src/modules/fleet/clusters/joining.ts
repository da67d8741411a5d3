import type { ApiClient } from "../../../kernel/client/index.js";
import type { Clock } from "../../../kernel/clock/index.js";
import { ArgosyError, InputError, isNotFound } from "../../../kernel/errors/index.js";
import {
  ClusterRoleBindingKind,
  ClusterRoleKind,
  ConfigMapKind,
  findCondition,
  LeaseKind,
  NamespaceKind,
  SecretKind,
  ServiceAccountKind,
} from "../../../kernel/kinds/index.js";
import type { PolicyRule } from "../../../kernel/module/types.js";
import { toJson } from "../../../kernel/schema/index.js";
import { clusterNameFaults, twinFault } from "../admission/clusters.js";
import { type Cluster, ClusterKind, WorkKind } from "../kinds.js";
import { ARGOSY, executionSpaceOf } from "../names.js";
import { clusterIdentity } from "./identity.js";
import { OWN_IMPERSONATOR } from "./proxy-rights.js";

/** Where credentials are, in the hub and in the member (Karmada's name). */
const SPACE = "karmada-cluster";
const MANAGER = "argosy-join";
const POLL_MS = 200;
const TOKEN_MS = 20_000;
const CORDON = { key: "cluster.karmada.io/unschedulable", effect: "NoSchedule" } as const;

const IMPERSONATION: readonly PolicyRule[] = [
  { apiGroups: [""], resources: ["users", "groups", "serviceaccounts"], verbs: ["impersonate"] },
  { apiGroups: ["authentication.k8s.io"], resources: ["*"], verbs: ["impersonate"] },
];

/** What a member brings with it. */
export interface JoinRequest {
  readonly name: string;
  /** As whoever may make accounts and roles there. */
  readonly member: ApiClient;
  /** How the hub reaches it. */
  readonly endpoint: { readonly server: string; readonly caPem?: string; readonly insecureSkipTlsVerify?: boolean };
  /** What the hub may do there. */
  readonly rules: readonly PolicyRule[];
  readonly place: { readonly region?: string; readonly provider?: string; readonly zones?: readonly string[] };
  readonly labels: Readonly<Record<string, string>>;
}

/** Where the hub is, and what tells the time. */
export interface Hub {
  readonly client: ApiClient;
  readonly clock: Clock;
}

/**
 * Brings a member in by push: an account of the hub's in the member, its token in the hub, and the Cluster. Doing it again renews the credentials, and keeps
 * the place and the labels that are not given. Throws `InputError` for a name that cannot be one or is another cluster's, for a member that is there
 * under another name, and for the hub itself.
 */
export async function joinCluster({ client, clock }: Hub, request: JoinRequest): Promise<void> {
  const { name, member, endpoint } = request;
  const [wrong] = clusterNameFaults(name);
  if (wrong !== undefined) throw new InputError(`cluster ${JSON.stringify(name)}: ${wrong}`);
  if (!URL.canParse(endpoint.server) || new URL(endpoint.server).host === "")
    throw new InputError(`${JSON.stringify(endpoint.server)} is no URL of an API`);
  const id = await clusterIdentity(member);
  const known = await knownAs({ client, clock }, name, id);
  await ensureSpace(member);
  const token = await accountWith(member, clock, accountOf(name), request.rules);
  const impersonator = await accountWith(member, clock, impersonatorOf(name), IMPERSONATION);
  await ensureSpace(client);
  const secret = async (own: string, data: Record<string, string>): Promise<void> => {
    const encoded = Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
    await client
      .resource(SecretKind)
      .apply(
        { metadata: { name: own, namespace: SPACE }, data: Object.fromEntries(encoded) },
        { fieldManager: MANAGER, force: true, namespace: SPACE },
      );
  };
  await secret(name, { token, ...(endpoint.caPem === undefined ? {} : { caBundle: endpoint.caPem }) });
  await secret(secretsOf(name)[1], { token: impersonator });
  const { region, provider, zones } = request.place;
  const metadata = { labels: request.labels, annotations: { [OWN_IMPERSONATOR]: "true" } };
  const spec = {
    id,
    syncMode: "Push" as const,
    apiEndpoint: endpoint.server,
    secretRef: { namespace: SPACE, name },
    impersonatorSecretRef: { namespace: SPACE, name: secretsOf(name)[1] },
    ...(endpoint.insecureSkipTlsVerify === true ? { insecureSkipTLSVerification: true } : {}),
    ...(region === undefined ? {} : { region }),
    ...(provider === undefined ? {} : { provider }),
    ...(zones === undefined || zones.length === 0 ? {} : { zones: [...zones] }),
  };
  const clusters = client.resource(ClusterKind);
  const options = { fieldManager: MANAGER, force: true };
  if (known === undefined) await clusters.apply({ metadata: { name, ...metadata }, spec }, options);
  else
    await clusters.patch(
      name,
      "merge",
      { metadata, spec: { insecureSkipTLSVerification: null, ...spec } },
      { fieldManager: MANAGER },
    );
}

/** The Cluster of that name, where the hub knows it and it is this one. Throws `InputError` where one is taken for another. */
async function knownAs({ client }: Hub, name: string, id: string | undefined): Promise<Cluster | undefined> {
  if ((await clusterIdentity(client)) === id)
    throw new InputError("this is the hub itself: it runs nothing, and what is delivered there meets its own template");
  const { items } = await client.resource(ClusterKind).list();
  const known = items.find(({ metadata }) => metadata.name === name);
  const instead = `\`argosy clusters leave ${name}\` first, or choose another name`;
  if (known?.spec?.syncMode === "Pull") throw new InputError(`cluster ${name} is in the fleet by pull: ${instead}`);
  if (known?.spec?.id !== undefined && known.spec.id !== id)
    throw new InputError(`${name} is another cluster already: ${instead}`);
  const twin = items.find(({ spec, metadata }) => spec?.id === id && metadata.name !== name);
  if (twin !== undefined) throw new InputError(twinFault(twin.metadata.name));
  return known;
}

/** Waits until the hub calls the member Ready. Throws with what it says instead. */
export async function awaitReady({ client, clock }: Hub, name: string, timeoutMs: number): Promise<void> {
  const end = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const cluster = await client.resource(ClusterKind).get(name);
    const ready = findCondition(cluster.status?.conditions, "Ready");
    if (ready?.status === "True") return;
    if (clock.monotonicMs() > end)
      throw new ArgosyError(
        "NotReady",
        `cluster ${name} has joined, but is not Ready after ${timeoutMs / 1000} s: ${ready?.message ?? "the hub has not looked at it yet: is its continuum agent running?"}`,
      );
    await clock.sleep(POLL_MS);
  }
}

/**
 * Takes a member out: its objects go where it answers, then the Cluster, then its credentials. Throws when that takes too long, and when nothing is known
 * of it. Says whether the hub had an account in it, and how many objects stay there because it did not answer.
 */
export async function leaveCluster(
  { client, clock }: Hub,
  name: string,
  timeoutMs: number,
): Promise<{ readonly hadAccount: boolean; readonly staying: number }> {
  const clusters = client.resource(ClusterKind);
  // One that was interrupted goes on with the credentials.
  const secrets = await Promise.all(
    secretsOf(name).map((own) => client.resource(SecretKind).find(own, { namespace: SPACE })),
  );
  const hadAccount = secrets.some((found) => found !== undefined);
  let last = hadAccount ? await clusters.find(name) : await clusters.get(name);
  const works = await client.resource(WorkKind).list({ namespace: executionSpaceOf(name) });
  await clusters.delete(name);
  const end = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const cluster = await clusters.find(name);
    if (cluster === undefined) break;
    last = cluster;
    if (clock.monotonicMs() > end) {
      const why = findCondition(cluster.status?.conditions, "Leaving")?.message ?? "it is not gone yet";
      throw new ArgosyError("NotGone", `cluster ${name} is leaving: ${why}`);
    }
    await clock.sleep(POLL_MS);
  }
  for (const own of secretsOf(name)) await ifThere(client.resource(SecretKind).delete(own, { namespace: SPACE }));
  const isSilent = findCondition(last?.status?.conditions, "Ready")?.status !== "True";
  const isAbandoned = last?.metadata.annotations?.[ARGOSY.abandon] === "true";
  return { hadAccount, staying: last !== undefined && (isSilent || isAbandoned) ? works.items.length : 0 };
}

/** Whether a way in leads to the cluster that the hub knows by this name, and not to another; what the hub does not know may be any. */
export async function isMember({ client }: Hub, name: string, member: ApiClient): Promise<boolean> {
  const id = (await client.resource(ClusterKind).find(name))?.spec?.id;
  return id === undefined || id === (await clusterIdentity(member));
}

/** Removes from a member what `joinCluster` made there. Says whether there was something. */
export async function forgetHub(member: ApiClient, name: string): Promise<boolean> {
  const wasThere =
    (await member.resource(ServiceAccountKind).find(accountOf(name), { namespace: SPACE })) !== undefined;
  for (const account of [accountOf(name), impersonatorOf(name)]) {
    for (const kind of [ClusterRoleBindingKind, ClusterRoleKind])
      await ifThere(member.resource(kind).delete(roleOf(account)));
    for (const kind of [SecretKind, ServiceAccountKind])
      await ifThere(member.resource(kind).delete(account, { namespace: SPACE }));
  }
  if (wasThere && (await isEmptySpace(member))) await ifThere(member.resource(NamespaceKind).delete(SPACE));
  return wasThere;
}

/** Whether nobody has anything in the namespace of hubs' accounts: another hub's, or, where this is a hub itself, its members'. */
async function isEmptySpace(member: ApiClient): Promise<boolean> {
  const inSpace = { namespace: SPACE };
  const [accounts, secrets, maps, leases] = await Promise.all([
    member.resource(ServiceAccountKind).list(inSpace),
    member.resource(SecretKind).list(inSpace),
    member.resource(ConfigMapKind).list(inSpace),
    member.resource(LeaseKind).list(inSpace),
  ]);
  // What each namespace has of its own.
  const own = [...accounts.items, ...maps.items].every(({ metadata: { name } }) =>
    ["default", "kube-root-ca.crt"].includes(name),
  );
  return own && secrets.items.length === 0 && leases.items.length === 0;
}

/** Keeps newcomers out of a member, or lets them in again. Says whether that changed anything. */
export async function setCordon({ client }: Hub, name: string, isCordoned: boolean): Promise<boolean> {
  const clusters = client.resource(ClusterKind);
  const { spec, metadata } = await clusters.get(name);
  const taints = spec?.taints ?? [];
  const others = taints.filter(({ key, effect }) => key !== CORDON.key || effect !== CORDON.effect);
  const wanted = isCordoned ? [...others, CORDON] : others;
  if (wanted.length === taints.length) return false;
  const { resourceVersion } = metadata;
  await clusters.patch(
    name,
    "merge",
    { metadata: { resourceVersion }, spec: { taints: wanted.length === 0 ? null : toJson(wanted) } },
    { fieldManager: MANAGER },
  );
  return true;
}

/** The members that a hub knows, by name. */
export async function listClusters({ client }: Hub): Promise<Cluster[]> {
  const { items } = await client.resource(ClusterKind).list();
  return items.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

function accountOf(name: string): string {
  return `karmada-${name}`;
}

function impersonatorOf(name: string): string {
  return `karmada-${name}-impersonator`;
}

/** In the hub: the way in, and the right to speak for others there. */
function secretsOf(name: string): readonly [string, string] {
  return [name, `${name}-impersonator`];
}

function roleOf(account: string): string {
  return `karmada-controller-manager:${account}`;
}

async function ensureSpace(client: ApiClient): Promise<void> {
  const spaces = client.resource(NamespaceKind);
  if ((await spaces.find(SPACE)) === undefined)
    await spaces.apply({ metadata: { name: SPACE } }, { fieldManager: MANAGER });
}

/** An account with these rights and a token that stays until its Secret goes. */
async function accountWith(
  member: ApiClient,
  clock: Clock,
  account: string,
  rules: readonly PolicyRule[],
): Promise<string> {
  const options = { fieldManager: MANAGER, force: true };
  const inSpace = { ...options, namespace: SPACE };
  const metadata = { name: account, namespace: SPACE };
  await member.resource(ServiceAccountKind).apply({ metadata }, inSpace);
  const role = roleOf(account);
  await member.resource(ClusterRoleKind).apply({ metadata: { name: role }, rules: toJson(rules) }, options);
  await member.resource(ClusterRoleBindingKind).apply(
    {
      metadata: { name: role },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
      subjects: [{ kind: "ServiceAccount", name: account, namespace: SPACE }],
    },
    options,
  );
  const annotations = { "kubernetes.io/service-account.name": account };
  const secrets = member.resource(SecretKind);
  await secrets.apply({ metadata: { ...metadata, annotations }, type: "kubernetes.io/service-account-token" }, inSpace);
  const end = clock.monotonicMs() + TOKEN_MS;
  for (;;) {
    const token = (await secrets.get(account, { namespace: SPACE })).data?.["token"];
    if (token !== undefined && token !== "") return Buffer.from(token, "base64").toString("utf8");
    if (clock.monotonicMs() > end)
      throw new ArgosyError(
        "NoToken",
        `the member gives ServiceAccount ${SPACE}/${account} no token after ${TOKEN_MS / 1000} s: does its token controller run?`,
      );
    await clock.sleep(POLL_MS);
  }
}

async function ifThere(removal: Promise<unknown>): Promise<void> {
  try {
    await removal;
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
