/** What is to be made true of an InferenceService: its runtime, and what the pods of each component are made of. */
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, asString, isObject, toJsonObject } from "../../../kernel/schema/index.js";
import type { Fault } from "../diagnosis.js";
import { isBuiltInServer } from "../images.js";
import { trustOf } from "../store-trust.js";
import { KSERVE, OWN, saysYes, undecided, unknownAnnotations } from "./annotations.js";
import { canariesIn } from "./canaries.js";
import { serviceLabels } from "./children.js";
import { chosenRuntime, isChosenFor, writeChosenRuntime } from "./chosen-runtime.js";
import type { ComponentName } from "./component.js";
import { allCredentials, credentialsFor, fetchedBy } from "./credentials.js";
import type { InferenceService } from "./inference-service-kind.js";
import { localModelsFor } from "./local-models/index.js";
import { loggerFor, readLogger } from "./logger.js";
import { wantsMany } from "./multi-model.js";
import type { PodInput } from "./pods.js";
import { recordSelection } from "./record.js";
import { shadowIn } from "./route-policies.js";
import type { Runtime } from "./runtime-kinds.js";
import { ClusterServingRuntimeKind, ServingRuntimeKind } from "./runtime-kinds.js";
import { type Candidate, type ModelRequest, type Selection, selectRuntime } from "./selection.js";
import { apartFor } from "./self-fetch.js";
import { isFetched, type StorageContainer } from "./storage.js";
import { storageContainerFor } from "./storage-containers.js";
import { ClusterStorageContainerKind } from "./storage-kinds.js";
import type { Tools } from "./tools.js";
import { claimsFor } from "./trained-model-claims.js";
import { MAIN_CONTAINER } from "./validation.js";

/** Labels that are about the InferenceService and not about its pods. */
const OWN_LABELS: readonly string[] = [...KSERVE.visibility, "app.kubernetes.io/managed-by", KSERVE.service];

/** The runtime of a predictor, or why there is none; `undefined` for containers of its own. */
export function runtimeFor(
  service: InferenceService,
  predictor: JsonObject,
  tools: Tools,
): Candidate | Fault | undefined {
  const { model } = predictor;
  if (!isObject(model)) return undefined;
  const { informers, name: cluster } = tools.context.cluster;
  const candidates: Candidate[] = [
    ...informers.informer(ServingRuntimeKind).list(service.metadata.namespace).map(inScope("namespace")),
    ...informers.informer(ClusterServingRuntimeKind).list().map(inScope("cluster")),
  ];
  const request = requestOf(model, predictor);
  const selection = selectFor(service, { request, model, candidates });
  // What was chosen before has its reasons in the ledger already.
  if (selection.chosen === undefined || selection.chosen.runtime.metadata.name !== chosenRuntime(service, model))
    recordSelection(tools.ledger, cluster, service, { request, selection });
  if (selection.chosen !== undefined) return selection.chosen;
  return selection.fault ?? { reason: "NoSupportingRuntime", message: "no runtime serves it" };
}

/** What was chosen stays chosen as long as it serves what is asked for, whatever other runtimes come. */
function selectFor(
  service: InferenceService,
  asked: { readonly request: ModelRequest; readonly model: JsonObject; readonly candidates: readonly Candidate[] },
): Selection {
  const { request, model, candidates } = asked;
  if (chosenRuntime(service, model) === undefined) return selectRuntime(request, candidates);
  const kept = isChosenFor(service, request) ? selectRuntime(request, candidates) : undefined;
  return kept?.chosen === undefined ? selectRuntime({ ...request, runtime: undefined }, candidates) : kept;
}

/** Writes the runtime of a predictor that names none into its spec. */
export async function keepRuntime(
  service: InferenceService,
  predictor: JsonObject,
  chosen: Candidate | undefined,
  tools: Tools,
): Promise<void> {
  const { model } = predictor;
  if (!isObject(model) || chosen === undefined) return;
  if (asString(model["runtime"]) !== "" && chosenRuntime(service, model) === undefined) return;
  const request = requestOf(model, predictor);
  await writeChosenRuntime(service, { request, runtime: chosen.runtime.metadata.name }, tools);
}

const inScope =
  (scope: Candidate["scope"]) =>
  (runtime: Runtime): Candidate => ({ runtime, scope });

function requestOf(model: JsonObject, predictor: JsonObject): ModelRequest {
  const format = asObject(model["modelFormat"]);
  const version = asString(format["version"]);
  const runtime = asString(model["runtime"]);
  return {
    format: asString(format["name"]),
    version: version === "" ? undefined : version,
    protocol: asString(model["protocolVersion"]) || "v1",
    multiModel: wantsMany(predictor),
    multiNode: isObject(predictor["workerSpec"]),
    runtime: runtime === "" ? undefined : runtime,
  };
}

/** What a component's pods are made of, or why that is not known. */
export async function podsFor(
  service: InferenceService,
  { component, spec, runtime }: { component: ComponentName; spec: JsonObject; runtime: Runtime | undefined },
  tools: Tools,
): Promise<PodInput | Fault> {
  if (asObject(asObject(spec["model"])["confidential"])["enabled"] === true)
    return {
      reason: "InvalidPredictorSpec",
      message: `${component}.model.confidential: the model is encrypted, and nothing here decrypts it: leave it out for a model that is not`,
    };
  const isMulti = component === "predictor" && runtime?.spec.multiModel === true;
  const found = await (isMulti ? allCredentials(service, spec, tools) : credentialsFor(service, spec, tools));
  if ("reason" in found) return found;
  const logger = await loggerFor(service, { component, spec }, tools);
  if ("reason" in logger) return logger;
  const completed = found.entry === undefined ? spec : withEntry(spec, found.entry);
  const containers = containersFor(completed, tools);
  if ("reason" in containers) return atCluster(containers, tools);
  const local = await localModelsFor(service, { component, spec: completed }, tools);
  if ("reason" in local) return local;
  const isFetching = isMulti || fetchedBy(completed).some((uri) => isFetched(uri, { ...NOTHING, local: local.byUri }));
  const trust = isFetching ? await trustOf(service, tools.context.cluster) : undefined;
  if (trust !== undefined && "reason" in trust) return atCluster(trust, tools);
  const { name, namespace = "", labels = {}, annotations = {} } = service.metadata;
  const own = Object.fromEntries(Object.entries(labels).filter(([label]) => !OWN_LABELS.includes(label)));
  return {
    component,
    spec: completed,
    runtime,
    values: { name, namespace, labels, annotations },
    labels: { ...own, ...serviceLabels(service), component },
    access: {
      // What one namespace may read is not another's to see.
      cacheHostPath: tools.cacheHostPath === undefined ? undefined : `${tools.cacheHostPath}/${namespace}`,
      credentials: found.credentials,
      containers: containers.byUri,
      local: local.byUri,
      ...{ trust, apart: apartFor(service, tools) },
      claims: isMulti ? claimsFor(service, tools.context.cluster.informers) : [],
    },
    log: logger.log,
    ...(component === "predictor" ? {} : { predictorHost: predictorHost(service) }),
  };
}

const NOTHING = { cacheHostPath: undefined, credentials: {} };

/** What fetches each of a component's models, where that is not the built-in one. */
function containersFor(
  component: JsonObject,
  { context }: Tools,
): { readonly byUri: Readonly<Record<string, StorageContainer>> } | Fault {
  const known = context.cluster.informers.informer(ClusterStorageContainerKind).list();
  const named = asString(component["storageContainerName"]);
  const byUri: Record<string, StorageContainer> = {};
  for (const uri of fetchedBy(component)) {
    const chosen = storageContainerFor(uri, known, { named, workload: "initContainer" });
    if (chosen === undefined) continue;
    if ("reason" in chosen) return chosen;
    byUri[uri] = chosen;
  }
  return { byUri };
}

const atCluster = ({ reason, message }: Fault, { context }: Tools): Fault => ({
  reason,
  message: `cluster ${context.cluster.name}: ${message}`,
});

const predictorHost = ({ metadata }: InferenceService): string =>
  `${metadata.name}-predictor.${metadata.namespace ?? ""}.svc.cluster.local`;

/** What the entry of `storage-config` says of the store, where the component does not. */
function withEntry(spec: JsonObject, entry: Readonly<Record<string, string>>): JsonObject {
  const model = asObject(spec["model"]);
  const storage = asObject(model["storage"]);
  if (!isObject(model["storage"])) return spec;
  const parameters = { ...entry, ...toJsonObject(asObject(storage["parameters"])) };
  return { ...spec, model: { ...model, storage: { ...storage, parameters } } };
}

/** What was asked for and has no effect, each with what happens instead. */
export function ignoredFields(
  service: InferenceService,
  completed: JsonObject,
  {
    mode,
    runtime,
    scaledByRequests,
  }: {
    readonly mode: string;
    readonly runtime: Runtime | undefined;
    /** Components whose requests the gateway holds, and so limits. */
    readonly scaledByRequests: readonly string[];
  },
): string[] {
  const spec = asObject(completed["spec"]);
  const parts = ["predictor", "transformer", "explainer"].flatMap((name) => {
    const component = asObject(spec[name]);
    const logger = readLogger(service, name, component)?.ignored ?? [];
    const isHeld = scaledByRequests.includes(name);
    const isBuiltIn = isOurs(component, runtime);
    return [...logger, ...ignoredIn(component, { isBuiltIn, isHeld })].map((what) => `${name}.${what}`);
  });
  return [
    ...parts,
    ...ignoredAnnotations(service, spec),
    ...ignoredOfKserve(service, isOurs(asObject(spec["predictor"]), runtime)),
    ...meshFields(runtime),
    ...(mode === "ModelMesh" ? ["deploymentMode ModelMesh (the model has pods of its own)"] : []),
  ];
}

/** Fields of a runtime that say how ModelMesh drives it. */
const MESH_FIELDS = [
  "grpcEndpoint",
  "grpcDataEndpoint",
  "httpDataEndpoint",
  "replicas",
  "storageHelper",
  "builtInAdapter",
] as const;

function meshFields(runtime: Runtime | undefined): string[] {
  if (runtime === undefined) return [];
  const set = MESH_FIELDS.filter((name) => runtime.spec[name] !== undefined);
  return set.length === 0
    ? []
    : [`${set.join(", ")} of ${runtime.kind} ${runtime.metadata.name} (ModelMesh's: each model has pods of its own)`];
}

function ignoredOfKserve(service: InferenceService, isBuiltIn: boolean): string[] {
  return [
    ...(saysYes(service, KSERVE.aggregation) && !isBuiltIn
      ? [`annotation ${KSERVE.aggregation} (its server is not Argosy's: its own metrics are at its own port)`]
      : []),
    ...undecided(service).map((name) => `annotation ${name} (it is neither true nor false)`),
    ...unknownAnnotations(service).map((words) => `annotation ${words}`),
  ];
}

function ignoredAnnotations(service: InferenceService, spec: JsonObject): string[] {
  const shadow = service.metadata.annotations?.[OWN.shadow];
  if (shadow === undefined) return [];
  const { name } = shadowIn(service) ?? {};
  const isSplit = asObject(spec["predictor"])["canaryTrafficPercent"] !== undefined;
  const known = [...(isSplit ? ["latest"] : []), ...canariesIn(spec).map((canary) => canary.name)];
  return name !== undefined && known.includes(name)
    ? []
    : [
        `annotation ${OWN.shadow} ${shadow} (it must name one of ${known.join(", ") || "the canaries, of which there are none"}, as NAME=PERCENT)`,
      ];
}

/** Whether a component's requests are answered by the built-in server. */
function isOurs(component: JsonObject, runtime: Runtime | undefined): boolean {
  const own = asObjects(component["containers"]);
  const given = own.length > 0 ? own : asObjects(toJsonObject(runtime?.spec ?? {})["containers"]);
  const main = given.find(({ name }) => name === MAIN_CONTAINER) ?? given[0];
  return isBuiltInServer({ ...main, ...asObject(component["model"]) });
}

/** The built-in server carries some fields out itself; servers of others have arguments of their own. */
function ignoredIn(
  component: JsonObject,
  { isBuiltIn, isHeld }: { readonly isBuiltIn: boolean; readonly isHeld: boolean },
): string[] {
  const isLimited = (asNumber(component["containerConcurrency"]) ?? 0) > 0;
  const version = asString(asObject(component["model"])["runtimeVersion"]);
  return [
    ...(version === "" || !isBuiltIn
      ? []
      : [`model.runtimeVersion ${version} (its server is Argosy's, of its own version)`]),
    ...(isLimited && !isBuiltIn && !isHeld
      ? ["containerConcurrency (its server is not Argosy's: pods take what comes)"]
      : []),
    ...(component["batcher"] === undefined || isBuiltIn ? [] : ["batcher (its server is not Argosy's)"]),
  ];
}
