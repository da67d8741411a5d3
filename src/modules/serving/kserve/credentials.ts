/** With which Secret a namespace's stores are read. */
import type { JsonObject, Secret } from "../../../kernel/kinds/index.js";
import { SecretKind, ServiceAccountKind } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject, parseJson } from "../../../kernel/schema/index.js";
import type { Fault } from "../diagnosis.js";
import { annotationOf, KSERVE } from "./annotations.js";
import type { InferenceService } from "./inference-service-kind.js";
import type { StoreCredentials } from "./storage.js";
import { parseStorageUri } from "./storage-uri.js";
import type { Tools } from "./tools.js";

const STORAGE_CONFIG = "storage-config";
const S3CFG = ".s3cfg";
const VARIABLES = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
const S3_ANNOTATION = "serving.kserve.io/s3-";

/** What was found for a component. */
export interface FoundCredentials {
  readonly credentials: StoreCredentials | undefined;
  /** Bucket of the entry of `storage-config`, where a component names none. */
  readonly bucket?: string;
}

/**
 * In KServe's order: the entry of `storage-config` that `storage.key` names, a Secret of the ServiceAccount, an entry of `storage-config` by the name of the
 * store; and ours: the namespace's Secret labelled `tensorstack.dev/resource: s3`.
 */
export async function credentialsFor(
  service: InferenceService,
  component: JsonObject,
  tools: Tools,
): Promise<FoundCredentials | Fault> {
  const { storage, uris } = storageOf(component);
  if (storage === undefined && !uris.some((uri) => parseStorageUri(uri).scheme === "s3"))
    return { credentials: undefined };
  const namespace = service.metadata.namespace ?? "";
  const where = `cluster ${tools.context.cluster.name}: Secret ${namespace}/`;
  const secrets = tools.context.cluster.client.resource(SecretKind);
  const configName = annotationOf(service, KSERVE.storageSecret) ?? STORAGE_CONFIG;
  const config = await secrets.find(configName, { namespace });
  const key = asString(storage?.["key"]);
  if (key !== "") {
    const entry = config?.data?.[key];
    if (entry === undefined)
      return {
        reason: "SecretNotFound",
        message: `${where}${configName} has no entry ${key}, which storage.key names`,
      };
    return { credentials: { secret: configName, key }, ...bucketIn(entry) };
  }
  const byAccount = await credentialsOfAccount(
    asString(component["serviceAccountName"]) || "default",
    namespace,
    tools,
  );
  if (byAccount !== undefined) return { credentials: byAccount };
  const byName = ["s3", "default"].find((name) => config?.data?.[name] !== undefined);
  if (byName !== undefined)
    return { credentials: { secret: configName, key: byName }, ...bucketIn(config?.data?.[byName] ?? "") };
  const { items } = await secrets.list({ namespace, labelSelector: "tensorstack.dev/resource=s3" });
  const own = items
    .filter(({ data }) => data?.[S3CFG] !== undefined)
    .map(({ metadata }) => metadata.name)
    .sort();
  const [first] = own;
  return first === undefined
    ? {
        reason: "SecretNotFound",
        message: `cluster ${tools.context.cluster.name}: namespace ${namespace} has no credentials for s3://: make a Secret ${configName} with an entry s3, or one labelled tensorstack.dev/resource: s3 with the key ${S3CFG}`,
      }
    : { credentials: { secret: first, key: S3CFG } };
}

function storageOf(component: JsonObject): {
  readonly storage: JsonObject | undefined;
  readonly uris: readonly string[];
} {
  const model = asObject(component["model"]);
  const several = asObjects(component["storageUris"]).map(({ uri }) => asString(uri));
  const variables = asObjects(component["containers"]).flatMap(({ env }) =>
    asObjects(env).flatMap(({ name, value }) => (name === "STORAGE_URI" ? [asString(value)] : [])),
  );
  const uris = [asString(model["storageUri"]), ...several, ...variables].filter((uri) => uri !== "");
  return { storage: isObject(model["storage"]) ? model["storage"] : undefined, uris };
}

function bucketIn(entry: string): { bucket?: string } {
  const bucket = asString(asObject(parseJson(Buffer.from(entry, "base64").toString("utf8")))["bucket"]);
  return bucket === "" ? {} : { bucket };
}

/** The first Secret of a ServiceAccount that holds an `.s3cfg`, or AWS' variables. */
async function credentialsOfAccount(
  name: string,
  namespace: string,
  tools: Tools,
): Promise<StoreCredentials | undefined> {
  const { client } = tools.context.cluster;
  const account = await client.resource(ServiceAccountKind).find(name, { namespace });
  for (const { name: secretName } of account?.secrets ?? []) {
    if (secretName === undefined) continue;
    const secret = await client.resource(SecretKind).find(secretName, { namespace });
    const found = secret === undefined ? undefined : credentialsIn(secret);
    if (found !== undefined) return found;
  }
  return undefined;
}

function credentialsIn({ metadata, data = {} }: Secret): StoreCredentials | undefined {
  if (data[S3CFG] !== undefined) return { secret: metadata.name, key: S3CFG };
  const variables = VARIABLES.filter((name) => data[name] !== undefined);
  if (variables.length < 2) return undefined;
  const said = (what: string): string | undefined => metadata.annotations?.[`${S3_ANNOTATION}${what}`];
  const endpoint = said("endpoint");
  const scheme = said("usehttps") === "0" ? "http" : "https";
  const region = said("region");
  return {
    secret: metadata.name,
    variables,
    settings: {
      ...(endpoint === undefined
        ? {}
        : { AWS_ENDPOINT_URL: endpoint.includes("://") ? endpoint : `${scheme}://${endpoint}` }),
      ...(region === undefined ? {} : { AWS_DEFAULT_REGION: region }),
      ...(said("verifyssl") === "0" ? { S3_VERIFY_SSL: "0" } : {}),
    },
  };
}
