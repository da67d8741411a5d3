import type { GatewayDriver } from "../../dataplane/gateway/index.js";
import type { ClusterAccess } from "../../kernel/control/types.js";
import type { Kind } from "../../kernel/kinds/index.js";
import type { Module, ModuleAdmission, PolicyRule } from "../../kernel/module/types.js";
import type { Ledger } from "../../stores/ledger/types.js";
import { autoscalerController, type LoadSource, type MetricQuery } from "./autoscaling/index.js";
import { callersController } from "./callers.js";
import type { ServingAddress } from "./children.js";
import { mlserviceController } from "./controller.js";
import { MLServiceKind, MLServiceRuntimeKind } from "./kinds.js";
import { KNATIVE_KINDS, knativeAdmission, knativeControllers } from "./knative/index.js";
import {
  type GateSources,
  inferenceGraphAdmission,
  inferenceServiceAdmission,
  KSERVE_KINDS,
  KSERVE_RULES,
  kserveControllers,
  localModelAdmission,
  storageContainerAdmission,
  trainedModelAdmission,
} from "./kserve/index.js";
import type { Probe } from "./probe.js";
import { simpleMLServiceController } from "./simple-controller.js";
import { SimpleMLServiceKind } from "./simple-kind.js";

/** What the module needs from the platform. */
export interface ServingModuleOptions {
  readonly ledger: Ledger;
  /** Asks a model through its own address; see `createHttpProbe`. */
  readonly probe: Probe;
  /** Under which domain, and behind which port, a cluster's models answer. */
  readonly address: (cluster: ClusterAccess) => ServingAddress;
  /** A folder on every node of a cluster below which the pods of a namespace share downloaded models; absent: each pod downloads for itself. */
  readonly cacheHostPath?: (cluster: ClusterAccess) => string | undefined;
  /** Whether models of a cluster are to be called only from their own namespace and by the gateway; the cluster's network carries it out. Default: no. */
  readonly isolates?: (cluster: ClusterAccess) => boolean;
  /** What the gateway counts; absent: nothing scales by requests, and nothing goes to zero. */
  readonly loads?: LoadSource;
  /** What the gateway counted of each revision; absent: gates on requests wait for ever. */
  readonly counts?: Pick<GatewayDriver, "observe">;
  /** Asks a Prometheus; absent: metrics by PromQL cannot be had. */
  readonly query?: MetricQuery;
}

const RULES: readonly PolicyRule[] = [
  {
    apiGroups: ["serving.knative.dev"],
    resources: ["services", "configurations", "revisions", "routes"],
    verbs: ["get", "list", "watch", "create", "update", "patch", "delete"],
  },
  {
    apiGroups: ["serving.knative.dev"],
    resources: ["services", "configurations", "revisions", "routes"].flatMap((one) => [
      `${one}/status`,
      `${one}/finalizers`,
    ]),
    verbs: ["get", "update", "patch"],
  },
  {
    apiGroups: ["tensorstack.dev"],
    resources: ["mlservices", "mlserviceruntimes", "simplemlservices"],
    verbs: ["get", "list", "watch"],
  },
  {
    apiGroups: ["tensorstack.dev"],
    resources: ["mlservices", "simplemlservices"].flatMap((plural) => [`${plural}/status`, `${plural}/finalizers`]),
    verbs: ["get", "update", "patch"],
  },
  {
    apiGroups: ["apps"],
    resources: ["deployments"],
    verbs: ["get", "list", "watch", "create", "update", "patch", "delete"],
  },
  { apiGroups: [""], resources: ["services"], verbs: ["get", "list", "watch", "create", "update", "patch", "delete"] },
  {
    apiGroups: ["networking.k8s.io"],
    resources: ["ingresses", "networkpolicies"],
    verbs: ["get", "list", "watch", "create", "update", "patch", "delete"],
  },
  {
    apiGroups: ["autoscaling"],
    resources: ["horizontalpodautoscalers"],
    verbs: ["get", "list", "watch", "create", "update", "patch", "delete"],
  },
  { apiGroups: [""], resources: ["pods", "namespaces"], verbs: ["get", "list", "watch"] },
  ...KSERVE_RULES,
  { apiGroups: ["", "events.k8s.io"], resources: ["events"], verbs: ["create", "patch", "update"] },
];

/** The hub runs no models: an object there would do nothing, and say nothing. */
function notInHub(kind: Kind): ModuleAdmission {
  const message = `the hub runs no models; apply the ${kind.kind} in a member cluster (--context), or put it into a HyperMLService's manifests`;
  return {
    kind,
    level: "continuum",
    review: async (_object, old) => ({
      faults: old === undefined ? [{ reason: "FieldValueForbidden", field: "kind", message }] : [],
      warnings: [],
    }),
  };
}

const gateSources = ({ counts, query }: ServingModuleOptions): GateSources => ({
  gateway: counts === undefined ? undefined : () => counts.observe(),
  query,
});

/** Models behind addresses: MLService and KServe's kinds in every member cluster. */
export function createServingModule(options: ServingModuleOptions): Module {
  return {
    name: "serving",
    summary: "Models behind addresses: releases, canaries, readiness that means the model answered.",
    kinds: [
      // In the hub so that manifests on their way to a cluster can be held against them; see `admission`.
      { definition: MLServiceKind, levels: ["cluster", "continuum"] },
      { definition: MLServiceRuntimeKind, levels: ["cluster", "continuum"] },
      { definition: SimpleMLServiceKind, levels: ["cluster", "continuum"] },
      ...KNATIVE_KINDS.map((definition) => ({ definition, levels: ["cluster", "continuum"] as const })),
      ...KSERVE_KINDS.map((definition) => ({ definition, levels: ["cluster", "continuum"] as const })),
    ],
    admission: [
      ...[MLServiceKind, MLServiceRuntimeKind, ...KNATIVE_KINDS].map(notInHub),
      ...knativeAdmission(),
      inferenceServiceAdmission("cluster"),
      inferenceServiceAdmission("continuum"),
      ...localModelAdmission("cluster"),
      ...localModelAdmission("continuum"),
      storageContainerAdmission("cluster"),
      storageContainerAdmission("continuum"),
      inferenceGraphAdmission("cluster"),
      inferenceGraphAdmission("continuum"),
      trainedModelAdmission("cluster"),
      trainedModelAdmission("continuum"),
    ],
    rules: { cluster: RULES },
    controllers: (level, cluster) =>
      level === "cluster"
        ? [
            mlserviceController(cluster, {
              ledger: options.ledger,
              probe: options.probe,
              address: options.address(cluster),
              cacheHostPath: options.cacheHostPath?.(cluster),
            }),
            autoscalerController(cluster, options),
            simpleMLServiceController(cluster, {
              probe: options.probe,
              cacheHostPath: options.cacheHostPath?.(cluster),
            }),
            ...kserveControllers(cluster, {
              ledger: options.ledger,
              probe: options.probe,
              address: options.address(cluster),
              cacheHostPath: options.cacheHostPath?.(cluster),
              hasKpa: options.loads !== undefined,
              gates: gateSources(options),
            }),
            ...knativeControllers({ ...options, address: options.address(cluster) }),
            ...(options.isolates?.(cluster) === true ? [callersController(cluster)] : []),
          ]
        : [],
  };
}
