/** Whether a cluster has KServe's own controllers: then this module writes resources there and carries none out. */
import type { ClusterAccess } from "../../../kernel/control/types.js";
import { DeploymentKind } from "../../../kernel/kinds/index.js";

const NAMES = new Set(["kserve-controller-manager"]);
const BY_NAME = "kserve-controllers";

/** KServe's controller manager is deployed there and has a pod. */
export function kserveRunsIn(cluster: ClusterAccess): boolean {
  const deployments = cluster.informers.informer(DeploymentKind);
  deployments.addIndex(BY_NAME, ({ metadata }) => (NAMES.has(metadata.name) ? ["yes"] : []));
  return deployments.byIndex(BY_NAME, "yes").some(({ status }) => (status?.readyReplicas ?? 0) > 0);
}
