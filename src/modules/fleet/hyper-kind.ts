import { defineKind, type KindDefinition, type Resource } from "../../kernel/kinds/index.js";
import { type Infer, s } from "../../kernel/schema/index.js";

const resourceRow = s
  .object({
    apiVersion: s.string().describe("Group and version, as in the manifest."),
    kind: s.string().describe("Kind of the object."),
    name: s.string().describe("Its name."),
    namespace: s.string().optional().describe("Its namespace in the member; absent for objects of the whole cluster."),
  })
  .describe("Which object of the manifests this row is about.");

const observedGeneration = () =>
  s.integer().optional().describe("metadata.generation of the object that this status was computed from.");

const hyperSpec = s.object({
  workloads: s
    .array(
      s.object({
        clusters: s
          .array(s.string({ min: 1, max: 253 }), { min: 1, max: 1000 })
          .describe("Names of the member clusters that get these objects."),
        manifests: s.array(s.embeddedResource(), { min: 1, max: 256 }).describe("Any Kubernetes objects."),
      }),
      { max: 256 },
    )
    .describe(
      "What runs where. An object may differ from cluster to cluster, but may be given to a cluster only once.",
    ),
});

const hyperStatus = s.object({
  observedGeneration: observedGeneration(),
  aggregatedStatus: s
    .array(
      s.object({
        cluster: s.string().describe("The member cluster."),
        resource: resourceRow,
        applied: s.boolean().describe("The member holds the object as the manifest has it."),
        appliedMessage: s.string().describe("What the member said, or what is waited for."),
        reason: s.string().optional().describe("The same as one CamelCase word."),
        nextRetryTime: s.dateTime().optional().describe("When delivery is tried again after a failure."),
        health: s.string().optional().describe("Healthy, Unhealthy or Unknown, as its delivery judged it."),
        status: s.preserveUnknown().optional().describe("The object's status in the member."),
      }),
    )
    .optional()
    .describe("One entry for each cluster and manifest, in the order of clusters, kinds and names."),
  appliedSummary: s.string().optional().describe("Applied of all, for instance 5/6."),
  clusters: s.string().optional().describe("Names of the clusters, by comma."),
  leaving: s
    .array(
      s.object({
        cluster: s.string().describe("The member cluster."),
        message: s.string().describe("What is waited for."),
        url: s.string().optional().describe("Where its MLService answers as long as it is there."),
      }),
    )
    .optional()
    .describe("Clusters that are to hold nothing of this any more: requests go first, then the objects."),
  revision: s
    .string()
    .optional()
    .describe("ControllerRevision that all clusters are given; during a rollout the one that it began from."),
  revisions: s
    .array(
      s.object({
        cluster: s.string().describe("The member cluster."),
        revision: s.string().describe("ControllerRevision that it is given; empty while it is held as it is."),
        canaryPercent: s
          .integer()
          .optional()
          .describe("Share of its requests that the new release gets; absent: the revision as it is."),
        shadows: s
          .array(
            s.object({
              service: s.string().describe("The MLService."),
              release: s.string().describe("Its new release; it answers nobody yet."),
              percent: s.integer().describe("Share of the cluster's requests of which it gets copies."),
            }),
          )
          .optional()
          .describe("Releases that are tried in shadow; absent: none."),
        ready: s.boolean().describe("All of it is applied there, and what reports readiness is ready."),
        message: s.string().optional().describe("Why it is not."),
      }),
    )
    .optional()
    .describe("What each cluster is given at the moment."),
  traffic: s
    .array(
      s.object({
        ingress: s.string().describe("The HeadIngress that requests come in by."),
        cluster: s.string().describe("The member cluster."),
        release: s.string().describe("Release of the MLService there; empty where it reports none."),
        percent: s.number().describe("Share of all new requests that ends here: the two others multiplied."),
        clusterPercent: s.number().describe("Share that the HeadIngress sends to the cluster."),
        releasePercent: s.number().describe("Share of those that the MLService gives to the release."),
      }),
    )
    .optional()
    .describe("Where requests end, from the public address to the release."),
  trafficSummary: s.string().optional().describe("The same in short: cloud/v1 30%, edge/v1 70%."),
  conditions: s
    .conditions()
    .optional()
    .describe(
      "FullyApplied: every manifest is in every cluster. Ready: every object that reports readiness is ready. Progressing: something is on its way. Degraded: something that should be there is not, or no longer. TrafficReady: requests to the public address have somewhere to go. ManifestsChecked: what the hub found before any member saw them.",
    ),
});

/** What a HyperMLService asks for. */
type HyperMLServiceSpec = Infer<typeof hyperSpec>;
export type HyperMLServiceStatus = Infer<typeof hyperStatus>;
export type HyperMLService = Resource<HyperMLServiceSpec, HyperMLServiceStatus>;
/** One entry of `status.aggregatedStatus`. */
export type AggregatedRow = NonNullable<HyperMLServiceStatus["aggregatedStatus"]>[number];

/** A model service in several clusters (TensorStack's kind). */
export const HyperMLServiceKind: KindDefinition<HyperMLService> = defineKind<HyperMLServiceSpec, HyperMLServiceStatus>({
  group: "tensorstack.dev",
  version: "v1beta1",
  kind: "HyperMLService",
  shortNames: ["hmls"],
  categories: ["argosy", "all"],
  description: "Objects, usually of a model service, delivered to several member clusters.",
  spec: hyperSpec,
  status: hyperStatus.optional(),
  printerColumns: [
    { name: "Clusters", type: "string", jsonPath: ".status.clusters" },
    { name: "Applied", type: "string", jsonPath: ".status.appliedSummary" },
    { name: "FullyApplied", type: "string", jsonPath: '.status.conditions[?(@.type=="FullyApplied")].status' },
    { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: "Traffic", type: "string", jsonPath: ".status.trafficSummary" },
    { name: "Degraded", type: "string", jsonPath: '.status.conditions[?(@.type=="Degraded")].status', priority: 1 },
    { name: "Message", type: "string", jsonPath: '.status.conditions[?(@.type=="FullyApplied")].message', priority: 1 },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});
