/** SimpleMLService (`tensorstack.dev/v1beta1`). */
import type { Resource } from "../../kernel/kinds/index.js";
import { defineKind } from "../../kernel/kinds/index.js";
import type { Infer } from "../../kernel/schema/index.js";
import { s } from "../../kernel/schema/index.js";
import { GROUP, resources, storage } from "./kinds.js";

const server = {
  image: s.string({ min: 1 }).describe("Image of the server."),
  resources: resources.optional(),
};

const spec = s.object({
  tensorflow: s.object(server).optional().describe("TensorFlow Serving: the model lies in the storage's mountPath."),
  pytorch: s
    .object({ ...server, modelsFlag: s.string().describe("What TorchServe's flag --models says: `NAME=FILE.mar`.") })
    .optional()
    .describe("TorchServe: the archives lie in the storage's mountPath."),
  custom: s
    .object({ spec: s.preserveUnknown().describe("A PodSpec; its first container answers.") })
    .optional()
    .describe("Pods of your own."),
  storage: storage.optional(),
  replicas: s.integer({ min: 0, max: 10_000 }).default(1).describe("Number of pods."),
  scheduler: s
    .object({
      t9kScheduler: s
        .object({ queue: s.string().optional().describe("Queue of that scheduler.") })
        .optional()
        .describe("TensorStack's scheduler, where the cluster has it (a Deployment t9k-scheduler)."),
    })
    .optional()
    .describe("Who places the pods; default: the cluster's scheduler."),
  strategy: s.preserveUnknown().optional().describe("A Deployment's strategy."),
  service: s
    .object({
      type: s.enum("ClusterIP", "NodePort", "LoadBalancer").default("ClusterIP").describe("As of a Service."),
      ports: s.array(s.preserveUnknown()).optional().describe("As of a Service; default: 80 to 8080."),
    })
    .optional()
    .describe("The Service in front of the pods."),
});

const status = s.object({
  observedGeneration: s.integer().optional().describe("The generation that this status was computed from."),
  address: s
    .object({
      url: s.string().describe("Address inside of the cluster."),
      ports: s
        .array(
          s.object({
            port: s.integer().describe("Port of the Service."),
            nodePort: s.integer().optional().describe("Port of the nodes."),
            protocol: s.string().optional().describe("TCP or UDP."),
          }),
        )
        .optional()
        .describe("Ports of the Service."),
    })
    .optional()
    .describe("Where it answers."),
  conditions: s.conditions().optional().describe("ModelDownloaded, Ready, and whether every field has its effect."),
});

/** What a SimpleMLService asks for. */
export type SimpleMLServiceSpec = Infer<typeof spec>;
/** What is seen of it. */
export type SimpleMLServiceStatus = Infer<typeof status>;
/** A model inside of a cluster: one Deployment, one Service. */
export type SimpleMLService = Resource<SimpleMLServiceSpec, SimpleMLServiceStatus>;

/** SimpleMLService. */
export const SimpleMLServiceKind = defineKind({
  group: GROUP,
  version: "v1beta1",
  kind: "SimpleMLService",
  shortNames: ["smls"],
  description: "A model inside of its cluster: one Deployment and one Service, without releases and without scaling.",
  spec,
  status: status.optional(),
  printerColumns: [
    { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: "Reason", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].reason' },
    { name: "URL", type: "string", jsonPath: ".status.address.url" },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});
