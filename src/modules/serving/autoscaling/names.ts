/** Names that scaled Deployments, their Ingresses and their children carry. */
export const SCALING = {
  /** Label of a Deployment: `kpa` or `hpa`. */
  autoscaler: "serving.argosy.dev/autoscaler",
  /** Annotation of a Deployment: requests that a pod may have at once; absent or 0: no limit. */
  containerConcurrency: "serving.argosy.dev/container-concurrency",
  /** Annotation of a Deployment: `false`: no route leads to it. */
  reachable: "serving.argosy.dev/reachable",
  /** Annotation of a Deployment, written here: where it stands, so that a restart knows. JSON. */
  state: "serving.argosy.dev/scaling",
  /** Annotation of a Deployment, written here: the last way from zero to an answer, with its parts. JSON. */
  coldStart: "serving.argosy.dev/cold-start",
  /** Annotation of a Deployment, written here: requests by time of day. JSON. */
  history: "serving.argosy.dev/traffic-history",
  /** Annotation of an Ingress: the Deployments whose requests the gateway holds, by comma. */
  activator: "serving.argosy.dev/activator",
  /** Annotation of an Ingress, written here: JSON, Deployment → limits of its activator. */
  activatorLimits: "serving.argosy.dev/activator-limits",
  /** Annotation of an Ingress: JSON, the gateway's timeouts in milliseconds (`responseMs`, `idleMs`, `requestMs`). */
  timeouts: "serving.argosy.dev/timeouts",
  /** Annotation of an Ingress: `h2` where its backends speak HTTP/2 without TLS. */
  protocol: "serving.argosy.dev/protocol",
  /** Annotation of a Deployment: how long a request may wait for a pod, as `30s`. */
  queueTimeout: "serving.argosy.dev/queue-timeout",
  /** Annotation of a Deployment: how many requests may wait. */
  queueLength: "serving.argosy.dev/queue-length",
} as const;

/** The field manager of everything that the autoscaler writes. */
export const AUTOSCALER = "argosy-autoscaler";
