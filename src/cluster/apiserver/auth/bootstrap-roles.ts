import type { JsonObject } from "../../../kernel/kinds/object.js";

/**
 * The roles and bindings that every cluster starts with, under upstream's names, so that manifests and tools which bind
 * them work. They are put back at each start unless annotated `rbac.authorization.kubernetes.io/autoupdate: "false"`.
 */

const apiVersion = "rbac.authorization.k8s.io/v1";
const metadataOf = (name: string, labels: Record<string, string> = {}): JsonObject => ({
  name,
  labels: { "kubernetes.io/bootstrapping": "rbac-defaults", ...labels },
  annotations: { "rbac.authorization.kubernetes.io/autoupdate": "true" },
});

const read = ["get", "list", "watch"];
const write = ["create", "delete", "deletecollection", "patch", "update"];
const all = [...write, ...read].toSorted();

function rule(groups: string, resources: string, verbs: readonly string[]): JsonObject {
  return {
    apiGroups: groups.split(" ").map((group) => (group === "core" ? "" : group)),
    resources: resources.split(" "),
    verbs: [...verbs],
  };
}

const paths = (urls: string, verbs: readonly string[]): JsonObject => ({
  nonResourceURLs: urls.split(" "),
  verbs: [...verbs],
});

function clusterRole(name: string, rules: readonly JsonObject[], labels: Record<string, string> = {}): JsonObject {
  return { apiVersion, kind: "ClusterRole", metadata: metadataOf(name, labels), rules: [...rules] };
}

/** Gathers the rules of roles with a label; `rules` holds what they are at the start, before the gathering controller runs. */
function gathered(
  name: string,
  label: string,
  rules: readonly JsonObject[],
  labels: Record<string, string> = {},
): JsonObject {
  const selector = { matchLabels: { [`rbac.authorization.k8s.io/${label}`]: "true" } };
  return { ...clusterRole(name, rules, labels), aggregationRule: { clusterRoleSelectors: [selector] } };
}

function bind(role: string, kind: "Group" | "User", ...names: readonly string[]): JsonObject {
  return {
    apiVersion,
    kind: "ClusterRoleBinding",
    metadata: metadataOf(role),
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
    subjects: names.map((name) => ({ apiGroup: "rbac.authorization.k8s.io", kind, name })),
  };
}

const namespacedCore =
  "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status";
const workloads =
  "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status";

/** What `view` may: everything in a namespace but Secrets (whose tokens would give more) and roles. */
const viewRules = [
  rule("core", namespacedCore, read),
  rule(
    "core",
    "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
    read,
  ),
  rule("core", "namespaces", read),
  rule("discovery.k8s.io", "endpointslices", read),
  rule("apps", workloads, read),
  rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", read),
  rule("batch", "cronjobs cronjobs/status jobs jobs/status", read),
  rule("networking.k8s.io", "ingresses ingresses/status networkpolicies", read),
  rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", read),
];

const editRules = [
  rule("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", read),
  rule("core", "serviceaccounts", ["impersonate"]),
  rule("core", "pods pods/attach pods/exec pods/portforward pods/proxy", write),
  rule("core", "pods/eviction", ["create"]),
  rule(
    "core",
    "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
    write,
  ),
  rule("core", "serviceaccounts/token", ["create"]),
  rule(
    "apps",
    "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
    write,
  ),
  rule("autoscaling", "horizontalpodautoscalers", write),
  rule("batch", "cronjobs jobs", write),
  rule("networking.k8s.io", "ingresses networkpolicies", write),
  rule("policy", "poddisruptionbudgets", write),
  rule("coordination.k8s.io", "leases", all),
];

const adminRules = [
  rule("authorization.k8s.io", "localsubjectaccessreviews", ["create"]),
  rule("rbac.authorization.k8s.io", "rolebindings roles", all),
];

const events = rule("core events.k8s.io", "events", ["create", "patch", "update"]);
const leases = rule("coordination.k8s.io", "leases", ["create", "get", "update"]);

const schedulerRules = [
  events,
  leases,
  rule("core", "nodes", read),
  rule("core", "pods", ["delete", ...read]),
  rule("core", "bindings pods/binding", ["create"]),
  rule("core", "pods/status", ["patch", "update"]),
  rule("core", "namespaces persistentvolumeclaims persistentvolumes replicationcontrollers services", read),
  rule("apps", "replicasets statefulsets", read),
  rule("policy", "poddisruptionbudgets", read),
  rule("storage.k8s.io", "csidrivers csinodes csistoragecapacities storageclasses", read),
];

/** The built-in controllers share one identity; garbage collection and namespaces make it wide, but it grants nothing on. */
const controllerManagerRules = [
  events,
  rule("*", "*", ["delete", "deletecollection", "patch", "update", ...read]),
  rule("core", "configmaps endpoints persistentvolumeclaims persistentvolumes pods secrets serviceaccounts", [
    "create",
  ]),
  rule("core", "serviceaccounts/token", ["create"]),
  rule("apps", "controllerrevisions replicasets", ["create"]),
  rule("batch", "jobs", ["create"]),
  rule("discovery.k8s.io", "endpointslices", ["create"]),
  rule("coordination.k8s.io", "leases", ["create"]),
  rule("authentication.k8s.io", "tokenreviews", ["create"]),
  rule("authorization.k8s.io", "subjectaccessreviews", ["create"]),
  // Gathering rules into an aggregated role writes rules that the controller does not hold itself.
  rule("rbac.authorization.k8s.io", "clusterroles", ["escalate"]),
  paths("*", ["get"]),
];

const kubeletApiRules = [
  rule("core", "nodes", read),
  rule("core", "nodes", ["proxy"]),
  rule("core", "nodes/log nodes/metrics nodes/proxy nodes/stats", ["*"]),
];

const healthPaths = "/healthz /livez /readyz /version /version/";
const discoveryPaths = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/";
const into = (label: string) => ({ [`rbac.authorization.k8s.io/${label}`]: "true" });

/** ClusterRoles and ClusterRoleBindings of a new cluster. */
export function bootstrapRoles(): JsonObject[] {
  return [
    clusterRole("cluster-admin", [rule("*", "*", ["*"]), paths("*", ["*"])]),
    gathered("admin", "aggregate-to-admin", [...adminRules, ...editRules, ...viewRules]),
    gathered("edit", "aggregate-to-edit", [...editRules, ...viewRules], into("aggregate-to-admin")),
    gathered("view", "aggregate-to-view", viewRules, into("aggregate-to-edit")),
    clusterRole("system:aggregate-to-admin", adminRules, into("aggregate-to-admin")),
    clusterRole("system:aggregate-to-edit", editRules, into("aggregate-to-edit")),
    clusterRole("system:aggregate-to-view", viewRules, into("aggregate-to-view")),
    clusterRole("system:discovery", [paths(discoveryPaths, ["get"])]),
    clusterRole("system:monitoring", [
      paths("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*", ["get"]),
    ]),
    clusterRole("system:public-info-viewer", [paths(healthPaths, ["get"])]),
    clusterRole("system:basic-user", [
      rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", ["create"]),
      rule("authentication.k8s.io", "selfsubjectreviews", ["create"]),
    ]),
    clusterRole("system:auth-delegator", [
      rule("authentication.k8s.io", "tokenreviews", ["create"]),
      rule("authorization.k8s.io", "subjectaccessreviews", ["create"]),
    ]),
    clusterRole("system:kubelet-api-admin", kubeletApiRules),
    clusterRole("system:kube-scheduler", schedulerRules),
    clusterRole("system:kube-controller-manager", controllerManagerRules),
    // Kept for manifests that bind it; node identities are judged by the node authorizer.
    clusterRole("system:node", []),
    clusterRole("system:node-proxier", [
      rule("core", "endpoints services", ["list", "watch"]),
      rule("core", "nodes", read),
      rule("discovery.k8s.io", "endpointslices", ["list", "watch"]),
      events,
    ]),
    bind("cluster-admin", "Group", "system:masters"),
    bind("system:discovery", "Group", "system:authenticated"),
    bind("system:basic-user", "Group", "system:authenticated"),
    bind("system:public-info-viewer", "Group", "system:authenticated", "system:unauthenticated"),
    bind("system:monitoring", "Group", "system:monitoring"),
    bind("system:kubelet-api-admin", "User", "kube-apiserver-kubelet-client"),
    bind("system:kube-scheduler", "User", "system:kube-scheduler"),
    bind("system:kube-controller-manager", "User", "system:kube-controller-manager"),
    bind("system:node-proxier", "User", "system:kube-proxy"),
  ];
}
