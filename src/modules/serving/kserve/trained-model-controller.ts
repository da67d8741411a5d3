/** Makes TrainedModels true: their InferenceService's servers are told to load them, and asked whether they have. */
import { syncStatus } from "../../../kernel/control/index.js";
import type {
  ControllerSpec,
  InformerSet,
  Key,
  ReconcileContext,
  ReconcileResult,
} from "../../../kernel/control/types.js";
import type { Deployment, KubeObject } from "../../../kernel/kinds/index.js";
import {
  ConfigMapKind,
  DeploymentKind,
  isConditionTrue,
  ownerReferenceTo,
  PersistentVolumeClaimKind,
  parseQuantity,
  quantityToNumber,
} from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, parseJson, toJson, toJsonObject } from "../../../kernel/schema/index.js";
import type { Fault } from "../diagnosis.js";
import { isBuiltInServer } from "../images.js";
import { isClusterLocal, KSERVE } from "./annotations.js";
import { COMPONENT_LABEL } from "./children.js";
import { type InferenceService, InferenceServiceKind } from "./inference-service-kind.js";
import { MODELS_KEY, modelsName } from "./multi-model.js";
import { ClusterServingRuntimeKind, type Runtime, ServingRuntimeKind } from "./runtime-kinds.js";
import { kserveRunsIn } from "./stand-back.js";
import { type TrainedModel, TrainedModelKind } from "./storage-kinds.js";
import type { InferenceServiceOptions } from "./tools.js";
import { claimFault, modelsFor, modelsOfClaim } from "./trained-model-claims.js";
import { bytesOf, listText, type ModelPlan, planModels, revisionOf } from "./trained-model-plan.js";
import { type ModelSeen, modelReadiness, trainedModelStatus } from "./trained-model-status.js";

const NAME = "trainedmodel";
const UNSETTLED_MS = 500;
const SETTLED_MS = 10_000;
/** Models of a namespace that are waited for together without pause. */
const MANY = 20;
/** Most that one look asks. */
const MAX_ASKED = 8;

type Context = ReconcileContext<TrainedModel>;

/** The controller of one cluster. */
export function trainedModelController(options: InferenceServiceOptions): ControllerSpec<TrainedModel> {
  return {
    name: NAME,
    kind: TrainedModelKind,
    watches: [
      { kind: InferenceServiceKind, keys: keysOf },
      {
        kind: PersistentVolumeClaimKind,
        keys: (claim, informers) => modelsOfClaim(claim, informers).map(keyOf),
        concerns: () => false,
      },
    ],
    async reconcile(key, model, context) {
      if (kserveRunsIn(context.cluster)) return;
      if (model !== undefined && model.metadata.deletionTimestamp === undefined)
        return reconcileModel(model, context, options);
      return reconcileGone(key, context);
    },
  };
}

/** It is gone, and with it whose it was. */
async function reconcileGone(key: Key, context: Context): Promise<undefined> {
  const services = context.cluster.informers.informer(InferenceServiceKind);
  const own = services.get({ namespace: key.namespace, name: key.name.slice(LIST.length) });
  const concerned = key.name.startsWith(LIST) ? [own] : services.list(key.namespace);
  for (const service of concerned) {
    if (service === undefined || multiFault(service, runtimeOf(service, context)) !== undefined) continue;
    await writeList(service, context);
    for (const other of modelsFor(service, context.cluster.informers))
      if (waitsForRoom(other)) context.enqueue(keyOf(other));
  }
  return undefined;
}

/** What another model leaves free may be for it. */
const waitsForRoom = ({ status }: TrainedModel): boolean =>
  ["MemoryNotAvailable", "ListFull"].includes(status?.conditions?.find(({ type }) => type === "Ready")?.reason ?? "");

const keyOf = ({ metadata }: KubeObject): Key => ({ namespace: metadata.namespace ?? "", name: metadata.name });

/** Begins keys that are about the list of an InferenceService; no object has such a name. */
const LIST = ".";

/** Its models, and the list of them, which may still hold one that went while nobody looked. */
function keysOf(service: KubeObject, informers: InformerSet): Key[] {
  const { namespace, name } = keyOf(service);
  return [{ namespace, name: `${LIST}${name}` }, ...modelsFor(service, informers).map(keyOf)];
}

const serviceOf = ({ metadata, spec }: TrainedModel, { cluster }: Context): InferenceService | undefined =>
  cluster.informers
    .informer(InferenceServiceKind)
    .get({ namespace: metadata.namespace ?? "", name: spec.inferenceService });

async function reconcileModel(
  model: TrainedModel,
  context: Context,
  options: InferenceServiceOptions,
): Promise<ReconcileResult> {
  const service = serviceOf(model, context);
  const seen = service === undefined ? missing(model, context) : await look(model, service, context, options);
  const fault = modelReadiness(seen);
  const before = model.status?.conditions?.find(({ type }) => type === "Ready");
  const status = trainedModelStatus(model, seen, context.clock.now());
  await syncStatus(context.cluster.client.resource(TrainedModelKind), model, status, NAME);
  if (fault === undefined && before?.status !== "True")
    context.events.record(model, "Normal", "Ready", `loaded by InferenceService ${model.spec.inferenceService}`);
  else if (fault !== undefined && before?.reason !== fault.reason && fault.reason !== "Loading")
    context.events.record(model, "Warning", fault.reason, fault.message);
  return { requeueAfterMs: fault?.reason === "Loading" ? loadingMs(model, context) : SETTLED_MS };
}

/** Where many wait, each is looked at less often; changes of the InferenceService are told at once. */
function loadingMs({ metadata }: TrainedModel, { cluster }: Context): number {
  const count = cluster.informers.informer(TrainedModelKind).list(metadata.namespace ?? "").length;
  return Math.min(SETTLED_MS, (UNSETTLED_MS * Math.max(MANY, count)) / MANY);
}

function missing({ metadata, spec }: TrainedModel, { cluster }: Context): ModelSeen {
  const message = `cluster ${cluster.name}: there is no InferenceService ${spec.inferenceService} in namespace ${metadata.namespace ?? ""}`;
  return { service: { reason: "ServiceNotFound", message } };
}

async function look(
  model: TrainedModel,
  service: InferenceService,
  context: Context,
  options: InferenceServiceOptions,
): Promise<ModelSeen> {
  const runtime = runtimeOf(service, context);
  const waiting = readyFault(service, runtime);
  const refused = multiFault(service, runtime);
  if (refused !== undefined || runtime === undefined) return { service: waiting, multi: refused };
  const framework = frameworkFault(model, runtime);
  const plan = await writeList(service, context);
  const limit = limitOf(service, context);
  const taken = plan.tooMuch.get(model.metadata.name);
  const memory =
    taken === undefined
      ? undefined
      : {
          reason: "MemoryNotAvailable",
          message: `it takes ${bytesOf(model)} bytes; of the ${limit} that a pod of InferenceService ${service.metadata.name} may have, ${taken} are for models that were there before`,
        };
  const place = plan.unlisted.has(model.metadata.name)
    ? {
        reason: "ListFull",
        message: `the list of the models of InferenceService ${service.metadata.name} has no room for more than the ${plan.list.length} that were there before: give this one another InferenceService`,
      }
    : claimFault(model, service, {
        deployments: predictorsOf(service, context),
        informers: context.cluster.informers,
      });
  const base: ModelSeen = { service: waiting, framework, memory, place, ...placesOf(model, service) };
  if ((waiting ?? framework ?? memory ?? place) !== undefined) return base;
  return { ...base, loaded: await askPods(model, service, context, options) };
}

/** Writes the list of a service's models, where it says something else; returns what is in it. */
async function writeList(service: InferenceService, context: Context): Promise<ModelPlan> {
  const { name, namespace = "" } = service.metadata;
  const runtime = runtimeOf(service, context);
  const models = modelsFor(service, context.cluster.informers).filter(
    (one) =>
      one.metadata.deletionTimestamp === undefined &&
      runtime !== undefined &&
      frameworkFault(one, runtime) === undefined,
  );
  const plan = planModels(models, limitOf(service, context));
  const text = listText(plan);
  const maps = context.cluster.client.resource(ConfigMapKind);
  const existing = await maps.find(modelsName(name), { namespace });
  if (existing?.data?.[MODELS_KEY] === text || (existing === undefined && plan.list.length === 0)) return plan;
  await maps.apply(
    {
      metadata: {
        name: modelsName(name),
        namespace,
        labels: { [KSERVE.service]: name },
        ownerReferences: [toJson(ownerReferenceTo(service))],
      },
      data: { [MODELS_KEY]: text },
    },
    { namespace, fieldManager: NAME, force: true },
  );
  return plan;
}

function runtimeOf({ metadata, status }: InferenceService, { cluster }: Context): Runtime | undefined {
  const { servingRuntimeName: own, clusterServingRuntimeName: shared } = status ?? {};
  if (own !== undefined)
    return cluster.informers.informer(ServingRuntimeKind).get({ namespace: metadata.namespace ?? "", name: own });
  return shared === undefined
    ? undefined
    : cluster.informers.informer(ClusterServingRuntimeKind).get({ namespace: "", name: shared });
}

function readyFault({ metadata, status }: InferenceService, runtime: Runtime | undefined): Fault | undefined {
  const said = status?.conditions?.find(({ type }) => type === "Ready");
  const isSettled = (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  if (isConditionTrue(status?.conditions, "Ready") && isSettled && (runtime !== undefined || said !== undefined))
    return undefined;
  return {
    reason: "ServiceNotReady",
    message: `InferenceService ${metadata.name} is not ready: ${said?.reason ?? "nothing is known of it"}: ${said?.message ?? ""}`,
  };
}

/** Whether its pods take models while they run. Unknown as long as no runtime is chosen. */
function multiFault({ metadata, spec }: InferenceService, runtime: Runtime | undefined): Fault | undefined {
  const own = toJsonObject(spec.predictor)["model"] === undefined && runtime === undefined;
  if (own)
    return {
      reason: "NotMultiModel",
      message: `InferenceService ${metadata.name} has containers of its own, or no runtime is chosen yet: models cannot be given to them`,
    };
  if (runtime === undefined)
    return { reason: "RuntimeUnknown", message: `no runtime is chosen for InferenceService ${metadata.name} yet` };
  if (runtime.spec.multiModel !== true)
    return {
      reason: "NotMultiModel",
      message: `InferenceService ${metadata.name} serves a model of its own (${runtime.kind} ${runtime.metadata.name} is for one model a pod); take away its storageUri, or give this model an InferenceService`,
    };
  const isOurs = asObjects(toJsonObject(runtime.spec)["containers"]).some(isBuiltInServer);
  return isOurs
    ? undefined
    : {
        reason: "NotMultiModel",
        message: `the server of ${runtime.kind} ${runtime.metadata.name} is not Argosy's: nobody here tells it what to load`,
      };
}

function frameworkFault({ spec }: TrainedModel, runtime: Runtime): Fault | undefined {
  const known = [...new Set((runtime.spec.supportedModelFormats ?? []).map(({ name }) => name))].sort();
  const { framework } = spec.model;
  return known.includes(framework)
    ? undefined
    : {
        reason: "FrameworkNotSupported",
        message: `${runtime.kind} ${runtime.metadata.name} does not serve ${framework}, but ${known.join(", ")}; models of other frameworks can be converted to ONNX`,
      };
}

const predictorsOf = ({ metadata }: InferenceService, { cluster }: Context): Deployment[] =>
  cluster.informers
    .informer(DeploymentKind)
    .list(metadata.namespace)
    .filter(
      ({ metadata: { labels } }) =>
        labels?.[KSERVE.service] === metadata.name && labels[COMPONENT_LABEL] === "predictor",
    );

/** Bytes that each pod may have; infinite where nothing limits them. */
function limitOf(service: InferenceService, context: Context): number {
  const limits = predictorsOf(service, context).map(({ spec }) => {
    const main = toJsonObject(spec.template.spec?.containers[0] ?? {});
    const memory = asObject(asObject(main["resources"])["limits"])["memory"];
    return typeof memory === "string" || typeof memory === "number"
      ? quantityToNumber(parseQuantity(memory))
      : Number.POSITIVE_INFINITY;
  });
  return Math.min(Number.POSITIVE_INFINITY, ...limits);
}

function placesOf({ metadata }: TrainedModel, { spec, status }: InferenceService): Pick<ModelSeen, "url" | "address"> {
  const model = asObject(toJsonObject(spec.predictor)["model"]);
  const protocol = asString(model["protocolVersion"]) || "v1";
  const path = protocol === "v1" ? `/v1/models/${metadata.name}:predict` : `/v2/models/${metadata.name}/infer`;
  return {
    ...(status?.url === undefined ? {} : { url: `${status.url}${path}` }),
    ...(status?.address?.url === undefined ? {} : { address: `${status.address.url}${path}` }),
  };
}

/** Asks twice as often as there are pods, so that each is asked; `undefined` when all of them have loaded the model as it is now. */
async function askPods(
  model: TrainedModel,
  service: InferenceService,
  context: Context,
  { probe }: InferenceServiceOptions,
): Promise<Fault | undefined> {
  const { name } = model.metadata;
  const base = service.status?.components?.["predictor"]?.url ?? service.status?.url;
  if (base === undefined || isClusterLocal(service))
    return {
      reason: "NotAsked",
      message: "its InferenceService is reached from inside of the cluster only: nobody here can ask its pods",
    };
  const pods = predictorsOf(service, context).reduce((sum, { status }) => sum + (status?.readyReplicas ?? 0), 0);
  if (pods === 0)
    return {
      reason: "ServiceAtZero",
      message: "its InferenceService has no pod now; the model is loaded with the next one",
    };
  for (let asked = 0; asked < (pods === 1 ? 1 : Math.min(2 * pods, MAX_ASKED)); asked++) {
    const result = await probe(`${base}/v2/repository/configured/${encodeURIComponent(name)}`, context.signal);
    if ("error" in result) return { reason: "NotAnswering", message: result.error };
    const said = result.status === 200 ? asObject(parseJson(result.body)) : {};
    if (said["revision"] !== revisionOf(model)) {
      const message = `cluster ${context.cluster.name}: a pod of InferenceService ${service.metadata.name} has not heard of it yet`;
      return { reason: "Loading", message };
    }
    if (said["state"] !== "READY") return loadFault(asString(said["reason"]), context.cluster.name);
  }
  return undefined;
}

function loadFault(said: string, cluster: string): Fault {
  const match = /^([A-Z][A-Za-z]+): (.*)$/s.exec(said);
  return match === null
    ? { reason: "Loading", message: `cluster ${cluster}: ${said}` }
    : { reason: match[1] ?? "", message: `cluster ${cluster}: ${match[2] ?? ""}` };
}
