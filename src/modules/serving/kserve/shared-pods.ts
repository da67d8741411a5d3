/** Pods of a rollout where an autoscaler decides otherwise: while two revisions share the requests nobody scales them, and none of what was needed is taken away. */
import { type Deployment, DeploymentKind } from "../../../kernel/kinds/index.js";
import { AUTOSCALER } from "../autoscaling/index.js";
import { PODS_ANNOTATION, type VariantObjects } from "./children.js";
import type { FoundVariant } from "./rollout.js";
import type { Scaling } from "./scaling.js";
import type { Tools } from "./tools.js";

/** What a component asks for, with the pods that the revisions of its rollout share: as many as there were when it began. */
export function withSharedPods(
  scaling: Scaling,
  previous: Pick<FoundVariant, "deployment"> | undefined,
  found: readonly Deployment[],
): Scaling {
  const { by, replicas, max } = scaling;
  const other = found.find(({ metadata }) => metadata.name === previous?.deployment);
  if (other === undefined || by === "nobody") return scaling;
  const kept = Number(other.metadata.annotations?.[PODS_ANNOTATION]);
  const needed = Number.isInteger(kept) && kept > 0 ? kept : (other.spec.replicas ?? 1);
  return { ...scaling, replicas: Math.max(replicas, max > 0 ? Math.min(max, needed) : needed) };
}

/** After a rollout its pods are the autoscaler's again: it has them as they are, or they would fall back to one. */
export async function leaveSharedPods(
  { shared, replicas }: VariantObjects,
  existing: Deployment | undefined,
  tools: Tools,
): Promise<void> {
  if (existing?.metadata.annotations?.[PODS_ANNOTATION] === undefined) return;
  if (shared !== undefined || replicas !== undefined) return;
  const { name, namespace = "" } = existing.metadata;
  const now = { metadata: { name, namespace }, spec: { replicas: existing.spec.replicas ?? 1 } };
  const deployments = tools.context.cluster.client.resource(DeploymentKind);
  await deployments.apply(now, { namespace, fieldManager: AUTOSCALER, force: true });
}
