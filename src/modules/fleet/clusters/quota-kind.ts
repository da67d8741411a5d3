import { defineKind, type KindDefinition, type Resource } from "../../../kernel/kinds/index.js";
import { type Infer, s } from "../../../kernel/schema/index.js";

const amounts = (what: string) => s.map(s.quantity()).describe(what);

const quotaSpec = s.object({
  overall: amounts("How much the namespace may use over all clusters."),
  staticAssignments: s
    .array(
      s.object({
        clusterName: s.string().describe("The cluster."),
        hard: amounts("How much the namespace may use there."),
      }),
    )
    .optional()
    .describe("Shares of clusters; each gets a ResourceQuota of this name. Other clusters have none."),
});

const quotaStatus = s.object({
  overall: amounts("As in the spec.").optional(),
  overallUsed: amounts("How much is used, summed over the clusters; absent: nothing is.").optional(),
  aggregatedStatus: s
    .array(
      s.object({
        clusterName: s.string().describe("The cluster."),
        hard: amounts("How much may be used there.").optional(),
        used: amounts("How much is used there.").optional(),
      }),
    )
    .optional()
    .describe("What the clusters' quotas say."),
});

export type FederatedResourceQuotaSpec = Infer<typeof quotaSpec>;
export type FederatedResourceQuotaStatus = Infer<typeof quotaStatus>;
export type FederatedResourceQuota = Resource<FederatedResourceQuotaSpec, FederatedResourceQuotaStatus>;

/** How much a namespace may use, by cluster (Karmada's kind). */
export const FederatedResourceQuotaKind: KindDefinition<FederatedResourceQuota> = defineKind<
  FederatedResourceQuotaSpec,
  FederatedResourceQuotaStatus
>({
  group: "policy.karmada.io",
  version: "v1alpha1",
  kind: "FederatedResourceQuota",
  categories: ["karmada-io"],
  description: "How much a namespace may use in each cluster.",
  spec: quotaSpec,
  status: quotaStatus.optional(),
  printerColumns: [
    { name: "OVERALL", type: "string", jsonPath: ".status.overall" },
    { name: "OVERALL_USED", type: "string", jsonPath: ".status.overallUsed" },
  ],
});
