import type { GatewayDriver, ListenerInput } from "../../dataplane/gateway/index.js";
import type { Transport } from "../../kernel/client/index.js";
import type { ClusterAccess, ControllerSpec } from "../../kernel/control/index.js";
import type { KindDefinition, Node } from "../../kernel/kinds/index.js";
import type { Module, PolicyRule } from "../../kernel/module/types.js";
import type { Ledger } from "../../stores/ledger/index.js";
import { engineAdmission } from "./admission/index.js";
import { ClusterResourceBindingKind, ResourceBindingKind } from "./bindings/kinds.js";
import { recallPromises } from "./bindings/recall.js";
import { clusterStatusController } from "./cluster-status.js";
import { clusterControllers } from "./clusters/index.js";
import { clusterProxy } from "./clusters/proxy.js";
import { FederatedResourceQuotaKind } from "./clusters/quota-kind.js";
import { RemedyKind } from "./clusters/remedy-kind.js";
import { engineControllers } from "./engine.js";
import { executionController } from "./execution.js";
import { headIngressAdmission } from "./head-admission.js";
import { headIngressController } from "./head-ingress.js";
import { headIngressMaker } from "./head-maker.js";
import type { LoadSettings } from "./heads/load.js";
import { hyperMLServiceAdmission, ManifestChecker } from "./hyper-admission.js";
import { hyperMLServiceController } from "./hyper-controller.js";
import { ingressController } from "./ingress.js";
import { DoorPorts } from "./ingress-doors.js";
import { InterpreterRegistry, ResourceInterpreterCustomizationKind } from "./interpreters/index.js";
import { ClusterKind, HeadIngressKind, HyperMLServiceKind, WorkKind } from "./kinds.js";
import { ClusterBook } from "./placement/cluster-book.js";
import { ClaimDesk, claimAdmission } from "./policies/claim-desk.js";
import {
  ClusterOverridePolicyKind,
  ClusterPropagationPolicyKind,
  ClusterTaintPolicyKind,
  OverridePolicyKind,
  PropagationPolicyKind,
  WorkloadRebalancerKind,
} from "./policies/kinds.js";
import { hyperRolloutAdmission } from "./rollout/admission.js";
import { RevisionContentsKind } from "./rollout/contents-kind.js";
import { hyperRolloutController } from "./rollout/controller.js";
import { HyperRolloutKind } from "./rollout/kind.js";
import { unservedControllers } from "./unserved/controller.js";
import { CronFederatedHPAKind, FederatedHPAKind, MultiClusterServiceKind } from "./unserved/kinds.js";

/** Karmada's kinds, where Argosy's own engine carries them out. */
export const ENGINE_KINDS: readonly KindDefinition[] = [
  WorkKind,
  ClusterKind,
  ResourceBindingKind,
  ClusterResourceBindingKind,
  PropagationPolicyKind,
  ClusterPropagationPolicyKind,
  OverridePolicyKind,
  ClusterOverridePolicyKind,
  ClusterTaintPolicyKind,
  WorkloadRebalancerKind,
  ResourceInterpreterCustomizationKind,
  FederatedResourceQuotaKind,
  RemedyKind,
  FederatedHPAKind,
  CronFederatedHPAKind,
  MultiClusterServiceKind,
];

/** What the fleet module is composed with. */
export interface FleetOptions {
  /** A member by the name of its Cluster object, with the identity by which the hub delivers to it; undefined when it is not connected. The same object as long as the connection is the same. */
  readonly members: (cluster: string) => ClusterAccess | undefined;
  /** A way into a member by which the hub speaks for others there (`clusters/NAME/proxy`); default: as it delivers. */
  readonly speakers?: (cluster: string) => Transport | undefined;
  readonly gateway: GatewayDriver;
  readonly ledger: Ledger;
  /** Where HeadIngresses listen. */
  readonly headListener: ListenerInput;
  /** Where those of them listen that want TLS; undefined: nowhere, and they say so. */
  readonly headTlsListener?: Omit<ListenerInput, "tls">;
  /** Where a cluster's own Ingresses listen (the hub's too); undefined: that cluster has no ingress. */
  readonly ingressListener: (cluster: string) => ListenerInput | undefined;
  /** Address by which a cluster's own pods reach what the gateway listens on; undefined: not known, so that nothing inside of it leads through the gateway. */
  readonly insideAddress?: (cluster: string) => string | undefined;
  /**
   * Who makes Works true and fills in Clusters: Argosy (default), or a real Karmada that runs on the hub; with the latter,
   * Work and Cluster are its kinds and are not installed.
   */
  readonly engine?: "argosy" | "karmada";
  /** How the load of HeadIngresses is measured. */
  readonly headLoad?: LoadSettings;
  /** A call to a member that takes longer has failed; default 5 s. */
  readonly callTimeoutMs?: number;
}

const READ = ["get", "list", "watch"] as const;
const WRITE = [...READ, "create", "update", "patch", "delete"] as const;

/** What an ingress controller must be allowed in its cluster. */
export const INGRESS_RULES: readonly PolicyRule[] = [
  { apiGroups: ["networking.k8s.io"], resources: ["ingresses"], verbs: READ },
  { apiGroups: ["networking.k8s.io"], resources: ["ingresses/status"], verbs: ["get", "update", "patch"] },
  { apiGroups: [""], resources: ["services"], verbs: READ },
  // Services whose requests come through the gateway.
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: WRITE },
  { apiGroups: [""], resources: ["endpoints"], verbs: ["get", "delete"] },
  { apiGroups: ["", "events.k8s.io"], resources: ["events"], verbs: ["create", "update", "patch"] },
];

const HUB_RULES: readonly PolicyRule[] = [
  {
    apiGroups: ["tensorstack.dev"],
    resources: ["hypermlservices", "hypermlservices/status", "hypermlservices/finalizers"],
    verbs: WRITE,
  },
  { apiGroups: ["work.karmada.io"], resources: ["works", "works/status", "works/finalizers"], verbs: WRITE },
  {
    apiGroups: ["cluster.karmada.io"],
    resources: ["clusters", "clusters/status"],
    verbs: ["get", "list", "watch", "update", "patch"],
  },
  {
    apiGroups: ["argosy.dev"],
    resources: ["headingresses", "headingresses/status", "headingresses/finalizers"],
    verbs: WRITE,
  },
  {
    apiGroups: ["argosy.dev"],
    resources: ["hyperrollouts", "hyperrollouts/status"],
    verbs: [...READ, "update", "patch"],
  },
  // Revisions of HyperMLServices.
  { apiGroups: ["apps"], resources: ["controllerrevisions"], verbs: WRITE },
  { apiGroups: ["argosy.dev"], resources: ["revisioncontents"], verbs: ["get", "create", "delete"] },
  { apiGroups: [""], resources: ["namespaces"], verbs: [...READ, "create", "delete"] },
  // What HeadIngresses are rendered to.
  { apiGroups: [""], resources: ["configmaps"], verbs: WRITE },
  { apiGroups: [""], resources: ["services"], verbs: WRITE },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: WRITE },
  {
    apiGroups: ["networking.istio.io"],
    resources: ["virtualservices", "serviceentries", "destinationrules"],
    verbs: WRITE,
  },
  { apiGroups: ["gateway.networking.k8s.io"], resources: ["httproutes"], verbs: WRITE },
  // Tells whether a real Karmada runs there.
  { apiGroups: ["apiregistration.k8s.io"], resources: ["apiservices"], verbs: ["get"] },
  ...INGRESS_RULES,
];

const withStatus = (...plurals: readonly string[]): string[] =>
  plurals.flatMap((plural) => [plural, `${plural}/status`, `${plural}/finalizers`]);

/** What the engine does with Karmada's kinds, and with the kinds of which templates usually are. */
const ENGINE_RULES: readonly PolicyRule[] = [
  {
    apiGroups: ["work.karmada.io"],
    resources: withStatus("resourcebindings", "clusterresourcebindings"),
    verbs: WRITE,
  },
  {
    apiGroups: ["policy.karmada.io"],
    resources: withStatus(
      "propagationpolicies",
      "clusterpropagationpolicies",
      "overridepolicies",
      "clusteroverridepolicies",
      "clustertaintpolicies",
      "federatedresourcequotas",
    ),
    verbs: WRITE,
  },
  { apiGroups: ["apps.karmada.io"], resources: withStatus("workloadrebalancers"), verbs: WRITE },
  { apiGroups: ["remedy.karmada.io"], resources: ["remedies"], verbs: READ },
  { apiGroups: ["config.karmada.io"], resources: ["resourceinterpretercustomizations"], verbs: READ },
  // Who is placed first.
  { apiGroups: ["scheduling.k8s.io"], resources: ["priorityclasses"], verbs: READ },
  {
    apiGroups: ["autoscaling.karmada.io", "networking.karmada.io"],
    resources: withStatus("federatedhpas", "cronfederatedhpas", "multiclusterservices"),
    verbs: WRITE,
  },
  { apiGroups: [""], resources: ["namespaces"], verbs: ["delete"] },
  // Whom the hub lets through to members.
  { apiGroups: ["rbac.authorization.k8s.io"], resources: ["clusterroles", "clusterrolebindings"], verbs: READ },
  {
    apiGroups: ["", "apps", "batch", "networking.k8s.io"],
    resources: withStatus(
      "configmaps",
      "services",
      "serviceaccounts",
      "persistentvolumeclaims",
      "deployments",
      "statefulsets",
      "daemonsets",
      "jobs",
      "cronjobs",
      "ingresses",
    ),
    verbs: [...READ, "patch", "update"],
  },
];

/**
 * What lets the engine have objects of every kind as templates: reading them, marking whose they are, keeping their status. A hub that belongs to
 * nobody else gives it all of it; elsewhere whoever has policies about other kinds than usual binds what they need to the agent.
 */
export const TEMPLATE_RULES: readonly PolicyRule[] = [
  { apiGroups: ["*"], resources: ["*"], verbs: [...READ, "patch", "update"] },
];

/**
 * What the hub's identity must be allowed in a member so that it can deliver there: reading what it looks at, and writing what
 * HyperMLServices usually carry. Whoever delivers other kinds binds more to the same user.
 */
export const DELIVERY_RULES: readonly PolicyRule[] = [
  { nonResourceURLs: ["/readyz", "/version", "/api", "/api/*", "/apis", "/apis/*"], verbs: ["get"] },
  // What there is room for, and which kinds there are.
  { apiGroups: [""], resources: ["nodes", "pods"], verbs: READ },
  { apiGroups: ["apiextensions.k8s.io"], resources: ["customresourcedefinitions"], verbs: READ },
  {
    apiGroups: [""],
    resources: [
      "namespaces",
      "secrets",
      "configmaps",
      "services",
      "serviceaccounts",
      "persistentvolumeclaims",
      "resourcequotas",
    ],
    verbs: WRITE,
  },
  { apiGroups: ["apps"], resources: ["deployments", "statefulsets", "daemonsets"], verbs: WRITE },
  // Metrics of model servers, for gates of rollouts.
  { apiGroups: [""], resources: ["pods/proxy"], verbs: ["get"] },
  { apiGroups: ["batch"], resources: ["jobs", "cronjobs"], verbs: WRITE },
  // Who decides about replicas there.
  { apiGroups: ["autoscaling"], resources: ["horizontalpodautoscalers"], verbs: READ },
  { apiGroups: ["networking.k8s.io"], resources: ["ingresses", "networkpolicies"], verbs: WRITE },
  { apiGroups: ["tensorstack.dev", "serving.kserve.io"], resources: ["*"], verbs: WRITE },
];

/**
 * The hub's rights in a member that belongs to whoever owns the hub (an embedded one, one that was joined with them): what a policy of the hub
 * selects can be of any kind.
 */
export const PROPAGATION_RULES: readonly PolicyRule[] = [
  { apiGroups: ["*"], resources: ["*"], verbs: ["*"] },
  { nonResourceURLs: ["*"], verbs: ["get"] },
];

function hasKubelet({ status }: Node): boolean {
  return (status?.nodeInfo?.kubeletVersion ?? "") !== "";
}

function proxiesOf({ members, speakers }: FleetOptions): Pick<Module, "proxies"> {
  return { proxies: [clusterProxy(speakers ?? ((name) => members(name)?.client.transport))] };
}

/** Makes the fleet module: delivery of HyperMLServices to members, member status, head ingress, ingress. */
export function createFleetModule(options: FleetOptions): Module {
  const isEngine = options.engine !== "karmada";
  const checker = new ManifestChecker();
  const interpreters = new InterpreterRegistry();
  const [desk, doorPorts] = [new ClaimDesk(), new DoorPorts()];
  const definitions: KindDefinition[] = [
    HyperMLServiceKind,
    HeadIngressKind,
    HyperRolloutKind,
    RevisionContentsKind,
    ...(isEngine ? ENGINE_KINDS : []),
  ];
  return {
    name: "fleet",
    summary: "Model services in several clusters: delivery, status, weighted ingress.",
    kinds: definitions.map((definition) => ({ definition, levels: ["continuum"] })),
    rules: { continuum: isEngine ? [...HUB_RULES, ...ENGINE_RULES] : HUB_RULES, cluster: INGRESS_RULES },
    ...(isEngine ? proxiesOf(options) : {}),
    admission: [
      hyperMLServiceAdmission(checker),
      headIngressAdmission(),
      hyperRolloutAdmission(),
      ...(isEngine ? [...engineAdmission(), claimAdmission(desk)] : []),
    ],
    controllers(level, cluster) {
      const controllers: ControllerSpec[] = [];
      if (level === "node") return controllers;
      const listener = options.ingressListener(cluster.name);
      const { gateway, insideAddress } = options;
      const inside = { insideAddress: insideAddress?.(cluster.name), doorPorts };
      if (listener !== undefined) controllers.push(ingressController({ gateway, listener, ...inside }));
      if (level === "cluster") return controllers;
      const { members, ledger, headListener } = options;
      controllers.push(
        hyperMLServiceController({ checker, ledger, isKarmadas: !isEngine }),
        hyperRolloutController({ gateway, members, ledger }),
        headIngressMaker(),
        headIngressController({
          gateway,
          ledger,
          members,
          listener: headListener,
          tlsListener: options.headTlsListener,
          ...(options.headLoad === undefined ? {} : { load: options.headLoad }),
        }),
      );
      if (!isEngine) return controllers;
      const book = new ClusterBook(cluster, (promises, signal) => recallPromises(cluster, promises, signal));
      const limit = options.callTimeoutMs === undefined ? {} : { callTimeoutMs: options.callTimeoutMs };
      return [
        ...controllers,
        executionController({ members, interpreters, ...limit }),
        clusterStatusController(members, (name, nodes) => book.promises.seeNodes(name, nodes.some(hasKubelet))),
        ...engineControllers(cluster, { ledger, interpreters, book, desk }),
        ...clusterControllers({ ledger, book }),
        ...unservedControllers(),
      ];
    },
  };
}
