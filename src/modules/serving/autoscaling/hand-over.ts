/** What was scaled by requests, and is not any more. */
import type { ClusterAccess } from "../../../kernel/control/types.js";
import { type Deployment, DeploymentKind } from "../../../kernel/kinds/index.js";
import { AUTOSCALER, SCALING } from "./names.js";

/** Leaves a Deployment to others: what was written about its scaling goes, and who has no pod gets `least`, since nobody would wake it (an HPA leaves alone what stands at zero). */
export async function handOver(cluster: ClusterAccess, { metadata, spec }: Deployment, least: number): Promise<void> {
  const { name, namespace = "", annotations = {} } = metadata;
  if (annotations[SCALING.state] === undefined) return;
  const replicas = spec.replicas === 0 ? { spec: { replicas: least } } : {};
  const change = { metadata: { annotations: { [SCALING.state]: null } }, ...replicas };
  await cluster.client.resource(DeploymentKind).patch(name, "merge", change, { namespace, fieldManager: AUTOSCALER });
}
