import { type Condition, defineKind, type KindDefinition, type Resource } from "../../kernel/kinds/index.js";
import { type Infer, s } from "../../kernel/schema/index.js";

export {
  type HeadBackendStatus,
  type HeadIngress,
  HeadIngressKind,
  type HeadIngressSpec,
  type HeadIngressStatus,
  type HeadShadowStatus,
} from "./head-kind.js";
export {
  type AggregatedRow,
  type HyperMLService,
  HyperMLServiceKind,
  type HyperMLServiceStatus,
} from "./hyper-kind.js";

const workSpec = s.object({
  workload: s
    .object({
      manifests: s
        .array(s.embeddedResource())
        .optional()
        .describe("The objects, whole, with apiVersion, kind and metadata."),
    })
    .optional()
    .describe("What is to exist in the member."),
  suspendDispatching: s.boolean().optional().describe("Nothing is sent to the member while this is true."),
  preserveResourcesOnDeletion: s.boolean().optional().describe("The member keeps the objects when the Work goes."),
});

const workStatus = s.object({
  conditions: s
    .conditions()
    .optional()
    .describe(
      "Applied: the member took the objects. Available: they are there and healthy. Dispatching: False while it is suspended.",
    ),
  manifestStatuses: s
    .array(
      s.object({
        identifier: s
          .object({
            ordinal: s.integer().describe("Place in spec.workload.manifests, from 0."),
            group: s.string().optional().describe("API group; absent for the core group."),
            version: s.string().describe("API version within the group."),
            kind: s.string().describe("Kind of the object."),
            resource: s.string().optional().describe("Plural name of the kind."),
            namespace: s
              .string()
              .optional()
              .describe("Namespace in the member; absent for objects of the whole cluster."),
            name: s.string().describe("Name of the object."),
          })
          .describe("Which object of the manifests it is."),
        status: s.preserveUnknown().optional().describe("The object's own status, as the member has it."),
        health: s.string().optional().describe("Healthy, Unhealthy or Unknown, judged by that status."),
      }),
    )
    .optional()
    .describe("What was seen of each object in the member."),
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

const secretReference = (meaning: string) =>
  s
    .object({
      namespace: s.string().optional().describe("Namespace of the Secret, in the hub."),
      name: s.string().optional().describe("Name of the Secret."),
    })
    .optional()
    .describe(meaning);

const kept = "Kept for Karmada; Argosy does not read it.";

const clusterSpec = s.object({
  id: s.string().optional().describe(`Identity of the cluster, whatever its name. ${kept}`),
  syncMode: s
    .enum("Pull", "Push")
    .optional()
    .describe(
      "Push: the hub writes into the member. Pull: an agent in the member fetches, and tells how the member is.",
    ),
  apiEndpoint: s.string().optional().describe("URL of the member's API server."),
  secretRef: secretReference(
    "Secret with which the hub enters the member: `token` and `caBundle`, or a whole `kubeconfig`. Embedded members need none.",
  ),
  impersonatorSecretRef: secretReference(`Secret with a token that may impersonate users in the member. ${kept}`),
  insecureSkipTLSVerification: s
    .boolean()
    .optional()
    .describe("Accept any certificate of the member's API server. Default false."),
  proxyURL: s
    .string()
    .optional()
    .describe("HTTP proxy on the way to the member. Argosy refuses it: it connects directly."),
  proxyHeader: s.map(s.string()).optional().describe(`Headers for that proxy. ${kept}`),
  provider: s.string().optional().describe("Who runs the cluster; policies may ask for it."),
  region: s.string().optional().describe("Where it is; policies may ask for it, and spread over regions."),
  zone: s.string().optional().describe("Older form of zones; becomes one."),
  zones: s.array(s.string()).optional().describe("Zones that its nodes are in; policies may ask for them."),
  taints: s
    .array(
      s.object({
        key: s.string().describe("Name of the taint."),
        value: s.string().optional().describe("Value that a toleration may ask for."),
        effect: s.enum("NoSchedule", "NoExecute").describe("Keep new workloads away, or send present ones away too."),
        timeAdded: s.dateTime().optional().describe("When it was set; NoExecute counts from then."),
      }),
    )
    .optional()
    .describe("What keeps workloads away that do not tolerate it."),
  resourceModels: s
    .array(
      s.object({
        grade: s.integer().describe("Number of the class, from 0."),
        ranges: s
          .array(
            s.object({
              name: s.string().describe("Resource: cpu, memory, …"),
              min: s.quantity().describe("Smallest amount of the class, included."),
              max: s.quantity().describe("Where the next class begins."),
            }),
          )
          .describe("What a node of this class has."),
      }),
    )
    .optional()
    .describe("Classes of nodes by size, to estimate what fits; nine of them when none is given."),
});

const clusterStatus = s.object({
  kubernetesVersion: s.string().optional().describe("Version that the member's API server tells."),
  apiEnablements: s
    .array(
      s.object({
        groupVersion: s.string().describe("Group and version, `apps/v1`."),
        resources: s
          .array(
            s.object({
              name: s.string().describe("Plural name, `deployments`."),
              kind: s.string().describe("Kind, `Deployment`."),
            }),
          )
          .optional()
          .describe("The kinds of this group and version."),
      }),
    )
    .optional()
    .describe("What the member serves; read again when its definitions change, and every five minutes."),
  conditions: s
    .conditions()
    .optional()
    .describe(
      "Ready: its /readyz answers; asked every three seconds. CompleteAPIEnablements: all of its kinds could be read.",
    ),
  nodeSummary: s
    .object({
      totalNum: s.integer().optional().describe("How many nodes there are."),
      readyNum: s.integer().optional().describe("How many of them are Ready."),
    })
    .optional()
    .describe("The member's nodes."),
  resourceSummary: s
    .object({
      allocatable: s.map(s.quantity()).optional().describe("What the nodes offer to pods, by resource."),
      allocating: s.map(s.quantity()).optional().describe("What pods ask for that have no node yet."),
      allocated: s.map(s.quantity()).optional().describe("What pods on nodes ask for."),
      allocatableModelings: s
        .array(
          s.object({
            grade: s.integer().describe("Class of nodes, of spec.resourceModels."),
            count: s.integer().describe("How many nodes have so much left."),
          }),
        )
        .optional()
        .describe("Nodes by what they have left."),
    })
    .optional()
    .describe("The member's capacity, summed over its nodes."),
  remedyActions: s.array(s.string()).optional().describe("What Remedies ask for; TrafficControl: no requests."),
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

/** A condition without its time, as the pure parts of this module compute it. */
export type ConditionDraft = Omit<Condition, "lastTransitionTime" | "observedGeneration">;
