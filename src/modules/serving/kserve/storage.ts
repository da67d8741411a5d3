/** The model beside a component's containers: fetched by an init container, or mounted from a claim or an image. */

import { InputError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { builtInImage, MODEL_SERVER_IMAGE } from "../images.js";
import { CACHE_FOLDER, cacheVolume } from "../pod-template.js";
import { type Bundle, type FetchParts, othersTrustParts, type Trust, trustParts } from "../store-trust.js";
import { hashOf } from "./children.js";
import { claimOf, parseStorageUri } from "./storage-uri.js";

/** The init container that brings models; KServe's name for it. */
export const STORAGE_INITIALIZER = "storage-initializer";
const CREDENTIALS_FOLDER = "/var/run/argosy/store";
const SOURCE_VOLUME = "kserve-provision-location";

/** With what a store is read. */
export interface StoreCredentials {
  /** A key of a Secret that holds an `.s3cfg`, or an entry of `storage-config`. */
  readonly file?: { readonly secret: string; readonly key: string };
  /** Variables from keys of Secrets. */
  readonly variables: readonly { readonly name: string; readonly secret: string; readonly key: string }[];
  /** Variables that are no secrets. */
  readonly settings: Readonly<Record<string, string>>;
  /** Keys of Secrets as files, whose paths variables say. */
  readonly mounted: readonly { readonly secret: string; readonly key: string; readonly variable: string }[];
  /** Authorities that the store is trusted by, instead of the public ones. */
  readonly bundle?: Bundle | undefined;
}

/** For what is public. */
export const NO_CREDENTIALS: StoreCredentials = { variables: [], settings: {}, mounted: [] };

/** A container of somebody's own that fetches: a ClusterStorageContainer. */
export interface StorageContainer {
  readonly name: string;
  readonly container: JsonObject;
  /** Argosy's own fetcher stands in for it: of the container what is about its surroundings counts. */
  readonly isBuiltIn: boolean;
}

/** A model that lies ready on nodes. */
export interface LocalModel {
  /** Below it the models lie. */
  readonly claim: string;
  readonly subPath: string;
  /** Label of the nodes that have it. */
  readonly label: string;
}

/** What pods get from the platform for their models. */
export interface StorageAccess {
  /** A folder on each node that this namespace's pods share downloads in; absent: each pod downloads for itself. */
  readonly cacheHostPath: string | undefined;
  /** By scheme. */
  readonly credentials: Readonly<Record<string, StoreCredentials>>;
  /** By URI: those that are not the built-in one's. */
  readonly containers?: Readonly<Record<string, StorageContainer>>;
  /** By URI: those that need not be fetched. */
  readonly local?: Readonly<Record<string, LocalModel>>;
  /** That servers of many models load some from. */
  readonly claims?: readonly string[];
  /** The authorities that stores are trusted by, beside the public ones. */
  readonly trust?: Trust | undefined;
  /** URIs that servers do not fetch themselves. */
  readonly apart?: readonly string[];
}

/** Something to fetch and where to put it. */
export interface ModelPlace {
  readonly uri: string;
  readonly mountPath: string;
  /** KServe's `storage`: path and parameters over an entry of the Secret. */
  readonly storage?: JsonObject;
}

/** The URI that a place comes down to. Throws `InputError` where `storage` does not say enough. */
export function uriOf({ uri, storage }: Pick<ModelPlace, "uri" | "storage">): string {
  if (storage === undefined || uri !== "") return uri;
  const parameters = isObject(storage["parameters"]) ? storage["parameters"] : {};
  const type = asString(parameters["type"]) || "s3";
  const bucket = asString(parameters["bucket"]);
  const path = asString(storage["path"]).replace(/^\/+/, "");
  if (type === "hf" || type === "webhdfs") return `${type}://${path}`;
  if (type !== "s3" && type !== "gs")
    throw new InputError(`storage.parameters.type ${type} is not offered; use s3, gs, hf or webhdfs, or storageUri`);
  if (bucket === "")
    throw new InputError(
      "storage names no bucket: give storage.parameters.bucket, or a bucket in the entry of storage-config",
    );
  return `${type}://${bucket}/${path}`;
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
    const source = mountedSource(uri, access);
    const local = access.local?.[uri];
    if (local !== undefined) requireLabel(pod, local.label);
    const name = `kserve-source-${index}`;
    if (source === undefined) fetched.push({ uri, mountPath: place.mountPath });
    else {
      volumes.push({ name, ...source.volume });
      const subPath = source.subPath === "" ? {} : { subPath: source.subPath };
      mounts.push({ name, mountPath: place.mountPath, readOnly: true, ...subPath });
    }
  }
  if (fetched.length > 0) addFetchers(pod, main, { fetched, volumes, mounts, access });
  if (volumes.length > 0) pod["volumes"] = volumes;
  if (mounts.length > 0) main["volumeMounts"] = mounts;
}

/** Whether something brings it, rather than that it is only mounted. */
export const isFetched = (uri: string, access: StorageAccess): boolean => mountedSource(uri, access) === undefined;

/** With what a URI's store is read. */
export function credentialsOf(uri: string, { credentials }: StorageAccess): StoreCredentials {
  const { scheme } = parseStorageUri(uri);
  return (Object.hasOwn(credentials, scheme) ? credentials[scheme] : undefined) ?? NO_CREDENTIALS;
}

/** What is there already and only mounted. */
function mountedSource(
  uri: string,
  { local = {} }: StorageAccess,
): { readonly volume: JsonObject; readonly subPath: string } | undefined {
  const claim = Object.hasOwn(local, uri)
    ? { claim: local[uri]?.claim ?? "", path: local[uri]?.subPath ?? "" }
    : claimOf(uri);
  if (claim !== undefined)
    return {
      volume: { persistentVolumeClaim: { claimName: claim.claim, readOnly: true } },
      subPath: claim.path,
    };
  if (parseStorageUri(uri).scheme !== "oci+native") return undefined;
  return {
    volume: { image: { reference: uri.slice("oci+native://".length), pullPolicy: "IfNotPresent" } },
    subPath: "",
  };
}

/** Lets pods go only to nodes with a label: every alternative of their node affinity wants it too. */
function requireLabel(pod: JsonObject, label: string): void {
  const expression = { key: label, operator: "In", values: ["true"] };
  const affinity = asObject(pod["affinity"]);
  const nodeAffinity = asObject(affinity["nodeAffinity"]);
  const required = asObject(nodeAffinity["requiredDuringSchedulingIgnoredDuringExecution"]);
  const terms = asObjects(required["nodeSelectorTerms"]);
  const wanted = (terms.length === 0 ? [{}] : terms).map((term: JsonObject) => ({
    ...term,
    matchExpressions: [...asObjects(term["matchExpressions"]), expression],
  }));
  pod["affinity"] = {
    ...affinity,
    nodeAffinity: {
      ...nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: wanted },
    },
  };
}

interface Fetching {
  readonly fetched: readonly { uri: string; mountPath: string }[];
  readonly volumes: JsonObject[];
  readonly mounts: JsonObject[];
  readonly access: StorageAccess;
}

/** One init container for each, so that each says what it could not fetch. */
function addFetchers(pod: JsonObject, main: JsonObject, { fetched, volumes, mounts, access }: Fetching): void {
  volumes.push({ name: SOURCE_VOLUME, emptyDir: {} });
  const initContainers = asObjects(pod["initContainers"]).slice();
  for (const [index, { uri, mountPath }] of fetched.entries()) {
    const subPath = `models-${index}`;
    mounts.push({ name: SOURCE_VOLUME, mountPath, subPath, readOnly: true });
    const { container, volumes: needed } = fetcherOf(uri, {
      name: index === 0 ? STORAGE_INITIALIZER : `${STORAGE_INITIALIZER}-${index}`,
      target: { mountPath, mount: { name: SOURCE_VOLUME, mountPath, subPath } },
      // The same one where the built-in model server runs: one version, one image to bring to the nodes.
      image: builtInImage(main) ?? MODEL_SERVER_IMAGE,
      access,
    });
    initContainers.push(container);
    for (const volume of needed) if (!volumes.some(({ name }) => name === volume["name"])) volumes.push(volume);
  }
  pod["initContainers"] = initContainers;
}

/** What a fetcher is made of. */
export interface FetcherWish {
  readonly name: string;
  readonly target: { readonly mountPath: string; readonly mount: JsonObject };
  readonly image: string;
  readonly access: StorageAccess;
  /** The most that it may bring; absent: whatever there is. */
  readonly maxBytes?: number;
}

/** The container that fetches one model, and the volumes that it needs beside its target's. */
export function fetcherOf(
  uri: string,
  { name, target, image, access, maxBytes }: FetcherWish,
): { readonly container: JsonObject; readonly volumes: JsonObject[] } {
  const { file } = credentialsOf(uri, access);
  const chosen = access.containers?.[uri];
  const given = chosen?.container ?? {};
  const isOthers = chosen?.isBuiltIn === false;
  const { env, mounts, volumes } = storeParts(uri, access, isOthers);
  const allEnv = [...asObjects(given["env"]), ...env];
  const around = {
    terminationMessagePolicy: "FallbackToLogsOnError",
    ...given,
    name,
    ...(allEnv.length === 0 ? {} : { env: allEnv }),
  };
  const ownMounts = [...asObjects(given["volumeMounts"]), target.mount];
  if (isOthers) {
    // As KServe calls them: what, and where to.
    const args = [...(Array.isArray(given["args"]) ? given["args"] : []), uri, target.mountPath];
    return { container: { ...around, args, volumeMounts: [...ownMounts, ...mounts] }, volumes: [...volumes] };
  }
  const rest: JsonObject = { ...around };
  delete rest["command"];
  const limit = maxBytes === undefined ? [] : ["--max-bytes", String(maxBytes)];
  const config = file === undefined ? [] : ["--storage-config", fileOf(file)];
  return {
    container: {
      ...rest,
      image,
      imagePullPolicy: "IfNotPresent",
      args: ["--model-uri", uri, "--fetch-to", target.mountPath, "--cache", CACHE_FOLDER, ...config, ...limit],
      volumeMounts: [...ownMounts, { name: "model-cache", mountPath: CACHE_FOLDER }, ...mounts],
    },
    volumes: [cacheVolume(access.cacheHostPath), ...volumes],
  };
}

const folderOf = (secret: string): string => `${CREDENTIALS_FOLDER}/${secret}`;
/** Where a file of credentials is found in a pod. */
export const fileOf = ({ secret, key }: { readonly secret: string; readonly key: string }): string =>
  `${folderOf(secret)}/${key}`;

/** What whoever fetches `uri` gets: credentials, and the authorities to trust. */
export function storeParts(uri: string, access: StorageAccess, isOthers: boolean): FetchParts {
  const credentials = credentialsOf(uri, access);
  const isPlain = parseStorageUri(uri).scheme === "http";
  const trust = { all: isPlain ? undefined : access.trust, s3: credentials.bundle };
  const own = credentialParts(credentials, isOthers);
  const trusted = isOthers ? othersTrustParts(trust) : trustParts(trust);
  return {
    env: [...own.env, ...trusted.env],
    mounts: [...own.mounts, ...trusted.mounts],
    volumes: [...own.volumes, ...trusted.volumes],
  };
}

/** Credentials as variables and files; containers of others read an entry of `storage-config` from the variable STORAGE_CONFIG. */
export function credentialParts(
  { file, variables, settings, mounted }: StoreCredentials,
  isOthers: boolean,
): FetchParts {
  const entry = isOthers && file !== undefined ? [{ name: "STORAGE_CONFIG", ...file }] : [];
  const files = [...mounted, ...(isOthers || file === undefined ? [] : [file])];
  const secrets = [...new Set(files.map(({ secret }) => secret))];
  return {
    env: [
      ...[...variables, ...entry].map(({ name, secret, key }) => ({
        name,
        valueFrom: { secretKeyRef: { name: secret, key } },
      })),
      ...Object.entries(settings).map(([name, value]) => ({ name, value })),
      ...mounted.map((one) => ({ name: one.variable, value: fileOf(one) })),
    ],
    mounts: secrets.map((secret) => ({ name: volumeOf(secret), mountPath: folderOf(secret), readOnly: true })),
    volumes: secrets.map((secret) => ({
      name: volumeOf(secret),
      secret: { secretName: secret, defaultMode: 0o444 },
    })),
  };
}

/** Names of volumes are labels, those of Secrets may be longer and have dots: what is lost of one stands for in its hash. */
function volumeOf(secret: string): string {
  if (/^[a-z0-9-]{1,50}$/.test(secret)) return `store-${secret}`;
  return `store-${secret.replaceAll(".", "-").slice(0, 40)}-${hashOf(secret).slice(0, 8)}`;
}
