/** Fields that predictors, transformers and explainers share. */
import { s } from "../../../kernel/schema/index.js";
import { native } from "./pod-fields.js";

const QUANTITY = () => s.quantity();

/** Storage by the keys of the secret `storage-config`. */
export const storageSpec = () =>
  s.object({
    key: s.string().optional().describe("Entry of the Secret `storage-config` that says where and as whom."),
    path: s.string().optional().describe("Path of the model in that storage."),
    parameters: s.map(s.string()).optional().describe("Overrides members of the entry: type, bucket, …"),
    schemaPath: s.string().optional().describe("Path of the model's schema in that storage."),
  });

const TARGET = "What is aimed at.";

const resourceMetric = () =>
  s.object({
    name: s.string().optional().describe("`cpu` or `memory`."),
    target: s
      .object({
        type: s.enum("Utilization", "AverageValue", "Value").optional().describe("What the target counts."),
        averageUtilization: s.integer().optional().describe("Percent of the request."),
        averageValue: QUANTITY().optional().describe("Amount a pod."),
        value: QUANTITY().optional().describe("Amount of all pods."),
      })
      .optional()
      .describe(TARGET),
  });

const amount = () =>
  s
    .object({
      type: s.string().optional().describe("What the target counts."),
      value: QUANTITY().optional().describe(TARGET),
      averageValue: QUANTITY().optional().describe("What is aimed at, a pod."),
    })
    .optional()
    .describe(TARGET);

const externalMetric = () =>
  s.object({
    metric: s
      .object({
        backend: s.string().optional().describe("`prometheus`, …"),
        serverAddress: s.string().optional().describe("Address of the backend."),
        query: s.string().optional().describe("What is asked."),
        namespace: s.string().optional().describe("Namespace of the query."),
      })
      .optional()
      .describe("Where the figure is asked for."),
    target: amount(),
    authenticationRef: s
      .object({
        authModes: s.string().optional().describe("How to sign in."),
        authenticationRef: s
          .object({
            name: s.string().optional().describe("Name of the object with credentials."),
            kind: s.string().optional().describe("Its kind."),
          })
          .optional()
          .describe("Where the credentials are."),
      })
      .optional()
      .describe("Credentials of the backend."),
  });

const podMetric = () =>
  s.object({
    metric: s
      .object({
        backend: s.string().optional().describe("`opentelemetry`, …"),
        serverAddress: s.string().optional().describe("Address of the backend."),
        metricNames: s.array(s.string()).optional().describe("Names of the figures."),
        query: s.string().optional().describe("What is asked."),
        operationOverTime: s.string().optional().describe("How values of a window become one."),
      })
      .optional()
      .describe("Which figure of the pods."),
    target: amount(),
  });

const metric = () =>
  s.object({
    type: s.enum("Resource", "External", "PodMetric").describe("Where the figure comes from."),
    resource: resourceMetric().optional().describe("A resource of the pods."),
    external: externalMetric().optional().describe("A figure from outside of the cluster."),
    podmetric: podMetric().optional().describe("A figure that pods report."),
  });

const autoScaling = () =>
  s.object({
    metrics: s.array(metric()).optional().describe("What the number of pods follows."),
    behavior: native("autoscaling.v2.HorizontalPodAutoscalerBehavior").optional().describe("How fast it may change."),
  });

const logger = () =>
  s.object({
    url: s.string().optional().describe("Where requests and answers are posted as CloudEvents."),
    mode: s.enum("all", "request", "response").optional().describe("Which of the two; default all."),
    metadataHeaders: s.array(s.string()).optional().describe("Headers that go with them."),
    metadataAnnotations: s.array(s.string()).optional().describe("Annotations that go with them."),
    storage: s
      .object({
        key: s.string().optional().describe("Entry of the Secret `storage-config`."),
        path: s.string().optional().describe("Path in the storage."),
        parameters: s.map(s.string()).optional().describe("Overrides members of the entry."),
        serviceAccountName: s.string().optional().describe("Whose credentials."),
      })
      .optional()
      .describe("Into a store rather than to an address."),
    marshallerUrl: s.string().optional().describe("Turns batches into files."),
    batchSize: s.integer().optional().describe("Entries in a file."),
    batchInterval: s.string().optional().describe("Longest wait for a full batch."),
  });

const batcher = () =>
  s.object({
    maxBatchSize: s.integer().optional().describe("Most rows in one run of the model; default 32."),
    maxLatency: s.integer().optional().describe("Longest wait for others, in ms; default 5000."),
    timeout: s.integer().optional().describe("Seconds until a batch is given up."),
  });

/** Scaling, traffic, logging and batching of one component. */
export const componentFields = () => ({
  minReplicas: s.integer({ format: "int32" }).optional().describe("Fewest pods; 0 lets it scale to zero. Default 1."),
  maxReplicas: s.integer({ format: "int32" }).optional().describe("Most pods; 0: no limit."),
  scaleTarget: s.integer({ format: "int32" }).optional().describe("What one pod should bear of scaleMetric."),
  scaleMetric: s.enum("cpu", "memory", "concurrency", "rps").optional().describe("What the number of pods follows."),
  scaleMetricType: s
    .enum("Utilization", "AverageValue")
    .optional()
    .describe("Whether scaleTarget is percent of the request or an amount."),
  autoScaling: autoScaling().optional().describe("Scaling by several metrics."),
  containerConcurrency: s.integer().optional().describe("Most requests that a pod works on at once; 0: no limit."),
  timeout: s.integer().optional().describe("Seconds for a whole request."),
  canaryTrafficPercent: s
    .integer()
    .optional()
    .describe("Share of the newest revision; the one rolled out before keeps the rest."),
  logger: logger().optional().describe("Copies of requests and answers."),
  batcher: batcher().optional().describe("Requests that arrive together share a run of the model."),
  labels: s.map(s.string()).optional().describe("Labels of the pods."),
  annotations: s.map(s.string()).optional().describe("Annotations of the pods."),
  deploymentStrategy: native("apps.v1.DeploymentStrategy").optional().describe("How pods are replaced."),
});

/** How a model is named and fetched, beside the fields of a container. */
export const modelFields = () => ({
  storageUri: s.string().optional().describe("Where the model is: `s3://…`, `pvc://…`, `models:/name@alias`, …"),
  storage: storageSpec().optional().describe("The same by an entry of the Secret `storage-config`."),
  runtimeVersion: s.string().optional().describe("Tag of the runtime's image."),
  protocolVersion: s.string().optional().describe("`v1`, `v2`, `grpc-v1` or `grpc-v2`."),
  confidential: s
    .object({
      enabled: s.boolean().optional().describe("The model is encrypted."),
      resourceId: s.string({ pattern: "^kbs:///" }).optional().describe("Where its key is: `kbs:///…`."),
    })
    .optional()
    .describe("A model that is decrypted in a trusted environment."),
});

/** Several things to fetch, each to its place. */
export const storageUris = () =>
  s
    .array(
      s.object({
        uri: s.string({ min: 1 }).describe("Where it is."),
        mountPath: s.string({ pattern: "^/", max: 255 }).default("/mnt/models").describe("Where it is put."),
      }),
    )
    .optional()
    .describe("Several models or files, each with its place in the pod.");
