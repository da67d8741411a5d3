import { type BackendInput, type BackendReport, type RouteInput, splitAddress } from "../../dataplane/gateway/index.js";
import { findCondition, isDeleting } from "../../kernel/kinds/index.js";
import { type PlannedShadow, planShadows, shadowInputOf } from "./head-shadows.js";
import { measuresOf, weighted } from "./head-signals.js";
import { parseUrl } from "./head-url.js";
import { readyConditionIn } from "./hyper-readiness.js";
import type { AggregatedRow, Cluster, HeadBackendStatus, HeadIngress, HyperMLService } from "./kinds.js";
import { ARGOSY } from "./names.js";
import { frontsOf, isServed, urlIn } from "./served-kinds.js";

/** One backend of a HeadIngress before it is handed to the gateway. */
export interface PlannedBackend {
  readonly name: string;
  readonly cluster: string | undefined;
  readonly url: string;
  /** Host header. */
  readonly host: string;
  /** host:port; undefined when there is no address to send to. */
  readonly address: string | undefined;
  readonly isSecure: boolean;
  readonly weightAsked: number;
  readonly priority: number;
  /** Clients that are there already may stay. */
  readonly isDraining: boolean;
  /** Weight given to the gateway; the gateway makes it 0 by itself while the backend does not answer. */
  readonly weightGiven: number;
  /** Why it is given less than was asked; empty otherwise. */
  readonly reason: string;
  readonly message: string;
}

/** What changes by itself and weights may follow. */
export interface HeadSignals {
  /** Milliseconds that a backend takes to answer, by its name; absent where it was not measured. */
  readonly latencyMs: ReadonlyMap<string, number>;
}

const NO_SIGNALS: HeadSignals = { latencyMs: new Map() };

/** The backends that follow from a HeadIngress and what it refers to, and what is wrong with it. */
export interface HeadPlan {
  readonly backends: readonly PlannedBackend[];
  readonly shadows: readonly PlannedShadow[];
  readonly faults: readonly string[];
  /** Backends in use of which nothing is known that `spec.weighting` follows. */
  readonly unmeasured: readonly string[];
}

/** Prefix of the public path of a HyperMLService (TensorStack's form). */
export function defaultPathOf(namespace: string, name: string): string {
  return `/t9k/hypermlservices/namespaces/${namespace}/${name}/`;
}

/** Reads `cloud=30,edge=70`. Entries that are no weights come back as faults. */
export function parseWeights(text: string): {
  readonly weights: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
} {
  const weights: Record<string, number> = {};
  const faults: string[] = [];
  for (const entry of text.split(",").map((part) => part.trim())) {
    const match = /^([^=\s]+)\s*=\s*(\d{1,7})$/.exec(entry);
    if (match?.[1] === undefined || Number(match[2]) > 1_000_000) {
      if (entry !== "") faults.push(`"${entry}" is not CLUSTER=WEIGHT with a whole number up to 1000000`);
    } else weights[match[1]] = Number(match[2]);
  }
  return { weights, faults };
}

/** What a HeadIngress means. `hyper` is what hyperMLServiceRef names, if it exists. Pure. */
export function planHead(
  head: HeadIngress,
  hyper: HyperMLService | undefined,
  clusters: ReadonlyMap<string, Cluster>,
  signals: HeadSignals = NO_SIGNALS,
): HeadPlan {
  const faults: string[] = [];
  const backends: PlannedBackend[] = [];
  const reference = head.spec.hyperMLServiceRef;
  if (reference !== undefined) {
    if (hyper === undefined)
      faults.push(`HyperMLService ${reference.name} does not exist in namespace ${head.metadata.namespace ?? ""}`);
    else backends.push(...backendsOf(head, hyper, clusters, faults));
  }
  addByHand(head, backends, faults);
  if (reference === undefined && backends.length === 0 && faults.length === 0)
    faults.push("neither hyperMLServiceRef nor backends are given");
  for (const name of Object.keys(head.spec.priorities ?? {}))
    if (!backends.some((backend) => backend.cluster === name))
      faults.push(`spec.priorities.${name}: there is no backend in a cluster of that name`);
  const measured = measuresOf(head, { backends, hyper, clusters, signals });
  const shadows = planShadows({ head, hyper, clusters });
  const unmeasured = backends.filter(({ name, weightGiven }) => weightGiven > 0 && !measured.has(name));
  return {
    backends: weighted(backends, head.spec.weighting, measured),
    shadows,
    faults,
    unmeasured: unmeasured.map(({ name }) => name),
  };
}

/** Backends that the HeadIngress names itself. */
function addByHand(head: HeadIngress, backends: PlannedBackend[], faults: string[]): void {
  for (const [index, given] of (head.spec.backends ?? []).entries()) {
    if (backends.some((backend) => backend.name === given.name)) {
      faults.push(`spec.backends[${index}].name: "${given.name}" is used twice`);
      continue;
    }
    const weight = given.weight ?? 1;
    const isPlace = given.address === undefined || splitAddress(given.address) !== undefined;
    const url = isPlace ? parseUrl(given.url) : undefined;
    const form = isPlace
      ? `"${given.url}" is not http://HOST[:PORT] or https://HOST[:PORT]`
      : `"${given.address}" is not HOST:PORT`;
    const obstacle =
      url === undefined
        ? { reason: "BadAddress", message: form }
        : given.drain === true
          ? { reason: "Draining", message: "spec.backends says that it is drained" }
          : { reason: "", message: "" };
    backends.push({
      name: given.name,
      cluster: undefined,
      url: given.url,
      host: given.host ?? url?.host ?? "",
      address: url === undefined ? undefined : (given.address ?? url.address),
      isSecure: url?.isSecure ?? false,
      weightAsked: weight,
      weightGiven: url === undefined ? 0 : weight,
      priority: given.priority ?? 0,
      isDraining: url !== undefined && given.drain === true,
      ...obstacle,
    });
  }
}

function backendsOf(
  head: HeadIngress,
  hyper: HyperMLService,
  clusters: ReadonlyMap<string, Cluster>,
  faults: string[],
): PlannedBackend[] {
  const wantedNames = hyper.spec.workloads.flatMap((workload) => workload.clusters);
  const services = (hyper.status?.aggregatedStatus ?? []).filter((row) => isServed(row.resource.kind));
  const leaving = hyper.status?.leaving ?? [];
  // What the status still speaks of is on its way out.
  const names = [
    ...new Set([...wantedNames, ...services.map((row) => row.cluster), ...leaving.map((one) => one.cluster)]),
  ];
  for (const name of Object.keys(head.spec.weights ?? {})) {
    if (!names.includes(name))
      faults.push(`spec.weights.${name}: HyperMLService ${hyper.metadata.name} does not run in a cluster of that name`);
  }
  return names.sort().flatMap((cluster) => {
    const wanted = head.spec.hyperMLServiceRef?.service;
    const own = services.filter(
      (row) => row.cluster === cluster && (wanted === undefined || row.resource.name === wanted),
    );
    const rows = frontsOf(own, (row) => row.resource.kind);
    const [row] = rows;
    const url = leaving.find((one) => one.cluster === cluster)?.url;
    if (row === undefined && url === undefined && !hasService(hyper, cluster, wanted)) return [];
    if (rows.length > 1)
      faults.push(`cluster ${cluster} has ${rows.length} services; name one in spec.hyperMLServiceRef.service`);
    const weight = head.spec.weights?.[cluster] ?? defaultWeightOf(clusters.get(cluster));
    const draining = wantedNames.includes(cluster)
      ? drainOf(clusters.get(cluster))
      : `HyperMLService ${hyper.metadata.name} no longer runs in cluster ${cluster}`;
    const slip = weightSlipOf(clusters.get(cluster));
    if (head.spec.weights?.[cluster] === undefined && slip !== undefined) faults.push(slip);
    const priority = head.spec.priorities?.[cluster] ?? 0;
    const isLeaving = !wantedNames.includes(cluster);
    return [backendOf(cluster, { row, url, weight, priority, draining, isLeaving, cluster: clusters.get(cluster) })];
  });
}

/** Why a cluster is to get no requests, if it is. */
function drainOf(cluster: Cluster | undefined): string | undefined {
  if (cluster === undefined) return undefined;
  const { name, annotations } = cluster.metadata;
  if (isDeleting(cluster)) return `cluster ${name} is being removed`;
  const why = annotations?.[ARGOSY.drain];
  if (why === undefined && cluster.status?.remedyActions?.includes("TrafficControl") === true)
    return `cluster ${name} is drained: a Remedy asks for TrafficControl`;
  return why === undefined ? undefined : `cluster ${name} is drained${why === "" ? "" : `: ${why}`}`;
}

function hasService(hyper: HyperMLService, cluster: string, name: string | undefined): boolean {
  return hyper.spec.workloads.some(
    (workload) =>
      workload.clusters.includes(cluster) &&
      workload.manifests.some(
        (manifest) => isServed(manifest.kind) && (name === undefined || manifest.metadata?.["name"] === name),
      ),
  );
}

/** What is wrong with a cluster's default weight, which is then 1. */
function weightSlipOf(cluster: Cluster | undefined): string | undefined {
  const text = cluster?.metadata.annotations?.[ARGOSY.ingressWeight];
  if (text === undefined || /^\d{1,6}$/.test(text)) return undefined;
  return `annotation ${ARGOSY.ingressWeight} of cluster ${cluster?.metadata.name ?? ""}: "${text}" is no whole number up to 999999: it counts 1`;
}

function defaultWeightOf(cluster: Cluster | undefined): number {
  const text = cluster?.metadata.annotations?.[ARGOSY.ingressWeight];
  return text !== undefined && /^\d{1,6}$/.test(text) ? Number(text) : 1;
}

/** What is known of a backend in a cluster. */
interface Candidate {
  readonly row: AggregatedRow | undefined;
  /** Where it answers, of one that leaves. */
  readonly url: string | undefined;
  readonly weight: number;
  readonly priority: number;
  readonly isLeaving: boolean;
  /** Why it is to get nothing. */
  readonly draining: string | undefined;
  readonly cluster: Cluster | undefined;
}

function backendOf(name: string, candidate: Candidate): PlannedBackend {
  const { row, url: before, weight, priority, draining, isLeaving, cluster } = candidate;
  const given = urlIn(row?.status) ?? before;
  const url = given === undefined ? undefined : parseUrl(given);
  // One cluster's slip is not the whole route's: no gateway would take that.
  const told = cluster?.metadata.annotations?.[ARGOSY.ingressAddress];
  const isLost = told !== undefined && splitAddress(told) === undefined;
  const obstacle = isLost
    ? {
        reason: "BadAddress",
        message: `annotation ${ARGOSY.ingressAddress} of cluster ${name}: "${told}" is not HOST:PORT`,
      }
    : draining === undefined
      ? obstacleOf(row, given, url !== undefined)
      : { reason: "Draining", message: draining };
  return {
    name,
    cluster: name,
    url: given ?? "",
    host: url?.host ?? "",
    address: url === undefined || isLost ? undefined : (told ?? url.address),
    isSecure: url?.isSecure ?? false,
    weightAsked: weight,
    priority,
    isDraining:
      !isLost && draining !== undefined && !isLeaving && obstacleOf(row, given, url !== undefined) === undefined,
    weightGiven: obstacle === undefined ? weight : 0,
    reason: obstacle?.reason ?? "",
    message: obstacle?.message ?? "",
  };
}

function obstacleOf(
  row: AggregatedRow | undefined,
  url: string | undefined,
  isUrl: boolean,
): { readonly reason: string; readonly message: string } | undefined {
  if (row === undefined) return { reason: "NotDelivered", message: "the model has not been delivered yet" };
  // Pods of an earlier generation answer while an update rolls: they keep the traffic.
  const ready = readyConditionIn(row.status, "Answering") ?? readyConditionIn(row.status);
  if (url === undefined)
    return {
      reason: row.applied ? "NoAddress" : "NotApplied",
      message: row.applied ? "the model has not reported an address yet" : row.appliedMessage,
    };
  if (!isUrl)
    return {
      reason: "BadAddress",
      message: `the model reports "${url}", which is not http://HOST[:PORT] or https://HOST[:PORT]`,
    };
  if (ready?.status !== "True") {
    // That it does not answer is what is seen; why is what its Ready says.
    const why = readyConditionIn(row.status)?.message ?? ready?.message;
    return { reason: "NotReady", message: `the model is not ready: ${why ?? "it has not said so yet"}` };
  }
  return undefined;
}

/** The route that carries a HeadIngress out. */
export function routeOf(head: HeadIngress, plan: HeadPlan, listener: string, files: BackendFiles = {}): RouteInput {
  const { namespace = "", name } = head.metadata;
  const { spec } = head;
  return {
    id: routeIdOf(namespace, name),
    listener: spec.listener ?? listener,
    hosts: spec.hosts === undefined || spec.hosts.length === 0 ? ["*"] : spec.hosts.map((host) => host.toLowerCase()),
    path: spec.path ?? defaultPathOf(namespace, spec.hyperMLServiceRef?.name ?? name),
    rewrite: spec.rewrite ?? "/",
    nameBackend: true,
    retry: {
      attempts: spec.retry?.attempts ?? 2,
      nonIdempotent: spec.retry?.nonIdempotent ?? spec.hyperMLServiceRef !== undefined,
      ...(spec.retry?.statuses === undefined ? {} : { statuses: spec.retry.statuses }),
    },
    ...policiesOf(spec),
    ...(spec.timeouts === undefined ? {} : { timeouts: spec.timeouts }),
    backends: plan.backends.map(
      (backend): BackendInput => ({
        name: backend.name,
        ...(backend.host === "" ? {} : { host: backend.host }),
        addresses: backend.address === undefined ? [] : [backend.address],
        weight: backend.weightGiven,
        ...(backend.priority === 0 ? {} : { priority: backend.priority }),
        ...(backend.isDraining ? { draining: true } : {}),
        health: {
          ...(spec.protocol === "GRPC" ? { grpc: "" } : { path: spec.health?.path ?? "/v2/health/ready" }),
          ...(spec.health?.intervalMs === undefined ? {} : { intervalMs: spec.health.intervalMs }),
          ...(spec.health?.timeoutMs === undefined ? {} : { timeoutMs: spec.health.timeoutMs }),
        },
        ...(backend.message === "" ? {} : { reason: backend.message }),
        ...(backend.isSecure ? { tls: tlsOf(spec.backendTLS, backend, files) } : {}),
      }),
    ),
    ...(plan.shadows.length === 0
      ? {}
      : { shadows: plan.shadows.map((shadow) => shadowInputOf(shadow, tlsOf(spec.backendTLS, shadow, files))) }),
  };
}

function policiesOf(spec: HeadIngress["spec"]): Partial<RouteInput> {
  const { affinity, hedge, outlierEjection, slowStartMs, protocol } = spec;
  const kept =
    affinity?.header === undefined
      ? affinity?.cookie === undefined
        ? undefined
        : { by: "cookie" as const, ...affinity.cookie }
      : { by: "header" as const, name: affinity.header };
  return {
    ...(protocol === "GRPC" ? { protocol: "h2" } : {}),
    ...(kept === undefined ? {} : { affinity: kept }),
    ...(hedge === undefined ? {} : { hedge }),
    ...(outlierEjection === undefined ? {} : { outlier: outlierEjection }),
    ...(slowStartMs === undefined ? {} : { slowStartMs }),
  };
}

/** Where the gateway finds what it needs for TLS towards backends. */
export interface BackendFiles {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

function tlsOf(
  asked: HeadIngress["spec"]["backendTLS"],
  backend: Pick<PlannedBackend, "host">,
  files: BackendFiles,
): NonNullable<BackendInput["tls"]> {
  return {
    serverName: asked?.serverName ?? backend.host.replace(/:\d+$/, ""),
    ...(asked?.insecureSkipVerify === true ? { insecure: true } : {}),
    ...files,
  };
}

/** Id of a HeadIngress' route in the gateway. */
export function routeIdOf(namespace: string, name: string): string {
  return `headingress/${namespace}/${name}`;
}

/**
 * How one backend stands: the control plane's reason for less weight first, then the gateway's. `report` is absent while the gateway is silent, or
 * where nobody carries the route: `absence` says why.
 */
export function backendStatusOf(
  backend: PlannedBackend,
  report: BackendReport | undefined,
  cluster: Cluster | undefined,
  absence: Reason = NOT_PROGRAMMED,
): HeadBackendStatus {
  const isGiven = backend.weightGiven > 0 && !backend.isDraining;
  const weightEffective = isGiven && report?.answered === true ? report.weightEffective : 0;
  const difference = differenceOf(backend, report, absence);
  const ready = findCondition(cluster?.status?.conditions, "Ready");
  const note =
    difference === undefined && ready !== undefined && ready.status !== "True"
      ? {
          reason: "ClusterNotReady",
          message: `the cluster's API is not ready (${ready.message}); its model answers, so it keeps its traffic`,
        }
      : undefined;
  const said = difference ?? note;
  return {
    name: backend.name,
    url: backend.url,
    weight: backend.weightAsked,
    weightEffective,
    percent: Math.round((report?.share ?? 0) * 10_000) / 100,
    requests: report?.requests ?? 0,
    failures: report?.failures ?? 0,
    ...(backend.cluster === undefined ? {} : { cluster: backend.cluster }),
    ...(backend.address === undefined ? {} : { address: backend.address }),
    ...(said === undefined ? {} : { reason: said.reason, message: said.message }),
  };
}

/** Why something is not as it was asked for: as one word, and for people. */
interface Reason {
  readonly reason: string;
  readonly message: string;
}

const NOT_PROGRAMMED: Reason = {
  reason: "NotProgrammed",
  message: "the gateway has not reported this backend yet",
};

function differenceOf(backend: PlannedBackend, report: BackendReport | undefined, absence: Reason): Reason | undefined {
  if (backend.reason !== "" && (backend.weightGiven === 0 || backend.isDraining))
    return { reason: backend.reason, message: backend.message };
  if (backend.weightAsked === 0) return { reason: "WeightZero", message: "a weight of 0 was asked for" };
  if (report === undefined) return absence;
  if (!report.healthy) return { reason: "NotAnswering", message: report.reason };
  if (!report.answered) return { reason: "NotChecked", message: "the gateway has not seen it answer yet" };
  if (report.word !== "") return { reason: report.word, message: report.reason };
  return backend.reason === "" ? undefined : { reason: backend.reason, message: backend.message };
}
