/** Whether a cluster has KServe's own controllers: then this module writes resources there and carries none out. */
import type { ClusterAccess, InformerSet, Key, WatchSpec } from "../../../kernel/control/types.js";
import {
  type Deployment,
  DeploymentKind,
  type Kind,
  type KubeObject,
  ValidatingWebhookConfigurationKind,
} from "../../../kernel/kinds/index.js";

const NAME = "kserve-controller-manager";
const BY_NAME = "kserve-controllers";
/** Where KServe and its distributions install it; elsewhere its webhooks must vouch for it, for who may make Deployments in a namespace may not switch models off. */
const NAMESPACES = new Set(["kserve", "kserve-system", "kubeflow", "opendatahub", "redhat-ods-applications"]);
const WEBHOOK = /^inferenceservice\.serving\.kserve\.io$/;

const isManager = ({ metadata }: KubeObject): boolean => metadata.name === NAME;

/** KServe's controller manager is deployed there, and is not switched off (0 replicas). It may be restarting. */
export function kserveRunsIn({ informers }: Pick<ClusterAccess, "informers">): boolean {
  const deployments = informers.informer(DeploymentKind);
  deployments.addIndex(BY_NAME, (deployment) => (isManager(deployment) ? ["yes"] : []));
  return deployments.byIndex(BY_NAME, "yes").some((deployment) => isKserves(deployment, informers));
}

function isKserves({ metadata, spec }: Deployment, informers: InformerSet): boolean {
  if (spec.replicas === 0 || metadata.deletionTimestamp !== undefined) return false;
  if (NAMESPACES.has(metadata.namespace ?? "")) return true;
  return informers
    .informer(ValidatingWebhookConfigurationKind)
    .list()
    .some((webhook) => WEBHOOK.test(webhook.metadata.name));
}

/** Wakes a controller for all its objects when KServe comes, or goes. Its informers are there before the first look, so that nothing is taken for Argosy's that is not. */
export function standBackWatches<T extends KubeObject>(kind: Kind<T>, more: readonly Key[] = []): readonly WatchSpec[] {
  const all = (informers: InformerSet): Key[] => [
    ...more,
    ...informers
      .informer(kind)
      .list()
      .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name })),
  ];
  return [
    { kind: DeploymentKind, keys: (deployment, informers) => (isManager(deployment) ? all(informers) : []) },
    {
      kind: ValidatingWebhookConfigurationKind,
      keys: ({ metadata }, informers) => (WEBHOOK.test(metadata.name) ? all(informers) : []),
    },
  ];
}
