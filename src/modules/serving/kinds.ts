/** MLService and MLServiceRuntime (`tensorstack.dev/v1beta1`). */

import type { Resource } from "../../kernel/kinds/index.js";
import { defineKind } from "../../kernel/kinds/index.js";
import type { Infer } from "../../kernel/schema/index.js";
import { s } from "../../kernel/schema/index.js";

const GROUP = "tensorstack.dev";
const DNS_LABEL = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/** Where a model lies inside a pod unless said otherwise. */
export const DEFAULT_MODEL_PATH = "/var/lib/t9k/model";

const template = s.object({
  metadata: s
    .object({ labels: s.map(s.string()).optional(), annotations: s.map(s.string()).optional() })
    .describe("Labels and annotations of the pods.")
    .optional(),
  spec: s.preserveUnknown().describe("A PodSpec, or the parts of one that are to be merged.").optional(),
});

const resources = s.object({
  limits: s.map(s.quantity()).optional(),
  requests: s.map(s.quantity()).optional(),
});

const storage = s.object({
  s3: s
    .object({
      secretRef: s
        .object({ name: s.string({ min: 1 }) })
        .describe("A Secret with label `tensorstack.dev/resource: s3` and key `.s3cfg`."),
      uri: s.string({ pattern: "^s3://[^/]+" }).describe("`s3://bucket/folder/`"),
      mountPath: s.string({ pattern: "^/" }).default(DEFAULT_MODEL_PATH),
    })
    .optional(),
  pvc: s
    .object({
      name: s.string({ min: 1 }),
      subPath: s.string({ pattern: "^[^/]" }).optional(),
      mountPath: s.string({ pattern: "^/" }).default(DEFAULT_MODEL_PATH),
    })
    .optional(),
});

const deployment = {
  minReplicas: s.integer({ min: 0, max: 10_000 }).default(1).describe("How many pods there are at least."),
  maxReplicas: s.integer({ min: 0, max: 10_000 }).describe("0: no limit.").optional(),
  template: template.optional(),
  logger: s
    .object({
      urls: s.array(s.string()).optional(),
      mode: s.enum("all", "request", "response").default("all"),
      resources: resources.optional(),
    })
    .optional(),
  containersResources: s
    .array(s.object({ name: s.string({ min: 1 }), resources }))
    .describe("Replaces the resources of containers.")
    .optional(),
};

const model = s.object({
  runtime: s.string({ min: 1 }).describe("The MLServiceRuntime, in the same namespace."),
  parameters: s.map(s.string()).describe("Values for the templates in the runtime's arguments.").optional(),
  modelUri: s.string().describe("Of the older API; use storage.").optional(),
  modelFormat: s.object({ name: s.string() }).optional(),
});

const predictor = s.object({ model, storage: storage.optional(), ...deployment });

const spec = s.object({
  default: s.string({ min: 1 }).describe("The release that answers at the service's own address."),
  canary: s.string({ min: 1 }).describe("A second release behind the service's own address.").optional(),
  canaryTrafficPercent: s
    .integer({ min: 0, max: 100, exclusiveMin: true, exclusiveMax: true })
    .describe("Share of the canary, above 0 and below 100.")
    .optional(),
  releases: s.listMap(s.object({ name: s.string({ min: 1, max: 50, pattern: DNS_LABEL }), predictor }), ["name"], {
    min: 1,
    max: 20,
  }),
  transformer: s.object({ ...deployment, storage: storage.optional() }).optional(),
  scheduler: s.object({ t9kScheduler: s.object({ queue: s.string().optional() }).optional() }).optional(),
  runMode: s.enum("Immediate", "Pause").default("Immediate").describe("`Pause` keeps the definition and runs no pods."),
});

const releaseStatus = s.object({
  name: s.string(),
  ready: s.boolean().describe("The model answers at this release's address."),
  trafficPercent: s.integer().describe("Share of the service's own address that it gets now."),
  url: s.string(),
  reason: s.string().optional(),
  message: s.string().optional(),
  readyReplicas: s.integer(),
  totalReplicas: s.integer(),
});

const status = s.object({
  observedGeneration: s.integer().optional(),
  address: s.object({ url: s.string() }).optional(),
  defaultRelease: s.string().optional(),
  canaryRelease: s.string().optional(),
  releases: s.array(releaseStatus).optional(),
  conditions: s.conditions().optional(),
});

/** What an MLService asks for. */
export type MLServiceSpec = Infer<typeof spec>;
/** What is seen of it. */
export type MLServiceStatus = Infer<typeof status>;
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
  template,
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
