/** The HPA class: an autoscaler of Kubernetes' own for a Deployment. */
import type { ApplyObject } from "../../../kernel/client/types.js";
import type { Deployment } from "../../../kernel/kinds/index.js";
import { ownerReferenceTo } from "../../../kernel/kinds/index.js";
import { toJson } from "../../../kernel/schema/index.js";
import type { ScalingSettings } from "./settings.js";

/** Where nothing limits the number of pods. */
const NO_LIMIT = 2_147_483_647;

/** The HorizontalPodAutoscaler of a Deployment. It never goes to zero: nobody would count the requests that are to bring it back. */
export function hpaFor(deployment: Deployment, { metric, hpaTarget, bounds }: ScalingSettings): ApplyObject {
  const { namespace = "", name } = deployment.metadata;
  const target =
    metric === "memory"
      ? { type: "AverageValue", averageValue: `${hpaTarget}Mi` }
      : { type: "Utilization", averageUtilization: Math.ceil(hpaTarget) };
  const minReplicas = Math.max(1, bounds.minScale);
  return {
    metadata: { name, namespace, ownerReferences: [toJson(ownerReferenceTo(deployment))] },
    spec: {
      minReplicas,
      maxReplicas: bounds.maxScale > 0 ? Math.max(minReplicas, bounds.maxScale) : NO_LIMIT,
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name },
      metrics: [{ type: "Resource", resource: { name: metric, target } }],
    },
  };
}
