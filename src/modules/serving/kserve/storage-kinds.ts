/** TrainedModel, the LocalModelCache family and ClusterStorageContainer (serving.kserve.io/v1alpha1). */
import type { Resource } from "../../../kernel/kinds/index.js";
import type { Infer } from "../../../kernel/schema/index.js";
import { s } from "../../../kernel/schema/index.js";
import { storageSpec } from "./component-fields.js";
import { defineLazily } from "./kind.js";
import { native } from "./pod-fields.js";

const observed = () => s.integer().optional().describe("The generation that this status was computed from.");
const READY = { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' } as const;
const AGE = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" } as const;

const trainedModelSpec = () =>
  s.object({
    inferenceService: s.string().describe("The InferenceService whose pods load it."),
    model: s
      .object({
        storageUri: s.string().describe("Where the model is."),
        framework: s.string().describe("What it is written in."),
        memory: s.quantity().describe("How much memory it takes; does not change."),
      })
      .describe("The model."),
  });

const trainedModelStatus = () =>
  s.object({
    observedGeneration: observed(),
    annotations: s.map(s.string()).optional().describe("Not used here."),
    conditions: s.conditions().optional().describe("What holds of it."),
    url: s.string().optional().describe("Where it answers."),
    address: s
      .object({ url: s.string().optional().describe("Address inside of the cluster.") })
      .optional()
      .describe("The same from inside of the cluster."),
  });

/** What is seen of a TrainedModel. */
export type TrainedModelStatus = Infer<ReturnType<typeof trainedModelStatus>>;
/** One model of many. */
export type TrainedModel = Resource<Infer<ReturnType<typeof trainedModelSpec>>, TrainedModelStatus>;

/** TrainedModel. */
export const TrainedModelKind = defineLazily<Infer<ReturnType<typeof trainedModelSpec>>, TrainedModelStatus>({
  version: "v1alpha1",
  kind: "TrainedModel",
  shortNames: ["tm"],
  description: "One model of many in the pods of an InferenceService.",
  hasStatus: true,
  shape: () => ({ spec: trainedModelSpec(), status: trainedModelStatus().optional() }),
  printerColumns: [{ name: "URL", type: "string", jsonPath: ".status.url" }, READY, AGE],
});

const cacheSpec = () =>
  s.object({
    sourceModelUri: s
      .string({ min: 1 })
      .describe("Where the model is; does not change.")
      .rule("self == oldSelf", "Field is immutable"),
    modelSize: s.quantity().describe("How much space it takes."),
    nodeGroups: s.array(s.string(), { min: 1 }).describe("LocalModelNodeGroups whose nodes keep it."),
    serviceAccountName: s.string().optional().describe("With whose credentials it is fetched."),
    storage: storageSpec().optional().describe("With which entry of the Secret `storage-config` it is fetched."),
  });

const named = () =>
  s.object({
    name: s.string().optional().describe("Its name."),
    namespace: s.string().optional().describe("Its namespace."),
  });

const cacheStatus = () =>
  s.object({
    nodeStatus: s
      .map(s.enum("", "NodeNotReady", "NodeDownloadPending", "NodeDownloading", "NodeDownloaded", "NodeDownloadError"))
      .optional()
      .describe("How far each node is."),
    copies: s
      .object({
        available: s.integer().describe("Nodes that have it."),
        total: s.integer().optional().describe("Nodes that should have it."),
        failed: s.integer().optional().describe("Nodes that could not fetch it."),
      })
      .optional()
      .describe("How many copies there are."),
    inferenceServices: s.array(named()).optional().describe("Who uses it."),
    conditions: s.conditions().optional().describe("What holds of it."),
  });

type CacheSpec = Infer<ReturnType<typeof cacheSpec>>;
type CacheStatus = Infer<ReturnType<typeof cacheStatus>>;
/** A model that lies ready on nodes: for all namespaces, or for its own. */
export type LocalModelCache = Resource<CacheSpec, CacheStatus>;

const cacheKind = (kind: string, scope: "Namespaced" | "Cluster", whose: string) =>
  defineLazily<CacheSpec, CacheStatus>({
    version: "v1alpha1",
    kind,
    scope,
    description: `A model that lies ready on nodes, for ${whose}.`,
    hasStatus: true,
    printerColumns: [
      { name: "Source", type: "string", jsonPath: ".spec.sourceModelUri" },
      { name: "Available", type: "integer", jsonPath: ".status.copies.available" },
      { name: "Total", type: "integer", jsonPath: ".status.copies.total" },
      READY,
      AGE,
    ],
    shape: () => ({ spec: cacheSpec(), status: cacheStatus().optional() }),
  });

/** LocalModelCache. */
export const LocalModelCacheKind = cacheKind("LocalModelCache", "Cluster", "all namespaces");
/** LocalModelNamespaceCache. */
export const LocalModelNamespaceCacheKind = cacheKind("LocalModelNamespaceCache", "Namespaced", "its namespace");

const nodeSpec = () =>
  s.object({
    localModels: s
      .array(
        s.object({
          sourceModelUri: s.string().describe("Where the model is."),
          modelName: s.string().describe("Name of its cache object."),
          namespace: s.string().optional().describe("Namespace of its cache object."),
          nodeGroup: s.string().optional().describe("For which group."),
          serviceAccountName: s.string().optional().describe("With whose credentials it is fetched."),
          storage: storageSpec().optional().describe("With which entry of the Secret `storage-config`."),
        }),
      )
      .describe("What the node should have."),
  });

const nodeStatus = () =>
  s.object({
    modelStatus: s
      .map(s.enum("", "ModelDownloadPending", "ModelDownloading", "ModelDownloaded", "ModelDownloadError"))
      .optional()
      .describe("How far each model is."),
    conditions: s.conditions().optional().describe("What holds of it."),
  });

/** What one node should have, and has. */
export type LocalModelNode = Resource<Infer<ReturnType<typeof nodeSpec>>, Infer<ReturnType<typeof nodeStatus>>>;

/** LocalModelNode. */
export const LocalModelNodeKind = defineLazily<
  Infer<ReturnType<typeof nodeSpec>>,
  Infer<ReturnType<typeof nodeStatus>>
>({
  version: "v1alpha1",
  kind: "LocalModelNode",
  scope: "Cluster",
  description: "Which models one node should have.",
  hasStatus: true,
  printerColumns: [READY, AGE],
  shape: () => ({ spec: nodeSpec(), status: nodeStatus().optional() }),
});

const groupSpec = () =>
  s.object({
    storageLimit: s.quantity().describe("Space on each node."),
    persistentVolumeSpec: native("core.v1.PersistentVolumeSpec").describe("The volume on a node."),
    persistentVolumeClaimSpec: native("core.v1.PersistentVolumeClaimSpec").describe("The claim for it."),
  });

const groupStatus = () =>
  s.object({
    used: s.quantity().optional().describe("Space in use."),
    available: s.quantity().optional().describe("Space left."),
    places: s.map(s.quantity()).optional().describe("Space that each model has, by its folder; others get none of it."),
    inferenceServices: s
      .array(named())
      .optional()
      .describe("Who is served from its nodes; it cannot be deleted until nobody is."),
    conditions: s.conditions().optional().describe("What holds of it."),
  });

/** Nodes with space for models. */
export type LocalModelNodeGroup = Resource<Infer<ReturnType<typeof groupSpec>>, Infer<ReturnType<typeof groupStatus>>>;

/** LocalModelNodeGroup. */
export const LocalModelNodeGroupKind = defineLazily<
  Infer<ReturnType<typeof groupSpec>>,
  Infer<ReturnType<typeof groupStatus>>
>({
  version: "v1alpha1",
  kind: "LocalModelNodeGroup",
  scope: "Cluster",
  description: "Nodes with space for models of their own.",
  hasStatus: true,
  printerColumns: [
    { name: "Limit", type: "string", jsonPath: ".spec.storageLimit" },
    { name: "Used", type: "string", jsonPath: ".status.used" },
    AGE,
  ],
  shape: () => ({ spec: groupSpec(), status: groupStatus().optional() }),
});

const containerSpec = () =>
  s.object({
    container: native("core.v1.Container").describe("What fetches: it is given a source and a folder as arguments."),
    supportedUriFormats: s
      .array(
        s.object({
          prefix: s.string().optional().describe("Beginning of a URI."),
          regex: s.string().optional().describe("Pattern of a URI."),
        }),
      )
      .describe("Which URIs it fetches."),
    workloadType: s
      .enum("initContainer", "localModelDownloadJob")
      .default("initContainer")
      .describe("Before a server, or for LocalModelCaches."),
    supportsMultiModelDownload: s
      .boolean()
      .optional()
      .describe("Not used: each source is fetched by a container of its own."),
  });

type ContainerSpec = Infer<ReturnType<typeof containerSpec>>;
/** A container that fetches models, beside the built-in one. */
export type ClusterStorageContainer = Resource<ContainerSpec>;

/** ClusterStorageContainer. */
export const ClusterStorageContainerKind = defineLazily<ContainerSpec>({
  version: "v1alpha1",
  kind: "ClusterStorageContainer",
  scope: "Cluster",
  description: "A container that fetches models of certain URIs.",
  hasStatus: false,
  printerColumns: [
    { name: "Workload", type: "string", jsonPath: ".spec.workloadType" },
    { name: "Disabled", type: "boolean", jsonPath: ".disabled" },
    AGE,
  ],
  top: { disabled: { type: "boolean", description: "It is not used." } },
  shape: () => ({ spec: containerSpec() }),
});
