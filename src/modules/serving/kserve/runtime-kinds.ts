/** ServingRuntime and ClusterServingRuntime (serving.kserve.io/v1alpha1). */
import type { KindDefinition, Resource } from "../../../kernel/kinds/index.js";
import type { Infer } from "../../../kernel/schema/index.js";
import { s } from "../../../kernel/schema/index.js";
import { defineLazily } from "./kind.js";
import { native, withPodParts } from "./pod-fields.js";

/** Fields of a PodSpec that a runtime has. */
export const RUNTIME_POD_FIELDS = [
  "containers",
  "volumes",
  "nodeSelector",
  "affinity",
  "tolerations",
  "imagePullSecrets",
  "hostIPC",
  "schedulerName",
  "resourceClaims",
] as const;

const podParts = () => ({
  labels: s.map(s.string()).optional().describe("Labels of the pods."),
  annotations: s.map(s.string()).optional().describe("Annotations of the pods."),
});

const own = () =>
  s.object({
    supportedModelFormats: s
      .array(
        s.object({
          name: s.string().describe("Name of the format."),
          version: s.string().optional().describe("Version of it; absent: of any InferenceService that names none."),
          autoSelect: s.boolean().optional().describe("May be chosen for an InferenceService that names no runtime."),
          priority: s.integer({ format: "int32", min: 1 }).optional().describe("Higher ones are chosen first."),
        }),
      )
      .optional()
      .describe("What it can serve."),
    multiModel: s.boolean().optional().describe("Serves many models in one pod."),
    disabled: s.boolean().optional().describe("Is not used."),
    protocolVersions: s.array(s.string()).optional().describe("`v1`, `v2`, `grpc-v1`, `grpc-v2`; absent: all."),
    workerSpec: withPodParts(
      s.object({
        ...podParts(),
        pipelineParallelSize: s.integer().optional().describe("Parts in which a model is split over nodes."),
        tensorParallelSize: s.integer().optional().describe("GPUs a node."),
      }),
      RUNTIME_POD_FIELDS,
    )
      .extend({ required: ["containers"] })
      .optional()
      .describe("Pods of further nodes that serve one model together."),
    ...podParts(),
    grpcEndpoint: s.string().optional().describe("ModelMesh: where models are managed."),
    grpcDataEndpoint: s.string().optional().describe("ModelMesh: where gRPC requests go."),
    httpDataEndpoint: s.string().optional().describe("ModelMesh: where HTTP requests go."),
    replicas: s.integer({ format: "int32", min: 0, max: 65_535 }).optional().describe("ModelMesh: number of pods."),
    storageHelper: s
      .object({ disabled: s.boolean().optional().describe("It is not used.") })
      .optional()
      .describe("ModelMesh: what fetches models."),
    builtInAdapter: s
      .object({
        serverType: s.string().optional().describe("triton, mlserver, ovms, …"),
        runtimeManagementPort: s.integer().optional().describe("Where the server is managed."),
        memBufferBytes: s.integer().optional().describe("Memory that is not for models."),
        modelLoadingTimeoutMillis: s.integer().optional().describe("Longest load of a model."),
        env: s.array(native("core.v1.EnvVar")).optional().describe("Environment of the adapter."),
      })
      .optional()
      .describe("ModelMesh: which adapter."),
  });

/** What a runtime gives, as far as it has a type here; the rest is parts of a PodSpec. */
export type RuntimeSpec = Infer<ReturnType<typeof own>>;
/** A runtime of either kind. */
export type Runtime = Resource<RuntimeSpec, never>;

function runtimeKind(kind: string, scope: "Namespaced" | "Cluster", description: string): KindDefinition<Runtime> {
  return defineLazily<RuntimeSpec>({
    version: "v1alpha1",
    kind,
    scope,
    description,
    hasStatus: false,
    top: { status: { type: "object", description: "Always empty." } },
    shape: () => {
      const parts = withPodParts(own(), RUNTIME_POD_FIELDS);
      return { spec: parts.extend({ required: ["containers"] }) };
    },
    printerColumns: [
      { name: "Disabled", type: "boolean", jsonPath: ".spec.disabled" },
      { name: "ModelType", type: "string", jsonPath: ".spec.supportedModelFormats[*].name" },
      { name: "Containers", type: "string", jsonPath: ".spec.containers[*].name" },
      { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
    ],
  });
}

/** ServingRuntime. */
export const ServingRuntimeKind = runtimeKind(
  "ServingRuntime",
  "Namespaced",
  "How to run a model server in this namespace: which formats it serves, and its containers.",
);
/** ClusterServingRuntime. */
export const ClusterServingRuntimeKind = runtimeKind(
  "ClusterServingRuntime",
  "Cluster",
  "How to run a model server, in any namespace: which formats it serves, and its containers.",
);
