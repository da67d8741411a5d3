/** What an InferenceGraph is made of: a Deployment of routers, their Service, an address, perhaps a HorizontalPodAutoscaler. Pure. */
import type { ApplyObject } from "../../../kernel/client/types.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { ownerReferenceTo } from "../../../kernel/kinds/index.js";
import { toJson, toJsonObject } from "../../../kernel/schema/index.js";
import { SCALING } from "../autoscaling/index.js";
import { HEALTH_ANNOTATION, hostOf, type ServingAddress } from "../children.js";
import type { BuiltTemplate } from "../pod-template.js";
import type { Trust } from "../store-trust.js";
import { annotationOf, OWN } from "./annotations.js";
import { ROUTE } from "./children.js";
import type { InferenceGraph } from "./graph-kind.js";
import type { Scaling } from "./scaling.js";

/** The field manager of everything that the controller writes. */
export const GRAPH_MANAGER = "inferencegraph";
/** Label of pods and children, with the graph's name. */
export const GRAPH_LABEL = "serving.kserve.io/inferencegraph";
const ROUTER_IMAGE = "argosy.dev/inference-router";
const PORT = 8080;
/** Where routers say that they are ready. */
export const READY_PATH = "/readyz";
const TRUST = "ca-bundle";
const TRUST_FOLDER = "/var/run/argosy/ca-bundle";
const TRUST_FILE = "cabundle.crt";
const TRUST_HASH = "serving.argosy.dev/ca-bundle-hash";
/** A router without load takes 2 millicores and 60 MiB. */
const DEFAULT_RESOURCES = { requests: { cpu: "50m", memory: "96Mi" }, limits: { cpu: "1", memory: "1Gi" } };

const labelsOf = ({ metadata }: InferenceGraph): Record<string, string> => ({ [GRAPH_LABEL]: metadata.name });

function metadataOf(
  graph: InferenceGraph,
  more: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  } = {},
): ApplyObject["metadata"] {
  return {
    name: graph.metadata.name,
    namespace: graph.metadata.namespace ?? "",
    labels: { ...labelsOf(graph), ...more.labels },
    annotations: { ...more.annotations },
    ownerReferences: [toJson(ownerReferenceTo(graph))],
  };
}

/** The routers' pods; `spec` is what they are given, `trust` whom they trust. */
export function routerTemplate(graph: InferenceGraph, spec: JsonObject, trust: Trust | undefined): BuiltTemplate {
  const { name, namespace = "" } = graph.metadata;
  const { resources, affinity, tolerations, nodeSelector, nodeName, serviceAccountName } = graph.spec;
  const propagate = annotationOf(graph, OWN.propagate);
  const probe = (path: string): JsonObject => ({ httpGet: { path, port: PORT } });
  const container: JsonObject = {
    name: "router",
    image: ROUTER_IMAGE,
    imagePullPolicy: "IfNotPresent",
    args: [
      ...["--graph-json", JSON.stringify(spec), `--name=${namespace}/${name}`, `--http=${PORT}`],
      ...(propagate === undefined ? [] : [`--propagate-headers=${propagate}`]),
      ...(trust === undefined ? [] : [`--ca-bundle=${TRUST_FOLDER}/${TRUST_FILE}`]),
    ],
    env: [{ name: "ARGOSY_ROUTER_HOST", valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: "status.podIP" } } }],
    ports: [{ name: "http", containerPort: PORT, protocol: "TCP" }],
    resources: resources === undefined ? DEFAULT_RESOURCES : toJsonObject(resources),
    ...(trust === undefined ? {} : { volumeMounts: [{ name: TRUST, mountPath: TRUST_FOLDER, readOnly: true }] }),
    terminationMessagePolicy: "FallbackToLogsOnError",
    readinessProbe: { ...probe(READY_PATH), periodSeconds: 3, timeoutSeconds: 2, failureThreshold: 1 },
    livenessProbe: { ...probe("/livez"), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
  };
  const pod: JsonObject = {
    containers: [container],
    ...(trust === undefined
      ? {}
      : {
          volumes: [{ name: TRUST, configMap: { name: trust.name, items: [{ key: trust.key, path: TRUST_FILE }] } }],
        }),
    // It asks the steps, and nobody else.
    automountServiceAccountToken: false,
    ...(affinity === undefined ? {} : { affinity: toJsonObject(affinity) }),
    ...(tolerations === undefined ? {} : { tolerations: tolerations.map((each) => toJsonObject(each)) }),
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(serviceAccountName === undefined ? {} : { serviceAccountName }),
  };
  const annotations = {
    ...{ "prometheus.kserve.io/port": String(PORT), "prometheus.kserve.io/path": "/metrics" },
    // A router reads it when it begins: others are made when it changes.
    ...(trust === undefined ? {} : { [TRUST_HASH]: trust.hash }),
  };
  return {
    template: { metadata: { labels: labelsOf(graph), annotations }, spec: pod },
    port: PORT,
    probePath: READY_PATH,
    anyAnswer: false,
  };
}

/** Its Deployment; without `replicas` their number is an autoscaler's to say. */
export function routerDeployment(
  graph: InferenceGraph,
  built: BuiltTemplate,
  scaling: Scaling,
  replicas: number | undefined,
): ApplyObject {
  return {
    metadata: metadataOf(graph, scaling),
    spec: {
      ...(replicas === undefined ? {} : { replicas }),
      selector: { matchLabels: labelsOf(graph) },
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      progressDeadlineSeconds: 300,
      template: built.template,
    },
  };
}

/** The Service in front of the routers. */
export const routerService = (graph: InferenceGraph): ApplyObject => ({
  metadata: metadataOf(graph),
  spec: { selector: labelsOf(graph), ports: [{ name: "http", port: 80, targetPort: PORT, protocol: "TCP" }] },
});

/** What sizes it by what its pods use. */
export const routerScaler = (graph: InferenceGraph, hpa: JsonObject): ApplyObject => ({
  metadata: metadataOf(graph),
  spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: graph.metadata.name }, ...hpa },
});

/** The router, which knows which step took so long, gives up before the gateway does. */
const ROUTER_AHEAD_SECONDS = 1;

/** Its address, in both of KServe's forms. */
export function routerIngress(graph: InferenceGraph, address: ServingAddress, isHeld: boolean): ApplyObject {
  const { name, namespace = "" } = graph.metadata;
  const { timeout = 0 } = graph.spec;
  const annotations = {
    [HEALTH_ANNOTATION]: READY_PATH,
    ...(isHeld ? { [SCALING.activator]: name } : {}),
    ...(timeout > 0 ? { [ROUTE.timeout]: String(timeout + ROUTER_AHEAD_SECONDS) } : {}),
  };
  const backend = { service: { name, port: { name: "http" } } };
  const hosts = [hostOf(name, namespace, address), `${name}-${namespace}.${address.domain}`];
  return {
    metadata: metadataOf(graph, { annotations }),
    spec: {
      ingressClassName: "argosy",
      rules: hosts.map((host) => ({ host, http: { paths: [{ path: "/", pathType: "Prefix", backend }] } })),
    },
  };
}
