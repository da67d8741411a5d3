/** Predictors whose built-in server fetches its model itself, where no ClusterStorageContainer does and the model is not mounted. */
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { CACHE_FOLDER, cacheVolume } from "../pod-template.js";
import { addSelfFetch, fetchedApart, fetchesItself, mayFetchItself, type SelfFetch } from "../self-fetch.js";
import type { InferenceService } from "./inference-service-kind.js";
import { credentialsOf, fileOf, isFetched, type StorageAccess, storeParts } from "./storage.js";
import { deploymentsOf, podsOf, type Tools } from "./tools.js";

const MODEL_FOLDER = "/mnt/models";
const MODEL_VOLUME = "kserve-provision-location";
const FETCHERS = /^storage-initializer/;

/** What the server in `main` fetches `uri` with; `undefined` where it may not. */
function selfFetchOf(pod: JsonObject, main: JsonObject, uri: string, access: StorageAccess): SelfFetch | undefined {
  const isElsewhere = access.containers?.[uri] !== undefined || access.apart?.includes(uri) === true;
  if (isElsewhere || !isFetched(uri, access)) return undefined;
  const { file } = credentialsOf(uri, access);
  const { env, mounts, volumes } = storeParts(uri, access, false);
  if (!mayFetchItself(pod, main, { folder: MODEL_FOLDER, env })) return undefined;
  return {
    ...{ uri, env, folder: MODEL_FOLDER, cacheFolder: CACHE_FOLDER },
    config: file === undefined ? undefined : fileOf(file),
    mounts: [
      { name: MODEL_VOLUME, mountPath: MODEL_FOLDER },
      { name: "model-cache", mountPath: CACHE_FOLDER },
      ...mounts,
    ],
    volumes: [{ name: MODEL_VOLUME, emptyDir: {} }, cacheVolume(access.cacheHostPath), ...volumes],
  };
}

/** Lets the server in `main` fetch `uri` itself, in place. False where it may not. */
export function letServerFetch(pod: JsonObject, main: JsonObject, uri: string, access: StorageAccess): boolean {
  const fetch = selfFetchOf(pod, main, uri, access);
  if (fetch !== undefined) addSelfFetch(pod, main, fetch);
  return fetch !== undefined;
}

/** The URIs that servers of the service's pods do not fetch themselves. */
export const apartFor = (service: InferenceService, tools: Tools): string[] =>
  deploymentsOf(service, tools).flatMap(({ metadata, spec }) =>
    fetchedApart(spec.template, podsOf(service, metadata.name, tools), FETCHERS),
  );

/** Whether a server of pods as they were built would fetch what is code. */
export const holdsCode = (template: JsonObject, { apart = [] }: StorageAccess): boolean =>
  fetchesItself(template, apart);
