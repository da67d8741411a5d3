/** Makes InferenceServices true in one cluster. */
import { syncStatus } from "../../../kernel/control/index.js";
import type {
  ClusterAccess,
  ControllerSpec,
  InformerSet,
  Key,
  ReconcileResult,
} from "../../../kernel/control/types.js";
import type { Kind, KubeObject } from "../../../kernel/kinds/index.js";
import {
  DeploymentKind,
  EndpointSliceKind,
  HorizontalPodAutoscalerKind,
  IngressKind,
  PersistentVolumeClaimKind,
  PodKind,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { asObject, toJsonObject } from "../../../kernel/schema/index.js";
import { createChildWriter } from "../apply.js";
import type { Fault } from "../diagnosis.js";
import { THROUGH_ANNOTATION } from "../inside.js";
import { ownedBy } from "../owned.js";
import { annotationOf, KSERVE, modeOf, saysYes } from "./annotations.js";
import { ISVC_MANAGER } from "./children.js";
import { componentsFor } from "./components.js";
import { completeInferenceService } from "./defaults.js";
import { GateWatch } from "./gate-watch.js";
import type { InferenceService } from "./inference-service-kind.js";
import { InferenceServiceKind } from "./inference-service-kind.js";
import { insideIgnored } from "./inside.js";
import { groupIgnored } from "./local-models/index.js";
import { settingsIgnored } from "./platform-settings.js";
import { recordReadiness, recordShares } from "./record.js";
import { type Outcomes, type RouteOutcome, routeService, serviceUrl, standingRoute } from "./routes.js";
import { ClusterServingRuntimeKind, ServingRuntimeKind } from "./runtime-kinds.js";
import { kserveRunsIn, standBackWatches } from "./stand-back.js";
import { readinessOf, type Seen, statusOf } from "./status.js";
import { isFetchedBy } from "./storage-containers.js";
import {
  ClusterStorageContainerKind,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  LocalModelNodeKind,
  TrainedModelKind,
} from "./storage-kinds.js";
import { type InferenceServiceOptions, servicesWith, type Tools } from "./tools.js";
import { servicesOfClaim, servicesOfModel } from "./trained-model-claims.js";
import { doubleImplementation, inferenceServiceFaults } from "./validation.js";
import { ignoredFields, keepRuntime, runtimeFor } from "./wishes.js";

/** While something is on its way; watches wake the controller earlier. */
const UNSETTLED_MS = 2000;
/** While pods are ready and their address does not answer yet: nothing tells when it does. */
const UNANSWERED_MS = 500;
/** While a new revision is watched. */
const WATCHED_MS = 1000;
const MOVING: ReadonlySet<string> = new Set(["Waiting", "Baking", "Holding"]);
/** How often an address that answers is asked again; where there are many, they are asked in turn, 50 a second. */
const SETTLED_MS = 10_000;
const SETTLED_EACH_MS = 20;

/** The controller of one cluster. */
export function inferenceServiceController(
  cluster: ClusterAccess,
  options: InferenceServiceOptions,
): ControllerSpec<InferenceService> {
  const writer = createChildWriter(cluster, { fieldManager: ISVC_MANAGER, ownerLabel: KSERVE.service });
  const gateWatch = new GateWatch(options.gates);
  const ofAll = (namespace: string | undefined, informers: InformerSet): Key[] =>
    servicesWith(informers, namespace).map(({ metadata }) => ({
      namespace: metadata.namespace ?? "",
      name: metadata.name,
    }));
  return {
    name: ISVC_MANAGER,
    kind: InferenceServiceKind,
    owns: [DeploymentKind, ServiceKind, IngressKind, HorizontalPodAutoscalerKind],
    watches: [
      ...standBackWatches(InferenceServiceKind),
      {
        kind: PodKind,
        keys: ({ metadata }) => {
          const name = metadata.labels?.[KSERVE.service];
          return name === undefined ? [] : [{ namespace: metadata.namespace ?? "", name }];
        },
      },
      { kind: EndpointSliceKind, keys: behindGateway },
      { kind: ServingRuntimeKind, keys: ({ metadata }, informers) => ofAll(metadata.namespace, informers) },
      { kind: ClusterServingRuntimeKind, keys: (_runtime, informers) => ofAll(undefined, informers) },
      { kind: LocalModelNodeKind, keys: (_node, informers) => ofAll(undefined, informers) },
      { kind: LocalModelCacheKind, keys: (_cache, informers) => ofAll(undefined, informers), concerns: hasNewSpec },
      {
        kind: LocalModelNamespaceCacheKind,
        keys: ({ metadata }, informers) => ofAll(metadata.namespace, informers),
        concerns: hasNewSpec,
      },
      { kind: TrainedModelKind, keys: servicesOfModel, concerns: hasNewSpec },
      { kind: PersistentVolumeClaimKind, keys: servicesOfClaim, concerns: hasNewSpec },
      { kind: ClusterStorageContainerKind, keys: (_container, informers) => ofAll(undefined, informers) },
    ],
    concurrency: 16,
    async reconcile(key, service, context) {
      if (service === undefined || service.metadata.deletionTimestamp !== undefined) {
        writer.forget(key);
        gateWatch.forgetAll(key);
        return;
      }
      if (kserveRunsIn(context.cluster)) return;
      return reconcileService(service, { context, writer, gateWatch, ...options });
    },
  };
}

/** Whose Service a slice is of, where that leads through the gateway, or is about to. */
function behindGateway({ metadata }: KubeObject, informers: InformerSet): Key[] {
  const { namespace = "", labels = {} } = metadata;
  const service = informers.informer(ServiceKind).get({ namespace, name: labels["kubernetes.io/service-name"] ?? "" });
  const name = service?.metadata.labels?.[KSERVE.service];
  if (service === undefined || name === undefined) return [];
  const isConcerned =
    service.metadata.annotations?.[THROUGH_ANNOTATION] !== undefined || service.metadata.name.endsWith("-pods");
  return isConcerned ? [{ namespace, name }] : [];
}

/** Not each change of a status. */
const hasNewSpec = (now: KubeObject, old: KubeObject): boolean =>
  now.metadata.generation !== old.metadata.generation ||
  now.metadata.deletionTimestamp !== old.metadata.deletionTimestamp;

async function reconcileService(service: InferenceService, tools: Tools): Promise<ReconcileResult> {
  const completed = toJsonObject(service);
  completeInferenceService(completed);
  const mode =
    modeOf(service.status?.deploymentMode) ?? modeOf(annotationOf(service, KSERVE.deploymentMode)) ?? "Standard";
  const common = {
    mode,
    ignored: [],
    outcomes: undefined,
    route: undefined,
    runtime: undefined,
    fault: undefined,
    isStopped: false,
  };
  const base: Seen = { ...common, address: tools.address, nowMs: tools.context.clock.now() };
  if (saysYes(service, KSERVE.stop)) {
    await removeOthers(service, {}, tools);
    await report(service, { ...base, isStopped: true }, tools);
    return {};
  }
  const containers = tools.context.cluster.informers.informer(ClusterStorageContainerKind);
  const isFetched = (uri: string): boolean => isFetchedBy(containers.list(), uri);
  const invalid =
    inferenceServiceFaults(completed, toJsonObject(service), isFetched)[0] ?? doubleImplementation(completed);
  if (invalid !== undefined) {
    const fault = { reason: "InvalidPredictorSpec", message: `${invalid.field}: ${invalid.message}` };
    await report(service, { ...base, fault, route: await standingRoute(service, fault, tools) }, tools);
    return { requeueAfterMs: settledMs(tools) };
  }
  const spec = asObject(completed["spec"]);
  const runtime = runtimeFor(service, asObject(spec["predictor"]), tools);
  const chosen = runtime !== undefined && "runtime" in runtime ? runtime : undefined;
  await keepRuntime(service, asObject(spec["predictor"]), chosen, tools);
  const outcomes = await componentsFor(service, { spec, mode, runtime }, tools);
  const route = await routeService(service, outcomes, tools);
  const components = [outcomes.predictor, outcomes.transformer, outcomes.explainer];
  const scaledByRequests = components.flatMap((one) => (one?.scaling?.by === "kpa" ? [one.component] : []));
  const ignored = [
    ...ignoredFields(service, completed, { mode, runtime: chosen?.runtime, scaledByRequests }),
    ...scalingIgnored(outcomes),
    ...insideIgnored(service, components, tools.context.cluster.informers),
    ...groupIgnored(service, spec, tools),
    ...(await settingsIgnored(tools)),
  ];
  const seen: Seen = { ...base, outcomes, route, runtime: chosen, ignored };
  for (const outcome of components)
    if (outcome !== undefined) recordShares(tools.ledger, tools.context.cluster.name, service, outcome);
  await removeOthers(service, keptBy(outcomes, route), tools);
  const ready = await report(service, seen, tools);
  const moving = [...components, ...outcomes.canaries];
  const isOnItsWay = moving.some((outcome) => MOVING.has(outcome?.promotion?.phase ?? ""));
  const isOver = components.some((outcome) => outcome?.promotion?.state.failed !== undefined);
  if (isOnItsWay) return { requeueAfterMs: ready === undefined ? WATCHED_MS : UNANSWERED_MS };
  if (ready === undefined || isOver) return { requeueAfterMs: settledMs(tools) };
  return { requeueAfterMs: ready.reason === "NotAnswering" ? UNANSWERED_MS : UNSETTLED_MS };
}

const settledMs = ({ context }: Tools): number =>
  Math.max(SETTLED_MS, SETTLED_EACH_MS * servicesWith(context.cluster.informers, undefined).length);

const scalingIgnored = ({ predictor, transformer, explainer }: Outcomes): string[] =>
  [predictor, transformer, explainer].flatMap((outcome) =>
    (outcome?.scaling?.ignored ?? []).map((what) => `${outcome?.component ?? ""}.${what}`),
  );

/** Names of children to keep, by kind. */
interface Kept {
  readonly deployments?: readonly string[];
  readonly services?: readonly string[];
  readonly ingresses?: readonly string[];
  readonly scalers?: readonly string[];
}

function keptBy({ predictor, transformer, explainer, canaries }: Outcomes, route: RouteOutcome): Kept | undefined {
  const components = [predictor, transformer, explainer].filter((each) => each !== undefined);
  // What cannot be built now may be all there is of it: nothing of it is removed.
  if (components.some(({ latest }) => latest === undefined)) return undefined;
  const variants = components.flatMap(({ latest, previous, shares }) => [
    ...(latest === undefined ? [] : [latest]),
    ...(previous === undefined || shares?.isRolledOut === true ? [] : [previous]),
  ]);
  const deployments = variants.flatMap(({ deployment, workers }) => [
    deployment,
    ...(workers === undefined ? [] : [workers.deployment]),
  ]);
  return {
    deployments: [...deployments, ...canaries.map(({ deployment }) => deployment)],
    services: [...route.services, ...variants.flatMap(({ workers }) => workers?.services ?? [])],
    ingresses: route.ingresses,
    scalers: components.flatMap(({ latest, previous, scaling }) =>
      latest === undefined || previous !== undefined || scaling?.hpa === undefined ? [] : [latest.deployment],
    ),
  };
}

async function removeOthers(service: InferenceService, kept: Kept | undefined, { context }: Tools): Promise<void> {
  if (kept === undefined) return;
  const { namespace = "" } = service.metadata;
  const { client, informers } = context.cluster;
  const removeFrom = async <T extends KubeObject>(kind: Kind<T>, keep: readonly string[] = []): Promise<void> => {
    for (const { metadata } of ownedBy(informers, kind, service)) {
      const { name, uid, labels } = metadata;
      if (labels?.[KSERVE.service] !== service.metadata.name || keep.includes(name)) continue;
      const options = { namespace, propagationPolicy: "Background", preconditions: { uid } } as const;
      await client.resource(kind).delete(name, options);
    }
  };
  await removeFrom(IngressKind, kept.ingresses);
  await removeFrom(HorizontalPodAutoscalerKind, kept.scalers);
  await removeFrom(DeploymentKind, kept.deployments);
  await removeFrom(ServiceKind, kept.services);
}

/** What a gate says that it did not say before. */
function gateNews(service: InferenceService, { conditions = [] }: NonNullable<InferenceService["status"]>) {
  const isGates = ({ type }: { readonly type: string }): boolean => type === "PromotionHealthy";
  const now = conditions.find(isGates);
  const before = service.status?.conditions?.find(isGates);
  return now?.status === "False" && before?.reason !== now.reason ? now : undefined;
}

/** Writes the status; returns why the service is not ready. */
async function report(service: InferenceService, seen: Seen, tools: Tools): Promise<Fault | undefined> {
  const { context, ledger } = tools;
  const ready = readinessOf(seen);
  const url = seen.route?.url ?? serviceUrl(service, tools, false);
  recordReadiness(ledger, context.cluster.name, service, { fault: ready, url });
  const before = service.status?.conditions?.find(({ type }) => type === "Ready");
  const status = statusOf(service, seen);
  await syncStatus(context.cluster.client.resource(InferenceServiceKind), service, status, ISVC_MANAGER);
  const gate = gateNews(service, status);
  // A canary that is taken back does not stand against Ready.
  if (gate !== undefined && gate.reason !== ready?.reason)
    context.events.record(service, "Warning", gate.reason ?? "", gate.message ?? "");
  const [is, reason] = ready === undefined ? ["True", "Answers"] : ["False", ready.reason];
  if (before?.status === is && before.reason === reason) return ready;
  if (ready === undefined) context.events.record(service, "Normal", "Ready", `the model answers at ${url}`);
  else if (
    !["Starting", "Loading", "Fetching", "Updating", "Stopped"].includes(ready.reason) &&
    before?.reason !== ready.reason
  )
    context.events.record(service, "Warning", ready.reason, ready.message);
  return ready;
}
