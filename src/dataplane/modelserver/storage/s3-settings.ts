/** S3 settings in the forms that people have them in: an `.s3cfg`, an entry of KServe's Secret `storage-config`, AWS' variables. */
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { dirname, isAbsolute, join } from "node:path";
import type { AwsKeys } from "../../../kernel/aws/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asString } from "../../../kernel/schema/index.js";
import { keysOfRole } from "./aws-role.js";
import { DownloadError } from "./failures.js";
import type { Environment, StoreSettings } from "./settings.js";
import { entryOf, isOff, isOn, readSettings, readTrust, variable } from "./settings.js";

/** Where an S3 store is, and as whom it is read. */
export interface S3Settings {
  /** `https://host:port`. */
  readonly endpoint: string;
  /** Absent: requests are not signed. */
  readonly keys?: AwsKeys;
  readonly region: string;
  /** Buckets are asked by hosts of their own (`https://BUCKET.host`) rather than by paths. */
  readonly hasBucketHosts?: boolean;
  /** PEM of the CAs to trust: what the settings name instead of the system's, or those of ARGOSY_CA_BUNDLE beside them. */
  readonly ca?: string;
  readonly checkCertificate: boolean;
}

const fail = (message: string): never => {
  throw new DownloadError("InvalidSource", message);
};

/** Names that are a label of a host: certificates of stores cover one label, and none with dots. */
const BUCKET_LABEL = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/;

/** The address of a bucket, or of what `rest` (escaped) names in it: by a host of its own where the store wants that and the name can be one. */
export function bucketUrl({ endpoint, hasBucketHosts }: S3Settings, bucket: string, rest?: string): string {
  const at = new URL(endpoint);
  const isHost =
    hasBucketHosts === true && BUCKET_LABEL.test(bucket) && isIP(at.hostname.replace(/^\[|\]$/g, "")) === 0;
  if (isHost) return `${at.protocol}//${bucket}.${at.host}${at.pathname.replace(/\/+$/, "")}/${rest ?? ""}`;
  return `${endpoint}/${encodeURIComponent(bucket)}${rest === undefined ? "" : `/${rest}`}`;
}

/** The file's settings, or those of the environment. Throws `DownloadError` that names file and field, never a value. */
export async function s3Settings(settings: StoreSettings, uri: string): Promise<S3Settings> {
  const { file, entry, env, client } = settings;
  const found =
    file === undefined
      ? await settingsInEnvironment(env)
      : entry === undefined
        ? await settingsInS3cfg(file.text, file.path)
        : settingsInEntry(entryOf(settings, "s3"), file.path);
  if (found === undefined)
    return denied(
      `${uri}: there are neither settings of the store with its address and keys (.s3cfg), nor AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_NO_SIGN_REQUEST=true reads what is public`,
    );
  if (found.ca !== undefined) return found;
  const caFile = variable(env, "AWS_CA_BUNDLE");
  const ca = caFile === undefined ? client.ca : await readCa(caFile, "AWS_CA_BUNDLE");
  return ca === undefined ? found : { ...found, ca };
}

/** The settings in a file, or those of the environment. Throws `DownloadError`. */
export async function readS3Settings(path: string | undefined, env: Environment): Promise<S3Settings> {
  return s3Settings(await readSettings(path, env, await readTrust(env)), "s3://");
}

const denied = (message: string): never => {
  throw new DownloadError("AccessDenied", message);
};

/**
 * An `.s3cfg` (`[default]`, `name = value`): host_base, host_bucket (`%(bucket)s.` before the same host: buckets have hosts of their own), access_key, secret_key, use_https, bucket_location, access_token, check_ssl_certificate, and the
 * CAs to trust: ca_certs_file (relative to the file) or ca_certs (PEM, line ends written as \n).
 */
async function settingsInS3cfg(text: string, file: string): Promise<S3Settings> {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*([a-z_]+)\s*=\s*(.*?)\s*$/.exec(line);
    if (match?.[1] !== undefined) fields.set(match[1], match[2] ?? "");
  }
  const need = (name: string): string => fields.get(name) || fail(`${file}: ${name} is missing`);
  const flag = (name: string, fallback: boolean): boolean => {
    const value = fields.get(name) ?? "";
    if (value === "") return fallback;
    return isOn(value) ? true : isOff(value) ? false : fail(`${file}: ${name} must be True or False`);
  };
  const host = need("host_base")
    .replace(/^https?:\/\//, "")
    .replace(/\/+$/, "");
  const endpoint = `${flag("use_https", true) ? "https" : "http"}://${host}`;
  if (!URL.canParse(endpoint)) fail(`${file}: host_base is no host name with an optional port`);
  const caFile = fields.get("ca_certs_file") ?? "";
  const ca =
    caFile === ""
      ? fields.get("ca_certs")?.replaceAll("\\n", "\n") || undefined
      : await readCa(isAbsolute(caFile) ? caFile : join(dirname(file), caFile), `${file}: ca_certs_file`);
  const sessionToken = fields.get("access_token") ?? "";
  const bucketHost = /^(?:https?:\/\/)?%\(bucket\)s?\.(.+?)\/*$/.exec(fields.get("host_bucket") ?? "")?.[1];
  return {
    endpoint,
    ...(bucketHost === host ? { hasBucketHosts: true } : {}),
    keys: {
      accessKey: need("access_key"),
      secretKey: need("secret_key"),
      ...(sessionToken === "" ? {} : { sessionToken }),
    },
    region: fields.get("bucket_location") || "us-east-1",
    ...(ca === undefined ? {} : { ca }),
    checkCertificate: flag("check_ssl_certificate", true),
  };
}

function readCa(path: string, where: string): Promise<string> {
  return readFile(path, "utf8").catch((error: unknown) => fail(`${where}: ${messageOf(error)}`));
}

/** An entry of `storage-config`. */
export function settingsInEntry(entry: JsonObject, file: string): S3Settings {
  const need = (name: string): string => asString(entry[name]) || fail(`${file}: ${name} is missing`);
  const ca = asString(entry["certificate"]);
  return {
    endpoint: endpointOf(need("endpoint_url"), `${file}: endpoint_url`),
    ...(isOn(entry["anonymous"])
      ? {}
      : { keys: { accessKey: need("access_key_id"), secretKey: need("secret_access_key") } }),
    region: asString(entry["region"]) || asString(entry["default_region"]) || "us-east-1",
    ...(ca === "" ? {} : { ca }),
    checkCertificate: !isOff(entry["verify_ssl"]),
  };
}

/** AWS' variables; `undefined` where they say nothing. */
export async function settingsInEnvironment(env: Environment): Promise<S3Settings | undefined> {
  const region = variable(env, "AWS_REGION", "AWS_DEFAULT_REGION") ?? "us-east-1";
  const isPublic = isOn(env["AWS_NO_SIGN_REQUEST"]) || isOn(env["awsAnonymousCredential"]);
  const keys = isPublic ? undefined : await keysInEnvironment(env, region);
  if (keys === undefined && !isPublic) return undefined;
  const endpoint = variable(env, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") ?? `https://s3.${region}.amazonaws.com`;
  return {
    endpoint: endpointOf(endpoint, "AWS_ENDPOINT_URL"),
    ...(keys === undefined ? {} : { keys }),
    region,
    ...(isOn(env["S3_USER_VIRTUAL_BUCKET"]) ? { hasBucketHosts: true } : {}),
    checkCertificate: !isOff(env["S3_VERIFY_SSL"]),
  };
}

async function keysInEnvironment(env: Environment, region: string): Promise<AwsKeys | undefined> {
  const accessKey = variable(env, "AWS_ACCESS_KEY_ID");
  const secretKey = variable(env, "AWS_SECRET_ACCESS_KEY");
  const sessionToken = variable(env, "AWS_SESSION_TOKEN");
  if (accessKey === undefined || secretKey === undefined) return keysOfRole(env, region);
  return { accessKey, secretKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

function endpointOf(text: string, where: string): string {
  const endpoint = (text.includes("://") ? text : `https://${text}`).replace(/\/+$/, "");
  return URL.canParse(endpoint) ? endpoint : fail(`${where} is no URL`);
}
