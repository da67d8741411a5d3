/**
 * KServe's API (serving.kserve.io) without KServe: its kinds, what is filled in and refused, which runtime serves a model, and the controllers that make
 * InferenceServices true with Deployments, Services, HorizontalPodAutoscalers and Ingresses. In: those objects, pods' states, a probe through
 * the cluster's ingress. Out: children, addresses, statuses in KServe's words, decisions in the ledger. May use: the serving module's engine.
 */
import type { ClusterAccess, ControllerSpec } from "../../../kernel/control/types.js";
import type { PolicyRule } from "../../../kernel/module/types.js";
import { inferenceServiceController } from "./controller.js";
import { inferenceGraphController } from "./graph-controller.js";
import { KSERVE_KINDS } from "./kinds.js";
import { LlmInferenceServiceKind } from "./llm-kinds.js";
import { LOCAL_MODEL_RULES, localModelControllers } from "./local-models/index.js";
import { builtInRuntimeController } from "./runtimes-controller.js";
import type { InferenceServiceOptions } from "./tools.js";
import { trainedModelController } from "./trained-model-controller.js";
import { unservedController } from "./unserved.js";

export { inferenceServiceAdmission, storageContainerAdmission } from "./admission.js";
export type { GateSources } from "./gate-watch.js";
export { inferenceGraphAdmission } from "./graph-admission.js";
export { localModelAdmission } from "./local-models/index.js";
export { trainedModelAdmission } from "./trained-model-admission.js";
export { KSERVE_KINDS };

const GROUP = "serving.kserve.io";

/** What the controllers may do in a member, beside what MLService's may. */
export const KSERVE_RULES: readonly PolicyRule[] = [
  { apiGroups: [GROUP], resources: KSERVE_KINDS.map(({ plural }) => plural), verbs: ["get", "list", "watch"] },
  {
    apiGroups: [GROUP],
    resources: KSERVE_KINDS.flatMap(({ plural }) => [`${plural}/status`, `${plural}/finalizers`]),
    verbs: ["get", "update", "patch"],
  },
  // The runtime that was chosen.
  { apiGroups: [GROUP], resources: ["inferenceservices"], verbs: ["patch", "update"] },
  { apiGroups: [GROUP], resources: ["clusterservingruntimes"], verbs: ["create", "update", "patch"] },
  { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "create", "patch"] },
  { apiGroups: [""], resources: ["secrets"], verbs: ["get", "list"] },
  { apiGroups: [""], resources: ["serviceaccounts"], verbs: ["get"] },
  ...LOCAL_MODEL_RULES,
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["get", "list", "watch"] },
  // KServe's own, where it runs.
  {
    apiGroups: ["admissionregistration.k8s.io"],
    resources: ["validatingwebhookconfigurations"],
    verbs: ["get", "list", "watch"],
  },
];

/** The controllers of one member. */
export function kserveControllers(cluster: ClusterAccess, options: InferenceServiceOptions): readonly ControllerSpec[] {
  return [
    inferenceServiceController(cluster, options),
    builtInRuntimeController(cluster),
    ...localModelControllers(cluster),
    inferenceGraphController(cluster, options),
    trainedModelController(options),
    unservedController(
      LlmInferenceServiceKind,
      "use an InferenceService with modelFormat huggingface, or with containers of your own",
    ),
  ];
}
