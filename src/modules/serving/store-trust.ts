/** The authorities that a graph's routers, and whoever reads a store, trust beside the public ones: ConfigMaps of a namespace. One rule for all of them. */
import { createHash } from "node:crypto";
import { posix } from "node:path";
import { bundleFault } from "../../dataplane/graph/index.js";
import type { ClusterAccess } from "../../kernel/control/types.js";
import type { JsonObject, KubeObject } from "../../kernel/kinds/index.js";
import { ConfigMapKind, SecretKind } from "../../kernel/kinds/index.js";
import type { Fault } from "./diagnosis.js";

/** `CONFIGMAP` or `CONFIGMAP/KEY` of the object's namespace. */
export const CA_BUNDLE_ANNOTATION = "serving.argosy.dev/ca-bundle";
/** KServe's annotations of Secrets and ServiceAccounts: which ConfigMap, and as which file it is found. */
const S3_BUNDLE = "serving.kserve.io/s3-cabundle";
const S3_CONFIG_MAP = "serving.kserve.io/s3-cabundle-configmap";

/** What KServe's controller copies into every namespace from `caBundleConfigMapName` of its settings. */
const GLOBAL = "global-ca-bundle";
const KEY = "cabundle.crt";
const FOLDER = "/etc/ssl/custom-certs";

/** Which part of which ConfigMap. */
export interface Bundle {
  readonly name: string;
  readonly key: string;
}

/** A bundle that was looked at. */
export interface Trust extends Bundle {
  /** Of its content. */
  readonly hash: string;
}

/** Whom who reads a store trusts beside the public authorities. */
export interface StoreTrust {
  /** Whatever the store. */
  readonly all?: Trust | undefined;
  /** For S3, instead of the public ones: what the Secret with the keys names. */
  readonly s3?: Bundle | undefined;
}

/** What a container gets for something to be read. */
export interface FetchParts {
  readonly env: readonly JsonObject[];
  readonly mounts: readonly JsonObject[];
  readonly volumes: readonly JsonObject[];
}

/** Nothing. */
export const NO_PARTS: FetchParts = { env: [], mounts: [], volumes: [] };

/** What an object's annotation names, or else KServe's, where that is there; `undefined`: the public ones only. */
export const trustOf = (object: KubeObject, cluster: ClusterAccess): Promise<Trust | Fault | undefined> =>
  trustIn(object.metadata.namespace ?? "", object.metadata.annotations?.[CA_BUNDLE_ANNOTATION], cluster);

/** The same in a namespace, for an annotation's value. */
export async function trustIn(
  namespace: string,
  named: string | undefined,
  cluster: ClusterAccess,
): Promise<Trust | Fault | undefined> {
  const [name = "", key = KEY] = (named ?? GLOBAL).split("/", 2);
  const found = await lookAt({ name, key }, namespace, cluster);
  // Nobody asked for KServe's.
  return named === undefined && "lacks" in found ? undefined : withoutLack(found);
}

/** What annotations of a Secret or ServiceAccount name for S3. */
export function s3BundleOf(annotations: Readonly<Record<string, string>> = {}): Bundle | undefined {
  const { [S3_CONFIG_MAP]: name, [S3_BUNDLE]: file } = annotations;
  if (name === undefined && file === undefined) return undefined;
  return { name: name ?? GLOBAL, key: file === undefined ? KEY : posix.basename(file) };
}

/** The bundle that an entry of `storage-config` names for S3. */
export const s3BundleNamed = (name: string): Bundle | undefined => (name === "" ? undefined : { name, key: KEY });

/** Why a bundle cannot be used; `undefined` where it can. */
export async function bundleFaultIn(
  bundle: Bundle,
  namespace: string,
  cluster: ClusterAccess,
): Promise<Fault | undefined> {
  const found = withoutLack(await lookAt(bundle, namespace, cluster));
  return "reason" in found ? found : undefined;
}

/** What pods of an MLService's kind read and write over TLS. */
export interface Contacts {
  /** With which a model is read. */
  readonly secret: string | undefined;
  /** Addresses of a payload log. */
  readonly logs?: readonly string[] | undefined;
}

/** Whom such pods trust. */
export async function storeTrustOf(
  object: KubeObject,
  { secret: secretName, logs = [] }: Contacts,
  cluster: ClusterAccess,
): Promise<StoreTrust | Fault> {
  if (secretName === undefined && !logs.some((url) => /^https:/i.test(url))) return {};
  const { namespace = "" } = object.metadata;
  const secret =
    secretName === undefined ? undefined : await cluster.client.resource(SecretKind).find(secretName, { namespace });
  const s3 = s3BundleOf(secret?.metadata.annotations);
  const fault = s3 === undefined ? undefined : await bundleFaultIn(s3, namespace, cluster);
  const all = fault ?? (await trustOf(object, cluster));
  if (all !== undefined && "reason" in all)
    return { reason: all.reason, message: `cluster ${cluster.name}: ${all.message}` };
  return { all, s3 };
}

/** Which bundles pods are made with; their content is read anew for each fetch. `undefined`: none. */
export function markOf({ all, s3 }: StoreTrust): string | undefined {
  const named = [all, s3].map((one) => (one === undefined ? "" : `${one.name}/${one.key}`));
  return named.every((one) => one === "") ? undefined : named.join(" ");
}

/** Bundles as files that Argosy's fetcher finds by variables. */
export function trustParts({ all, s3 }: StoreTrust): FetchParts {
  const parts = [
    all === undefined
      ? NO_PARTS
      : bundleParts(all, { volume: "store-ca-bundle", folder: FOLDER, variable: "ARGOSY_CA_BUNDLE" }),
    s3 === undefined
      ? NO_PARTS
      : bundleParts(s3, { volume: "s3-ca-bundle", folder: "/etc/ssl/s3-certs", variable: "AWS_CA_BUNDLE" }),
  ];
  return {
    env: parts.flatMap(({ env }) => env),
    mounts: parts.flatMap(({ mounts }) => mounts),
    volumes: parts.flatMap(({ volumes }) => volumes),
  };
}

/** The bundle as a file that containers of others find by KServe's variables; that of S3 goes before. */
export function othersTrustParts({ all, s3 }: StoreTrust): FetchParts {
  const bundle = s3 ?? all;
  if (bundle === undefined) return NO_PARTS;
  const parts = bundleParts(bundle, { volume: "store-ca-bundle", folder: FOLDER, variable: "AWS_CA_BUNDLE" });
  const env = [
    { name: "CA_BUNDLE_CONFIGMAP_NAME", value: bundle.name },
    { name: "CA_BUNDLE_VOLUME_MOUNT_POINT", value: FOLDER },
  ];
  return { ...parts, env: [...env, ...parts.env] };
}

/** A bundle as a file whose path a variable says. */
export function bundleParts(
  { name, key }: Bundle,
  { volume, folder, variable }: { readonly volume: string; readonly folder: string; readonly variable: string },
): FetchParts {
  return {
    env: [{ name: variable, value: `${folder}/${KEY}` }],
    mounts: [{ name: volume, mountPath: folder, readOnly: true }],
    volumes: [{ name: volume, configMap: { name, items: [{ key, path: KEY }] } }],
  };
}

interface Lack extends Fault {
  /** There is nothing of that name, rather than something that cannot be used. */
  readonly lacks: true;
}

const withoutLack = (found: Trust | Fault | Lack): Trust | Fault =>
  "reason" in found ? { reason: found.reason, message: found.message } : found;

async function lookAt(
  { name, key }: Bundle,
  namespace: string,
  { client }: ClusterAccess,
): Promise<Trust | Fault | Lack> {
  const found = name === "" ? undefined : await client.resource(ConfigMapKind).find(name, { namespace });
  const pem = found?.data?.[key];
  const reason = "InvalidCABundle";
  const about = `ConfigMap ${name} with the authorities to trust (${key})`;
  if (found === undefined) return { reason, message: `${about} is not there`, lacks: true };
  const has = Object.keys(found.data ?? {}).join(", ") || "none";
  if (pem === undefined) return { reason, message: `${about} has no key ${key}; it has ${has}`, lacks: true };
  const fault = bundleFault(pem);
  if (fault !== undefined) return { reason, message: `${about} ${fault}` };
  return { name, key, hash: createHash("sha256").update(pem).digest("hex").slice(0, 16) };
}
