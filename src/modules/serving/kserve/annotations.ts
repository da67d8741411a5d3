/** Names that KServe's users write, and our own. */
import type { JsonObject, KubeObject } from "../../../kernel/kinds/index.js";
import { didYouMean } from "../../../kernel/schema/index.js";
import { CA_BUNDLE_ANNOTATION } from "../store-trust.js";

const PREFIX = "serving.kserve.io/";

/** Annotations, and labels, of an InferenceService. */
export const KSERVE = {
  deploymentMode: `${PREFIX}deploymentMode`,
  autoscalerClass: `${PREFIX}autoscalerClass`,
  metrics: `${PREFIX}metrics`,
  targetUtilization: `${PREFIX}targetUtilizationPercentage`,
  stop: `${PREFIX}stop`,
  tagRouting: `${PREFIX}enable-tag-routing`,
  disableAutoUpdate: `${PREFIX}disable-auto-update`,
  storageSecret: `${PREFIX}storageSecretName`,
  scraping: `${PREFIX}enable-prometheus-scraping`,
  aggregation: `${PREFIX}enable-metric-aggregation`,
  nodeGroup: `${PREFIX}nodegroup`,
  disableLocalModel: `${PREFIX}disable-localmodel`,
  gpuTypes: `${PREFIX}gpu-resource-types`,
  /** `false`: models are mounted so that they can be written. */
  readOnlyStorage: "storage.kserve.io/readonly",
  /** Labels of children. */
  service: `${PREFIX}inferenceservice`,
  /** Labels that keep it inside of the cluster. */
  visibility: ["networking.kserve.io/visibility", "networking.knative.dev/visibility"],
} as const;

/** Annotations of KServe that mean something here; the graph's and the store's are read where these are. */
const KNOWN: ReadonlySet<string> = new Set(Object.values(KSERVE).flat());

/** Annotations of an InferenceService in KServe's name that mean nothing to anybody here, each with what was probably meant. */
export const unknownAnnotations = ({ metadata }: KubeObject): string[] =>
  Object.keys(metadata.annotations ?? {})
    .filter((name) => name.startsWith(PREFIX) && !name.startsWith(`${PREFIX}s3-`) && !KNOWN.has(name))
    .map((name) => {
      const near = didYouMean(name, KNOWN);
      return `${name} (nobody here knows it${near === undefined ? "" : `; did you mean ${near}?`})`;
    });

/** Our own annotations of an InferenceService. */
export const OWN = {
  /** How many more pods than minReplicas a rollout may have: `1`, `25%`. */
  surge: "serving.argosy.dev/surge",
  /** `cookie=NAME` or `header=NAME`: a client stays with the revision or canary that it came to. */
  affinity: "serving.argosy.dev/affinity",
  /** `header=NAME` or `cookie=NAME`: its value names the revision or canary that a request goes to. */
  pin: "serving.argosy.dev/pin",
  /** Who gets a copy of requests, and of which percent of them: `next=10` for a canary, `latest=100` for the newest revision. */
  shadow: "serving.argosy.dev/shadow",
  /** Of an InferenceGraph: patterns of header names that go on to every step, by comma. */
  propagate: "serving.argosy.dev/propagate-headers",
  /** `CONFIGMAP` or `CONFIGMAP/KEY` of the namespace, with authorities that a graph's routers, or who fetches models, trust. */
  caBundle: CA_BUNDLE_ANNOTATION,
  /** Shares by which a new revision comes to all the traffic: `10,50`. */
  steps: "serving.argosy.dev/rollout-steps",
  /** How long each is watched: `30s`. */
  bake: "serving.argosy.dev/rollout-bake",
  /** What must hold meanwhile: JSON, `[{"metric":"SuccessRate","min":0.99}]`. */
  gates: "serving.argosy.dev/rollout-gates",
  /** How much longer than the bake a gate may see too little. */
  deadline: "serving.argosy.dev/rollout-deadline",
  /** `Rollback` or `Pause`. */
  onFailure: "serving.argosy.dev/rollout-on-failure",
  /** `init-container`: the built-in server does not fetch its model itself. */
  fetch: "serving.argosy.dev/fetch",
  /** Written by the controller: the runtime that it chose, and for what. */
  chosenRuntime: "serving.argosy.dev/chosen-runtime",
  /** Name of a revision that goes on whatever gates say. */
  promote: "serving.argosy.dev/promote",
} as const;

/** Knative's: a new revision gets its share bit by bit, over this long. */
export const ROLLOUT_DURATION = "serving.knative.dev/rollout-duration";

/** How an InferenceService may be deployed; the older names mean the same. */
const MODES: Readonly<Record<string, string>> = {
  Standard: "Standard",
  RawDeployment: "Standard",
  Knative: "Knative",
  Serverless: "Knative",
  ModelMesh: "ModelMesh",
};

/** What the deploymentMode annotation may say. */
export const DEPLOYMENT_MODES: readonly string[] = Object.keys(MODES);

/** The mode of that name; `undefined` for none. */
export const modeOf = (name: string | undefined): string | undefined =>
  name !== undefined && Object.hasOwn(MODES, name) ? MODES[name] : undefined;

/** An annotation's value; `undefined` where there is none. */
export const annotationOf = ({ metadata }: KubeObject, name: string): string | undefined =>
  metadata.annotations?.[name];

/** Whether an annotation says yes, in whatever case. */
export const saysYes = (object: KubeObject, name: string): boolean =>
  annotationOf(object, name)?.toLowerCase() === "true";

/** Annotations that say yes or no. */
const SWITCHES: readonly string[] = [
  KSERVE.stop,
  KSERVE.tagRouting,
  KSERVE.disableAutoUpdate,
  KSERVE.scraping,
  KSERVE.aggregation,
  KSERVE.disableLocalModel,
  KSERVE.readOnlyStorage,
];

/** Those that say neither. */
export const undecided = ({ metadata }: KubeObject): string[] =>
  SWITCHES.filter((name) => !/^(true|false)$/i.test(metadata.annotations?.[name] ?? "false"));

/** The same of an object that was not checked yet. */
export function rawAnnotation(object: JsonObject, name: string): string | undefined {
  const metadata = object["metadata"];
  const annotations =
    typeof metadata === "object" && metadata !== null && "annotations" in metadata
      ? metadata["annotations"]
      : undefined;
  const value =
    typeof annotations === "object" && annotations !== null && name in annotations && !Array.isArray(annotations)
      ? annotations[name]
      : undefined;
  return typeof value === "string" ? value : undefined;
}

/** Whether it is reached from inside of its cluster only. */
export const isClusterLocal = ({ metadata }: KubeObject): boolean =>
  KSERVE.visibility.some((label) => metadata.labels?.[label] === "cluster-local");
