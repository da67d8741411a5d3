/** The ClusterServingRuntimes that Argosy's own model server carries out, by the names that KServe's users know. */
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { MODEL_SERVER_IMAGE } from "../images.js";
import { MULTI_MODEL_ARGS } from "./multi-model.js";
import { MAIN_CONTAINER } from "./validation.js";

/** Label of the runtimes that come with Argosy. */
export const BUILT_IN_LABEL = "serving.argosy.dev/built-in";

interface BuiltIn {
  readonly name: string;
  readonly formats: readonly {
    readonly name: string;
    readonly versions: readonly string[];
    readonly priority: number;
  }[];
  readonly protocols: readonly string[];
  /** Its pods load what TrainedModels give them. */
  readonly multiModel?: boolean;
}

const BUILT_IN: readonly BuiltIn[] = [
  {
    name: "kserve-sklearnserver",
    formats: [{ name: "sklearn", versions: ["1"], priority: 1 }],
    protocols: ["v1", "v2"],
  },
  {
    name: "kserve-xgbserver",
    formats: [{ name: "xgboost", versions: ["1", "2", "3"], priority: 1 }],
    protocols: ["v1", "v2"],
  },
  {
    name: "kserve-lgbserver",
    formats: [{ name: "lightgbm", versions: ["3", "4"], priority: 1 }],
    protocols: ["v1", "v2"],
  },
  {
    name: "kserve-mlserver",
    formats: [
      { name: "sklearn", versions: ["0", "1"], priority: 2 },
      { name: "xgboost", versions: ["1", "2"], priority: 2 },
      { name: "lightgbm", versions: ["3", "4"], priority: 2 },
      { name: "mlflow", versions: ["1", "2", "3"], priority: 1 },
    ],
    protocols: ["v2", "grpc-v2"],
  },
  {
    name: "kserve-tritonserver",
    formats: [{ name: "onnx", versions: ["1"], priority: 1 }],
    protocols: ["v2", "grpc-v2"],
  },
  {
    // Upstream's servers speak only the second protocol to ONNX models; this one speaks both.
    name: "argosy-modelserver",
    formats: [{ name: "onnx", versions: ["1"], priority: 1 }],
    protocols: ["v1", "v2", "grpc-v2"],
  },
  {
    name: "kserve-huggingfaceserver",
    formats: [{ name: "huggingface", versions: ["1"], priority: 1 }],
    protocols: ["v1", "v2"],
  },
  {
    name: "argosy-multi-modelserver",
    formats: [
      { name: "sklearn", versions: ["0", "1"], priority: 1 },
      { name: "xgboost", versions: ["1", "2", "3"], priority: 1 },
      { name: "lightgbm", versions: ["3", "4"], priority: 1 },
      { name: "onnx", versions: ["1"], priority: 1 },
      { name: "mlflow", versions: ["1", "2", "3"], priority: 1 },
    ],
    protocols: ["v1", "v2", "grpc-v2"],
    multiModel: true,
  },
];

const SINGLE_MODEL_ARGS: readonly string[] = ["--model-name={{.Name}}", "--model-dir=/mnt/models", "--http=8080"];

/** The runtimes as they are applied, without apiVersion and kind. */
export function builtInRuntimes(): { metadata: { name: string; labels: Record<string, string> }; spec: JsonObject }[] {
  return BUILT_IN.map(({ name, formats, protocols, multiModel = false }) => ({
    metadata: { name, labels: { [BUILT_IN_LABEL]: "true" } },
    spec: {
      supportedModelFormats: formats.flatMap(({ name: format, versions, priority }) =>
        versions.map((version) => ({ name: format, version, autoSelect: true, priority })),
      ),
      protocolVersions: [...protocols],
      ...(multiModel ? { multiModel } : {}),
      annotations: { "prometheus.kserve.io/port": "8080", "prometheus.kserve.io/path": "/metrics" },
      containers: [
        {
          name: MAIN_CONTAINER,
          image: MODEL_SERVER_IMAGE,
          args: [...(multiModel ? MULTI_MODEL_ARGS : SINGLE_MODEL_ARGS)],
          resources: { requests: { cpu: "100m", memory: "256Mi" }, limits: { cpu: "1", memory: "2Gi" } },
        },
      ],
    },
  }));
}
