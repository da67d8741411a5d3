import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { PolicyRule } from "../../../kernel/module/types.js";
import { toJson } from "../../../kernel/schema/index.js";
import { ARGOSY, EXECUTION_FINALIZER, executionSpaceOf } from "../names.js";
import { FIGURES } from "../rollout/figures.js";
import { agentAccountOf, CLUSTER_SPACE, registrationAccountOf } from "./names.js";

const GROUP = "rbac.authorization.k8s.io";
const CLUSTERS = "cluster.karmada.io";
const READ = ["get", "list", "watch"] as const;

/** What an account may do; without a namespace in the whole hub. */
interface Grant {
  readonly namespace?: string;
  readonly account: string;
  readonly rules: readonly PolicyRule[];
}

/**
 * The accounts of a pull member in the hub and their rights, as manifests that go with the Cluster (`owner`). The agent's may read its own Works, say
 * how they are, and take their finalizers off; say how its own Cluster is, and what gates ask; renew its own Lease; renew its own token. Whoever registers may do so
 * once: fetch the agent's token, fill in where the member is, and remove the account that it came by.
 */
export function enrolmentManifests(cluster: string, owner: JsonObject): JsonObject[] {
  const agent = agentAccountOf(cluster);
  const registration = registrationAccountOf(cluster);
  const ownerReferences = [owner];
  const accounts = [agent, registration].map((name) => ({
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name, namespace: CLUSTER_SPACE, ownerReferences },
  }));
  const lease = {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: cluster, namespace: CLUSTER_SPACE, ownerReferences },
  };
  const rights = grantsFor(cluster).flatMap((grant) => bound(grant, ownerReferences));
  return [...accounts, lease, ...rights];
}

function grantsFor(cluster: string): Grant[] {
  return [...agentGrants(cluster), ...registrationGrants(cluster)];
}

function agentGrants(cluster: string): Grant[] {
  const account = agentAccountOf(cluster);
  const resourceNames = [cluster];
  return [
    {
      account,
      rules: [
        { apiGroups: [CLUSTERS], resources: ["clusters"], resourceNames, verbs: READ },
        { apiGroups: [CLUSTERS], resources: ["clusters/status"], resourceNames, verbs: ["get", "update", "patch"] },
        // How kinds of others tell their health and status; rules without data of anybody.
        { apiGroups: ["config.karmada.io"], resources: ["resourceinterpretercustomizations"], verbs: READ },
      ],
    },
    {
      account,
      namespace: executionSpaceOf(cluster),
      rules: [
        // `patch` is for finalizers; the policy below refuses the rest.
        { apiGroups: ["work.karmada.io"], resources: ["works"], verbs: [...READ, "patch"] },
        { apiGroups: ["work.karmada.io"], resources: ["works/status"], verbs: ["get", "update", "patch"] },
        { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] },
        // What gates of rollouts ask of it.
        { apiGroups: [""], resources: ["configmaps"], resourceNames: [FIGURES], verbs: [...READ, "patch"] },
      ],
    },
    {
      account,
      namespace: CLUSTER_SPACE,
      rules: [
        { apiGroups: ["coordination.k8s.io"], resources: ["leases"], resourceNames, verbs: ["get", "update", "patch"] },
        tokenOf(cluster),
      ],
    },
  ];
}

function registrationGrants(cluster: string): Grant[] {
  const account = registrationAccountOf(cluster);
  return [
    {
      account,
      rules: [{ apiGroups: [CLUSTERS], resources: ["clusters"], resourceNames: [cluster], verbs: ["get", "patch"] }],
    },
    {
      account,
      namespace: CLUSTER_SPACE,
      rules: [
        tokenOf(cluster),
        { apiGroups: [""], resources: ["serviceaccounts"], resourceNames: [account], verbs: ["delete"] },
      ],
    },
  ];
}

function tokenOf(cluster: string): PolicyRule {
  const resourceNames = [agentAccountOf(cluster)];
  return { apiGroups: [""], resources: ["serviceaccounts/token"], resourceNames, verbs: ["create"] };
}

function bound({ account, namespace, rules }: Grant, ownerReferences: JsonObject[]): JsonObject[] {
  const kind = namespace === undefined ? "ClusterRole" : "Role";
  const metadata = { name: account, ownerReferences, ...(namespace === undefined ? {} : { namespace }) };
  return [
    { apiVersion: `${GROUP}/v1`, kind, metadata, rules: toJson(rules) },
    {
      apiVersion: `${GROUP}/v1`,
      kind: `${kind}Binding`,
      metadata,
      roleRef: { apiGroup: GROUP, kind, name: account },
      subjects: [{ kind: "ServiceAccount", name: account, namespace: CLUSTER_SPACE }],
    },
  ];
}

const POLICY = "argosy-pull-members";
const ADMISSION = "admissionregistration.k8s.io/v1";
/** Of spec.* of a Cluster, what is the hub's to say. */
const HUB_FIELDS = [
  "syncMode",
  "secretRef",
  "impersonatorSecretRef",
  "insecureSkipTLSVerification",
  "proxyURL",
  "proxyHeader",
  "provider",
  "region",
  "zone",
  "zones",
  "taints",
  "resourceModels",
];

/** What RBAC cannot say of these accounts, as an admission policy of the hub: which fields of a Work and of a Cluster they may change. */
export function enrolmentPolicy(): JsonObject[] {
  const prefix = `system:serviceaccount:${CLUSTER_SPACE}:`;
  const accounts = [agentAccountOf(""), registrationAccountOf("")].map(
    (account) => `request.userInfo.username.startsWith('${prefix}${account}')`,
  );
  const matched = (apiGroup: string, resource: string): JsonObject => ({
    apiGroups: [apiGroup],
    apiVersions: ["*"],
    operations: ["UPDATE"],
    resources: [resource],
  });
  const spec = {
    failurePolicy: "Fail",
    matchConstraints: {
      resourceRules: [matched("work.karmada.io", "works"), matched("cluster.karmada.io", "clusters")],
    },
    matchConditions: [{ name: "pull-members", expression: accounts.join(" || ") }],
    validations: [
      rule(
        "works",
        workChecks(),
        "the agent of a member may change nothing of a Work but its finalizer and its status",
      ),
      rule("clusters", clusterChecks(), "a member may say of its Cluster what it is and where; the rest is the hub's"),
    ],
  };
  const metadata = { name: POLICY };
  return [
    { apiVersion: ADMISSION, kind: "ValidatingAdmissionPolicy", metadata, spec },
    {
      apiVersion: ADMISSION,
      kind: "ValidatingAdmissionPolicyBinding",
      metadata,
      spec: { policyName: POLICY, validationActions: ["Deny"] },
    },
  ];
}

function rule(resource: string, checks: readonly string[], message: string): JsonObject {
  const all = checks.map((check) => `(${check})`).join(" && ");
  return { expression: `request.resource.resource != '${resource}' || (${all})`, message, reason: "Forbidden" };
}

/** CEL: a field is as it was. */
function same(path: string): string {
  return `has(object.${path}) == has(oldObject.${path}) && (!has(object.${path}) || object.${path} == oldObject.${path})`;
}

function workChecks(): string[] {
  const others = (of: string): string =>
    `(has(${of}.metadata.finalizers) ? ${of}.metadata.finalizers : []).filter(f, f != '${EXECUTION_FINALIZER}')`;
  return [
    ...["metadata.labels", "metadata.ownerReferences", "metadata.annotations", "spec"].map(same),
    `${others("object")} == ${others("oldObject")}`,
  ];
}

function clusterChecks(): string[] {
  const within = (of: string, other: string): string => {
    const [own, others] = [`${of}.metadata.annotations`, `${other}.metadata.annotations`];
    const isKept = `has(${others}) && k in ${others} && ${others}[k] == ${own}[k]`;
    return `!has(${own}) || ${own}.all(k, k == '${ARGOSY.ingressAddress}' || (${isKept}))`;
  };
  return [
    ...["metadata.labels", "metadata.ownerReferences", "metadata.finalizers"].map(same),
    within("object", "oldObject"),
    within("oldObject", "object"),
    ...HUB_FIELDS.map((field) => same(`spec.${field}`)),
  ];
}
