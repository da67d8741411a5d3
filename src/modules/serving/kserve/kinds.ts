/** All kinds of the group serving.kserve.io. */
import type { KindDefinition } from "../../../kernel/kinds/index.js";
import { InferenceGraphKind } from "./graph-kind.js";
import { InferenceServiceKind } from "./inference-service-kind.js";
import { LlmInferenceServiceConfigKind, LlmInferenceServiceKind } from "./llm-kinds.js";
import { ClusterServingRuntimeKind, ServingRuntimeKind } from "./runtime-kinds.js";
import {
  ClusterStorageContainerKind,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  LocalModelNodeGroupKind,
  LocalModelNodeKind,
  TrainedModelKind,
} from "./storage-kinds.js";

/** In order of the documentation. */
export const KSERVE_KINDS: readonly KindDefinition[] = [
  InferenceServiceKind,
  ServingRuntimeKind,
  ClusterServingRuntimeKind,
  InferenceGraphKind,
  TrainedModelKind,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  LocalModelNodeKind,
  LocalModelNodeGroupKind,
  ClusterStorageContainerKind,
  LlmInferenceServiceKind,
  LlmInferenceServiceConfigKind,
];
