/**
 * Predictors whose server fetches its model itself: one program starts instead of two, and loads its engine meanwhile. Only the built-in server
 * does, only where nobody else has a part in the fetching or reads what is fetched, and only models that are no code: that would run
 * beside the keys of its store. What a model is shows when it is there; one that is code is fetched by an init container from then on.
 */
import type { JsonObject, Pod } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString } from "../../../kernel/schema/index.js";
import { lastWordsOf } from "../diagnosis.js";
import { CACHE_FOLDER, cacheVolume } from "../pod-template.js";
import type { InferenceService } from "./inference-service-kind.js";
import {
  credentialParts,
  credentialsOf,
  fileOf,
  isFetched,
  STORAGE_INITIALIZER,
  type StorageAccess,
} from "./storage.js";
import { deploymentsOf, podsOf, type Tools } from "./tools.js";

const MODEL_FOLDER = "/mnt/models";
const MODEL_VOLUME = "kserve-provision-location";
/** What says where the model is, in what may run, or how it is to be fetched. */
const DECIDED = /^--(allow-code|allow-pickles|model-uri|repository|cache|storage-config|fetch-to)(=|$)/;
const FROM_FOLDER = /^--model-dir=\/mnt\/models\/?$/;
const DECIDED_VARIABLES = /^ARGOSY_MODEL_(ALLOW_|CACHE$)/;

const wordsOf = (value: unknown): string[] => (Array.isArray(value) ? value.map(asString) : []);

/** Whether the server in `main` may fetch `uri` itself. */
export function mayFetchItself(pod: JsonObject, main: JsonObject, uri: string, access: StorageAccess): boolean {
  const args = wordsOf(main["args"]);
  const names = new Set(asObjects(main["env"]).map(({ name }) => asString(name)));
  const { env } = credentialParts(credentialsOf(uri, access), false);
  return (
    isFetched(uri, access) &&
    access.containers?.[uri] === undefined &&
    access.apart?.includes(uri) !== true &&
    asObjects(pod["containers"]).length === 1 &&
    asObjects(pod["initContainers"]).length === 0 &&
    main["command"] === undefined &&
    asObject(main["securityContext"])["runAsUser"] === undefined &&
    args.some((arg) => FROM_FOLDER.test(arg)) &&
    !args.some((arg) => DECIDED.test(arg)) &&
    ![...names].some((name) => DECIDED_VARIABLES.test(name)) &&
    !env.some(({ name }) => names.has(asString(name))) &&
    !asObjects(main["volumeMounts"]).some(({ mountPath }) => asString(mountPath).startsWith(MODEL_FOLDER))
  );
}

/** Adds what the server fetches with, in place. */
export function addSelfFetch(pod: JsonObject, main: JsonObject, uri: string, access: StorageAccess): void {
  const credentials = credentialsOf(uri, access);
  const { env, mounts, volumes } = credentialParts(credentials, false);
  const config = credentials.file === undefined ? [] : ["--storage-config", fileOf(credentials.file)];
  const fetching = ["--model-uri", uri, "--cache", CACHE_FOLDER, ...config, "--allow-code", "elsewhere"];
  const allEnv = [...asObjects(main["env"]), ...env];
  main["args"] = [...wordsOf(main["args"]), ...fetching];
  if (allEnv.length > 0) main["env"] = allEnv;
  main["volumeMounts"] = [
    ...asObjects(main["volumeMounts"]),
    { name: MODEL_VOLUME, mountPath: MODEL_FOLDER },
    { name: "model-cache", mountPath: CACHE_FOLDER },
    ...mounts,
  ];
  pod["volumes"] = [
    ...asObjects(pod["volumes"]),
    { name: MODEL_VOLUME, emptyDir: {} },
    cacheVolume(access.cacheHostPath),
    ...volumes,
  ];
}

/** What must be fetched by an init container: what showed to be code, and what one fetches already, which would be no reason for new pods. */
export function fetchedApart(service: InferenceService, tools: Tools): string[] {
  return deploymentsOf(service, tools).flatMap(({ metadata, spec }) => [
    ...asObjects(JSON.parse(JSON.stringify(spec.template.spec?.initContainers ?? []))).flatMap(({ name, args }) =>
      asString(name).startsWith(STORAGE_INITIALIZER) ? uriIn(wordsOf(args)) : [],
    ),
    ...podsOf(service, metadata.name, tools).flatMap(codeIn),
  ]);
}

/** Whether a server of pods as they were built would fetch what is code. */
export function holdsCode(template: JsonObject, { apart = [] }: StorageAccess): boolean {
  const containers = asObjects(asObject(template["spec"])["containers"]);
  return containers.some(({ args }) => uriIn(wordsOf(args)).some((uri) => apart.includes(uri)));
}

const uriIn = (args: readonly string[]): string[] => {
  const at = args.indexOf("--model-uri");
  return at === -1 ? [] : args.slice(at + 1, at + 2);
};

function codeIn({ spec, status }: Pod): string[] {
  const isCode = (status?.containerStatuses ?? []).some((one) => lastWordsOf(one).startsWith("ModelIsCode: "));
  return isCode ? spec.containers.flatMap(({ args }) => uriIn(args ?? [])) : [];
}
