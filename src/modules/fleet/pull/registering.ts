import { createHash, X509Certificate } from "node:crypto";
import type { ApiClient } from "../../../kernel/client/index.js";
import { ApiError, ArgosyError, InputError } from "../../../kernel/errors/index.js";
import {
  ConfigMapKind,
  type JsonObject,
  NamespaceKind,
  RoleBindingKind,
  RoleKind,
  SecretKind,
  ServiceAccountKind,
} from "../../../kernel/kinds/index.js";
import { asObject } from "../../../kernel/schema/index.js";
import { clusterIdentity } from "../clusters/identity.js";
import { ClusterKind } from "../kinds.js";
import { ARGOSY } from "../names.js";
import { agentAccountOf, CLUSTER_SPACE, HUB_SECRET, HUB_SECRET_KEYS, registrationAccountOf } from "./names.js";
import { type HubToken, requestToken } from "./tokens.js";

const MANAGER = "argosy-register";
/** Renewed when a third of it has passed: a member may be cut off for 20 days and still find in. */
export const CREDENTIAL_SECONDS = 30 * 86_400;

/** Where strangers find the hub's authority, as kubeadm and Karmada have it. */
export const CLUSTER_INFO = { namespace: "kube-public", name: "cluster-info", key: "kubeconfig" } as const;

/** `sha256:…` over the public key of an authority (its first certificate), as kubeadm counts it. Throws `InputError` for what is no certificate. */
export function authorityHash(caPem: string): string {
  try {
    const key = new X509Certificate(caPem).publicKey.export({ type: "spki", format: "der" });
    return `sha256:${createHash("sha256").update(key).digest("hex")}`;
  } catch (error) {
    throw new InputError("the hub's authority is no certificate", { cause: error });
  }
}

/** Lets everybody read `cluster-info` with the hub's authority, unless that is there already. */
export async function publishClusterInfo(client: ApiClient, kubeconfig: string): Promise<void> {
  const { namespace, name, key } = CLUSTER_INFO;
  if ((await client.resource(ConfigMapKind).find(name, { namespace })) !== undefined) return;
  const options = { fieldManager: MANAGER, force: true, namespace };
  const spaces = client.resource(NamespaceKind);
  if ((await spaces.find(namespace)) === undefined) await spaces.apply({ metadata: { name: namespace } }, options);
  await client.resource(ConfigMapKind).apply({ metadata: { name, namespace }, data: { [key]: kubeconfig } }, options);
  const metadata = { name: "argosy:cluster-info", namespace };
  const rules = [{ apiGroups: [""], resources: ["configmaps"], resourceNames: [name], verbs: ["get"] }];
  await client.resource(RoleKind).apply({ metadata, rules }, options);
  const apiGroup = "rbac.authorization.k8s.io";
  await client.resource(RoleBindingKind).apply(
    {
      metadata,
      roleRef: { apiGroup, kind: "Role", name: metadata.name },
      subjects: [{ apiGroup, kind: "User", name: "system:anonymous" }],
    },
    options,
  );
}

/** A member that registers. */
export interface Registration {
  readonly name: string;
  /** With the registration's token. */
  readonly hub: ApiClient;
  readonly hubAddress: { readonly server: string; readonly caPem?: string };
  /** As whoever may write Secrets in `namespace` there. */
  readonly member: ApiClient;
  /** Of the agent in the member; made when it is missing. */
  readonly namespace: string;
  /** Of the member's API, for those who may reach it. */
  readonly endpoint: string;
  /** `host:port` of the member's ingress, as the hub reaches it. */
  readonly ingressAddress?: string;
}

/**
 * Exchanges a registration's token for the credential of the member's own agent, which is kept in a Secret of the member and returned; the registration's ends by
 * that. Throws `InputError` where the hub does not know the token or the name, where that is a push member's, and for a member that is in the fleet already.
 */
export async function registerMember(registration: Registration): Promise<HubCredential> {
  const { name, hub, hubAddress, member, namespace, endpoint, ingressAddress } = registration;
  const id = await clusterIdentity(member);
  const annotations = ingressAddress === undefined ? {} : { [ARGOSY.ingressAddress]: ingressAddress };
  const change = { metadata: { annotations }, spec: { id, apiEndpoint: endpoint } };
  const credential = await enter(hub, name, change).catch((error: unknown) => {
    throw explained(error, name);
  });
  const spaces = member.resource(NamespaceKind);
  if ((await spaces.find(namespace)) === undefined)
    await spaces.apply({ metadata: { name: namespace } }, { fieldManager: MANAGER, force: true });
  const kept = { cluster: name, server: hubAddress.server, ca: hubAddress.caPem ?? "", token: credential.token };
  await keepCredential(member, namespace, kept);
  await hub.resource(ServiceAccountKind).delete(registrationAccountOf(name), { namespace: CLUSTER_SPACE });
  return kept;
}

/** Says in the hub where the member is, and fetches its agent's token. */
async function enter(hub: ApiClient, name: string, change: JsonObject): Promise<HubToken> {
  const clusters = hub.resource(ClusterKind);
  const { spec } = await clusters.get(name);
  if (spec?.syncMode !== "Pull")
    throw new InputError(
      `cluster ${name} is in the fleet by push: \`argosy clusters leave ${name}\` on the hub first, or choose another name`,
    );
  if (spec.id !== undefined && spec.id !== asObject(change["spec"])["id"])
    throw new InputError(
      `${name} is another cluster already: \`argosy clusters leave ${name}\` on the hub first, or choose another name`,
    );
  await clusters.patch(name, "merge", change, { fieldManager: MANAGER });
  return requestToken(hub, agentAccountOf(name), CREDENTIAL_SECONDS);
}

function explained(error: unknown, name: string): unknown {
  if (!(error instanceof ApiError)) return error;
  const twin = error.status.details?.causes?.find(({ field }) => field === "spec.id");
  if (twin !== undefined) return new InputError(`the hub does not take cluster ${name}: ${twin.message}`);
  const again = `make another with \`argosy clusters token create ${name}\` on the hub`;
  if (error.httpCode === 401)
    return new InputError(`the hub does not know this token: it was used, is too old, or was revoked; ${again}`);
  if (error.httpCode === 403) return new InputError(`this token is not for cluster ${name}; ${again}`);
  return error;
}

/** What a member's Secret holds. */
export interface HubCredential {
  readonly cluster: string;
  readonly server: string;
  /** PEM; empty: the system's authorities. */
  readonly ca: string;
  readonly token: string;
}

/** Writes the Secret by which a member's agent enters the hub. */
export async function keepCredential(member: ApiClient, namespace: string, credential: HubCredential): Promise<void> {
  const data = Object.entries(HUB_SECRET_KEYS).map(([field, key]) => {
    const text = Object.entries(credential).find(([name]) => name === field)?.[1];
    return [key, Buffer.from(typeof text === "string" ? text : "").toString("base64")];
  });
  await member
    .resource(SecretKind)
    .apply(
      { metadata: { name: HUB_SECRET, namespace }, data: Object.fromEntries(data) },
      { fieldManager: MANAGER, force: true, namespace },
    );
}

/** Reads it. Throws `ArgosyError` when it is not there, or not whole. */
export async function readCredential(member: ApiClient, namespace: string): Promise<HubCredential> {
  const secret = await member.resource(SecretKind).find(HUB_SECRET, { namespace });
  const where = `Secret ${namespace}/${HUB_SECRET}`;
  if (secret === undefined)
    throw new ArgosyError("NotRegistered", `the member has no ${where}: \`argosy clusters register\` makes it`);
  const field = (key: string): string => Buffer.from(secret.data?.[key] ?? "", "base64").toString("utf8");
  const { server, ca, token, cluster } = HUB_SECRET_KEYS;
  const credential = { server: field(server), ca: field(ca), token: field(token).trim(), cluster: field(cluster) };
  if (credential.server === "" || credential.token === "" || credential.cluster === "")
    throw new ArgosyError(
      "NotRegistered",
      `${where} of the member lacks ${server}, ${token} or ${cluster}: register again`,
    );
  return credential;
}
