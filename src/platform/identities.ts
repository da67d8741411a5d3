import { join } from "node:path";
import type { UserInfo } from "../cluster/apiserver/index.js";
import type { Followed } from "../kernel/client/index.js";
import { keepToken } from "../kernel/identity/index.js";
import type { PolicyRule } from "../kernel/module/types.js";
import { CLUSTER_SPACE } from "../modules/fleet/index.js";

/** An agent of ours in one cluster: its user and what it may do there besides what every authenticated user may. */
export interface Identity {
  /** Also the file name of its token. */
  readonly name: string;
  readonly user: UserInfo;
  /** Becomes a ClusterRole of the same name; absent where a bootstrap role or group already fits. */
  readonly rules?: readonly PolicyRule[];
  /** Of what kinds (`v1/pods`) its informers follow but a part. */
  readonly followed?: Followed;
}

/** The workload controllers share one identity; garbage collection and namespaces make it wide, but it grants nothing on. */
export const controllerManager: Identity = {
  name: "argosy-controller-manager",
  user: { username: "argosy:controller-manager", groups: ["system:authenticated"] },
  rules: [
    {
      apiGroups: ["*"],
      resources: ["*"],
      verbs: ["delete", "deletecollection", "patch", "update", "get", "list", "watch"],
    },
    { apiGroups: ["", "events.k8s.io"], resources: ["events"], verbs: ["create"] },
    {
      apiGroups: [""],
      resources: [
        "configmaps",
        "endpoints",
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "secrets",
        "serviceaccounts",
        "serviceaccounts/token",
      ],
      verbs: ["create"],
    },
    { apiGroups: ["apps"], resources: ["controllerrevisions", "replicasets"], verbs: ["create"] },
    { apiGroups: ["batch"], resources: ["jobs"], verbs: ["create"] },
    { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["create"] },
    { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
    { apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"], verbs: ["create"] },
    { apiGroups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"], verbs: ["create"] },
    // Gathering rules into an aggregated role writes rules that the controller does not hold itself.
    { apiGroups: ["rbac.authorization.k8s.io"], resources: ["clusterroles"], verbs: ["escalate"] },
    { nonResourceURLs: ["*"], verbs: ["get"] },
  ],
};

/** The scheduler, with the built-in role of its user. */
export const scheduler: Identity = {
  name: "argosy-scheduler",
  user: { username: "system:kube-scheduler", groups: ["system:authenticated"] },
};

/** What nodes may not do by themselves: making volumes of folders of theirs, and binding claims to them. */
export const VOLUME_RULES: readonly PolicyRule[] = [
  { apiGroups: [""], resources: ["persistentvolumes"], verbs: ["get", "list", "create", "delete"] },
  { apiGroups: [""], resources: ["persistentvolumeclaims"], verbs: ["get", "create", "patch"] },
  {
    apiGroups: [""],
    resources: ["persistentvolumes/status", "persistentvolumeclaims/status"],
    verbs: ["patch"],
  },
];

/** Who makes volumes for the nodes of a cluster. */
export const volumeProvisioner: Identity = {
  name: "argosy-volumes",
  user: { username: "argosy:volumes", groups: ["system:authenticated"] },
  rules: VOLUME_RULES,
};

/** What every agent may do besides its modules' work. */
export const AGENT_RULES: readonly PolicyRule[] = [
  { apiGroups: ["", "events.k8s.io"], resources: ["events"], verbs: ["create", "patch", "update"] },
  { nonResourceURLs: ["/readyz", "/livez", "/version", "/api", "/api/*", "/apis", "/apis/*"], verbs: ["get"] },
];

/** Of Leases, modules look at those of member clusters only. */
export const AGENT_FOLLOWED: Followed = { namespaces: { "coordination.k8s.io/v1/leases": CLUSTER_SPACE } };

/** The agent that hosts the modules' controllers in one cluster. */
export function moduleAgent(rules: readonly PolicyRule[]): Identity {
  return {
    name: "argosy-agent",
    user: { username: "argosy:agent", groups: ["system:authenticated"] },
    rules: [...rules, ...AGENT_RULES],
    followed: AGENT_FOLLOWED,
  };
}

/** The hub's hand in a member, with the rights to deliver there and no others. */
export function fleetDelivery(rules: readonly PolicyRule[]): Identity {
  return {
    name: "argosy-fleet",
    user: { username: "argosy:fleet", groups: ["system:authenticated"] },
    rules,
  };
}

/** A node's own identity: the node authorizer lets it at its pods and what they name; names of Services in pods come from their slices. */
export function nodeIdentity(node: string): Identity {
  return {
    name: `node-${node}`,
    user: { username: `system:node:${node}`, groups: ["system:nodes", "system:authenticated"] },
    rules: [{ apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["get", "list", "watch"] }],
    followed: { fieldSelectors: { "v1/pods": `spec.nodeName=${node}` } },
  };
}

/** What a service proxy reads, to find its ways and to keep others out, and the events that it writes. */
export const PROXY_RULES: readonly PolicyRule[] = [
  {
    apiGroups: ["", "networking.k8s.io"],
    resources: ["pods", "namespaces", "networkpolicies"],
    verbs: ["get", "list", "watch"],
  },
  {
    apiGroups: ["", "discovery.k8s.io"],
    resources: ["services", "endpointslices", "nodes"],
    verbs: ["get", "list", "watch"],
  },
  { apiGroups: [""], resources: ["events"], verbs: ["create", "patch", "update"] },
];

/** The service proxy of a cluster. */
export const serviceProxy: Identity = {
  name: "argosy-service-proxy",
  user: { username: "argosy:service-proxy", groups: ["system:authenticated"] },
  rules: PROXY_RULES,
};

/** Who asks for tokens and permissions of others: the northbound server. */
export const northboundReviewer: Identity = {
  name: "argosy-northbound",
  user: { username: "argosy:northbound", groups: ["system:authenticated"] },
  rules: [
    { apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"], verbs: ["create"] },
    { apiGroups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"], verbs: ["create"] },
  ],
};

/** An identity with the token that it holds. */
export interface Credential {
  readonly identity: Identity;
  readonly token: string;
}

/** Reads or makes the tokens of these identities in `directory` (0600 files). */
export async function keepCredentials(
  directory: string,
  identities: readonly Identity[],
): Promise<ReadonlyMap<string, Credential>> {
  const credentials = new Map<string, Credential>();
  for (const identity of identities) {
    credentials.set(identity.name, { identity, token: await keepToken(join(directory, `${identity.name}.token`)) });
  }
  return credentials;
}
