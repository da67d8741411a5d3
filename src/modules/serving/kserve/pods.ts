/** The pods of a component: runtime ← predictor ← what the platform adds, and the model beside them. */
import { InputError } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject, toJsonObject } from "../../../kernel/schema/index.js";
import { builtInImage, isBuiltInServer } from "../images.js";
import { addPayloadLog, type PayloadLogWish } from "../payload-log.js";
import { type BuiltTemplate, completeMain, mergeBy, portIn } from "../pod-template.js";
import { KSERVE, OWN } from "./annotations.js";
import { addModelList } from "./multi-model.js";
import { nativeShape } from "./native-shapes.unsafe.js";
import { fillPlaceholders, type PlaceholderValues } from "./placeholders.js";
import type { Runtime } from "./runtime-kinds.js";
import { RUNTIME_POD_FIELDS } from "./runtime-kinds.js";
import { letServerFetch } from "./self-fetch.js";
import { addModels, type ModelPlace, type StorageAccess, uriOf } from "./storage.js";
import { MAIN_CONTAINER } from "./validation.js";
import { shareNodes, tellContainer, WORKER_CONTAINER, workerPart } from "./workers.js";

/** What a component's pods are made of. */
export interface PodInput {
  readonly component: "predictor" | "transformer" | "explainer";
  /** The component as it was written, completed. */
  readonly spec: JsonObject;
  readonly runtime: Runtime | undefined;
  readonly values: PlaceholderValues;
  readonly labels: Readonly<Record<string, string>>;
  readonly access: StorageAccess;
  /** Copies of requests and answers. */
  readonly log?: PayloadLogWish | undefined;
  /** `host:port` of the predictor, for those before it. */
  readonly predictorHost?: string;
}

const TRANSFORMER_CONTAINER = "transformer-container";
const DEFAULT_PORT = 8080;
const MODELS = "/mnt/models";
/** For servers that say nothing of what they need. */
const DEFAULT_RESOURCES = { requests: { cpu: "1", memory: "2Gi" }, limits: { cpu: "1", memory: "2Gi" } };
/** What MLServer's users put into its runtime. */
const MODEL_CLASSES: Readonly<Record<string, string>> = {
  sklearn: "mlserver_sklearn.SKLearnModel",
  xgboost: "mlserver_xgboost.XGBoostModel",
  lightgbm: "mlserver_lightgbm.LightGBMModel",
  mlflow: "mlserver_mlflow.MLflowRuntime",
};

/** Builds the pod template of a component. Throws `InputError` naming what is wrong in the runtime or the component. */
export function buildComponentPods(input: PodInput): BuiltTemplate {
  const { spec: written, runtime } = input;
  const model = isObject(written["model"]) ? written["model"] : undefined;
  const pod = mergeBy(runtime === undefined ? {} : runtimePart(runtime, input), podFieldsOf(written));
  const containers = asObjects(pod["containers"]).map((container) => ({ ...container }));
  const main = mainOf(containers, input);
  if (model !== undefined) overlayModel(main, model);
  const isBuiltIn = isBuiltInServer(main);
  if (isBuiltIn) tuneBuiltIn(main, written);
  else if (main["resources"] === undefined) main["resources"] = DEFAULT_RESOURCES;
  const workers = workersOf(input, main);
  pass(main, input);
  const port = portOf(containers, main);
  completeMain(main, port, isBuiltIn);
  const front = containers.find(({ name }) => name === TRANSFORMER_CONTAINER);
  if (front !== undefined) completeMain(front, port, false);
  pod["containers"] = containers;
  if (isBuiltIn && runtime?.spec.multiModel === true) addModelList(pod, main, input.values.name, input.access);
  else addModelsOf(pod, main, { input, isBuiltIn });
  if (input.values.annotations[KSERVE.readOnlyStorage]?.toLowerCase() === "false") unlock(pod, main);
  if (pod["automountServiceAccountToken"] === undefined && pod["serviceAccountName"] === undefined)
    pod["automountServiceAccountToken"] = false;
  const { log } = input;
  const answering =
    log === undefined ? port : addPayloadLog(pod, main, { port, isFront: front === undefined, wish: log });
  const readiness = asObject(asObject((front ?? main)["readinessProbe"])["httpGet"]);
  const path = readiness["path"];
  return {
    template: { metadata: metadataOf(input, answering), spec: pod },
    port: answering,
    probePath: typeof path === "string" ? path : "/",
    anyAnswer: typeof path !== "string",
    ...(workers === undefined ? {} : { workers }),
  };
}

function addModelsOf(
  pod: JsonObject,
  main: JsonObject,
  { input, isBuiltIn }: { readonly input: PodInput; readonly isBuiltIn: boolean },
): void {
  const { component, spec, runtime, access, values } = input;
  const places = placesOf(spec, main);
  const [place, ...others] = places;
  const uri = place === undefined || others.length > 0 ? "" : uriOf(place);
  const isOwn = isBuiltIn && component === "predictor" && runtime !== undefined && place?.mountPath === MODELS;
  const isAsked = values.annotations[OWN.fetch] !== "init-container";
  const isReadOnly = values.annotations[KSERVE.readOnlyStorage]?.toLowerCase() !== "false";
  const mayFetch = isOwn && isAsked && isReadOnly && uri !== "";
  if (!mayFetch || !letServerFetch(pod, main, uri, access)) addModels(pod, main, places, access);
}

/** The pods that work for the head, which is told of them in place; `undefined`: it works alone. */
function workersOf(input: PodInput, main: JsonObject): BuiltTemplate["workers"] {
  const { spec, runtime, values, labels, access } = input;
  if (!isObject(spec["workerSpec"])) return undefined;
  const name = runtime === undefined ? "a predictor with containers of its own" : runtime.metadata.name;
  const part = fillPlaceholders(workerPart(spec, runtime?.spec.workerSpec, name), values);
  const pod = podFieldsOf(part);
  const containers = asObjects(pod["containers"]).map((container) => ({ ...container }));
  const worker = containers.find((container) => container["name"] === WORKER_CONTAINER) ?? {};
  worker["terminationMessagePolicy"] ??= "FallbackToLogsOnError";
  worker["resources"] ??= DEFAULT_RESOURCES;
  const share = shareNodes({ workerSpec: part, head: main, worker, gpuTypes: values.annotations[KSERVE.gpuTypes] });
  const places = placesOf(spec, main);
  const folder: Record<string, string> = places.some(({ mountPath }) => mountPath === MODELS)
    ? { MODEL_DIR: MODELS }
    : {};
  tellContainer(main, { MODEL_NAME: values.name, ...folder }, share, share.headGpus);
  if (share.nodes === 1) return undefined;
  tellContainer(worker, { ISVC_NAME: values.name }, share, share.workerGpus);
  pod["containers"] = containers;
  addModels(pod, worker, places, access);
  pod["automountServiceAccountToken"] ??= false;
  const metadata = {
    labels: { ...asObject(part["labels"]), ...asObject(spec["labels"]), ...labels },
    annotations: { ...asObject(part["annotations"]), ...asObject(spec["annotations"]) },
  };
  return { template: { metadata, spec: pod }, count: share.nodes - 1 };
}

function metadataOf({ spec, runtime, labels, values }: PodInput, port: number): JsonObject {
  const isScraped = values.annotations[KSERVE.scraping]?.toLowerCase() === "true";
  return {
    labels: { ...asObject(toJsonObject(runtime?.spec.labels ?? {})), ...asObject(spec["labels"]), ...labels },
    annotations: {
      ...(isScraped
        ? { "prometheus.io/scrape": "true", "prometheus.io/port": String(port), "prometheus.io/path": "/metrics" }
        : {}),
      ...asObject(toJsonObject(runtime?.spec.annotations ?? {})),
      ...asObject(spec["annotations"]),
    },
  };
}

/** Models that are mounted may be written where that is asked for. */
function unlock(pod: JsonObject, main: JsonObject): void {
  const isModels = (name: unknown): boolean => typeof name === "string" && name.startsWith("kserve-");
  main["volumeMounts"] = asObjects(main["volumeMounts"]).map((mount) =>
    isModels(mount["name"]) ? { ...mount, readOnly: false } : mount,
  );
  pod["volumes"] = asObjects(pod["volumes"]).map((volume) => {
    const claim = volume["persistentVolumeClaim"];
    return isModels(volume["name"]) && isObject(claim)
      ? { ...volume, persistentVolumeClaim: { ...claim, readOnly: false } }
      : volume;
  });
}

function runtimePart(runtime: Runtime, { spec, values }: PodInput): JsonObject {
  const all = toJsonObject(runtime.spec);
  const part: JsonObject = {};
  for (const name of RUNTIME_POD_FIELDS) if (all[name] !== undefined) part[name] = all[name];
  const format = asString(asObject(asObject(spec["model"])["modelFormat"])["name"]);
  const modelClass = MODEL_CLASSES[format];
  const labels = { ...(modelClass === undefined ? {} : { modelClass }), ...values.labels };
  return fillPlaceholders(part, { ...values, labels });
}

/** What of a component is a PodSpec's. */
function podFieldsOf(component: JsonObject): JsonObject {
  const known = nativeShape("core.v1.PodSpec", ["ephemeralContainers"]).properties ?? {};
  const fields: JsonObject = {};
  for (const [name, value] of Object.entries(component))
    if (Object.hasOwn(known, name) && value !== undefined) fields[name] = value;
  return fields;
}

/** The container that answers: the one of that name; of somebody's own pods the first, which gets the name. */
function mainOf(containers: JsonObject[], { component, spec, runtime }: PodInput): JsonObject {
  const named = containers.find(({ name }) => name === MAIN_CONTAINER);
  if (named !== undefined) return named;
  if (runtime !== undefined)
    throw new InputError(`${runtime.kind} ${runtime.metadata.name} has no container named ${MAIN_CONTAINER}`);
  const art = spec["art"];
  if (component === "explainer" && isObject(art))
    throw new InputError(
      "art needs a Python server, which Argosy does not bring: give the explainer containers of its own, or leave it out: models of tables explain themselves (parameters of :explain)",
    );
  const [first] = containers;
  if (first === undefined) throw new InputError(`${component} has no containers`);
  return first;
}

/** Fields of a model that are no container's. */
const MODEL_FIELDS = new Set([
  "modelFormat",
  "runtime",
  "storageUri",
  "storage",
  "runtimeVersion",
  "protocolVersion",
  "confidential",
  "name",
]);

/** The model's container fields go over the runtime's; arguments are added to the runtime's. */
function overlayModel(main: JsonObject, model: JsonObject): void {
  const patch: JsonObject = {};
  for (const [name, value] of Object.entries(model))
    if (!MODEL_FIELDS.has(name) && value !== undefined) patch[name] = value;
  const own = main["args"];
  const more = patch["args"];
  Object.assign(main, mergeBy(main, patch));
  if (Array.isArray(own) && Array.isArray(more)) main["args"] = [...own, ...more];
  const version = model["runtimeVersion"];
  const image = main["image"];
  // Argosy's own server has Argosy's versions only, whatever versions the runtime of that name has elsewhere.
  if (builtInImage(main) !== undefined) return;
  if (typeof version === "string" && typeof image === "string" && patch["image"] === undefined)
    main["image"] = `${image.replace(/@.*$/, "").replace(/:[^/:]*$/, "")}:${version}`;
}

/** What of a component's fields the built-in server does itself. */
function tuneBuiltIn(main: JsonObject, component: JsonObject): void {
  const args = Array.isArray(main["args"]) ? main["args"] : [];
  const batcher = asObject(component["batcher"]);
  const timeouts = [component["timeout"], batcher["timeout"]].filter((value) => typeof value === "number" && value > 0);
  const timeout = Math.min(...timeouts.map(Number));
  const wanted: [flag: string, value: Json | undefined][] = [
    ["--max-batch-rows", batcher["maxBatchSize"]],
    ["--max-batch-delay-ms", batcher["maxLatency"]],
    ["--max-concurrent", component["containerConcurrency"]],
    ["--request-timeout-ms", Number.isFinite(timeout) ? timeout * 1000 : undefined],
  ];
  const more = wanted.filter(
    ([flag, value]) =>
      typeof value === "number" && value > 0 && !args.some((arg) => typeof arg === "string" && arg.startsWith(flag)),
  );
  if (more.length > 0) main["args"] = [...args, ...more.map(([flag, value]) => `${flag}=${JSON.stringify(value)}`)];
}

/** Transformers and explainers are told whose they are, and where the predictor is. */
function pass(main: JsonObject, { component, values, predictorHost, runtime }: PodInput): void {
  if (component === "predictor" || predictorHost === undefined || runtime !== undefined) return;
  const args = Array.isArray(main["args"]) ? main["args"] : [];
  const has = (name: string): boolean =>
    args.some((arg) => typeof arg === "string" && (arg === name || arg.startsWith(`${name}=`)));
  const more: Json[] = [];
  if (!has("--model_name")) more.push("--model_name", values.name);
  if (!has("--predictor_host")) more.push("--predictor_host", predictorHost);
  if (!isBuiltInServer(main)) main["args"] = [...args, ...more];
}

function portOf(containers: readonly JsonObject[], main: JsonObject): number {
  const front = containers.find(({ name }) => name === TRANSFORMER_CONTAINER) ?? main;
  const ports = asObjects(front["ports"]);
  const chosen = ports.find(({ name }) => typeof name === "string" && /^http/.test(name)) ?? ports[0];
  const port = chosen?.["containerPort"];
  if (typeof port === "number") return port;
  const { args } = front;
  return (isBuiltInServer(front) && Array.isArray(args) ? portIn(args) : undefined) ?? DEFAULT_PORT;
}

/** What is to be fetched, and where to. */
function placesOf(component: JsonObject, main: JsonObject): ModelPlace[] {
  const model = asObject(component["model"]);
  const several = asObjects(component["storageUris"]).map((entry) => ({
    uri: asString(entry["uri"]),
    mountPath: asString(entry["mountPath"] ?? MODELS),
  }));
  const uri = asString(model["storageUri"]) || asString(asObject(component["art"])["storageUri"]);
  const { storage } = model;
  if (isObject(storage)) return [{ uri, mountPath: MODELS, storage }, ...several];
  if (uri !== "") return [{ uri, mountPath: MODELS }, ...several];
  const fromEnvironment = asObjects(main["env"]).find(({ name }) => name === "STORAGE_URI")?.["value"];
  return typeof fromEnvironment === "string" ? [{ uri: fromEnvironment, mountPath: MODELS }, ...several] : several;
}
