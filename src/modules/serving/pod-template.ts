/** The pods of a release: runtime ← the release's template ← its resources, and the model beside them. */
import { InputError } from "../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/index.js";
import { isObject, toJson } from "../../kernel/schema/index.js";
import { builtInImage, isBuiltInServer, MODEL_SERVER_IMAGE } from "./images.js";
import type { MLServiceRuntimeSpec, Release } from "./kinds.js";
import { addPayloadLog, type PayloadLogWish } from "./payload-log.js";
import { addSelfFetch, mayFetchItself } from "./self-fetch.js";
import { type StoreTrust, trustParts } from "./store-trust.js";
import { renderTemplate } from "./text-template.js";

/** The container that answers. */
export const USER_CONTAINER = "user-container";
/** The init container that brings the model. */
export const FETCH_CONTAINER = "fetch-model";

const S3_FOLDER = "/var/run/argosy/s3";
const S3CFG = `${S3_FOLDER}/.s3cfg`;
/** Where what fetches models has its cache. */
export const CACHE_FOLDER = "/var/cache/argosy/models";
const DEFAULT_PORT = 8080;

/** A pod template and what else is known from it. */
export interface BuiltTemplate {
  readonly template: JsonObject;
  readonly port: number;
  /** Path that tells whether the model answers. */
  readonly probePath: string;
  /** Whether a 4xx at that path is an answer: true for servers whose own path is not known. */
  readonly anyAnswer: boolean;
  /** Pods that work for each of these, where several nodes serve one model. */
  readonly workers?: { readonly template: JsonObject; readonly count: number };
}

/** What pods get from the platform. */
export interface TemplateOptions {
  readonly labels: Readonly<Record<string, string>>;
  /** A folder on each node that this namespace's pods share their downloads in; absent: each pod downloads for itself. */
  readonly cacheHostPath: string | undefined;
  /** Copies of requests and answers. */
  readonly log?: PayloadLogWish | undefined;
  /** URIs that servers do not fetch themselves; absent: no server does. */
  readonly apart?: readonly string[];
  /** Who places the pods, other than the cluster's own scheduler, and what it is told. */
  readonly scheduler?: PodScheduler | undefined;
  /** Whom the model's store is trusted by. */
  readonly trust?: StoreTrust;
}

/** A scheduler of pods. */
export interface PodScheduler {
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Builds the pod template of a release. Throws `InputError` naming what is wrong in the runtime or the release. */
export function buildPodTemplate(
  release: Release,
  runtime: MLServiceRuntimeSpec,
  options: TemplateOptions,
): BuiltTemplate {
  const { predictor } = release;
  const runtimePart = asObject(toJson(runtime.template));
  const releasePart = asObject(toJson(predictor.template ?? {}));
  forbidPorts(releasePart);
  const merged = mergeBy(runtimePart, releasePart);
  const spec = asObject(merged["spec"]);
  const containers = asObjects(spec["containers"]);
  replaceResources(containers, predictor.containersResources ?? []);
  const main = containers.find((container) => container["name"] === USER_CONTAINER);
  if (main === undefined) throw new InputError(`the runtime has no container named ${USER_CONTAINER}`);
  const port = portOf(containers, asObjects(spec["initContainers"]));
  renderArguments(main, predictor.model.parameters ?? {});
  completeMain(main, port, isBuiltInServer(main));
  spec["containers"] = containers;
  // What was asked for otherwise, or is answered by a program of somebody's own, has its init container.
  const { apart, ...others } = options;
  addModel(spec, main, predictor.storage, isBuiltInServer(main) && apart !== undefined ? { ...others, apart } : others);
  return finish({ metadata: asObject(merged["metadata"]), spec, main, port }, options);
}

/** What template and probes come down to, with everything that the platform adds. */
export function finish(
  { metadata, spec, main, port }: { metadata: JsonObject; spec: JsonObject; main: JsonObject; port: number },
  { labels, log, scheduler }: TemplateOptions,
): BuiltTemplate {
  if (spec["automountServiceAccountToken"] === undefined) spec["automountServiceAccountToken"] = false;
  const readiness = asObject(asObject(main["readinessProbe"])["httpGet"]);
  const answering = log === undefined ? port : addPayloadLog(spec, main, { port, isFront: true, wish: log });
  if (scheduler !== undefined) spec["schedulerName"] = scheduler.name;
  const annotations = { ...asObject(metadata["annotations"]), ...scheduler?.annotations };
  return {
    template: {
      metadata: {
        ...metadata,
        labels: { ...asObject(metadata["labels"]), ...labels },
        ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
      },
      spec,
    },
    port: answering,
    probePath: typeof readiness["path"] === "string" ? readiness["path"] : "/",
    anyAnswer: typeof readiness["path"] !== "string",
  };
}

/** Lists whose items are merged by a member; all other lists are replaced whole. */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  containers: "name",
  initContainers: "name",
  volumes: "name",
  env: "name",
  volumeMounts: "mountPath",
  imagePullSecrets: "name",
};

/** Kubernetes' strategic merge for the fields of a pod template; `null` removes. */
export function mergeBy(base: JsonObject, patch: JsonObject): JsonObject {
  const result: JsonObject = { ...base };
  for (const [field, value] of Object.entries(patch)) {
    const before = result[field];
    const key = MERGE_KEYS[field];
    if (value === null) delete result[field];
    else if (isObject(value) && isObject(before)) result[field] = mergeBy(before, value);
    else if (key !== undefined && Array.isArray(value) && Array.isArray(before))
      result[field] = mergeLists(before, value, key);
    else result[field] = value;
  }
  return result;
}

function mergeLists(base: readonly Json[], patch: readonly Json[], key: string): Json[] {
  const result: Json[] = [...base];
  for (const item of patch) {
    const at = isObject(item) ? result.findIndex((each) => isObject(each) && each[key] === item[key]) : -1;
    const before = result[at];
    if (isObject(item) && isObject(before)) result[at] = mergeBy(before, item);
    else result.push(item);
  }
  return result;
}

function forbidPorts(template: JsonObject): void {
  for (const container of asObjects(asObject(template["spec"])["containers"])) {
    if (container["ports"] !== undefined)
      throw new InputError(
        `the release's template sets ports of ${JSON.stringify(container["name"])}; ports belong to the runtime`,
      );
  }
}

/** Replaces the resources of containers, in place. Throws `InputError` for one that is not there. */
export function replaceResources(
  containers: readonly JsonObject[],
  wanted: readonly { name: string; resources: unknown }[],
): void {
  for (const { name, resources } of wanted) {
    const container = containers.find((each) => each["name"] === name);
    if (container === undefined)
      throw new InputError(`containersResources names ${name}, which is no container of the pods`);
    container["resources"] = toJson(resources);
  }
}

function portOf(containers: readonly JsonObject[], initContainers: readonly JsonObject[]): number {
  let found: number | undefined;
  for (const container of [...containers, ...initContainers]) {
    const ports = asObjects(container["ports"]);
    if (ports.length === 0) continue;
    if (container["name"] !== USER_CONTAINER || ports.length > 1)
      throw new InputError(`a runtime may declare one port, in ${USER_CONTAINER}`);
    const port = ports[0]?.["containerPort"];
    if (typeof port === "number") found = port;
  }
  return found ?? DEFAULT_PORT;
}

/** Arguments that render to nothing (a condition that does not hold) are left out. */
function renderArguments(container: JsonObject, parameters: Readonly<Record<string, string>>): void {
  for (const field of ["args", "command"]) {
    const list = container[field];
    if (!Array.isArray(list)) continue;
    container[field] = list
      .map((item) =>
        typeof item === "string" && item.includes("{{")
          ? { text: renderTemplate(item, parameters), rendered: true }
          : { text: item, rendered: false },
      )
      .filter(({ text, rendered }) => !(rendered && text === ""))
      .map(({ text }) => text);
  }
}

/** The port that arguments of the built-in server name; `undefined` for none. */
export function portIn(args: readonly Json[]): number | undefined {
  const at = args.findIndex((arg) => typeof arg === "string" && /^--http(=|$)/.test(arg));
  const word = args[at];
  const text = word === "--http" ? args[at + 1] : typeof word === "string" ? word.slice("--http=".length) : undefined;
  const port = Number(text);
  return at >= 0 && Number.isInteger(port) && port > 0 ? port : undefined;
}

/** The server listens where its container's port says. */
function listeningAt(args: readonly Json[], port: number): Json[] {
  if (portIn(args) === port) return [...args];
  const others = args.filter(
    (arg, index) => !(typeof arg === "string" && /^--http(=|$)/.test(arg)) && args[index - 1] !== "--http",
  );
  return [...others, `--http=${port}`];
}

/** For whoever routes requests to hear that a pod goes. */
const LINGER_SECONDS = 2;

/** Hooks of a server that may end at once when it is asked to: it is asked when no new requests come any more. Argosy's own waits by itself. */
export function lingering(main: JsonObject): JsonObject {
  return { preStop: { sleep: { seconds: LINGER_SECONDS } }, ...asObject(main["lifecycle"]) };
}

/** Fills in a server's port, probes, hooks and environment, in place. */
export function completeMain(main: JsonObject, port: number, builtIn: boolean): void {
  main["ports"] = [{ name: "http", containerPort: port, protocol: "TCP" }];
  main["terminationMessagePolicy"] ??= "FallbackToLogsOnError";
  if (!builtIn) {
    main["readinessProbe"] ??= { tcpSocket: { port }, periodSeconds: 2, failureThreshold: 3 };
    main["lifecycle"] = lingering(main);
    return;
  }
  // Brought to the nodes (`argosy images`) rather than to a registry, whatever its tag.
  main["imagePullPolicy"] ??= "IfNotPresent";
  main["args"] = listeningAt(Array.isArray(main["args"]) ? main["args"] : [], port);
  main["readinessProbe"] ??= {
    httpGet: { path: "/v2/health/ready", port },
    // The gateway's own checks take a silent model out of use within two seconds; this one is for everybody else.
    periodSeconds: 3,
    timeoutSeconds: 2,
    failureThreshold: 1,
  };
  main["livenessProbe"] ??= {
    httpGet: { path: "/v2/health/live", port },
    periodSeconds: 10,
    timeoutSeconds: 5,
    failureThreshold: 6,
    initialDelaySeconds: 10,
  };
  const env = asObjects(main["env"]);
  const given = new Set(env.map((entry) => entry["name"]));
  const own: JsonObject[] = [
    { name: "ARGOSY_MODEL_SERVER_HOST", valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: "status.podIP" } } },
    { name: "ARGOSY_MODEL_SERVER_ON_FAILURE", value: "exit" },
  ];
  main["env"] = [...env, ...own.filter((entry) => !given.has(entry["name"]))];
}

/** The volume of that cache: a folder that the pods of a namespace share on a node, or the pod's own. */
export const cacheVolume = (hostPath: string | undefined): JsonObject => ({
  name: "model-cache",
  ...(hostPath === undefined ? { emptyDir: {} } : { hostPath: { path: hostPath, type: "DirectoryOrCreate" } }),
});

/** Adds what brings a model to a pod, in place. Throws `InputError`. */
export function addModel(
  spec: JsonObject,
  main: JsonObject,
  storage: Release["predictor"]["storage"],
  options: TemplateOptions,
): void {
  if (storage?.s3 !== undefined && storage.pvc !== undefined)
    throw new InputError("storage names both s3 and pvc; give one");
  const volumes = asObjects(spec["volumes"]);
  const mounts = asObjects(main["volumeMounts"]);
  const taken = new Set(volumes.map((volume) => volume["name"]));
  // Volumes of the writer's own keep their names.
  const named = (name: string): string => (taken.has(name) ? `argosy-${name}` : name);
  const [model, cache, s3] = [named("model"), named("model-cache"), named("model-s3")];
  if (storage?.pvc !== undefined) {
    const { name, subPath, mountPath } = storage.pvc;
    if (subPath?.split("/").includes("..") === true)
      throw new InputError("storage.pvc.subPath must not lead out of the volume");
    volumes.push({ name: model, persistentVolumeClaim: { claimName: name, readOnly: true } });
    mounts.push({ name: model, mountPath, readOnly: true, ...(subPath === undefined ? {} : { subPath }) });
  }
  if (volumes.length > 0) spec["volumes"] = volumes;
  if (mounts.length > 0) main["volumeMounts"] = mounts;
  if (storage?.s3 !== undefined) addFetched(spec, main, storage.s3, { ...options, names: { model, cache, s3 } });
}

interface Fetched extends TemplateOptions {
  /** Of its volumes. */
  readonly names: { readonly model: string; readonly cache: string; readonly s3: string };
}

/** Lets the server fetch the model, where it may; else an init container. */
function addFetched(
  spec: JsonObject,
  main: JsonObject,
  { secretRef, uri, mountPath }: NonNullable<NonNullable<Release["predictor"]["storage"]>["s3"]>,
  { names, cacheHostPath, apart, trust = {} }: Fetched,
): void {
  const trusted = trustParts(trust);
  const volumes = [
    { name: names.model, emptyDir: {} },
    { ...cacheVolume(cacheHostPath), name: names.cache },
    { name: names.s3, secret: { secretName: secretRef.name, defaultMode: 0o444 } },
    ...trusted.volumes,
  ];
  const mounts = [
    { name: names.model, mountPath },
    { name: names.cache, mountPath: CACHE_FOLDER },
    { name: names.s3, mountPath: S3_FOLDER, readOnly: true },
    ...trusted.mounts,
  ];
  const { env } = trusted;
  const own = { uri, folder: mountPath, cacheFolder: CACHE_FOLDER, config: S3CFG, env, mounts, volumes };
  if (apart?.includes(uri) === false && mayFetchItself(spec, main, own)) {
    addSelfFetch(spec, main, own);
    return;
  }
  const fetch: JsonObject = {
    name: FETCH_CONTAINER,
    // The same one where the built-in model server runs: one version, one image to bring to the nodes.
    image: builtInImage(main) ?? MODEL_SERVER_IMAGE,
    imagePullPolicy: main["imagePullPolicy"] ?? "IfNotPresent",
    args: [...["--model-uri", uri, "--storage-config", S3CFG], ...["--fetch-to", mountPath, "--cache", CACHE_FOLDER]],
    terminationMessagePolicy: "FallbackToLogsOnError",
    ...(env.length === 0 ? {} : { env: [...env] }),
    volumeMounts: mounts,
  };
  spec["initContainers"] = [...asObjects(spec["initContainers"]), fetch];
  spec["volumes"] = [...asObjects(spec["volumes"]), ...volumes];
  main["volumeMounts"] = [...asObjects(main["volumeMounts"]), { name: names.model, mountPath, readOnly: true }];
}

const asObject = (value: Json | undefined): JsonObject => (isObject(value) ? { ...value } : {});

const asObjects = (value: Json | undefined): JsonObject[] =>
  Array.isArray(value) ? value.filter(isObject).map((item) => ({ ...item })) : [];
