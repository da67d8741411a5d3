import type { JsonObject } from "../../../kernel/kinds/object.js";
import { componentRoles } from "./bootstrap/components.js";
import { controllerRoles } from "./bootstrap/controllers.js";
import { namespacedRoles } from "./bootstrap/namespaced.js";
import { peopleRoles } from "./bootstrap/people.js";
import { type RoleTable, rulesIn } from "./bootstrap/table.js";

/**
 * The roles and bindings that every cluster starts with, Kubernetes' own in name and rules, so that manifests and tools which bind
 * them work. They are put back at each start unless annotated `rbac.authorization.kubernetes.io/autoupdate: "false"`.
 */

const group = "rbac.authorization.k8s.io";
const apiVersion = `${group}/v1`;

interface Place {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Record<string, string>;
}

function metadataOf({ name, namespace, labels }: Place): JsonObject {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    labels: { "kubernetes.io/bootstrapping": "rbac-defaults", ...labels },
    annotations: { "rbac.authorization.kubernetes.io/autoupdate": "true" },
  };
}

function clusterRole(place: Place, rules: readonly JsonObject[]): JsonObject {
  return { apiVersion, kind: "ClusterRole", metadata: metadataOf(place), rules: [...rules] };
}

const into = (label: string) => ({ [`rbac.authorization.k8s.io/${label}`]: "true" });

/** Gathers the rules of roles with a label; `rules` holds what they are at the start, before the gathering controller runs. */
function gathered(place: Place, label: string, rules: readonly JsonObject[]): JsonObject {
  const selector = { matchLabels: into(label) };
  return { ...clusterRole(place, rules), aggregationRule: { clusterRoleSelectors: [selector] } };
}

/** Roles of people are gathered from parts, to which other parts can be added. */
const labelsOf: Readonly<Record<string, Record<string, string>>> = {
  "system:aggregate-to-admin": into("aggregate-to-admin"),
  "system:aggregate-to-edit": into("aggregate-to-edit"),
  "system:aggregate-to-view": into("aggregate-to-view"),
};

function clusterRoles(): JsonObject[] {
  const part = (name: string) => rulesIn(peopleRoles[`system:aggregate-to-${name}`] ?? "");
  const edit = [...part("edit"), ...part("view")];
  const ofTable = (table: RoleTable, prefix = "") =>
    Object.entries(table).map(([name, text]) => {
      const labels = labelsOf[name];
      return clusterRole({ name: prefix + name, ...(labels === undefined ? {} : { labels }) }, rulesIn(text));
    });
  return [
    gathered({ name: "admin" }, "aggregate-to-admin", [...edit, ...part("admin")]),
    gathered({ name: "edit", labels: into("aggregate-to-admin") }, "aggregate-to-edit", edit),
    gathered({ name: "view", labels: into("aggregate-to-edit") }, "aggregate-to-view", part("view")),
    ...ofTable(peopleRoles),
    ...ofTable(componentRoles),
    ...ofTable(controllerRoles, "system:controller:"),
  ];
}

function roles(): JsonObject[] {
  return Object.entries(namespacedRoles).map(([place, text]) => {
    const [namespace = "", name = ""] = place.split("/");
    return { apiVersion, kind: "Role", metadata: metadataOf({ name, namespace }), rules: rulesIn(text) };
  });
}

/** `user:NAME`, `group:NAME` or `account:NAME` (in kube-system). */
function subjectOf(text: string): JsonObject {
  const [kind, ...rest] = text.split(":");
  const name = rest.join(":");
  if (kind === "account") return { kind: "ServiceAccount", name, namespace: "kube-system" };
  return { apiGroup: group, kind: kind === "user" ? "User" : "Group", name };
}

function bind(role: string, ...subjects: readonly string[]): JsonObject {
  return {
    apiVersion,
    kind: "ClusterRoleBinding",
    metadata: metadataOf({ name: role }),
    roleRef: { apiGroup: group, kind: "ClusterRole", name: role },
    ...(subjects.length === 0 ? {} : { subjects: subjects.map(subjectOf) }),
  };
}

function bindIn(namespace: string, name: string, role: string, subjects: readonly string[]): JsonObject {
  return {
    apiVersion,
    kind: "RoleBinding",
    metadata: metadataOf({ name, namespace }),
    roleRef: { apiGroup: group, kind: "Role", name: role },
    subjects: subjects.map(subjectOf),
  };
}

const manager = "user:system:kube-controller-manager";
const scheduler = "user:system:kube-scheduler";

function bindings(): JsonObject[] {
  const leader = (component: string, ...subjects: string[]) => {
    const name = `system::leader-locking-${component}`;
    return bindIn("kube-system", name, name, subjects);
  };
  const own = (namespace: string, controller: string) => {
    const name = `system:controller:${controller}`;
    return bindIn(namespace, name, name, [`account:${controller}`]);
  };
  const reader = "extension-apiserver-authentication-reader";
  return [
    bind("cluster-admin", "group:system:masters"),
    bind("system:basic-user", "group:system:authenticated"),
    bind("system:discovery", "group:system:authenticated"),
    bind("system:public-info-viewer", "group:system:authenticated", "group:system:unauthenticated"),
    bind("system:monitoring", "group:system:monitoring"),
    bind("system:service-account-issuer-discovery", "group:system:serviceaccounts"),
    bind("system:kube-controller-manager", manager),
    bind("system:kube-dns", "account:kube-dns"),
    bind("system:kube-scheduler", scheduler),
    bind("system:volume-scheduler", scheduler),
    // Kept for manifests that bind it; node identities are judged by the node authorizer.
    bind("system:node"),
    bind("system:node-proxier", "user:system:kube-proxy"),
    // The name by which this server calls its node agents, which ask it what that name may do.
    bind("system:kubelet-api-admin", "user:kube-apiserver-kubelet-client"),
    ...Object.keys(controllerRoles).map((name) => bind(`system:controller:${name}`, `account:${name}`)),
    bindIn("kube-system", `system::${reader}`, reader, [manager, scheduler]),
    leader("kube-controller-manager", manager, "account:kube-controller-manager", "account:leader-election-controller"),
    leader("kube-scheduler", scheduler, "account:kube-scheduler"),
    own("kube-public", "bootstrap-signer"),
    own("kube-system", "bootstrap-signer"),
    own("kube-system", "cloud-provider"),
    own("kube-system", "token-cleaner"),
  ];
}

/** Roles, ClusterRoles and their bindings of a new cluster. */
export function bootstrapRoles(): JsonObject[] {
  return [...clusterRoles(), ...roles(), ...bindings()];
}
