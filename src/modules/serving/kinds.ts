/** MLService and MLServiceRuntime (`tensorstack.dev/v1beta1`). */

import type { Resource } from "../../kernel/kinds/index.js";
import { defineKind } from "../../kernel/kinds/index.js";
import type { Infer } from "../../kernel/schema/index.js";
import { s } from "../../kernel/schema/index.js";

/** TensorStack's API group. */
export const GROUP = "tensorstack.dev";
const DNS_LABEL = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/** Where a model lies inside a pod unless said otherwise. */
export const DEFAULT_MODEL_PATH = "/var/lib/t9k/model";

const template = s.object({
  metadata: s
    .object({
      labels: s.map(s.string()).optional().describe("Labels of the pods, beside those of the service itself."),
      annotations: s.map(s.string()).optional().describe("Annotations of the pods."),
    })
    .describe("Labels and annotations of the pods.")
    .optional(),
  spec: s.preserveUnknown().describe("A PodSpec, or the parts of one that are to be merged.").optional(),
});

/** Requests and limits, as in a container. */
export const resources = s
  .object({
    limits: s.map(s.quantity()).optional().describe("Most that a container may use, by resource."),
    requests: s.map(s.quantity()).optional().describe("What the node must have free for it, by resource."),
  })
  .describe("Requests and limits, as in a container.");

const mountPath = () =>
  s.string({ pattern: "^/" }).default(DEFAULT_MODEL_PATH).describe("Where the model lies inside the pod.");

/** Where a model comes from. */
export const storage = s
  .object({
    s3: s
      .object({
        secretRef: s
          .object({ name: s.string({ min: 1 }).describe("Name of the Secret, in the same namespace.") })
          .describe("A Secret with label `tensorstack.dev/resource: s3` and key `.s3cfg`."),
        uri: s.string({ pattern: "^s3://[^/]+" }).describe("`s3://bucket/folder/`"),
        mountPath: mountPath(),
      })
      .optional()
      .describe("From an S3 store: downloaded by each pod before the server starts."),
    pvc: s
      .object({
        name: s.string({ min: 1 }).describe("A PersistentVolumeClaim, in the same namespace."),
        subPath: s.string({ pattern: "^[^/]" }).optional().describe("Folder in the volume; default: all of it."),
        mountPath: mountPath(),
      })
      .optional()
      .describe("From a volume, mounted into each pod."),
  })
  .describe("Where the model comes from.");

const deployment = {
  minReplicas: s
    .integer({ min: 0, max: 10_000 })
    .default(1)
    .describe("How many pods there are at least; 0: none while no request comes."),
  maxReplicas: s
    .integer({ min: 0, max: 10_000 })
    .describe(
      "How many pods there are at most, where their number follows the requests: with minReplicas 0, with more than minReplicas here, or with annotations autoscaling.knative.dev/* in the template. 0: no limit.",
    )
    .optional(),
  template: template.optional().describe("Merged over the runtime's template; containers by name, without ports."),
  logger: s
    .object({
      urls: s.array(s.string()).optional().describe("Where each of them is posted: `http://…`, `https://…`."),
      mode: s.enum("all", "request", "response").default("all").describe("Which of the two."),
      resources: resources.describe("Of the container that logs for a server that is not Argosy's.").optional(),
    })
    .optional()
    .describe("Copies of requests and answers, as CloudEvents."),
  containersResources: s
    .array(s.object({ name: s.string({ min: 1 }).describe("A container of the runtime."), resources }))
    .describe("Replaces the resources of containers.")
    .optional(),
};

const model = s
  .object({
    runtime: s.string({ min: 1 }).describe("The MLServiceRuntime, in the same namespace."),
    parameters: s.map(s.string()).describe("Values for the templates in the runtime's arguments.").optional(),
    modelUri: s.string().describe("Of the older API, and ignored; use storage.").optional(),
    modelFormat: s
      .object({ name: s.string().describe("Name of the format, for instance onnx.") })
      .optional()
      .describe("Of the older API, and ignored; the runtime is named by model.runtime."),
  })
  .describe("Which runtime serves the model, and with what.");

const predictor = s
  .object({ model, storage: storage.optional(), ...deployment })
  .describe("The pods that answer predictions.");

const spec = s.object({
  default: s.string({ min: 1 }).describe("The release that answers at the service's own address."),
  canary: s.string({ min: 1 }).describe("A second release behind the service's own address.").optional(),
  canaryTrafficPercent: s
    .integer({ min: 0, max: 100, exclusiveMin: true, exclusiveMax: true })
    .describe("Share of the canary, above 0 and below 100.")
    .optional(),
  releases: s
    .listMap(
      s.object({
        name: s.string({ min: 1, max: 50, pattern: DNS_LABEL }).describe("Name of the release; part of its address."),
        predictor,
      }),
      ["name"],
      { min: 1, max: 20 },
    )
    .describe("Every release runs and has an address of its own."),
  transformer: s
    .object({ ...deployment, storage: storage.optional() })
    .optional()
    .describe(
      "Pods between the service's own address and its releases: the template has their containers, which find the releases by the variable PREDICTOR_URL.",
    ),
  scheduler: s
    .object({
      t9kScheduler: s
        .object({ queue: s.string().optional().describe("Queue of that scheduler.") })
        .optional()
        .describe(
          "TensorStack's scheduler, where the cluster has it (a Deployment t9k-scheduler); the condition SchedulerFound says so.",
        ),
    })
    .optional()
    .describe("Who places the pods; default: the cluster's scheduler."),
  runMode: s.enum("Immediate", "Pause").default("Immediate").describe("`Pause` keeps the definition and runs no pods."),
});

const releaseStatus = s.object({
  name: s.string().describe("Name of the release."),
  ready: s.boolean().describe("The model answers at this release's address."),
  trafficPercent: s.integer().describe("Share of the service's own address that it gets now."),
  url: s.string().describe("The release's own address."),
  reason: s.string().optional().describe("Why it is not ready, as one CamelCase word."),
  message: s.string().optional().describe("The same for people, with what to do."),
  readyReplicas: s.integer().describe("How many of its pods are ready."),
  totalReplicas: s.integer().describe("How many pods it has."),
});

const status = s.object({
  observedGeneration: s
    .integer()
    .optional()
    .describe("metadata.generation of the object that this status was computed from."),
  address: s
    .object({ url: s.string().describe("http://NAME.NAMESPACE.DOMAIN, with the port of the cluster's ingress.") })
    .optional()
    .describe("The service's own address, shared by default and canary."),
  defaultRelease: s
    .string()
    .optional()
    .describe("The release that is the default now; the one before it until the new one answers."),
  canaryRelease: s.string().optional().describe("The canary, while there is one."),
  releases: s.array(releaseStatus).optional().describe("How each release is."),
  transformer: s
    .object({
      ready: s.boolean().describe("It answers at its own address."),
      url: s.string().describe("Its own address."),
      reason: s.string().optional().describe("Why it is not ready, as one CamelCase word."),
      message: s.string().optional().describe("The same for people, with what to do."),
      readyReplicas: s.integer().describe("How many of its pods are ready."),
      totalReplicas: s.integer().describe("How many pods it has."),
    })
    .optional()
    .describe("How the transformer is, where there is one."),
  conditions: s.conditions().optional().describe("Ready: the service's own address answers. Paused: runMode is Pause."),
});

/** What an MLService asks for. */
export type MLServiceSpec = Infer<typeof spec>;
/** What is seen of it. */
export type MLServiceStatus = Infer<typeof status>;
/** The pods before the releases. */
export type Transformer = NonNullable<MLServiceSpec["transformer"]>;
/** One release of an MLService. */
export type Release = MLServiceSpec["releases"][number];
/** A model behind an address, in one or several releases. */
export type MLService = Resource<MLServiceSpec, MLServiceStatus>;

/** MLService. */
export const MLServiceKind = defineKind({
  group: GROUP,
  version: "v1beta1",
  kind: "MLService",
  shortNames: ["mls"],
  categories: ["all"],
  description: "A model behind an address: releases, of which one or two share the service's traffic.",
  spec,
  status: status.optional(),
  printerColumns: [
    { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: "Reason", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].reason' },
    { name: "Default", type: "string", jsonPath: ".spec.default" },
    { name: "URL", type: "string", jsonPath: ".status.address.url" },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});

const runtimeSpec = s.object({
  enabled: s.boolean().default(true).describe("New releases may use it."),
  template: template.describe(
    "The pods: a container `user-container` with at most one port (default 8080); arguments may use model.parameters as templates.",
  ),
});

/** What an MLServiceRuntime gives. */
export type MLServiceRuntimeSpec = Infer<typeof runtimeSpec>;
/** MLServiceRuntime. */
export const MLServiceRuntimeKind = defineKind({
  group: GROUP,
  version: "v1beta1",
  kind: "MLServiceRuntime",
  shortNames: ["mlsrt"],
  description:
    "How to run a model server: a pod template with a container named user-container. Changes reach releases when these change.",
  spec: runtimeSpec,
  printerColumns: [
    { name: "Enabled", type: "boolean", jsonPath: ".spec.enabled" },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});
