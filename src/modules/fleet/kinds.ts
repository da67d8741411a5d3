import { type Condition, defineKind, type KindDefinition, type Resource } from "../../kernel/kinds/index.js";
import { type Infer, s } from "../../kernel/schema/index.js";

const resourceRow = s.object({
  apiVersion: s.string(),
  kind: s.string(),
  name: s.string(),
  namespace: s.string().optional(),
});

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
  observedGeneration: s.integer().optional(),
  aggregatedStatus: s
    .array(
      s.object({
        cluster: s.string(),
        resource: resourceRow,
        applied: s.boolean(),
        appliedMessage: s.string().describe("What the member said, or what is waited for."),
        reason: s.string().optional().describe("The same as one CamelCase word."),
        nextRetryTime: s.dateTime().optional().describe("When delivery is tried again after a failure."),
        status: s.preserveUnknown().optional().describe("The object's status in the member."),
      }),
    )
    .optional()
    .describe("One entry for each cluster and manifest, in the order of clusters, kinds and names."),
  appliedSummary: s.string().optional().describe("Applied of all, for instance 5/6."),
  clusters: s.string().optional().describe("Names of the clusters, by comma."),
  conditions: s.conditions().optional(),
});

/** What a HyperMLService asks for. */
export type HyperMLServiceSpec = Infer<typeof hyperSpec>;
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
    { name: "Message", type: "string", jsonPath: '.status.conditions[?(@.type=="FullyApplied")].message', priority: 1 },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});

const workSpec = s.object({
  workload: s.object({ manifests: s.array(s.embeddedResource()).optional() }).optional(),
  suspendDispatching: s.boolean().optional().describe("Nothing is sent to the member while this is true."),
  preserveResourcesOnDeletion: s.boolean().optional().describe("The member keeps the objects when the Work goes."),
});

const workStatus = s.object({
  conditions: s.conditions().optional(),
  manifestStatuses: s
    .array(
      s.object({
        identifier: s.object({
          ordinal: s.integer(),
          group: s.string().optional(),
          version: s.string(),
          kind: s.string(),
          resource: s.string().optional(),
          namespace: s.string().optional(),
          name: s.string(),
        }),
        status: s.preserveUnknown().optional(),
        health: s.string().optional(),
      }),
    )
    .optional(),
  nextRetryTime: s.dateTime().optional().describe("When delivery is tried again after a failure."),
});

export type WorkSpec = Infer<typeof workSpec>;
export type WorkStatus = Infer<typeof workStatus>;
export type Work = Resource<WorkSpec, WorkStatus>;

/** Objects for one member cluster (Karmada's kind); lives in that member's namespace of the hub. */
export const WorkKind: KindDefinition<Work> = defineKind<WorkSpec, WorkStatus>({
  group: "work.karmada.io",
  version: "v1alpha1",
  kind: "Work",
  shortNames: ["wk"],
  categories: ["karmada-io"],
  description: "Objects that are to exist in one member cluster.",
  spec: workSpec,
  status: workStatus.optional(),
  printerColumns: [
    { name: "Workload-Kind", type: "string", jsonPath: ".spec.workload.manifests[*].kind" },
    { name: "Applied", type: "string", jsonPath: '.status.conditions[?(@.type=="Applied")].status' },
    { name: "Message", type: "string", jsonPath: '.status.conditions[?(@.type=="Applied")].message', priority: 1 },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});

const secretReference = s.object({ namespace: s.string().optional(), name: s.string().optional() });

const clusterSpec = s.object({
  id: s.string().optional(),
  syncMode: s.enum("Push", "Pull").optional(),
  apiEndpoint: s.string().optional(),
  secretRef: secretReference.optional(),
  impersonatorSecretRef: secretReference.optional(),
  insecureSkipTLSVerification: s.boolean().optional(),
  proxyURL: s.string().optional(),
  proxyHeader: s.map(s.string()).optional(),
  provider: s.string().optional(),
  region: s.string().optional(),
  zone: s.string().optional(),
  zones: s.array(s.string()).optional(),
  taints: s
    .array(
      s.object({
        key: s.string(),
        value: s.string().optional(),
        effect: s.enum("NoSchedule", "PreferNoSchedule", "NoExecute"),
        timeAdded: s.dateTime().optional(),
      }),
    )
    .optional(),
  resourceModels: s
    .array(
      s.object({
        grade: s.integer(),
        ranges: s.array(s.object({ name: s.string(), min: s.quantity(), max: s.quantity() })),
      }),
    )
    .optional(),
});

const clusterStatus = s.object({
  kubernetesVersion: s.string().optional(),
  apiEnablements: s
    .array(
      s.object({
        groupVersion: s.string(),
        resources: s.array(s.object({ name: s.string(), kind: s.string() })).optional(),
      }),
    )
    .optional(),
  conditions: s.conditions().optional(),
  nodeSummary: s.object({ totalNum: s.integer().optional(), readyNum: s.integer().optional() }).optional(),
  resourceSummary: s
    .object({
      allocatable: s.map(s.quantity()).optional(),
      allocating: s.map(s.quantity()).optional(),
      allocated: s.map(s.quantity()).optional(),
    })
    .optional(),
});

export type ClusterSpec = Infer<typeof clusterSpec>;
export type ClusterStatus = Infer<typeof clusterStatus>;
export type Cluster = Resource<ClusterSpec, ClusterStatus>;

/** A member cluster as the hub knows it (Karmada's kind). */
export const ClusterKind: KindDefinition<Cluster> = defineKind<ClusterSpec, ClusterStatus>({
  group: "cluster.karmada.io",
  version: "v1alpha1",
  kind: "Cluster",
  scope: "Cluster",
  categories: ["karmada-io"],
  description: "A member cluster: how it is reached, and how it is.",
  spec: clusterSpec.optional(),
  status: clusterStatus.optional(),
  printerColumns: [
    { name: "Version", type: "string", jsonPath: ".status.kubernetesVersion" },
    { name: "Mode", type: "string", jsonPath: ".spec.syncMode" },
    { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: "Nodes", type: "integer", jsonPath: ".status.nodeSummary.readyNum" },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
    { name: "Endpoint", type: "string", jsonPath: ".spec.apiEndpoint", priority: 1 },
  ],
});

const weight = (): ReturnType<typeof s.integer> => s.integer({ min: 0, max: 1_000_000 });

const headSpec = s.object({
  listener: s.string().optional().describe("Listener of the gateway; default: the head listener."),
  hosts: s
    .array(s.string({ min: 1, max: 253, pattern: "^(\\*|(\\*\\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)$" }), {
      max: 64,
    })
    .optional()
    .describe("Host names; default: all."),
  path: s
    .string({ pattern: "^/[!-~]*$", max: 1024 })
    .optional()
    .describe("Prefix of the public path; default /t9k/hypermlservices/namespaces/NAMESPACE/NAME/."),
  rewrite: s.string({ pattern: "^/[!-~]*$", max: 1024 }).optional().describe("What the prefix becomes; default /."),
  hyperMLServiceRef: s
    .object({
      name: s.string({ min: 1 }),
      service: s.string().optional().describe("Name of the MLService; default: the only one of each cluster."),
    })
    .optional()
    .describe("Backends are the addresses that the MLServices of this HyperMLService report."),
  weights: s
    .map(weight())
    .optional()
    .describe(
      "Weight by cluster; a cluster that is not named has its Cluster's default weight (annotation argosy.dev/ingress-weight), or 1.",
    ),
  backends: s
    .array(
      s.object({
        name: s.string({ min: 1, max: 253 }),
        url: s.string({ pattern: "^https?://[^/]+", max: 2048 }).describe("Scheme, host and port."),
        host: s.string().optional().describe("Host header; default: the host of the URL."),
        address: s.string().optional().describe("host:port to connect to instead of the URL's."),
        weight: weight().optional().describe("Default 1."),
      }),
      { max: 256 },
    )
    .optional()
    .describe("Backends by hand, beside or instead of hyperMLServiceRef."),
  health: s
    .object({
      path: s
        .string({ pattern: "^/" })
        .optional()
        .describe("Asked twice a second; any answer below 500 is alive. Default /v2/health/ready."),
      intervalMs: s.integer({ min: 50, max: 600_000 }).optional(),
      timeoutMs: s.integer({ min: 10, max: 600_000 }).optional(),
    })
    .optional(),
  timeouts: s
    .object({
      connectMs: s.integer({ min: 1, max: 86_400_000 }).optional(),
      responseMs: s.integer({ min: 1, max: 86_400_000 }).optional(),
      idleMs: s.integer({ min: 1, max: 86_400_000 }).optional(),
    })
    .optional(),
  retry: s
    .object({
      attempts: s.integer({ min: 0, max: 10 }).optional(),
      nonIdempotent: s
        .boolean()
        .optional()
        .describe(
          "Repeat also POST when a connection broke before any answer. Default: true with hyperMLServiceRef, because predictions change nothing; else false.",
        ),
    })
    .optional(),
});

const headStatus = s.object({
  observedGeneration: s.integer().optional(),
  address: s.string().optional().describe("Where clients send requests."),
  backends: s
    .array(
      s.object({
        name: s.string(),
        cluster: s.string().optional(),
        url: s.string(),
        address: s.string().optional(),
        weight: s.integer().describe("Asked for."),
        weightEffective: s.integer().describe("In force now."),
        percent: s.number().describe("Share of new requests now."),
        reason: s.string().optional().describe("Why the two weights differ, as one word."),
        message: s.string().optional().describe("The same for people."),
        requests: s.integer().describe("Since the gateway began."),
        failures: s.integer(),
      }),
    )
    .optional(),
  summary: s.string().optional().describe("Effective percentages by backend."),
  conditions: s.conditions().optional(),
});

export type HeadIngressSpec = Infer<typeof headSpec>;
export type HeadIngressStatus = Infer<typeof headStatus>;
export type HeadIngress = Resource<HeadIngressSpec, HeadIngressStatus>;
/** One entry of a HeadIngress' `status.backends`. */
export type HeadBackendStatus = NonNullable<HeadIngressStatus["backends"]>[number];

/** One public address in front of several clusters. */
export const HeadIngressKind: KindDefinition<HeadIngress> = defineKind<HeadIngressSpec, HeadIngressStatus>({
  group: "argosy.dev",
  version: "v1alpha1",
  kind: "HeadIngress",
  plural: "headingresses",
  shortNames: ["hi"],
  categories: ["argosy"],
  description:
    "Splits the requests to one public path by weight over the clusters of a HyperMLService, or over given addresses.",
  spec: headSpec,
  status: headStatus.optional(),
  printerColumns: [
    { name: "Address", type: "string", jsonPath: ".status.address" },
    { name: "Weights", type: "string", jsonPath: ".status.summary" },
    { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: "Message", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].message', priority: 1 },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});

/** A condition without its time, as the pure parts of this module compute it. */
export type ConditionDraft = Omit<Condition, "lastTransitionTime" | "observedGeneration">;
