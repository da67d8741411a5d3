import { webhookRules } from "../cluster/webhooks/index.js";
import { type KindDefinition, toCrd } from "../kernel/kinds/index.js";
import type { JsonObject } from "../kernel/kinds/object.js";
import type { Level, Module, PolicyRule } from "../kernel/module/types.js";
import { toJson } from "../kernel/schema/index.js";
import { CLUSTER_SPACE, DELIVERY_RULES, HUB_SECRET, PROPAGATION_RULES } from "../modules/fleet/index.js";
import { artifactReader } from "./artifact-access.js";
import { AGENT_RULES, northboundReviewer, PROXY_RULES, VOLUME_RULES } from "./identities.js";
import { crdName } from "./install.js";
import { admissionAt, kindsAt } from "./level.js";

/** What an agent's rights are made from. */
export interface RightsOptions {
  readonly level: Level;
  readonly modules: readonly Module[];
  /** Whether it serves tracking (continuum). */
  readonly hasTracking: boolean;
  /** Where the agent's ServiceAccount, its lease and (continuum) the Secrets of members are. */
  readonly namespace: string;
  /** Whether it may install the kinds itself. */
  readonly installCrds: boolean;
  /** Level node: its name; absent: every node (group `system:nodes`). */
  readonly node?: string;
  /** Also the identity by which the hub delivers to this cluster. */
  readonly delivery?: boolean;
  /** Whether it may have the API server ask it about the kinds of its modules; default true. */
  readonly webhook?: boolean;
  /** Level cluster: it fetches the member's objects itself, with these rights to make them. */
  readonly pull?: PullRights;
}

/** What an agent that fetches may make in its member: anything that the hub sends, or what model services need. */
export type PullRights = "all" | "delivery";

/** Lease by which agents that fetch take turns. */
export const pullLease = "argosy-pull-agent";

const PULL_RULES: Readonly<Record<PullRights, readonly PolicyRule[]>> = {
  all: PROPAGATION_RULES,
  delivery: DELIVERY_RULES,
};

const group = "rbac.authorization.k8s.io";

/** Service proxy and volumes are the node's own here: more than the node authorizer of Kubernetes gives. */
const NODE_RULES: readonly PolicyRule[] = [...PROXY_RULES, ...VOLUME_RULES];

/** In the agent's namespace: credentials of members, by name (whoever keeps them elsewhere binds a role there); the artifact store's reading key. */
const SECRET_RULES: readonly PolicyRule[] = [
  { apiGroups: [""], resources: ["secrets"], verbs: ["get", "create"] },
  { apiGroups: [""], resources: ["secrets"], resourceNames: [artifactReader], verbs: ["patch"] },
];

/** Tells whether the hub is a member too. */
const MEMBER_TOO: PolicyRule = {
  apiGroups: ["coordination.k8s.io"],
  resources: ["leases"],
  resourceNames: [agentName("cluster")],
  verbs: ["get"],
};

/** The credential for the hub, which the agent renews. */
const HUB_SECRET_RULES: readonly PolicyRule[] = [
  { apiGroups: [""], resources: ["secrets"], resourceNames: [HUB_SECRET], verbs: ["get", "patch"] },
];

/** Namespace, identity and the least rights with which an agent of a level works in a cluster, made from the modules' declarations. */
export function agentRights(options: RightsOptions): JsonObject[] {
  const { level, modules, hasTracking, namespace, installCrds, node, delivery, webhook, pull } = options;
  if (level === "node") {
    const subject =
      node === undefined
        ? { apiGroup: group, kind: "Group", name: "system:nodes" }
        : { apiGroup: group, kind: "User", name: `system:node:${node}` };
    return clusterRights(node === undefined ? "argosy-node" : `argosy-node-${node}`, NODE_RULES, subject);
  }
  const name = agentName(level);
  const account = { kind: "ServiceAccount", name, namespace };
  const rules = distinct([
    ...modules.flatMap((module) => module.rules[level] ?? []),
    ...AGENT_RULES,
    // Who calls tracking, and what they may do there, is the hub's to say.
    ...(level === "continuum" && hasTracking ? (northboundReviewer.rules ?? []) : []),
    ...(installCrds ? crdRules(kindsAt(modules, level)) : []),
    ...(webhook !== false && admissionAt(modules, level).length > 0 ? webhookRules(name) : []),
    ...(pull === undefined ? [] : PULL_RULES[pull]),
  ]);
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    serviceAccount(name, namespace),
    ...clusterRights(name, rules, account),
    ...spaceRights(
      name,
      namespace,
      [
        ...leaseRules(name, ...(pull === undefined ? [] : [pullLease])),
        ...(pull === undefined ? [] : HUB_SECRET_RULES),
        ...(level === "continuum" ? [...SECRET_RULES, MEMBER_TOO] : []),
        { apiGroups: [""], resources: ["namespaces"], resourceNames: [namespace], verbs: ["get"] },
      ],
      account,
    ),
    ...(level === "continuum" && modules.some((module) => module.name === "fleet") ? membersRights(name, account) : []),
    ...(delivery === true
      ? [
          serviceAccount("argosy-fleet", namespace),
          ...clusterRights("argosy-fleet", DELIVERY_RULES, { kind: "ServiceAccount", name: "argosy-fleet", namespace }),
        ]
      : []),
  ];
}

/** The CustomResourceDefinitions that clusters of a level need. */
export function agentKinds(level: Level, modules: readonly Module[]): JsonObject[] {
  return kindsAt(modules, level).map(toCrd);
}

/** Name of an agent's ServiceAccount, roles and lease. */
export function agentName(level: Level): string {
  return `argosy-${level}-agent`;
}

/** Modules that need the same say so each. */
function distinct(rules: readonly PolicyRule[]): PolicyRule[] {
  return [...new Map(rules.map((rule) => [JSON.stringify(rule), rule])).values()];
}

function leaseRules(...names: string[]): PolicyRule[] {
  const apiGroups = ["coordination.k8s.io"];
  return [
    // A lease that is not there yet has no name to allow by.
    { apiGroups, resources: ["leases"], verbs: ["create"] },
    { apiGroups, resources: ["leases"], resourceNames: names, verbs: ["get", "update"] },
  ];
}

function crdRules(definitions: readonly KindDefinition[]): PolicyRule[] {
  const apiGroups = ["apiextensions.k8s.io"];
  const resources = ["customresourcedefinitions"];
  return definitions.length === 0
    ? []
    : [
        { apiGroups, resources, verbs: ["create"] },
        { apiGroups, resources, resourceNames: definitions.map(crdName), verbs: ["get", "patch"] },
      ];
}

function serviceAccount(name: string, namespace: string): JsonObject {
  return { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } };
}

/** Signs of life of members that fetch. */
function membersRights(name: string, account: JsonObject): JsonObject[] {
  const rule = { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "list", "watch"] };
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: CLUSTER_SPACE } },
    ...spaceRights(name, CLUSTER_SPACE, [rule], account),
  ];
}

function spaceRights(name: string, namespace: string, rules: readonly PolicyRule[], subject: JsonObject): JsonObject[] {
  const metadata = { name, namespace };
  return [
    { apiVersion: `${group}/v1`, kind: "Role", metadata, rules: toJson(rules) },
    {
      apiVersion: `${group}/v1`,
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup: group, kind: "Role", name },
      subjects: [subject],
    },
  ];
}

function clusterRights(name: string, rules: readonly PolicyRule[], subject: JsonObject): JsonObject[] {
  return [
    { apiVersion: `${group}/v1`, kind: "ClusterRole", metadata: { name }, rules: toJson(rules) },
    {
      apiVersion: `${group}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name },
      roleRef: { apiGroup: group, kind: "ClusterRole", name },
      subjects: [subject],
    },
  ];
}
