import { defineKind, type KindDefinition, type Resource } from "../../../kernel/kinds/index.js";
import { type Infer, s } from "../../../kernel/schema/index.js";
import { clusterAffinity, placementSchema, resourceSelector } from "../placement/schema.js";
import { failoverSchema, overridersSchema, suspensionFields } from "./schemas.js";

export type { ResourceSelector } from "../placement/schema.js";

const GROUP = { group: "policy.karmada.io", version: "v1alpha1", categories: ["karmada-io"] } as const;

const propagationSpec = s.object({
  association: s.boolean().optional().describe("Older name of propagateDeps; not read."),
  propagateDeps: s.boolean().optional().describe("What the objects refer to (ConfigMaps, Secrets, …) goes with them."),
  resourceSelectors: s.array(resourceSelector, { min: 1 }).describe("Which objects."),
  dependentOverrides: s
    .array(s.string())
    .optional()
    .describe("Override policies that must be there before anything is sent."),
  placement: placementSchema.optional().describe("Where they go; absent: into every cluster."),
  priority: s
    .integer({ format: "int32" })
    .default(0)
    .describe("Of several policies that select an object the greatest priority wins."),
  preemption: s
    .enum("Always", "Never")
    .default("Never")
    .describe("Whether objects are taken from a policy of lower priority that already has them."),
  schedulerName: s.string().default("default-scheduler").describe("Who places the objects."),
  failover: failoverSchema.optional().describe("What happens when an object or its cluster fails."),
  conflictResolution: s
    .enum("Abort", "Overwrite")
    .default("Abort")
    .describe("Whether an object that is already in a member, and not from here, is left alone or taken over."),
  activationPreference: s
    .enum("Lazy")
    .optional()
    .describe("Lazy: a change of the policy waits for the next change of the object."),
  suspension: s.object(suspensionFields).optional().describe("What is held back."),
  preserveResourcesOnDeletion: s
    .boolean()
    .optional()
    .describe("The members keep their objects when the one in the hub goes."),
  schedulePriority: s
    .object({
      priorityClassSource: s
        .enum("KubePriorityClass")
        .describe("Where the class is looked up: among the hub's PriorityClasses."),
      priorityClassName: s.string().describe("Its name."),
    })
    .optional()
    .describe("Who is placed first."),
});

/** What both propagation policies ask for. */
export type PropagationSpec = Infer<typeof propagationSpec>;
export type PropagationPolicy = Resource<PropagationSpec>;
export type ClusterPropagationPolicy = Resource<PropagationSpec>;

const propagationColumns = [
  { name: "Conflict-Resolution", type: "string", jsonPath: ".spec.conflictResolution" },
  { name: "Priority", type: "string", jsonPath: ".spec.priority" },
  { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
] as const;

/** Which objects of a namespace go to which clusters (Karmada's kind). */
export const PropagationPolicyKind: KindDefinition<PropagationPolicy> = defineKind<PropagationSpec>({
  ...GROUP,
  kind: "PropagationPolicy",
  shortNames: ["pp"],
  description: "Which objects of a namespace go to which clusters.",
  spec: propagationSpec,
  printerColumns: propagationColumns,
});

/** The same for all namespaces and for objects without one. */
export const ClusterPropagationPolicyKind: KindDefinition<ClusterPropagationPolicy> = defineKind<PropagationSpec>({
  ...GROUP,
  kind: "ClusterPropagationPolicy",
  scope: "Cluster",
  shortNames: ["cpp"],
  description: "Which objects, of any namespace or none, go to which clusters.",
  spec: propagationSpec,
  printerColumns: propagationColumns,
});

const overrideSpec = s.object({
  resourceSelectors: s.array(resourceSelector).optional().describe("Which objects; absent: all."),
  overrideRules: s
    .array(
      s.object({
        targetCluster: clusterAffinity.optional().describe("In which clusters; absent: in all."),
        overriders: overridersSchema.describe("What is changed there."),
      }),
    )
    .optional()
    .describe("Changes, by cluster."),
  targetCluster: clusterAffinity.optional().describe("Older form: clusters of `overriders`."),
  overriders: overridersSchema.optional().describe("Older form of one rule."),
});

/** What both override policies ask for. */
export type OverrideSpec = Infer<typeof overrideSpec>;
export type OverridePolicy = Resource<OverrideSpec>;
export type ClusterOverridePolicy = Resource<OverrideSpec>;

/** How objects of a namespace differ from cluster to cluster (Karmada's kind). */
export const OverridePolicyKind: KindDefinition<OverridePolicy> = defineKind<OverrideSpec>({
  ...GROUP,
  kind: "OverridePolicy",
  shortNames: ["op"],
  description: "How objects of a namespace differ from cluster to cluster.",
  spec: overrideSpec,
});

/** The same for all namespaces and for objects without one. */
export const ClusterOverridePolicyKind: KindDefinition<ClusterOverridePolicy> = defineKind<OverrideSpec>({
  ...GROUP,
  kind: "ClusterOverridePolicy",
  scope: "Cluster",
  shortNames: ["cop"],
  description: "How objects, of any namespace or none, differ from cluster to cluster.",
  spec: overrideSpec,
});

const matchConditions = (meaning: string) =>
  s
    .array(
      s.object({
        conditionType: s.string().describe("Type of a condition of the Cluster."),
        operator: s.enum("In", "NotIn").describe("Whether its status is among the values."),
        statusValues: s.array(s.string()).describe("True, False, Unknown."),
      }),
    )
    .optional()
    .describe(meaning);

const taintPolicySpec = s.object({
  targetClusters: clusterAffinity.optional().describe("Which clusters; absent: all."),
  addOnConditions: matchConditions("When all of these hold, the taints are set."),
  removeOnConditions: matchConditions("When all of these hold, the taints are taken off."),
  taints: s
    .array(
      s.object({
        key: s.string({ min: 1 }).describe("Key of the taint."),
        effect: s.enum("NoSchedule", "NoExecute").describe("What it does."),
        value: s.string().optional().describe("Its value."),
      }),
      { min: 1 },
    )
    .describe("The taints."),
});

export type ClusterTaintPolicySpec = Infer<typeof taintPolicySpec>;
export type ClusterTaintPolicy = Resource<ClusterTaintPolicySpec>;

/** Taints of clusters by their conditions (Karmada's kind). */
export const ClusterTaintPolicyKind: KindDefinition<ClusterTaintPolicy> = defineKind<ClusterTaintPolicySpec>({
  ...GROUP,
  kind: "ClusterTaintPolicy",
  scope: "Cluster",
  description: "Sets and takes off taints of clusters by their conditions.",
  spec: taintPolicySpec,
});

const objectReference = {
  apiVersion: s.string().describe("Group and version."),
  kind: s.string().describe("Kind of the object."),
  name: s.string().describe("Its name."),
  namespace: s.string().optional().describe("Its namespace."),
};

const rebalancerSpec = s.object({
  workloads: s.array(s.object(objectReference), { min: 1 }).describe("Objects that are placed anew."),
  ttlSecondsAfterFinished: s
    .integer({ format: "int32" })
    .optional()
    .describe("How long this object stays when it is done; absent: for ever."),
});

const rebalancerStatus = s.object({
  observedWorkloads: s
    .array(
      s.object({
        workload: s.object(objectReference).describe("The object."),
        result: s.enum("Successful", "Failed").optional().describe("Whether it was placed anew; absent: not yet."),
        reason: s.string().optional().describe("Why not: ReferencedBindingNotFound."),
      }),
    )
    .optional()
    .describe("What became of each."),
  observedGeneration: s.integer().optional().describe("Generation that this is about."),
  finishTime: s.dateTime().optional().describe("When all were done."),
});

export type WorkloadRebalancerSpec = Infer<typeof rebalancerSpec>;
export type WorkloadRebalancerStatus = Infer<typeof rebalancerStatus>;
export type WorkloadRebalancer = Resource<WorkloadRebalancerSpec, WorkloadRebalancerStatus>;

/** Places objects anew, as if they were nowhere yet (Karmada's kind). */
export const WorkloadRebalancerKind: KindDefinition<WorkloadRebalancer> = defineKind<
  WorkloadRebalancerSpec,
  WorkloadRebalancerStatus
>({
  group: "apps.karmada.io",
  version: "v1alpha1",
  categories: ["karmada-io"],
  kind: "WorkloadRebalancer",
  scope: "Cluster",
  description: "Places objects anew, as if they were nowhere yet.",
  spec: rebalancerSpec,
  status: rebalancerStatus.optional(),
});
