/**
 * Models that lie ready on nodes (LocalModelCache and its family). In: those objects, nodes, InferenceServices. Out: jobs that bring models to nodes and take
 * them away, volumes, statuses; for an InferenceService the volume that its pods mount. May use: the serving module's storage.
 */
import type { ClusterAccess, ControllerSpec } from "../../../../kernel/control/types.js";
import type { PolicyRule } from "../../../../kernel/module/types.js";
import { LocalModelCacheKind, LocalModelNamespaceCacheKind } from "../storage-kinds.js";
import { localModelCacheController, localModelGroupController } from "./cache-controller.js";
import { localModelNodeController } from "./node-controller.js";

export { localModelAdmission } from "./admission.js";
export { groupIgnored, localModelsFor } from "./use.js";

/** What that needs in a member. */
export const LOCAL_MODEL_RULES: readonly PolicyRule[] = [
  { apiGroups: ["batch"], resources: ["jobs"], verbs: ["get", "list", "watch", "create", "update", "patch", "delete"] },
  {
    apiGroups: [""],
    resources: ["persistentvolumes", "persistentvolumeclaims"],
    verbs: ["get", "list", "watch", "create", "update", "patch", "delete"],
  },
  { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch", "patch"] },
  { apiGroups: [""], resources: ["namespaces"], verbs: ["get", "list", "watch", "create", "patch"] },
  {
    apiGroups: ["serving.kserve.io"],
    resources: ["localmodelnodes"],
    verbs: ["create", "update", "patch", "delete"],
  },
  {
    apiGroups: ["serving.kserve.io"],
    resources: ["localmodelcaches", "localmodelnamespacecaches"],
    verbs: ["update", "patch"],
  },
];

/** The controllers of one cluster. */
export const localModelControllers = (cluster: ClusterAccess): readonly ControllerSpec[] => [
  localModelCacheController(cluster, LocalModelCacheKind),
  localModelCacheController(cluster, LocalModelNamespaceCacheKind),
  localModelNodeController(cluster),
  localModelGroupController(cluster),
];
