import { defineKind, type KindDefinition, type Resource } from "../../../kernel/kinds/index.js";
import { type Infer, s } from "../../../kernel/schema/index.js";
import { placementSchema, toleration } from "../placement/schema.js";
import { failoverSchema, suspensionFields } from "../policies/schemas.js";

const replicaRequirements = s.object({
  nodeClaim: s
    .object({
      hardNodeAffinity: s.preserveUnknown().optional().describe("Node affinity that must hold (NodeSelector)."),
      nodeSelector: s.map(s.string()).optional().describe("Labels that a node must have."),
      tolerations: s.array(toleration).optional().describe("Taints of nodes that do not matter."),
    })
    .optional()
    .describe("What a replica asks of its node."),
  resourceRequest: s.map(s.quantity()).optional().describe("What a replica asks for, by resource."),
  namespace: s.string().optional().describe("Namespace of the replicas."),
  priorityClassName: s.string().optional().describe("Priority class of the replicas."),
});

const componentReplicas = s
  .array(
    s.object({
      name: s.string().describe("Name of the component."),
      replicas: s.integer({ format: "int32" }).describe("How many of it."),
    }),
  )
  .optional()
  .describe("By component, where the object has several.");

const targetClusters = s.array(
  s.object({
    name: s.string().describe("Name of the cluster."),
    replicas: s.integer({ format: "int32" }).optional().describe("How many replicas; absent for kinds without."),
    components: componentReplicas,
  }),
);

const evictionTask = s.object({
  fromCluster: s.string().describe("The cluster that the object leaves."),
  purgeMode: s
    .enum("Immediately", "Directly", "Graciously", "Gracefully", "Never")
    .optional()
    .describe("When the object there is removed."),
  replicas: s.integer({ format: "int32" }).optional().describe("How many replicas it had there."),
  reason: s.string({ max: 32 }).describe("Why, as one word."),
  message: s.string({ max: 1024 }).optional().describe("Why, for people."),
  producer: s.string().describe("Who asked for it."),
  gracePeriodSeconds: s.integer({ format: "int32" }).optional().describe("How long it may take at most."),
  suppressDeletion: s.boolean().optional().describe("The object there stays until somebody takes this away."),
  preservedLabelState: s.map(s.string()).optional().describe("Labels that the new object is given."),
  creationTimestamp: s.dateTime().optional().describe("When it began."),
  clustersBeforeFailover: s.array(s.string()).optional().describe("Where the object was before."),
});

const bindingSpec = s.object({
  resource: s
    .object({
      apiVersion: s.string().describe("Group and version."),
      kind: s.string().describe("Kind of the object."),
      namespace: s.string().optional().describe("Its namespace."),
      name: s.string().describe("Its name."),
      uid: s.string().optional().describe("Its identifier."),
      resourceVersion: s.string().optional().describe("Its version when it was last read."),
    })
    .describe("What is bound."),
  propagateDeps: s.boolean().optional().describe("What it refers to goes with it."),
  replicas: s.integer({ format: "int32" }).optional().describe("How many replicas are wanted."),
  replicaRequirements: replicaRequirements.optional().describe("What each replica needs."),
  components: s
    .array(
      s.object({
        name: s.string({ max: 32 }).describe("Name of the component."),
        replicas: s.integer({ format: "int32" }).describe("How many of it."),
        replicaRequirements: replicaRequirements.optional().describe("What each needs."),
      }),
    )
    .optional()
    .describe("Parts of an object that has several kinds of pods."),
  clusters: targetClusters.optional().describe("Where it goes; written by the scheduler."),
  placement: placementSchema.optional().describe("Where it may go, from its policy."),
  gracefulEvictionTasks: s.array(evictionTask).optional().describe("Clusters that it is leaving."),
  requiredBy: s
    .array(
      s.object({
        namespace: s.string().optional().describe("Namespace of the binding that needs it."),
        name: s.string().describe("Name of that binding."),
        clusters: targetClusters.optional().describe("Where that one is."),
      }),
    )
    .optional()
    .describe("Bindings whose objects need this one; it goes where they go."),
  schedulerName: s.string().optional().describe("Who places it."),
  failover: failoverSchema.optional().describe("What happens when it or its cluster fails."),
  conflictResolution: s
    .enum("Abort", "Overwrite")
    .default("Abort")
    .describe("Whether an object that is already there, and not from here, is left alone or taken over."),
  rescheduleTriggeredAt: s
    .dateTime()
    .optional()
    .describe("It is placed anew when this is later than its last placement."),
  suspension: s
    .object({ ...suspensionFields, scheduling: s.boolean().optional().describe("It is not placed.") })
    .optional()
    .describe("What is held back."),
  preserveResourcesOnDeletion: s.boolean().optional().describe("The members keep their objects when it goes."),
  workloadAffinityGroups: s
    .object({
      affinityGroup: s.string().optional().describe("It goes only where others of this group are."),
      antiAffinityGroup: s.string().optional().describe("It goes nowhere where others of this group are."),
    })
    .optional()
    .describe("Groups that it is in, by its labels and its policy."),
  schedulePriority: s
    .object({ priority: s.integer({ format: "int32" }).default(0).describe("Greater is placed first.") })
    .optional()
    .describe("Who is placed first."),
});

const bindingStatus = s.object({
  schedulerObservedGeneration: s.integer().optional().describe("Generation that the scheduler last looked at."),
  schedulerObservingAffinityName: s.string().optional().describe("Which of the ordered affinities is in use."),
  lastScheduledTime: s.dateTime().optional().describe("When it was last placed."),
  conditions: s.conditions().optional().describe("Scheduled: it has a place. FullyApplied: every cluster took it."),
  aggregatedStatus: s
    .array(
      s.object({
        clusterName: s.string().describe("The cluster."),
        status: s.preserveUnknown().optional().describe("What the object says of itself there."),
        applied: s.boolean().optional().describe("The cluster took it."),
        appliedMessage: s.string().optional().describe("Why not."),
        health: s.enum("Healthy", "Unhealthy", "Unknown").optional().describe("How it is there."),
      }),
    )
    .optional()
    .describe("What was heard from each cluster."),
});

export type BindingSpec = Infer<typeof bindingSpec>;
export type BindingStatus = Infer<typeof bindingStatus>;
export type ResourceBinding = Resource<BindingSpec, BindingStatus>;
export type ClusterResourceBinding = Resource<BindingSpec, BindingStatus>;
/** One entry of `status.aggregatedStatus`. */
export type AggregatedItem = NonNullable<BindingStatus["aggregatedStatus"]>[number];

const GROUP = { group: "work.karmada.io", version: "v1alpha2", categories: ["karmada-io"] } as const;

const columns = [
  { name: "Scheduled", type: "string", jsonPath: '.status.conditions[?(@.type=="Scheduled")].status' },
  { name: "FullyApplied", type: "string", jsonPath: '.status.conditions[?(@.type=="FullyApplied")].status' },
  { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
] as const;

/** An object of a namespace and the clusters that it goes to (Karmada's kind). */
export const ResourceBindingKind: KindDefinition<ResourceBinding> = defineKind<BindingSpec, BindingStatus>({
  ...GROUP,
  kind: "ResourceBinding",
  shortNames: ["rb"],
  description: "An object and the clusters that it goes to.",
  spec: bindingSpec,
  status: bindingStatus.optional(),
  printerColumns: columns,
});

/** The same for an object without namespace. */
export const ClusterResourceBindingKind: KindDefinition<ClusterResourceBinding> = defineKind<
  BindingSpec,
  BindingStatus
>({
  ...GROUP,
  kind: "ClusterResourceBinding",
  scope: "Cluster",
  shortNames: ["crb"],
  description: "An object without namespace and the clusters that it goes to.",
  spec: bindingSpec,
  status: bindingStatus.optional(),
  printerColumns: columns,
});
