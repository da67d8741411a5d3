import { defineKind, type KindDefinition, type Resource } from "../../../kernel/kinds/index.js";
import { type Infer, s } from "../../../kernel/schema/index.js";

const scaleTargetRef = s
  .object({
    apiVersion: s.string().optional().describe("Group and version of what is scaled."),
    kind: s.string().describe("Its kind."),
    name: s.string().describe("Its name."),
  })
  .describe("What is scaled.");

const observed = () => s.integer().optional().describe("metadata.generation that this status is about.");
const served = () => s.conditions().optional().describe("Served: False as long as nothing here carries this kind out.");

const scalingRules = (direction: string) =>
  s
    .object({
      stabilizationWindowSeconds: s
        .integer({ format: "int32" })
        .optional()
        .describe("How far back recommendations count."),
      selectPolicy: s.string().optional().describe("Max, Min or Disabled."),
      policies: s
        .array(
          s.object({
            type: s.string().describe("Pods or Percent."),
            value: s.integer({ format: "int32" }).describe("How much at most."),
            periodSeconds: s.integer({ format: "int32" }).describe("Within which time."),
          }),
        )
        .optional()
        .describe("Limits of the speed."),
      tolerance: s.quantity().optional().describe("How far off the target nothing is done."),
    })
    .optional()
    .describe(`How it scales ${direction}.`);

const metricTarget = s
  .object({
    type: s.string().describe("Utilization, Value or AverageValue."),
    value: s.quantity().optional().describe("Target of the sum."),
    averageValue: s.quantity().optional().describe("Target of the average over pods."),
    averageUtilization: s.integer({ format: "int32" }).optional().describe("Target in per cent of the request."),
  })
  .describe("What is aimed at.");

const metric = s
  .object({
    name: s.string().describe("Name of the metric."),
    selector: s.labelSelector().optional().describe("Which series of it."),
  })
  .describe("The metric.");

const metricSpec = s.object({
  type: s.string().describe("Resource, ContainerResource, Pods or Object."),
  resource: s
    .object({ name: s.string().describe("cpu or memory."), target: metricTarget })
    .optional()
    .describe("Use of a resource by the pods."),
  containerResource: s
    .object({
      name: s.string().describe("cpu or memory."),
      container: s.string().describe("Which container."),
      target: metricTarget,
    })
    .optional()
    .describe("Use of a resource by one container of the pods."),
  pods: s.object({ metric, target: metricTarget }).optional().describe("A metric of the pods."),
  object: s
    .object({ describedObject: scaleTargetRef, metric, target: metricTarget })
    .optional()
    .describe("A metric of another object."),
  external: s.object({ metric, target: metricTarget }).optional().describe("A metric from elsewhere; refused."),
});

const hpaSpec = s.object({
  scaleTargetRef,
  minReplicas: s.integer({ format: "int32" }).optional().describe("Least number, over all clusters."),
  maxReplicas: s.integer({ format: "int32" }).describe("Greatest number, over all clusters."),
  metrics: s.array(metricSpec).optional().describe("What the number follows."),
  behavior: s
    .object({ scaleUp: scalingRules("up"), scaleDown: scalingRules("down") })
    .optional()
    .describe("How fast it scales."),
});
const hpaStatus = s.object({
  observedGeneration: observed(),
  currentReplicas: s.integer({ format: "int32" }).optional().describe("Replicas there are."),
  desiredReplicas: s.integer({ format: "int32" }).optional().describe("Replicas there should be."),
  conditions: served(),
});

export type FederatedHPA = Resource<Infer<typeof hpaSpec>, Infer<typeof hpaStatus>>;

/** Scales a workload over all clusters by metrics (Karmada's kind). */
export const FederatedHPAKind: KindDefinition<FederatedHPA> = defineKind<
  Infer<typeof hpaSpec>,
  Infer<typeof hpaStatus>
>({
  group: "autoscaling.karmada.io",
  version: "v1alpha1",
  kind: "FederatedHPA",
  shortNames: ["fhpa"],
  categories: ["karmada-io"],
  description: "Scales a workload over all clusters by metrics. Checked and stored, not carried out.",
  spec: hpaSpec,
  status: hpaStatus.optional(),
  printerColumns: [
    { name: "REFERENCE-KIND", type: "string", jsonPath: ".spec.scaleTargetRef.kind" },
    { name: "REFERENCE-NAME", type: "string", jsonPath: ".spec.scaleTargetRef.name" },
    { name: "MINPODS", type: "integer", jsonPath: ".spec.minReplicas" },
    { name: "MAXPODS", type: "integer", jsonPath: ".spec.maxReplicas" },
    { name: "REPLICAS", type: "integer", jsonPath: ".status.currentReplicas" },
    { name: "AGE", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});

const target = (what: string) => s.integer({ format: "int32" }).optional().describe(what);
const limit = (least: number, what: string) =>
  s.integer({ format: "int32", min: least, max: 32 }).default(3).describe(what);

const cronSpec = s.object({
  scaleTargetRef,
  rules: s
    .array(
      s.object({
        name: s.string({ min: 1, max: 32 }).describe("Name of the rule."),
        schedule: s.string().describe("When, as cron has it."),
        timeZone: s.string().optional().describe("In which time zone; absent: that of the hub."),
        suspend: s.boolean().default(false).describe("Not now."),
        targetReplicas: target("Replicas from then on, of anything but a FederatedHPA."),
        targetMinReplicas: target("Least number from then on, of a FederatedHPA."),
        targetMaxReplicas: target("Greatest number from then on, of a FederatedHPA."),
        successfulHistoryLimit: limit(1, "How many successes are told of."),
        failedHistoryLimit: limit(0, "How many failures are told of."),
      }),
    )
    .describe("What happens when."),
});
const cronStatus = s.object({
  observedGeneration: observed(),
  executionHistories: s.array(s.preserveUnknown()).optional().describe("What was done by which rule."),
  conditions: served(),
});

export type CronFederatedHPA = Resource<Infer<typeof cronSpec>, Infer<typeof cronStatus>>;

/** Scales a workload over all clusters by the clock (Karmada's kind). */
export const CronFederatedHPAKind: KindDefinition<CronFederatedHPA> = defineKind<
  Infer<typeof cronSpec>,
  Infer<typeof cronStatus>
>({
  group: "autoscaling.karmada.io",
  version: "v1alpha1",
  kind: "CronFederatedHPA",
  shortNames: ["cronfhpa"],
  categories: ["karmada-io"],
  description: "Scales a workload over all clusters by the clock. Checked and stored, not carried out.",
  spec: cronSpec,
  status: cronStatus.optional(),
  printerColumns: [
    { name: "REFERENCE-KIND", type: "string", jsonPath: ".spec.scaleTargetRef.kind" },
    { name: "REFERENCE-NAME", type: "string", jsonPath: ".spec.scaleTargetRef.name" },
    { name: "AGE", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});

const clusters = (what: string) =>
  s
    .array(s.object({ name: s.string().describe("Name of the cluster.") }))
    .optional()
    .describe(what);

const serviceSpec = s.object({
  types: s.array(s.string()).describe("CrossCluster or LoadBalancer."),
  ports: s
    .array(
      s.object({
        name: s.string().optional().describe("Name of the port."),
        port: s.integer({ format: "int32" }).describe("Its number."),
      }),
    )
    .optional()
    .describe("Ports of the Service of this name; absent: all."),
  providerClusters: clusters("Whose pods answer; absent: all."),
  consumerClusters: clusters("Whose pods ask; absent: all."),
  serviceProvisionClusters: s.array(s.string()).optional().describe("Older form of providerClusters."),
  serviceConsumptionClusters: s.array(s.string()).optional().describe("Older form of consumerClusters."),
  range: s
    .object({ clusterNames: s.array(s.string()).optional().describe("Names of the clusters.") })
    .optional()
    .describe("Older form of both."),
});
const serviceStatus = s.object({
  observedGeneration: observed(),
  loadBalancer: s.preserveUnknown().optional().describe("Where it answers."),
  conditions: served(),
});

export type MultiClusterService = Resource<Infer<typeof serviceSpec>, Infer<typeof serviceStatus>>;

/** A Service over several clusters (Karmada's kind). */
export const MultiClusterServiceKind: KindDefinition<MultiClusterService> = defineKind<
  Infer<typeof serviceSpec>,
  Infer<typeof serviceStatus>
>({
  group: "networking.karmada.io",
  version: "v1alpha1",
  kind: "MultiClusterService",
  shortNames: ["mcs"],
  categories: ["karmada-io"],
  description: "A Service over several clusters. Checked and stored, not carried out.",
  spec: serviceSpec,
  status: serviceStatus.optional(),
});
