/** LLMInferenceService and LLMInferenceServiceConfig (serving.kserve.io/v1alpha2, and v1alpha1 as they were). */
import type { Infer } from "../../../kernel/schema/index.js";
import { s } from "../../../kernel/schema/index.js";
import { defineLazily } from "./kind.js";
import { llmRouter } from "./llm-fields.js";
import { native, podSpec } from "./pod-fields.js";

const whole = (what: string, min = 1) => s.integer({ format: "int32", min }).optional().describe(what);
const pods = (what: string) => podSpec("lean").optional().describe(what);

const scaling = () =>
  s
    .object({
      minReplicas: s.integer({ format: "int32", min: 1 }).default(1).describe("Fewest pods."),
      maxReplicas: s.integer({ format: "int32", min: 1 }).describe("Most pods."),
      wva: s
        .object({
          variantCost: s.string({ pattern: "^\\d+(\\.\\d+)?$" }).default("10.0").describe("What a pod costs."),
          hpa: s
            .object({
              behavior: native("autoscaling.v2.HorizontalPodAutoscalerBehavior").optional().describe("How fast."),
            })
            .optional()
            .describe("A HorizontalPodAutoscaler does it."),
          keda: s
            .object({
              pollingInterval: whole("Seconds between two looks."),
              cooldownPeriod: whole("Seconds until it goes to its fewest.", 0),
              initialCooldownPeriod: whole("Seconds until the first look.", 0),
              idleReplicaCount: whole("Pods while nothing happens."),
              fallback: s.preserveUnknown().optional().describe("Pods while the figures are missing."),
              advanced: s.preserveUnknown().optional().describe("Settings of KEDA's own."),
            })
            .optional()
            .describe("KEDA does it."),
        })
        .optional()
        .describe("By the load of the model."),
      keda: s.preserveUnknown().optional().describe("By KEDA alone."),
    })
    .rule("self.minReplicas <= self.maxReplicas", "minReplicas cannot exceed maxReplicas");

const workload = () => ({
  replicas: whole("Number of pods.", 0),
  scaling: scaling().optional().describe("Their number follows the load."),
  parallelism: s
    .object({
      tensor: whole("GPUs that share a layer."),
      pipeline: whole("Parts in which the layers are split."),
      data: whole("Copies that share the requests."),
      dataLocal: whole("Of these, on one node."),
      dataRPCPort: s.integer({ format: "int32", min: 1, max: 65_535 }).optional().describe("By which they talk."),
      expert: s.boolean().optional().describe("Experts are spread over the GPUs."),
    })
    .optional()
    .describe("How one copy of the model is spread."),
  labels: s.map(s.string()).optional().describe("Labels of the pods."),
  annotations: s.map(s.string()).optional().describe("Annotations of the pods."),
  template: pods("The pods; with several nodes the first of each group."),
  worker: pods("The pods of further nodes."),
  kvCacheOffloading: s
    .object({
      cpu: s.quantity().optional().describe("Memory of the node for it."),
      evictionPolicy: s.enum("lru", "arc").default("lru").describe("What goes first."),
      secondary: s.array(s.preserveUnknown()).optional().describe("Further places, disks for instance."),
    })
    .optional()
    .describe("Where the cache of keys and values goes when the GPU is full."),
});

const spec = () =>
  s.object({
    model: s
      .object({
        uri: s.string().describe("Where the model is."),
        name: s.string().optional().describe("Its name in requests; default: that of the object."),
        lora: s
          .object({
            adapters: s.array(s.preserveUnknown()).optional().describe("Name and uri of each."),
            maxRank: whole("Greatest rank."),
            maxAdapters: whole("Most at once."),
            maxCpuAdapters: whole("Most in the node's memory."),
          })
          .optional()
          .describe("Adapters beside the model."),
        criticality: s.string().optional().describe("Of the first version: how important its requests are."),
      })
      .optional()
      .describe("The model; an object of the other kind need not have it."),
    storageInitializer: s
      .object({ enabled: s.boolean().optional().describe("The model is fetched; default true.") })
      .optional()
      .describe("Whether the model is fetched."),
    ...workload(),
    prefill: s.object(workload()).optional().describe("Pods for prompts, apart from those for answers."),
    router: llmRouter().optional().describe("How requests come to it."),
    baseRefs: s
      .array(s.object({ name: s.string().optional().describe("An LLMInferenceServiceConfig.") }))
      .optional()
      .describe("What it is merged over; later ones win."),
    tracing: s
      .object({
        exporterEndpoint: s.string().optional().describe("Where traces go."),
        exporter: s.string().optional().describe("How they go there."),
        sampler: s.string().optional().describe("Which requests are traced."),
        samplerArg: s.string().optional().describe("With which figure."),
      })
      .optional()
      .describe("Traces of requests."),
  });

const status = () =>
  s.object({
    observedGeneration: s.integer().optional().describe("The generation that this status was computed from."),
    annotations: s.map(s.string()).optional().describe("Not used here."),
    url: s.string().optional().describe("Where it answers."),
    address: s.preserveUnknown().optional().describe("Of the first version."),
    addresses: s.array(s.preserveUnknown()).optional().describe("Where it answers, by origin."),
    conditions: s.conditions().optional().describe("What holds of it."),
    router: s.preserveUnknown().optional().describe("What carries its requests."),
    workloads: s.preserveUnknown().optional().describe("What runs for it."),
    appliedConfigRefs: s.array(s.preserveUnknown()).optional().describe("What it was merged over."),
  });

/** What an LLMInferenceService asks for. */
export type LlmSpec = Infer<ReturnType<typeof spec>>;
type LlmStatus = Infer<ReturnType<typeof status>>;

const withStatus = () => ({ spec: spec(), status: status().optional() });

/** LLMInferenceService. */
export const LlmInferenceServiceKind = defineLazily<LlmSpec, LlmStatus>({
  version: "v1alpha2",
  kind: "LLMInferenceService",
  shortNames: ["llmisvc"],
  description: "A language model behind an address.",
  hasStatus: true,
  shape: withStatus,
  others: [{ version: "v1alpha1", shape: withStatus }],
  printerColumns: [
    { name: "URL", type: "string", jsonPath: ".status.url" },
    { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: "Reason", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].reason' },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});

/** LLMInferenceServiceConfig. */
export const LlmInferenceServiceConfigKind = defineLazily<LlmSpec>({
  version: "v1alpha2",
  kind: "LLMInferenceServiceConfig",
  description: "What LLMInferenceServices are merged over.",
  hasStatus: false,
  shape: () => ({ spec: spec() }),
  others: [{ version: "v1alpha1", shape: () => ({ spec: spec() }) }],
});
