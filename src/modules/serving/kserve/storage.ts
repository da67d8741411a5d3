/** The model beside a component's containers: fetched by an init container, or mounted from a claim or an image. */
import { InputError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { builtInImage, MODEL_SERVER_IMAGE } from "../pod-template.js";
import { claimOf, parseStorageUri } from "./storage-uri.js";

/** The init container that brings models; KServe's name for it. */
export const STORAGE_INITIALIZER = "storage-initializer";
const S3_FOLDER = "/var/run/argosy/s3";
const CACHE_FOLDER = "/var/cache/argosy/models";
const SHARED_FOLDER = "/var/cache/argosy/shared-models";
const SOURCE_VOLUME = "kserve-provision-location";

/** With what a store is read. */
export type StoreCredentials =
  /** A key of a Secret that holds an `.s3cfg`, or an entry of `storage-config`. */
  | { readonly secret: string; readonly key: string }
  /** A Secret with AWS' variables as keys, and what its annotations say. */
  | {
      readonly secret: string;
      readonly variables: readonly string[];
      readonly settings: Readonly<Record<string, string>>;
    };

/** What pods get from the platform for their models. */
export interface StorageAccess {
  /** A folder on each node that this namespace's pods share downloads in; absent: each pod downloads for itself. */
  readonly cacheHostPath: string | undefined;
  readonly credentials: StoreCredentials | undefined;
}

/** Something to fetch and where to put it. */
export interface ModelPlace {
  readonly uri: string;
  readonly mountPath: string;
  /** KServe's `storage`: path and parameters over an entry of the Secret. */
  readonly storage?: JsonObject;
}

/** The URI that a place comes down to. Throws `InputError` where `storage` does not say enough. */
export function uriOf({ uri, storage }: ModelPlace): string {
  if (storage === undefined || uri !== "") return uri;
  const parameters = isObject(storage["parameters"]) ? storage["parameters"] : {};
  const type = asString(parameters["type"]) || "s3";
  const bucket = asString(parameters["bucket"]);
  const path = asString(storage["path"]).replace(/^\/+/, "");
  if (type !== "s3") throw new InputError(`storage.parameters.type ${type} is not offered; use s3, or storageUri`);
  if (bucket === "")
    throw new InputError(
      "storage names no bucket: give storage.parameters.bucket, or a bucket in the entry of storage-config",
    );
  return `s3://${bucket}/${path}`;
}

/** Adds what brings the models to a pod, in place. Throws `InputError`. */
export function addModels(
  pod: JsonObject,
  main: JsonObject,
  places: readonly ModelPlace[],
  access: StorageAccess,
): void {
  const volumes = asObjects(pod["volumes"]).slice();
  const mounts = asObjects(main["volumeMounts"]).slice();
  const fetched: { uri: string; mountPath: string }[] = [];
  for (const [index, place] of places.entries()) {
    const uri = uriOf(place);
    const claim = claimOf(uri);
    const name = `kserve-source-${index}`;
    if (claim !== undefined) {
      volumes.push({ name, persistentVolumeClaim: { claimName: claim.claim, readOnly: true } });
      mounts.push({
        name,
        mountPath: place.mountPath,
        readOnly: true,
        ...(claim.path === "" ? {} : { subPath: claim.path }),
      });
    } else if (parseStorageUri(uri).scheme === "oci+native") {
      volumes.push({ name, image: { reference: uri.slice("oci+native://".length), pullPolicy: "IfNotPresent" } });
      mounts.push({ name, mountPath: place.mountPath, readOnly: true });
    } else fetched.push({ uri, mountPath: place.mountPath });
  }
  if (fetched.length > 0) addFetchers(pod, main, { fetched, volumes, mounts, access });
  if (volumes.length > 0) pod["volumes"] = volumes;
  if (mounts.length > 0) main["volumeMounts"] = mounts;
}

interface Fetching {
  readonly fetched: readonly { uri: string; mountPath: string }[];
  readonly volumes: JsonObject[];
  readonly mounts: JsonObject[];
  readonly access: StorageAccess;
}

/** One init container for each, so that each says what it could not fetch. */
function addFetchers(pod: JsonObject, main: JsonObject, { fetched, volumes, mounts, access }: Fetching): void {
  const { cacheHostPath, credentials } = access;
  const isShared = cacheHostPath !== undefined;
  volumes.push({ name: SOURCE_VOLUME, emptyDir: {} }, { name: "model-cache", emptyDir: {} });
  if (isShared) volumes.push({ name: "model-share", hostPath: { path: cacheHostPath, type: "DirectoryOrCreate" } });
  const asFile = credentials !== undefined && "key" in credentials ? credentials : undefined;
  if (asFile !== undefined)
    volumes.push({ name: "model-store", secret: { secretName: asFile.secret, defaultMode: 0o444 } });
  const initContainers = asObjects(pod["initContainers"]).slice();
  for (const [index, { uri, mountPath }] of fetched.entries()) {
    const subPath = `models-${index}`;
    mounts.push({ name: SOURCE_VOLUME, mountPath, subPath, readOnly: true });
    initContainers.push({
      name: index === 0 ? STORAGE_INITIALIZER : `${STORAGE_INITIALIZER}-${index}`,
      // The same one where the built-in model server runs: one version, one image to bring to the nodes.
      image: builtInImage(main) ?? MODEL_SERVER_IMAGE,
      imagePullPolicy: "IfNotPresent",
      args: [
        ...["--model-uri", uri, "--fetch-to", mountPath, "--cache", CACHE_FOLDER],
        ...(asFile === undefined ? [] : ["--s3cfg", `${S3_FOLDER}/${asFile.key}`]),
        ...(isShared ? ["--shared-cache", SHARED_FOLDER] : []),
      ],
      ...environmentOf(credentials),
      terminationMessagePolicy: "FallbackToLogsOnError",
      volumeMounts: [
        { name: SOURCE_VOLUME, mountPath, subPath },
        { name: "model-cache", mountPath: CACHE_FOLDER },
        ...(isShared ? [{ name: "model-share", mountPath: SHARED_FOLDER }] : []),
        ...(asFile === undefined ? [] : [{ name: "model-store", mountPath: S3_FOLDER, readOnly: true }]),
      ],
    });
  }
  pod["initContainers"] = initContainers;
}

function environmentOf(credentials: StoreCredentials | undefined): { env?: JsonObject[] } {
  if (credentials === undefined || "key" in credentials) return {};
  const { secret, variables, settings } = credentials;
  return {
    env: [
      ...variables.map((name) => ({ name, valueFrom: { secretKeyRef: { name: secret, key: name } } })),
      ...Object.entries(settings).map(([name, value]) => ({ name, value })),
    ],
  };
}
