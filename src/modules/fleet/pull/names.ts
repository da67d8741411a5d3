/** Namespace of the hub with what belongs to members (Karmada's name): Leases, credentials. */
export const CLUSTER_SPACE = "karmada-cluster";

/** In that namespace: the account by which a member's own agent works in the hub. */
export function agentAccountOf(cluster: string): string {
  return `argosy-pull-${cluster}`;
}

/** In that namespace: the account of whoever registers the member, once. */
export function registrationAccountOf(cluster: string): string {
  return `argosy-register-${cluster}`;
}

/** Annotation of a Cluster: it was enrolled here, so its agent has an account that can be revoked. */
export const ENROLLED = "argosy.dev/pull-account";
/** Annotation of a Lease: when its holder's credential ends, RFC 3339. */
export const CREDENTIAL_ENDS = "argosy.dev/credential-ends";

/** In the member: the Secret with its credential in the hub; its keys. */
export const HUB_SECRET = "argosy-hub";
export const HUB_SECRET_KEYS = { server: "server", ca: "ca.crt", token: "token", cluster: "cluster" } as const;
