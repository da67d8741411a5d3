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

/** In the member: the Secret with its credential in the hub; its keys. */
export const HUB_SECRET = "argosy-hub";
export const HUB_SECRET_KEYS = { server: "server", ca: "ca.crt", token: "token", cluster: "cluster" } as const;
