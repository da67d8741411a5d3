import type { Faults } from "../../../kernel/kinds/index.js";
import { configKeyFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import { asList, asObject, asObjects, asString, at, ensureObject, isEmpty, setDefaultText } from "../registry/read.js";
import { goSyntaxFault } from "../request/go-json.js";

const maximumBytes = 1024 * 1024;

function keys(object: JsonObject, field: string): string[] {
  return Object.keys(asObject(object[field]));
}

/** Bytes of a map of texts. */
function bytesOf(values: Json | undefined): number {
  let bytes = 0;
  for (const value of Object.values(asObject(values))) bytes += Buffer.byteLength(asString(value));
  return bytes;
}

function decodedBytes(values: Json | undefined): number {
  let bytes = 0;
  for (const value of Object.values(asObject(values))) bytes += Buffer.byteLength(asString(value), "base64");
  return bytes;
}

function validateKeys(object: JsonObject, field: string, faults: Faults): void {
  for (const key of keys(object, field))
    for (const fault of configKeyFaults(key)) faults.invalid(`${field}[${key}]`, key, fault);
}

const immutableWords = "field is immutable when `immutable` is set";

function frozen(object: JsonObject, old: JsonObject, fields: readonly string[], faults: Faults): void {
  if (old["immutable"] !== true) return;
  if (object["immutable"] !== true) faults.forbidden("immutable", immutableWords);
  for (const field of fields) if (!equalJson(object[field], old[field])) faults.forbidden(field, immutableWords);
}

const configMap: Behaviour = {
  complete: true,
  validate(object, faults) {
    validateKeys(object, "data", faults);
    for (const key of keys(object, "binaryData"))
      if (asObject(object["data"])[key] !== undefined)
        faults.invalid(`data[${key}]`, key, "duplicate of key present in binaryData");
    validateKeys(object, "binaryData", faults);
    if (bytesOf(object["data"]) + decodedBytes(object["binaryData"]) > maximumBytes) faults.tooLong("[]", maximumBytes);
  },
  validateUpdate: (object, old, faults) => frozen(object, old, ["data", "binaryData"], faults),
  columns: [column("Data", (object) => keys(object, "data").length + keys(object, "binaryData").length)],
};

/** Keys that secrets of well-known types must have. */
const requiredKeys: Readonly<Record<string, readonly string[]>> = {
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/dockercfg": [".dockercfg"],
};

const secret: Behaviour = {
  complete: true,
  defaults(object) {
    setDefaultText(object, "type", "Opaque");
    const plain = object["stringData"];
    delete object["stringData"];
    if (isEmpty(plain)) return;
    const data = ensureObject(object, "data");
    for (const [key, value] of Object.entries(asObject(plain)))
      data[key] = Buffer.from(asString(value)).toString("base64");
  },
  validate: validateSecret,
  validateUpdate(object, old, faults) {
    if (object["type"] !== old["type"]) faults.invalid("type", object["type"], "field is immutable");
    frozen(object, old, ["data"], faults);
  },
  selectable: { type: (object) => asString(object["type"]) },
  columns: [
    column("Type", (object) => asString(object["type"])),
    column("Data", (object) => keys(object, "data").length),
  ],
};

function validateSecret(object: JsonObject, faults: Faults): void {
  const data = asObject(object["data"]);
  const type = asString(object["type"]);
  validateKeys(object, "data", faults);
  if (decodedBytes(data) > maximumBytes) faults.tooLong("data", maximumBytes);
  for (const key of requiredKeys[type] ?? [])
    if (data[key] === undefined || (data[key] === "" && key === "ssh-privatekey")) faults.required(`data[${key}]`);
  if (type === "kubernetes.io/basic-auth" && data["username"] === undefined && data["password"] === undefined)
    for (const key of ["username", "password"]) faults.required(`data[${key}]`);
  for (const key of [".dockerconfigjson", ".dockercfg"])
    if (requiredKeys[type]?.includes(key) === true && data[key] !== undefined)
      validateJsonText(asString(data[key]), `data[${key}]`, faults);
  const certificate = asString(data["tls.crt"]);
  if (type === "kubernetes.io/tls" && certificate !== "" && !Buffer.from(certificate, "base64").includes("-----BEGIN "))
    faults.warn("tls: failed to find any PEM data in certificate input");
  if (
    type === "kubernetes.io/service-account-token" &&
    asString(asObject(asObject(object["metadata"])["annotations"])["kubernetes.io/service-account.name"]) === ""
  )
    faults.required("metadata.annotations[kubernetes.io/service-account.name]");
}

function validateJsonText(encoded: string, path: string, faults: Faults): void {
  const fault = goSyntaxFault(Buffer.from(encoded, "base64").toString("utf8"));
  if (fault !== undefined) faults.invalid(path, "<secret contents redacted>", fault);
}

const mountableOnly = "kubernetes.io/enforce-mountable-secrets";

function warnOfMountable(object: JsonObject, faults: Faults): void {
  if (at(object, "metadata", "annotations", mountableOnly) !== undefined)
    faults.warn(
      `metadata.annotations[${mountableOnly}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets`,
    );
}

const serviceAccount: Behaviour = {
  complete: true,
  prepare(object) {
    // Of a secret, an account knows the name.
    const secrets = object["secrets"];
    if (Array.isArray(secrets))
      object["secrets"] = asObjects(secrets).map(({ name }) => (name === undefined ? {} : { name }));
  },
  validateCreate: warnOfMountable,
  validateUpdate(object, old, faults) {
    if (at(old, "metadata", "annotations", mountableOnly) === undefined) warnOfMountable(object, faults);
  },
  columns: [column("Secrets", (object) => asList(object["secrets"]).length)],
};

/** What workloads read: ConfigMaps, Secrets, ServiceAccounts. */
export const configBehaviours: BehaviourTable = {
  "/ConfigMap": configMap,
  "/Secret": secret,
  "/ServiceAccount": serviceAccount,
};
