/** With which Secrets a namespace's stores are read. */
import type { JsonObject, Secret, ServiceAccount } from "../../../kernel/kinds/index.js";
import { SecretKind, ServiceAccountKind } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject, parseJson } from "../../../kernel/schema/index.js";
import type { Fault } from "../diagnosis.js";
import { bundleFaultIn, s3BundleNamed, s3BundleOf } from "../store-trust.js";
import { annotationOf, KSERVE } from "./annotations.js";
import type { InferenceService } from "./inference-service-kind.js";
import { accountParts, secretParts } from "./secret-forms.js";
import { NO_CREDENTIALS, type StoreCredentials, uriOf } from "./storage.js";
import { parseStorageUri } from "./storage-uri.js";
import type { Tools } from "./tools.js";

const STORAGE_CONFIG = "storage-config";
const S3CFG = ".s3cfg";
/** Scheme → names of its entry in `storage-config`, where none is named. */
const ENTRIES: Readonly<Record<string, readonly string[]>> = {
  s3: ["s3", "default"],
  gs: ["gs", "gcs"],
  hf: ["hf"],
  http: ["http"],
  https: ["https"],
  oci: ["oci"],
  "oci+fetch": ["oci"],
  webhdfs: ["webhdfs"],
  models: ["models", "mlflow"],
};

/** What was found for a component. */
export interface FoundCredentials {
  /** By scheme. */
  readonly credentials: Readonly<Record<string, StoreCredentials>>;
  /** What the entry of `storage-config` says, where a component does not: `type` and `bucket`. */
  readonly entry?: Readonly<Record<string, string>>;
}

/** Whose models are fetched. */
export interface CredentialsWish {
  readonly namespace: string;
  /** Name of the Secret with entries; default `storage-config`. */
  readonly configName?: string | undefined;
  /** Entry that must be taken. */
  readonly key?: string;
  /** Entries of which the first that is there is taken, where none must be. */
  readonly defaultKeys?: readonly string[];
  readonly account: string;
  /** Secrets of the pods beside the account's, for registries. */
  readonly pullSecrets?: readonly string[];
  readonly uris: readonly string[];
}

/** The credentials of a component of an InferenceService. */
export function credentialsFor(
  service: InferenceService,
  component: JsonObject,
  tools: Tools,
): Promise<FoundCredentials | Fault> {
  const storage = asObject(asObject(component["model"])["storage"]);
  return findCredentials(
    {
      namespace: service.metadata.namespace ?? "",
      configName: annotationOf(service, KSERVE.storageSecret),
      key: asString(storage["key"]),
      defaultKeys: defaultKeysOf(component),
      account: asString(component["serviceAccountName"]) || "default",
      pullSecrets: asObjects(component["imagePullSecrets"]).map(({ name }) => asString(name)),
      uris: fetchedBy(component),
    },
    tools,
  );
}

/** As KServe names the entries of a `storage` without a key. */
function defaultKeysOf(component: JsonObject): string[] {
  const { storage, storageUri } = asObject(component["model"]);
  if (!isObject(storage) || asString(storageUri) !== "") return [];
  const type = asString(asObject(storage["parameters"])["type"]);
  return type === "" ? ["default"] : [`default_${type}`];
}

/** All that a component may read stores with, for models that are not known yet. */
export async function allCredentials(
  service: InferenceService,
  component: JsonObject,
  tools: Tools,
): Promise<FoundCredentials | Fault> {
  const common = {
    namespace: service.metadata.namespace ?? "",
    configName: annotationOf(service, KSERVE.storageSecret),
    account: asString(component["serviceAccountName"]) || "default",
  };
  const uris = Object.keys(ENTRIES).map((scheme) => `${scheme}://any/model`);
  // Only S3 can be without: it is asked for by itself, so that the others are found without it.
  const isS3 = (uri: string): boolean => uri.startsWith("s3:");
  const others = await findCredentials({ ...common, uris: uris.filter((uri) => !isS3(uri)) }, tools);
  const s3 = await findCredentials({ ...common, uris: uris.filter(isS3) }, tools);
  if ("reason" in s3 && s3.reason !== "SecretNotFound") return s3;
  return {
    credentials: {
      ...("credentials" in others ? others.credentials : {}),
      ...("credentials" in s3 ? s3.credentials : {}),
    },
  };
}

/**
 * In KServe's order, for each scheme: the entry of `storage-config` that is named, what the ServiceAccount's Secrets hold, an entry of `storage-config` by the
 * name of the store; and ours, for S3: the namespace's Secret labelled `tensorstack.dev/resource: s3`. Only S3 cannot do without; the authorities that its
 * credentials name must be there.
 */
export async function findCredentials(
  wish: CredentialsWish,
  tools: { readonly context: Pick<Tools["context"], "cluster"> },
): Promise<FoundCredentials | Fault> {
  const { cluster } = tools.context;
  const found = await lookFor(wish, cluster);
  const bundle = "credentials" in found ? found.credentials["s3"]?.bundle : undefined;
  const fault = bundle === undefined ? undefined : await bundleFaultIn(bundle, wish.namespace, cluster);
  return fault === undefined ? found : { ...fault, message: `cluster ${cluster.name}: ${fault.message}` };
}

async function lookFor(wish: CredentialsWish, cluster: Cluster): Promise<FoundCredentials | Fault> {
  const { namespace, uris, account, defaultKeys = [] } = wish;
  const schemes = [...new Set(uris.map((uri) => parseStorageUri(uri).scheme))].filter((one) =>
    Object.hasOwn(ENTRIES, one),
  );
  if ((wish.key ?? "") === "" && defaultKeys.length + schemes.length === 0) return { credentials: {} };
  const where = `cluster ${cluster.name}: Secret ${namespace}/`;
  const configName = wish.configName ?? STORAGE_CONFIG;
  const config = await cluster.client.resource(SecretKind).find(configName, { namespace });
  const key = wish.key || defaultKeys.find((name) => config?.data?.[name] !== undefined) || "";
  if (key !== "") {
    const entry = config?.data?.[key];
    if (entry === undefined)
      return {
        reason: "SecretNotFound",
        message: `${where}${configName} has no entry ${key}, which storage.key names`,
      };
    const named = ofEntry(config, key);
    const said = entryIn(entry);
    const type = said["type"] ?? "s3";
    return { credentials: Object.fromEntries([...schemes, type].map((scheme) => [scheme, named])), entry: said };
  }
  const own = await ofAccount({ account, namespace, more: wish.pullSecrets ?? [] }, cluster.client);
  const credentials: Record<string, StoreCredentials> = {};
  for (const scheme of schemes) {
    const found = own(scheme);
    const entry = ENTRIES[scheme]?.find((name) => config?.data?.[name] !== undefined);
    if (found !== undefined) credentials[scheme] = found;
    else if (entry !== undefined) credentials[scheme] = ofEntry(config, entry);
    else if (scheme === "s3") {
      const labelled = await labelledSecret(namespace, cluster.client);
      if (labelled === undefined)
        return {
          reason: "SecretNotFound",
          message: `cluster ${cluster.name}: namespace ${namespace} has no credentials for s3://: make a Secret ${configName} with an entry s3, or one labelled tensorstack.dev/resource: s3 with the key ${S3CFG}`,
        };
      credentials[scheme] = labelled;
    }
  }
  return { credentials };
}

/** An entry of `storage-config`, with the authorities that it, or an annotation of the Secret, names. */
function ofEntry(config: Secret | undefined, key: string): StoreCredentials {
  const { name = STORAGE_CONFIG, annotations } = config?.metadata ?? {};
  const said = asObject(parseJson(Buffer.from(config?.data?.[key] ?? "", "base64").toString("utf8")));
  return {
    ...NO_CREDENTIALS,
    file: { secret: name, key },
    bundle: s3BundleNamed(asString(said["cabundle_configmap"])) ?? s3BundleOf(annotations),
  };
}

type Cluster = Tools["context"]["cluster"];
type Client = Cluster["client"];

async function labelledSecret(namespace: string, client: Client): Promise<StoreCredentials | undefined> {
  const { items } = await client.resource(SecretKind).list({ namespace, labelSelector: "tensorstack.dev/resource=s3" });
  return items
    .filter(({ data }) => data?.[S3CFG] !== undefined)
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .map((secret) => secretParts("s3", secret))[0];
}

/** The URIs of a component, but for that of `storage`. */
function urisOf(component: JsonObject): string[] {
  const model = asObject(component["model"]);
  const several = asObjects(component["storageUris"]).map(({ uri }) => asString(uri));
  const variables = asObjects(component["containers"]).flatMap(({ env }) =>
    asObjects(env).flatMap(({ name, value }) => (name === "STORAGE_URI" ? [asString(value)] : [])),
  );
  const art = asString(asObject(component["art"])["storageUri"]);
  return [asString(model["storageUri"]), art, ...several, ...variables].filter((uri) => uri !== "");
}

/** Everything that a component fetches. What `storage` does not say enough of is told when its pods are built. */
export function fetchedBy(component: JsonObject): string[] {
  const model = asObject(component["model"]);
  const { storage } = model;
  const uris = urisOf(component);
  if (!isObject(storage) || asString(model["storageUri"]) !== "") return uris;
  try {
    return [uriOf({ uri: "", storage }), ...uris];
  } catch {
    return uris;
  }
}

/** What of an entry is no secret. */
function entryIn(entry: string): Record<string, string> {
  const said = asObject(parseJson(Buffer.from(entry, "base64").toString("utf8")));
  return Object.fromEntries(
    ["type", "bucket"].map((name) => [name, asString(said[name])] as const).filter(([, value]) => value !== ""),
  );
}

/** What the Secrets of a ServiceAccount hold for a scheme. */
async function ofAccount(
  {
    account: name,
    namespace,
    more,
  }: { readonly account: string; readonly namespace: string; readonly more: readonly string[] },
  client: Client,
): Promise<(scheme: string) => StoreCredentials | undefined> {
  const account: ServiceAccount | undefined = await client.resource(ServiceAccountKind).find(name, { namespace });
  const held: Secret[] = [];
  for (const { name: secretName } of [
    ...(account?.secrets ?? []),
    ...(account?.imagePullSecrets ?? []),
    ...more.map((one) => ({ name: one })),
  ]) {
    const secret =
      secretName === undefined ? undefined : await client.resource(SecretKind).find(secretName, { namespace });
    if (secret !== undefined) held.push(secret);
  }
  return (scheme) => {
    const found = held.flatMap((secret) => secretParts(scheme, secret) ?? []);
    const [first] = found;
    if (first === undefined) return account === undefined ? undefined : accountParts(scheme, account);
    // Each is for a host of its own.
    return /^https?$/.test(scheme) ? { ...first, variables: found.flatMap((one) => one.variables) } : first;
  };
}
