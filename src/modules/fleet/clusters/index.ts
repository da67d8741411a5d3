/**
 * Member clusters besides how they are: their taints, what leaves them, and what every one of them is given (namespaces, shares of quotas, the right to speak for
 * those who may).
 * In: Clusters with their status, taint policies, bindings, namespaces, federated quotas. Out: taints, evictions, Works.
 */
import type { ControllerSpec } from "../../../kernel/control/index.js";
import { type EvictionParts, evictionControllers } from "./eviction-controller.js";
import { failoverControllers } from "./failover-controller.js";
import { namespaceController } from "./namespaces.js";
import { proxyRightsController } from "./proxy-rights.js";
import { quotaController } from "./quota-controller.js";
import { remedyController } from "./remedies.js";
import { stabilityController } from "./stability-controller.js";
import { taintController } from "./taint-controller.js";

/** The controllers of the engine that look after clusters. */
export function clusterControllers(parts: EvictionParts): ControllerSpec[] {
  return [
    taintController(),
    stabilityController(),
    ...evictionControllers(parts),
    ...failoverControllers(parts),
    remedyController(),
    namespaceController(),
    quotaController(),
    proxyRightsController(),
  ];
}
