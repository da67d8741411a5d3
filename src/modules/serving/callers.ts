/** Who may call models by their internal addresses: by default the pods of their own namespace, and the gateway. */
import type { ClusterAccess, ControllerSpec, Key } from "../../kernel/control/types.js";
import {
  type Deployment,
  DeploymentKind,
  isDeleting,
  type Namespace,
  NamespaceKind,
  type NetworkPolicy,
  NetworkPolicyKind,
} from "../../kernel/kinds/index.js";
import { equalJson } from "../../kernel/schema/index.js";

const NAME = "model-callers";
/** Label of the policies that are written here. */
const MANAGED_LABEL = "serving.argosy.dev/model-callers";
/** Label of namespaces and pods: `cluster` lets every pod of the cluster call their models. */
const CALLERS_LABEL = "serving.argosy.dev/callers";
const BY_NAMESPACE = "model-callers";

/** By the name of their policy, the label that pods of an API carry. */
const POLICIES: Readonly<Record<string, string>> = {
  "argosy-inferenceservice-callers": "serving.kserve.io/inferenceservice",
  "argosy-inferencegraph-callers": "serving.kserve.io/inferencegraph",
  "argosy-mlservice-callers": "tensorstack.dev/mlservice",
  "argosy-simplemlservice-callers": "tensorstack.dev/simplemlservice",
  "argosy-knative-callers": "serving.knative.dev/revision",
};

/** The APIs whose pods a Deployment makes. */
const policiesFor = ({ spec }: Deployment): string[] =>
  Object.entries(POLICIES)
    .filter(([, label]) => spec.template.metadata?.labels?.[label] !== undefined)
    .map(([policy]) => policy);

/**
 * Keeps a NetworkPolicy for each API in every namespace that has models. The gateway, the kubelet and whatever else runs in the machine's own network
 * are no pods, and are let in. One of the same name that somebody else made stays theirs.
 */
export function callersController(cluster: ClusterAccess): ControllerSpec<Namespace> {
  const { informers } = cluster;
  const keyOf = (namespace: string | undefined): Key[] => [{ namespace: "", name: namespace ?? "" }];
  return {
    name: NAME,
    kind: NamespaceKind,
    watches: [
      {
        kind: DeploymentKind,
        keys: ({ metadata }) => keyOf(metadata.namespace),
        concerns: (now, old) => now.metadata.generation !== old.metadata.generation,
      },
      { kind: NetworkPolicyKind, keys: ({ metadata }) => (metadata.name in POLICIES ? keyOf(metadata.namespace) : []) },
    ],
    async reconcile({ name: namespace }, space) {
      if (space === undefined || isDeleting(space)) return;
      const deployments = informers.informer(DeploymentKind);
      deployments.addIndex(BY_NAMESPACE, (deployment) =>
        policiesFor(deployment).map((policy) => `${deployment.metadata.namespace ?? ""}/${policy}`),
      );
      const isOpen = space.metadata.labels?.[CALLERS_LABEL] === "cluster";
      for (const [name, label] of Object.entries(POLICIES)) {
        const isWanted = !isOpen && deployments.byIndex(BY_NAMESPACE, `${namespace}/${name}`).length > 0;
        await keep(cluster, { namespace, name }, isWanted ? policyFor(label) : undefined);
      }
    },
  };
}

function policyFor(label: string): NetworkPolicy["spec"] {
  const isNotOpen = { key: CALLERS_LABEL, operator: "NotIn", values: ["cluster"] };
  return {
    podSelector: { matchExpressions: [{ key: label, operator: "Exists" }, isNotOpen] },
    ingress: [{ from: [{ podSelector: {} }] }],
    policyTypes: ["Ingress"],
  };
}

async function keep(cluster: ClusterAccess, key: Key, spec: NetworkPolicy["spec"] | undefined): Promise<void> {
  const { namespace, name } = key;
  const present = cluster.informers.informer(NetworkPolicyKind).get(key);
  if (present !== undefined && present.metadata.labels?.[MANAGED_LABEL] === undefined) return;
  const policies = cluster.client.resource(NetworkPolicyKind);
  if (spec === undefined) {
    if (present !== undefined && !isDeleting(present)) await policies.delete(name, { namespace });
    return;
  }
  if (present !== undefined && equalJson(present.spec, spec)) return;
  const labels = { [MANAGED_LABEL]: "true" };
  await policies.apply(
    { metadata: { name, namespace, labels }, spec: { ...spec } },
    { namespace, fieldManager: NAME, force: true },
  );
}
