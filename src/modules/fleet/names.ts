/** Finalizer of HyperMLService: its objects in the spokes go first. */
export const HYPER_FINALIZER = "tensorstack.dev/hypermlservice-controller";
/** Finalizer of Work, Karmada's name: the member's objects go first. */
export const EXECUTION_FINALIZER = "karmada.io/execution-controller";

/** Marks and references that Karmada's controllers look for, and ours set. */
export const KARMADA = {
  /** Label of a member's object: it is managed from the hub. */
  managed: "karmada.io/managed",
  /** Annotations of a member's object: its Work. */
  workName: "work.karmada.io/name",
  workNamespace: "work.karmada.io/namespace",
  /** Annotation of a member's object: generation of what it was made from. */
  templateGeneration: "resourcetemplate.karmada.io/generation",
  /** Annotations of a manifest: which of its annotations and labels come from the hub, by comma. */
  managedAnnotations: "resourcetemplate.karmada.io/managed-annotations",
  managedLabels: "resourcetemplate.karmada.io/managed-labels",
  /** Annotation of a manifest: `overwrite` takes over an object that exists already; default `abort`. */
  conflictResolution: "work.karmada.io/conflict-resolution",
} as const;

/** Marks of our own. */
export const ARGOSY = {
  /** Label of a Work: uid of its HyperMLService. */
  ownerUid: "argosy.dev/hypermlservice-uid",
  /** Annotations of a Work: its HyperMLService. */
  ownerName: "argosy.dev/hypermlservice-name",
  ownerNamespace: "argosy.dev/hypermlservice-namespace",
  /** Annotation of a HyperMLService: `cloud=30,edge=70`. */
  ingressWeights: "argosy.dev/ingress-weights",
  /** Annotation of a HyperMLService: `none` makes no HeadIngress for it. */
  ingress: "argosy.dev/ingress",
  /** Annotation of a HyperMLService that is being deleted: clusters (by comma) that are not waited for; their objects are left behind. */
  abandonClusters: "argosy.dev/abandon-clusters",
  /** Annotation of a Work, or of a Cluster that is being deleted: do not wait for the member. */
  abandon: "argosy.dev/abandon",
  /** Annotation of a Work that outlives its HyperMLService, because its cluster did not answer: since when. It is removed there when it does. */
  tombstone: "argosy.dev/tombstone",
  /** Annotation of a Cluster: host:port by which the hub's gateway reaches the cluster's ingress. */
  ingressAddress: "argosy.dev/ingress-address",
  /** Annotation of a Cluster: its weight where none is given. */
  ingressWeight: "argosy.dev/ingress-weight",
  /** Annotation of a Cluster: it is sent no requests; the value says why. */
  drain: "argosy.dev/drain",
  /** Label of what was rendered for HeadIngresses. */
  headIngress: "argosy.dev/head-ingress",
  /** Annotation of an Ingress: the Deployments whose requests are held while they have no pod, by comma. */
  activator: "serving.argosy.dev/activator",
  /** Annotation of an Ingress: JSON, Deployment → limits of its activator. */
  activatorLimits: "serving.argosy.dev/activator-limits",
  /** Annotation of an Ingress: JSON, the gateway's timeouts in milliseconds (`responseMs`, `idleMs`, `requestMs`). */
  timeouts: "serving.argosy.dev/timeouts",
  /** Annotation of an Ingress: `h2` where its backends speak HTTP/2 without TLS. */
  backendProtocol: "serving.argosy.dev/protocol",
  /** Annotation of an Ingress: path that the gateway asks every pod for, twice a second. */
  healthPath: "argosy.dev/health-path",
  /** Annotation of an Ingress: JSON, Service name to whole weight; where a rule's Service is among them, its requests are split over all. */
  weights: "argosy.dev/weights",
  /** Annotation of an Ingress: `cookie=NAME` or `header=NAME`, by which a client stays with one of the Services that share its requests. */
  affinity: "argosy.dev/affinity",
  /** Annotation of an Ingress: JSON, `{"header":"x-model","values":{"next":"service-b"}}` (or `cookie`): requests that name one of the Services, whatever its weight. */
  pin: "argosy.dev/pin",
  /** Annotation of an Ingress: seconds for a whole request. */
  timeout: "argosy.dev/timeout-seconds",
  /** Annotation of an Ingress: JSON, Service name to percent of the requests that it gets a copy of. */
  shadows: "argosy.dev/shadows",
  /** Annotation of a Service: name of the Ingress of its namespace by which requests to it are carried, as those to that Ingress' first host. */
  through: "argosy.dev/through-ingress",
  /** Label of an EndpointSlice that leads a Service's requests to the gateway: that Ingress. */
  doorOf: "argosy.dev/door-of",
  /** Annotation of an Ingress: `true` gives its hosts to nobody outside; it is for Services that lead through it. */
  insideOnly: "argosy.dev/inside-only",
} as const;

const SPACE_PREFIX = "karmada-es-";

/** The hub namespace that holds a member's Works. */
export function executionSpaceOf(cluster: string): string {
  return `${SPACE_PREFIX}${cluster}`;
}

/** The member whose Works a hub namespace holds; undefined for other namespaces. */
export function clusterOfSpace(namespace: string): string | undefined {
  return namespace.startsWith(SPACE_PREFIX) ? namespace.slice(SPACE_PREFIX.length) : undefined;
}
