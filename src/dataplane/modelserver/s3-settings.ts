/** S3 settings in the other forms that people have them in: an entry of KServe's Secret `storage-config`, and AWS' environment variables. */
import { asObject, asString, parseJson } from "../../kernel/schema/index.js";
import { ModelError } from "./failures.js";
import type { S3Settings } from "./s3.js";

const fail = (message: string): never => {
  throw new ModelError("ModelDownloadFailed", message);
};

/** An entry of `storage-config`, in JSON. Throws `ModelError` that names the file and the field, never a value. */
export function settingsInEntry(text: string, file: string): S3Settings {
  const entry = asObject(parseJson(text));
  if (Object.keys(entry).length === 0) fail(`${file}: is no JSON object`);
  const type = asString(entry["type"]);
  if (type !== "" && type !== "s3") fail(`${file}: type must be s3`);
  const need = (name: string): string => asString(entry[name]) || fail(`${file}: ${name} is missing`);
  const ca = asString(entry["certificate"]);
  return {
    endpoint: endpointOf(need("endpoint_url"), `${file}: endpoint_url`),
    accessKey: need("access_key_id"),
    secretKey: need("secret_access_key"),
    region: asString(entry["region"]) || asString(entry["default_region"]) || "us-east-1",
    ...(ca === "" ? {} : { ca }),
    checkCertificate: !isOff(entry["verify_ssl"]),
  };
}

/** AWS' variables; `undefined` where they say nothing. Throws `ModelError` that names the variable, never a value. */
export function settingsInEnvironment(env: Readonly<Record<string, string | undefined>>): S3Settings | undefined {
  const accessKey = env["AWS_ACCESS_KEY_ID"] ?? "";
  const secretKey = env["AWS_SECRET_ACCESS_KEY"] ?? "";
  if (accessKey === "" || secretKey === "") return undefined;
  const region = env["AWS_REGION"] ?? env["AWS_DEFAULT_REGION"] ?? "us-east-1";
  const endpoint = env["AWS_ENDPOINT_URL_S3"] ?? env["AWS_ENDPOINT_URL"] ?? `https://s3.${region}.amazonaws.com`;
  const sessionToken = env["AWS_SESSION_TOKEN"] ?? "";
  return {
    endpoint: endpointOf(endpoint, "AWS_ENDPOINT_URL"),
    accessKey,
    secretKey,
    ...(sessionToken === "" ? {} : { sessionToken }),
    region,
    checkCertificate: !isOff(env["S3_VERIFY_SSL"]),
  };
}

function endpointOf(text: string, where: string): string {
  const endpoint = (text.includes("://") ? text : `https://${text}`).replace(/\/+$/, "");
  return URL.canParse(endpoint) ? endpoint : fail(`${where} is no URL`);
}

const isOff = (value: unknown): boolean =>
  value === false || value === "0" || /^(false|no|off)$/i.test(asString(value));
