/** Predictors whose pods serve the models that TrainedModels give them, instead of one of their own. */
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { CACHE_FOLDER, cacheVolume } from "../pod-template.js";
import { type FetchParts, trustParts } from "../store-trust.js";
import { credentialParts, fileOf, type StorageAccess } from "./storage.js";
import { addClaims } from "./trained-model-claims.js";

/** Key of the ConfigMap, as KServe has it. */
export const MODELS_KEY = "models.json";
/** The ConfigMap that lists a service's models. */
export const modelsName = (service: string): string => `modelconfig-${service}-0`;

const CONFIG_FOLDER = "/mnt/configs";
const MODELS_FOLDER = "/mnt/models";
/** What a multi-model server of ours is started with. */
export const MULTI_MODEL_ARGS: readonly string[] = [
  `--repository=${MODELS_FOLDER}`,
  `--model-config=${CONFIG_FOLDER}/${MODELS_KEY}`,
  "--http=8080",
];

const OWN_SOURCE = /^--(model[-_]dir|model[-_]uri|model[-_]id|repository)(=|$)/;

/** Whether a predictor names no model of its own: neither where it is, nor a volume or argument with it. Source: KServe, which excepts Hugging Face's servers. */
export function wantsMany(predictor: JsonObject): boolean {
  const model = asObject(predictor["model"]);
  if (!isObject(predictor["model"]) || asString(asObject(model["modelFormat"])["name"]) === "huggingface") return false;
  const args = Array.isArray(model["args"]) ? model["args"].map(asString) : [];
  return !(
    asString(model["storageUri"]) !== "" ||
    isObject(model["storage"]) ||
    asObjects(predictor["storageUris"]).length > 0 ||
    asObjects(model["env"]).some(({ name }) => name === "STORAGE_URI") ||
    asObjects(model["volumeMounts"]).some(({ mountPath }) => asString(mountPath).startsWith(MODELS_FOLDER)) ||
    args.some((arg) => OWN_SOURCE.test(arg))
  );
}

/** Adds to a pod what its server follows and fetches with, in place. */
export function addModelList(pod: JsonObject, main: JsonObject, service: string, access: StorageAccess): void {
  const volumes = asObjects(pod["volumes"]).slice();
  const mounts = asObjects(main["volumeMounts"]).slice();
  const env = asObjects(main["env"]).slice();
  const args: string[] = [];
  const add = (parts: FetchParts): void => {
    for (const volume of parts.volumes) if (!volumes.some(({ name }) => name === volume["name"])) volumes.push(volume);
    for (const mount of parts.mounts) if (!mounts.some(({ name }) => name === mount["name"])) mounts.push(mount);
    for (const one of parts.env) if (!env.some(({ name }) => name === one["name"])) env.push(one);
  };
  add(trustParts({ all: access.trust, s3: access.credentials["s3"]?.bundle }));
  for (const [scheme, credentials] of Object.entries(access.credentials)) {
    add(credentialParts(credentials, false));
    if (credentials.file !== undefined) args.push(`--store-config=${scheme}=${fileOf(credentials.file)}`);
  }
  volumes.push({ name: "model-list", configMap: { name: modelsName(service), optional: true } });
  volumes.push({ name: "model-folder", emptyDir: {} }, cacheVolume(access.cacheHostPath));
  mounts.push({ name: "model-list", mountPath: CONFIG_FOLDER, readOnly: true });
  mounts.push({ name: "model-folder", mountPath: MODELS_FOLDER }, { name: "model-cache", mountPath: CACHE_FOLDER });
  addClaims(access.claims, { volumes, mounts });
  const own = Array.isArray(main["args"]) ? main["args"] : [];
  Object.assign(main, { volumeMounts: mounts, args: [...own, `--cache=${CACHE_FOLDER}`, ...args] });
  if (env.length > 0) main["env"] = env;
  pod["volumes"] = volumes;
}
