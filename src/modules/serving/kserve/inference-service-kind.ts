/** InferenceService (serving.kserve.io/v1beta1). */
import type { Resource } from "../../../kernel/kinds/index.js";
import type { Infer } from "../../../kernel/schema/index.js";
import { s } from "../../../kernel/schema/index.js";
import { componentFields, modelFields, storageSpec, storageUris } from "./component-fields.js";
import { defineLazily } from "./kind.js";
import { type Depth, withContainer, withPodSpec } from "./pod-fields.js";

/** Keys of a predictor that stand for `model` with a format of that name. */
export const LEGACY_FRAMEWORKS = [
  "sklearn",
  "xgboost",
  "tensorflow",
  "pytorch",
  "triton",
  "onnx",
  "huggingface",
  "pmml",
  "lightgbm",
  "paddle",
] as const;

const MODEL_STATES = ["", "Pending", "Standby", "Loading", "Loaded", "FailedToLoad"] as const;

const framework = () => withContainer(s.object(modelFields()), "leanest");

const legacy = () => {
  const one = () => framework().optional().describe("The same as `model` with this format.");
  return {
    sklearn: one(),
    xgboost: one(),
    tensorflow: one(),
    pytorch: one(),
    triton: one(),
    onnx: one(),
    huggingface: one(),
    pmml: one(),
    lightgbm: one(),
    paddle: one(),
  };
};

const model = (depth: Depth) =>
  withContainer(
    s.object({
      ...modelFields(),
      modelFormat: s
        .object({
          name: s.string().default("").describe("`onnx`, `sklearn`, …"),
          version: s.string().optional().describe("Version of the format."),
        })
        .describe("What the model is written in."),
      runtime: s.string().optional().describe("Name of a ServingRuntime or ClusterServingRuntime; default: chosen."),
    }),
    depth,
  );

const predictor = (depth: Depth) =>
  withPodSpec(
    s.object({
      ...legacy(),
      ...componentFields(),
      model: model(depth).optional().describe("A model that a runtime serves."),
      name: s.string().optional().describe("Name of this predictor among those of a rollout."),
      storageUris: storageUris(),
      storageContainerName: s.string().optional().describe("Which ClusterStorageContainer fetches the model."),
      workerSpec: withPodSpec(
        s.object({
          pipelineParallelSize: s.integer().optional().describe("Parts in which the model is split over nodes."),
          tensorParallelSize: s.integer().optional().describe("GPUs a node."),
        }),
        "lean",
      )
        .optional()
        .describe("Pods of further nodes that serve one model together."),
    }),
    depth,
  );

const transformer = () => withPodSpec(s.object({ ...componentFields(), storageUris: storageUris() }), "lean");

const explainer = () =>
  withPodSpec(
    s.object({
      ...componentFields(),
      storageUris: storageUris(),
      art: withContainer(
        s.object({
          type: s.enum("SquareAttack").describe("How explanations are made."),
          storageUri: s.string().optional().describe("Where the explainer is."),
          storage: storageSpec().optional().describe("The same by an entry of the Secret `storage-config`."),
          config: s.map(s.string()).optional().describe("Settings of the explainer."),
          runtimeVersion: s.string().optional().describe("Tag of the image."),
        }),
        "leanest",
      )
        .optional()
        .describe("The Adversarial Robustness Toolbox."),
    }),
    "lean",
  );

const spec = () =>
  s.object({
    predictor: predictor("full").describe("The pods that answer predictions."),
    transformer: transformer().optional().describe("Pods between client and predictor."),
    explainer: explainer().optional().describe("Pods that explain predictions."),
    canary: s
      .array(
        s.object({
          trafficPercent: s
            .integer({ min: 0, max: 100 })
            .describe("Its share while it is ready; 0: deployed, no traffic."),
          predictor: predictor("lean").describe("The other predictor; its name tells it apart."),
        }),
      )
      .optional()
      .describe("Further predictors that get a share of the traffic."),
  });

const address = () =>
  s.object({
    url: s.string().optional().describe("Address inside of the cluster."),
    name: s.string().optional().describe("Which protocol or origin."),
    CACerts: s.string().optional().describe("Authorities of its certificate."),
    audience: s.string().optional().describe("For whom tokens must be."),
  });

const modelStatus = () =>
  s.object({
    transitionStatus: s
      .enum("", "UpToDate", "InProgress", "BlockedByFailedLoad", "InvalidSpec")
      .describe("Whether what answers is of this generation."),
    states: s
      .object({
        activeModelState: s.enum(...MODEL_STATES).describe("Of the model that answers."),
        targetModelState: s
          .enum(...MODEL_STATES)
          .optional()
          .describe("Of the model of this generation."),
      })
      .optional()
      .describe("How far the models are."),
    lastFailureInfo: s
      .object({
        location: s.string().optional().describe("Cluster and pod, or what else failed."),
        reason: s
          .enum(
            "ModelLoadFailed",
            "RuntimeUnhealthy",
            "RuntimeDisabled",
            "NoSupportingRuntime",
            "RuntimeNotRecognized",
            "InvalidPredictorSpec",
          )
          .optional()
          .describe("Class of the failure."),
        message: s.string().optional().describe("The same for people, with what to do."),
        modelRevisionName: s.string().optional().describe("Which revision failed."),
        time: s.dateTime().optional().describe("When it was seen first."),
        exitCode: s.integer({ format: "int32" }).optional().describe("With which the container ended."),
      })
      .optional()
      .describe("What went wrong last."),
    copies: s
      .object({
        failedCopies: s.integer().describe("Pods whose model could not be loaded."),
        totalCopies: s.integer().optional().describe("All pods of this generation."),
      })
      .optional()
      .describe("How many copies there are."),
  });

const traffic = () =>
  s.object({
    configurationName: s.string().optional().describe("Not used here."),
    latestRevision: s.boolean().optional().describe("Whether it is the newest ready revision."),
    percent: s.integer().optional().describe("Its share."),
    revisionName: s.string().optional().describe("Which revision."),
    tag: s.string().optional().describe("Name in its own address."),
    url: s.string().optional().describe("Its own address."),
  });

const condition = () =>
  s.object({
    type: s.string().describe("What this condition is about, in CamelCase."),
    status: s.string().describe("True, False or Unknown."),
    severity: s.string().optional().describe("`Info` where it does not stand against Ready."),
    reason: s.string().optional().describe("One CamelCase word for machines."),
    message: s.string().optional().describe("A sentence for people."),
    lastTransitionTime: s.string().optional().describe("When the status last changed."),
  });

const status = () =>
  s.object({
    observedGeneration: s.integer().optional().describe("The generation that this status was computed from."),
    annotations: s.map(s.string()).optional().describe("Not used here."),
    url: s.string().optional().describe("Where clients reach it."),
    address: address().optional().describe("The same from inside of the cluster."),
    components: s
      .map(
        s.object({
          url: s.string().optional().describe("The component's own address."),
          restUrl: s.string().optional().describe("Its REST address."),
          grpcUrl: s.string().optional().describe("Its gRPC address."),
          address: address().optional().describe("Its address inside of the cluster."),
          latestReadyRevision: s.string().optional().describe("The newest revision that answered."),
          latestCreatedRevision: s.string().optional().describe("The newest revision."),
          previousRolledoutRevision: s
            .string()
            .optional()
            .describe("Had all the traffic before latestRolledoutRevision."),
          latestRolledoutRevision: s.string().optional().describe("The newest revision that had all the traffic."),
          traffic: s.array(traffic()).optional().describe("Who gets which share."),
        }),
      )
      .optional()
      .describe("How each component is."),
    conditions: s.listMap(condition(), ["type"]).optional().describe("What holds of it; Ready: its model answers."),
    modelStatus: modelStatus().optional().describe("How the predictor's model is."),
    deploymentMode: s.string().optional().describe("How it was deployed; does not change any more."),
    servingRuntimeName: s.string().optional().describe("The ServingRuntime that serves it."),
    clusterServingRuntimeName: s.string().optional().describe("The ClusterServingRuntime that serves it."),
    canaryStatuses: s
      .array(
        s.object({
          name: s.string().describe("Name of the canary's predictor."),
          ready: s.boolean().describe("Its model answers."),
          trafficPercent: s.integer().optional().describe("The share it gets now."),
          modelStatus: modelStatus().optional().describe("How its model is."),
        }),
      )
      .optional()
      .describe("How each of spec.canary is."),
  });

/** What an InferenceService asks for, as far as it has a type here; the rest is PodSpecs. */
export type InferenceServiceSpec = Infer<ReturnType<typeof spec>>;
/** What is seen of it. */
export type InferenceServiceStatus = Infer<ReturnType<typeof status>>;
/** A predictor. */
export type Predictor = InferenceServiceSpec["predictor"];
/** What all components have. */
export type Component = Omit<NonNullable<InferenceServiceSpec["transformer"]>, "storageUris">;
/** What is said of a predictor's model. */
export type ModelStatus = NonNullable<InferenceServiceStatus["modelStatus"]>;
/** A model behind an address, the way KServe users write it. */
export type InferenceService = Resource<InferenceServiceSpec, InferenceServiceStatus>;

const percentOf = (latest: boolean): string =>
  `.status.components.predictor.traffic[?(@.latestRevision==${String(latest)})].percent`;

/** InferenceService. */
export const InferenceServiceKind = defineLazily<InferenceServiceSpec, InferenceServiceStatus>({
  version: "v1beta1",
  kind: "InferenceService",
  shortNames: ["isvc"],
  categories: ["all"],
  description: "A model behind an address, with transformer, explainer and canaries, as KServe defines it.",
  hasStatus: true,
  shape: () => ({ spec: spec(), status: status().optional() }),
  printerColumns: [
    { name: "URL", type: "string", jsonPath: ".status.url" },
    { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: "Prev", type: "integer", jsonPath: '.status.components.predictor.traffic[?(@.tag=="prev")].percent' },
    { name: "Latest", type: "integer", jsonPath: percentOf(true) },
    {
      name: "PrevRolledoutRevision",
      type: "string",
      jsonPath: '.status.components.predictor.traffic[?(@.tag=="prev")].revisionName',
    },
    {
      name: "LatestReadyRevision",
      type: "string",
      jsonPath: ".status.components.predictor.traffic[?(@.latestRevision==true)].revisionName",
    },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
    {
      name: "Reason",
      type: "string",
      jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
      priority: 1,
    },
  ],
});
