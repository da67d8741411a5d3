import { defineKind, type KindDefinition, type Resource } from "../../../kernel/kinds/index.js";
import { type Infer, s } from "../../../kernel/schema/index.js";

const script = (name: string, meaning: string) =>
  s
    .object({ luaScript: s.string().describe(`A Lua script that defines ${name}.`) })
    .optional()
    .describe(meaning);

const spec = s.object({
  target: s
    .object({
      apiVersion: s.string().describe("Group and version of the objects."),
      kind: s.string().describe("Their kind."),
    })
    .describe("Which objects are interpreted."),
  customizations: s
    .object({
      retention: script("Retain(desired, observed)", "What a member decides itself."),
      replicaResource: script("GetReplicas(object)", "How many replicas there are, and what each needs."),
      componentResource: script("GetComponents(object)", "The parts of a workload that has several."),
      replicaRevision: script("ReviseReplica(object, replicas)", "The object with another number of replicas."),
      statusReflection: script("ReflectStatus(object)", "What of the status in a member is told."),
      statusAggregation: script("AggregateStatus(object, items)", "The status in the hub, from those of the members."),
      healthInterpretation: script("InterpretHealth(object)", "Whether it is healthy."),
      dependencyInterpretation: script("GetDependencies(object)", "What it cannot do without."),
    })
    .describe("How they are read; what is left out is as Argosy knows it."),
});

export type CustomizationSpec = Infer<typeof spec>;
export type ResourceInterpreterCustomization = Resource<CustomizationSpec>;

/** How objects of one kind are read (Karmada's kind). */
export const ResourceInterpreterCustomizationKind: KindDefinition<ResourceInterpreterCustomization> =
  defineKind<CustomizationSpec>({
    group: "config.karmada.io",
    version: "v1alpha1",
    kind: "ResourceInterpreterCustomization",
    scope: "Cluster",
    shortNames: ["ric"],
    categories: ["karmada-io"],
    description: "How objects of one kind are read: replicas, health, status, dependencies, in Lua.",
    spec,
    printerColumns: [
      { name: "Target-API-Version", type: "string", jsonPath: ".spec.target.apiVersion" },
      { name: "Target-Kind", type: "string", jsonPath: ".spec.target.kind" },
      { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
    ],
  });

/** What Karmada calls what a script is for, by the field that holds it; in the order in which they are checked. */
export const OPERATIONS = {
  replicaResource: "InterpretReplica",
  componentResource: "InterpretComponent",
  replicaRevision: "ReviseReplica",
  retention: "Retain",
  statusReflection: "InterpretStatus",
  statusAggregation: "AggregateStatus",
  healthInterpretation: "InterpretHealth",
  dependencyInterpretation: "InterpretDependency",
} as const;
export type Operation = keyof typeof OPERATIONS;
export const OPERATION_FIELDS: readonly Operation[] = [
  "retention",
  "replicaResource",
  "componentResource",
  "replicaRevision",
  "statusReflection",
  "statusAggregation",
  "healthInterpretation",
  "dependencyInterpretation",
];

/** The script for an operation; `""` when there is none. */
export function scriptOf(customization: ResourceInterpreterCustomization, operation: Operation): string {
  return customization.spec.customizations[operation]?.luaScript ?? "";
}
