import { defineKind, type KindDefinition, type Resource } from "../../../kernel/kinds/index.js";
import { type Infer, s } from "../../../kernel/schema/index.js";

const remedySpec = s.object({
  clusterAffinity: s
    .object({ clusterNames: s.array(s.string()).optional().describe("Their names.") })
    .optional()
    .describe("The clusters that are meant; absent: all."),
  decisionMatches: s
    .array(
      s.object({
        clusterConditionMatch: s
          .object({
            conditionType: s.string().describe("Type of the condition."),
            operator: s.enum("Equal", "NotEqual").describe("How the status is compared."),
            conditionStatus: s.string().describe("True, False or Unknown."),
          })
          .optional()
          .describe("A condition of the cluster."),
      }),
    )
    .optional()
    .describe("When something is done: where any of these holds; absent: at once."),
  actions: s
    .array(s.enum("TrafficControl"))
    .optional()
    .describe("What is done. TrafficControl: it is sent no requests."),
});

export type RemedySpec = Infer<typeof remedySpec>;
export type Remedy = Resource<RemedySpec, Record<never, never>>;

/** What is done about clusters that are not well (Karmada's kind). */
export const RemedyKind: KindDefinition<Remedy> = defineKind<RemedySpec, Record<never, never>>({
  group: "remedy.karmada.io",
  version: "v1alpha1",
  kind: "Remedy",
  plural: "remedies",
  scope: "Cluster",
  categories: ["karmada-io"],
  description: "What is done about clusters by their conditions.",
  spec: remedySpec,
});
