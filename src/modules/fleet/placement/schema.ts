import { type Infer, s } from "../../../kernel/schema/index.js";

/** Which objects a policy is about (`ResourceSelector`). */
export const resourceSelector = s.object({
  apiVersion: s.string().describe("Group and version of the objects, `apps/v1`."),
  kind: s.string().describe("Their kind."),
  namespace: s
    .string()
    .optional()
    .describe("Their namespace; empty: the policy's own, or any for a policy of the whole cluster."),
  name: s.string().optional().describe("Name of the only object that is meant; empty: all of the kind."),
  labelSelector: s.labelSelector().optional().describe("Objects with such labels; not read when a name is given."),
});

/** One entry of `resourceSelectors`. */
export type ResourceSelector = Infer<typeof resourceSelector>;

const affinityFields = {
  labelSelector: s.labelSelector().optional().describe("Clusters with such labels."),
  fieldSelector: s
    .object({
      matchExpressions: s
        .array(
          s.object({
            key: s.string().describe("provider, region or zone."),
            operator: s.string().describe("In or NotIn."),
            values: s.array(s.string()).optional().describe("What it is compared with."),
          }),
        )
        .optional()
        .describe("All must hold."),
    })
    .optional()
    .describe("Clusters by provider, region and zones."),
  clusterNames: s.array(s.string()).optional().describe("Only these clusters; empty: any."),
  exclude: s.array(s.string()).optional().describe("Never these clusters."),
};

/** Which clusters are meant (`ClusterAffinity`). */
export const clusterAffinity = s.object(affinityFields);

const clusterAffinityTerm = s.object({
  affinityName: s.string({ min: 1, max: 32 }).describe("Name of this choice."),
  ...affinityFields,
});

/** One toleration of a taint. */
export const toleration = s.object({
  key: s.string().optional().describe("Key of the taint; empty with Exists: every taint."),
  operator: s.string().optional().describe("Equal (default) or Exists."),
  value: s.string().optional().describe("Value of the taint, with Equal."),
  effect: s.string().optional().describe("Effect of the taint; empty: every effect."),
  tolerationSeconds: s.integer().optional().describe("How long NoExecute is tolerated; absent: for ever."),
});

const spreadConstraint = s.object({
  spreadByField: s
    .enum("cluster", "region", "zone", "provider")
    .optional()
    .describe("Clusters are grouped by this field of theirs."),
  spreadByLabel: s.string().optional().describe("Clusters are grouped by the value of this label."),
  maxGroups: s.integer({ format: "int32" }).optional().describe("At most so many groups; 0: any number."),
  minGroups: s.integer({ format: "int32" }).optional().describe("At least so many groups."),
});

const weightPreference = s.object({
  staticWeightList: s
    .array(
      s.object({
        targetCluster: clusterAffinity.describe("Which clusters have this weight."),
        weight: s.integer({ min: 1 }).describe("Their share."),
      }),
    )
    .optional()
    .describe("Fixed shares; of several that fit a cluster the greatest counts."),
  dynamicWeight: s.enum("AvailableReplicas").optional().describe("Shares by how many replicas a cluster has room for."),
});

const replicaScheduling = s.object({
  replicaSchedulingType: s
    .enum("Duplicated", "Divided")
    .default("Divided")
    .describe("All replicas in each cluster, or divided over the clusters."),
  replicaDivisionPreference: s
    .enum("Aggregated", "Weighted")
    .optional()
    .describe("Divided over as few clusters as hold them, or by weight."),
  weightPreference: weightPreference.optional().describe("The weights; absent: all the same."),
});

const groupTerm = s.object({
  groupByLabelKey: s.string({ min: 1 }).describe("Templates with the same value of this label are a group."),
});

/** Where objects go (`Placement`). */
export const placementSchema = s.object({
  clusterAffinity: clusterAffinity.optional().describe("The clusters that are meant; not beside clusterAffinities."),
  clusterAffinities: s
    .array(clusterAffinityTerm)
    .optional()
    .describe("Choices of clusters; the first that works is taken."),
  clusterTolerations: s.array(toleration).optional().describe("Taints of clusters that do not matter."),
  spreadConstraints: s.array(spreadConstraint).optional().describe("Over how many groups of clusters."),
  workloadAffinity: s
    .object({
      affinity: groupTerm.optional().describe("They go only where others of their group are, if there are any."),
      antiAffinity: groupTerm.optional().describe("They go nowhere where others of their group are."),
    })
    .optional()
    .describe("Workloads of one namespace that are placed together, or apart."),
  replicaScheduling: replicaScheduling.optional().describe("How replicas are divided; absent: all in each cluster."),
});
