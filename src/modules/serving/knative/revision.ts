import { syncStatus } from "../../../kernel/control/index.js";
import type { ControllerSpec, InformerSet, Key, ReconcileContext } from "../../../kernel/control/types.js";
import {
  type Deployment,
  DeploymentKind,
  isDeleting,
  type JsonObject,
  type KubeObject,
  PodKind,
  ServiceKind,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { asObject, asObjects, type ConditionValue, cloneObject, toJsonObject } from "../../../kernel/schema/index.js";
import { SCALING, standingOf } from "../autoscaling/index.js";
import { diagnosePods, wordsOf } from "../diagnosis.js";
import { isBuiltInServer } from "../images.js";
import { lingering } from "../pod-template.js";
import { KNATIVE_ANNOTATIONS, KNATIVE_LABELS, type Revision, RevisionKind, RouteKind } from "./kinds.js";
import { conditionsWith, isSaid, isTakenCareOf, type Said, Writer, YES } from "./parts.js";
import { type RevisionParts, readRevisionSpec } from "./template.js";

const NAME = "knative-revision";
const HPA_CLASS = "hpa.autoscaling.knative.dev";

/** The Deployment and the Service of a Revision. */
export const deploymentName = (revision: string): string => `${revision}-deployment`;

type Context = ReconcileContext<Revision>;

/** Makes each Revision true with a Deployment, which the autoscaler sizes, and a Service. */
export function revisionController(): ControllerSpec<Revision> {
  const writer = new Writer(NAME);
  return {
    name: NAME,
    kind: RevisionKind,
    owns: [DeploymentKind, ServiceKind],
    watches: [
      {
        kind: PodKind,
        keys: ({ metadata }) => keysOf(metadata.namespace, [metadata.labels?.[KNATIVE_LABELS.revision]]),
      },
      { kind: RouteKind, keys: (route, informers) => routedKeys(route, informers) },
    ],
    async reconcile(_key, revision, context) {
      if (revision === undefined || isDeleting(revision) || isTakenCareOf(context.cluster)) return;
      const parts = readRevisionSpec(toJsonObject(revision.spec));
      const deployment = await writer.write(DeploymentKind, revision, deploymentOf(revision, parts, context), context);
      const service = await writer.write(ServiceKind, revision, serviceOf(revision, parts), context);
      const fault = [deployment, service].find((child) => isSaid(child));
      const seen = isSaid(deployment) ? undefined : deployment;
      const said =
        fault !== undefined && isSaid(fault)
          ? { ResourcesAvailable: fault }
          : seen === undefined
            ? {}
            : statesOf(seen, context);
      const active = seen === undefined ? undefined : activeOf(seen);
      const conditions = conditionsWith(revision, said, context.clock.now());
      const status = {
        observedGeneration: revision.metadata.generation ?? 0,
        conditions: active === undefined ? conditions : withActive(conditions, active, context.clock.now()),
        actualReplicas: seen?.status?.readyReplicas ?? 0,
        desiredReplicas: seen?.spec.replicas ?? 0,
      };
      await syncStatus(context.cluster.client.resource(RevisionKind), revision, status, NAME);
    },
  };
}

/** Active says whether pods are wanted; a Revision without requests is ready all the same. */
function withActive(conditions: ConditionValue[], active: Said, nowMs: number): ConditionValue[] {
  const { status, reason, message } = active;
  return withCondition(conditions, { type: "Active", status, reason, message }, nowMs);
}

const keysOf = (namespace: string | undefined, names: readonly (string | undefined)[]): Key[] =>
  names.flatMap((name) => (name === undefined ? [] : [{ namespace: namespace ?? "", name }]));

function routedKeys(route: KubeObject, informers: InformerSet): readonly Key[] {
  const { namespace = "", name } = route.metadata;
  const known = informers.informer(RouteKind).get({ namespace, name });
  return keysOf(
    namespace,
    (known?.status?.traffic ?? []).map(({ revisionName }) => revisionName),
  );
}

/** Whether requests can get to it: a Route gives it a share or an address; or it is so new that none could. */
function isReachable({ metadata }: Revision, { cluster }: Context): boolean {
  const routes = cluster.informers.informer(RouteKind).list(metadata.namespace);
  const isRouted = routes.some(({ status }) =>
    (status?.traffic ?? []).some(
      ({ revisionName, percent = 0, tag }) => revisionName === metadata.name && (percent > 0 || tag !== undefined),
    ),
  );
  const configuration = metadata.labels?.[KNATIVE_LABELS.configuration];
  const isNewest = !cluster.informers
    .informer(RevisionKind)
    .list(metadata.namespace)
    .some(
      (other) =>
        other.metadata.labels?.[KNATIVE_LABELS.configuration] === configuration &&
        Number(other.metadata.labels?.[KNATIVE_LABELS.configurationGeneration] ?? 0) >
          Number(metadata.labels?.[KNATIVE_LABELS.configurationGeneration] ?? 0),
    );
  return isRouted || isNewest;
}

function deploymentOf(revision: Revision, parts: RevisionParts, context: Context) {
  const { name, labels = {} } = revision.metadata;
  const annotations = givenAnnotations(revision);
  const own = { ...labels, [KNATIVE_LABELS.revision]: name, app: name };
  const isHpa = annotations["autoscaling.knative.dev/class"] === HPA_CLASS;
  return {
    metadata: {
      name: deploymentName(name),
      labels: { ...own, [SCALING.autoscaler]: isHpa ? "hpa" : "kpa" },
      annotations: {
        ...annotations,
        [SCALING.containerConcurrency]: String(parts.containerConcurrency),
        [SCALING.queueTimeout]: `${Math.max(1, parts.timeoutMs / 1000)}s`,
        ...(isReachable(revision, context) ? {} : { [SCALING.reachable]: "false" }),
      },
    },
    spec: {
      selector: { matchLabels: { [KNATIVE_LABELS.revision]: name } },
      strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 0 } },
      progressDeadlineSeconds: 600,
      template: { metadata: { labels: own, annotations }, spec: podOf(revision, parts) },
    },
  };
}

/** The Revision's, without what is noted on it here: that is no reason for new pods. */
function givenAnnotations({ metadata }: Revision): Record<string, string> {
  const noted: readonly string[] = [KNATIVE_ANNOTATIONS.lastRouted, "kubectl.kubernetes.io/last-applied-configuration"];
  return Object.fromEntries(Object.entries(metadata.annotations ?? {}).filter(([name]) => !noted.includes(name)));
}

/** The pods: the user's, with what Knative tells them. */
function podOf(revision: Revision, parts: RevisionParts): JsonObject {
  const pod = cloneObject(parts.pod);
  const { name, labels = {} } = revision.metadata;
  const told: Readonly<Record<string, string>> = {
    PORT: String(parts.port),
    K_REVISION: name,
    K_CONFIGURATION: labels[KNATIVE_LABELS.configuration] ?? "",
    K_SERVICE: labels[KNATIVE_LABELS.service] ?? "",
  };
  for (const container of asObjects(pod["containers"])) {
    if (container["name"] !== parts.main) continue;
    const env = asObjects(container["env"]);
    const added = Object.entries(told).filter(([variable]) => !env.some((one) => one["name"] === variable));
    container["env"] = [...env, ...added.map(([variable, value]) => ({ name: variable, value }))];
    const [port] = asObjects(container["ports"]);
    container["ports"] = [{ ...port, containerPort: parts.port, name: parts.isHttp2 ? "h2c" : "user-port" }];
    if (!isBuiltInServer(container)) container["lifecycle"] = lingering(container);
    const probe = container["readinessProbe"];
    if (typeof probe === "object" && probe !== null)
      container["readinessProbe"] = probeOf(toJsonObject(probe), parts.port);
  }
  return pod;
}

/** Port 0 of a probe means the container's own; it is asked every second, so that nobody waits for it. */
function probeOf(probe: JsonObject, port: number): JsonObject {
  const filled = Object.entries(probe).map(([name, value]): [string, JsonObject[string]] => {
    if (name !== "tcpSocket" && name !== "httpGet" && name !== "grpc") return [name, value];
    const action = asObject(value);
    const isOwn = action["port"] === undefined || action["port"] === 0;
    return [name, isOwn ? { ...action, port } : action];
  });
  const whole = Object.fromEntries(filled);
  return whole["periodSeconds"] === undefined || whole["periodSeconds"] === 0 ? { ...whole, periodSeconds: 1 } : whole;
}

function serviceOf(revision: Revision, parts: RevisionParts) {
  const { name } = revision.metadata;
  return {
    metadata: { name, labels: { [KNATIVE_LABELS.revision]: name } },
    spec: revisionService(name, parts),
  };
}

/** A Service in front of a Revision's pods. */
export function revisionService(
  revision: string,
  { port, isHttp2 }: Pick<RevisionParts, "port" | "isHttp2">,
): JsonObject {
  return {
    selector: { [KNATIVE_LABELS.revision]: revision },
    ports: [{ name: isHttp2 ? "http2" : "http", port: 80, targetPort: port, protocol: "TCP" }],
  };
}

function statesOf(deployment: Deployment, { cluster }: Context): Record<string, Said> {
  const standing = standingOf(deployment);
  const ready = deployment.status?.readyReplicas ?? 0;
  if (ready > 0 || standing?.hasRun === true) return { ContainerHealthy: YES, ResourcesAvailable: YES };
  const { namespace = "" } = deployment.metadata;
  const selector = Object.entries(deployment.spec.selector.matchLabels ?? {});
  const pods = cluster.informers
    .informer(PodKind)
    .list(namespace)
    .filter(({ metadata }) => selector.every(([name, value]) => metadata.labels?.[name] === value));
  const fault = diagnosePods(cluster.name, pods, deployment);
  const waits = fault === undefined || ["Starting", "Loading", "Fetching"].includes(fault.reason);
  if (waits) {
    const message = fault?.message ?? "its first pod is on its way";
    const said: Said = { status: "Unknown", reason: "Deploying", message };
    return { ContainerHealthy: said, ResourcesAvailable: said };
  }
  const said: Said = { status: "False", reason: fault.reason, message: wordsOf(fault) };
  const isPlace = ["Unschedulable", "QuotaExceeded", "PodsRefused"].includes(fault.reason);
  const unknown: Said = { status: "Unknown", reason: "Deploying", message: "its first pod has not run yet" };
  return isPlace
    ? { ContainerHealthy: unknown, ResourcesAvailable: said }
    : { ContainerHealthy: said, ResourcesAvailable: unknown };
}

function activeOf(deployment: Deployment): Said {
  const phase = standingOf(deployment)?.phase;
  if (phase === "inactive")
    return { status: "False", reason: "NoTraffic", message: "The target is not receiving traffic." };
  if (phase === "active" || phase === undefined) return YES;
  return {
    status: "Unknown",
    reason: "Queued",
    message: "Requests to the target are being buffered as resources are provisioned.",
  };
}
