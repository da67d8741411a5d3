/** The forms in which KServe's users have a store's credentials in Secrets, by scheme. Pure. */
import type { Secret, ServiceAccount } from "../../../kernel/kinds/index.js";
import { s3BundleOf } from "../store-trust.js";
import { NO_CREDENTIALS, type StoreCredentials } from "./storage.js";

const S3CFG = ".s3cfg";
const AWS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
const AZURE = ["CLIENT_ID", "CLIENT_SECRET", "TENANT_ID"];
const MLFLOW = ["MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"];
const HDFS = ["HDFS_NAMENODE", "HDFS_USER", "USER_PROXY"];
const GOOGLE_KEY = "gcloud-application-credentials.json";
const CA = "ca.crt";
const ROLE = "eks.amazonaws.com/role-arn";
const S3_ANNOTATION = "serving.kserve.io/s3-";

type Form = (secret: Secret) => StoreCredentials | undefined;

/** Variables of the same names as keys. */
function variables({ metadata, data = {} }: Secret, names: readonly string[]): StoreCredentials["variables"] {
  return names.filter((name) => data[name] !== undefined).map((name) => ({ name, secret: metadata.name, key: name }));
}

const s3: Form = (secret) => {
  const { metadata, data = {} } = secret;
  const bundle = s3BundleOf(metadata.annotations);
  if (data[S3CFG] !== undefined) return { ...NO_CREDENTIALS, file: { secret: metadata.name, key: S3CFG }, bundle };
  const settings = s3Settings(metadata.annotations);
  const isPublic = settings["AWS_NO_SIGN_REQUEST"] !== undefined;
  const found = variables(secret, AWS);
  if (found.length < 2 && !isPublic) return undefined;
  return { ...NO_CREDENTIALS, variables: isPublic ? [] : found, settings, bundle };
};

/** KServe's annotations of a Secret or ServiceAccount. */
function s3Settings(annotations: Readonly<Record<string, string>> = {}): Record<string, string> {
  const said = (what: string): string | undefined => annotations[`${S3_ANNOTATION}${what}`];
  const endpoint = said("endpoint");
  const scheme = said("usehttps") === "0" ? "http" : "https";
  const region = said("region");
  return {
    ...(endpoint === undefined
      ? {}
      : { AWS_ENDPOINT_URL: endpoint.includes("://") ? endpoint : `${scheme}://${endpoint}` }),
    ...(region === undefined ? {} : { AWS_DEFAULT_REGION: region }),
    ...(said("verifyssl") === "0" ? { S3_VERIFY_SSL: "0" } : {}),
    ...(said("usevirtualbucket") === "true" ? { S3_USER_VIRTUAL_BUCKET: "true" } : {}),
    ...(said("useanoncredential") === "true" ? { AWS_NO_SIGN_REQUEST: "true" } : {}),
  };
}

/** What a ServiceAccount itself gives its pods: on EKS a role, whose token the cluster puts into them; or nothing but what is public. */
export function accountParts(scheme: string, { metadata }: ServiceAccount): StoreCredentials | undefined {
  const settings = s3Settings(metadata.annotations);
  const hasRole = metadata.annotations?.[ROLE] !== undefined || settings["AWS_NO_SIGN_REQUEST"] !== undefined;
  return scheme === "s3" && hasRole
    ? { ...NO_CREDENTIALS, settings, bundle: s3BundleOf(metadata.annotations) }
    : undefined;
}

const gs: Form = ({ metadata, data = {} }) =>
  data[GOOGLE_KEY] === undefined
    ? undefined
    : {
        ...NO_CREDENTIALS,
        mounted: [{ secret: metadata.name, key: GOOGLE_KEY, variable: "GOOGLE_APPLICATION_CREDENTIALS" }],
      };

const hf: Form = (secret) => {
  const found = variables(secret, ["HF_TOKEN", "HF_ENDPOINT"]);
  return found.length === 0 ? undefined : { ...NO_CREDENTIALS, variables: found };
};

/** Headers for one host, or Azure's. */
const https: Form = (secret) => {
  const { metadata, data = {} } = secret;
  const host = Buffer.from(data["https-host"] ?? "", "base64")
    .toString("utf8")
    .trim();
  if (host !== "" && data["headers"] !== undefined)
    return { ...NO_CREDENTIALS, variables: [{ name: `${host}-headers`, secret: metadata.name, key: "headers" }] };
  const found = variables(secret, [
    "AZURE_STORAGE_ACCESS_KEY",
    ...AZURE.flatMap((name) => [`AZURE_${name}`, `AZ_${name}`]),
  ]);
  return found.length === 0 ? undefined : { ...NO_CREDENTIALS, variables: found };
};

const oci: Form = ({ metadata, data = {} }) =>
  data[".dockerconfigjson"] === undefined
    ? undefined
    : {
        ...NO_CREDENTIALS,
        mounted: [{ secret: metadata.name, key: ".dockerconfigjson", variable: "DOCKER_CONFIG" }],
      };

const models: Form = (secret) => {
  const found = variables(secret, MLFLOW);
  if (!found.some(({ name }) => name === "MLFLOW_TRACKING_URI")) return undefined;
  const ca = { secret: secret.metadata.name, key: CA, variable: "MLFLOW_TRACKING_SERVER_CERT_PATH" };
  return { ...NO_CREDENTIALS, variables: found, mounted: secret.data?.[CA] === undefined ? [] : [ca] };
};

const webhdfs: Form = (secret) => {
  const found = variables(secret, HDFS);
  return found.length === 0 ? undefined : { ...NO_CREDENTIALS, variables: found };
};

const FORMS: Readonly<Record<string, Form>> = {
  ...{ s3, gs, hf, https, oci, models, webhdfs },
  http: https,
  "oci+fetch": oci,
};

/** What a Secret holds for a scheme; `undefined`: nothing. */
export function secretParts(scheme: string, secret: Secret): StoreCredentials | undefined {
  return Object.hasOwn(FORMS, scheme) ? FORMS[scheme]?.(secret) : undefined;
}
