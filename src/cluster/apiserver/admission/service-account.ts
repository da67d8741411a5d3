import type { Random } from "../../../kernel/clock/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { forbidden } from "../failures.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import { objectKey } from "../store/keys.js";
import type { AdmissionPlugin, AdmissionRequest, Store } from "../types.js";

/** Where programs in pods look for their token. */
const mountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
/** An hour and a few seconds, by which the token volume of the server's making is known. */
const tokenSeconds = 3607;

export interface ServiceAccountOptions {
  readonly store: Store;
  readonly random: Random;
  /** Makes the `default` account of a namespace that has none yet, so that its first pod need not wait for a controller. */
  ensureDefaultAccount(namespace: string): Promise<void>;
}

/** Gives each new pod an identity: its ServiceAccount, the account's pull secrets, and a volume with a token of its own. */
export function serviceAccountAdmission(options: ServiceAccountOptions): AdmissionPlugin {
  return {
    name: "ServiceAccount",
    mutate(request) {
      const { object: pod, type, operation, subresource } = request;
      if (type.group !== "" || type.plural !== "pods" || subresource !== "" || operation !== "CREATE") return undefined;
      return pod === undefined || isMirror(pod) ? undefined : giveIdentity(pod, request, options);
    },
    validate(request) {
      const { object: pod, type, operation, subresource } = request;
      if (type.group !== "" || type.plural !== "pods" || subresource !== "" || operation !== "CREATE") return;
      if (pod === undefined || !isMirror(pod)) return;
      if (stringAt(objectAt(pod, "spec"), "serviceAccountName") !== "")
        throw forbidden(request.type, request.name, "a mirror pod may not reference service accounts");
    },
  };
}

async function giveIdentity(pod: JsonObject, request: AdmissionRequest, options: ServiceAccountOptions): Promise<void> {
  const spec = objectAt(pod, "spec");
  const name = stringAt(spec, "serviceAccountName") || stringAt(spec, "serviceAccount") || "default";
  spec["serviceAccountName"] = name;
  spec["serviceAccount"] = name;
  const find = () => options.store.get(objectKey({ group: "", plural: "serviceaccounts" }, request.namespace, name));
  if (find() === undefined && name === "default" && !request.dryRun)
    await options.ensureDefaultAccount(request.namespace);
  const account = find()?.value;
  if (account === undefined) throw noAccount(request, name);
  if (wantsToken(spec, account)) mountToken(spec, options.random);
  if (isEmptyList(spec["imagePullSecrets"]) && !isEmptyList(account["imagePullSecrets"])) {
    const secrets = account["imagePullSecrets"];
    spec["imagePullSecrets"] = Array.isArray(secrets) ? structuredClone(secrets) : [];
  }
}

function isMirror(pod: JsonObject): boolean {
  const annotations = objectAt(objectAt(pod, "metadata"), "annotations");
  return annotations["kubernetes.io/config.mirror"] !== undefined;
}

function noAccount({ type, name: pod, namespace }: AdmissionRequest, name: string) {
  const why = `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`;
  return forbidden({ group: type.group, plural: type.plural }, pod, why);
}

function wantsToken(spec: JsonObject, account: JsonObject): boolean {
  const own = spec["automountServiceAccountToken"];
  if (typeof own === "boolean") return own;
  return account["automountServiceAccountToken"] !== false;
}

function mountToken(spec: JsonObject, random: Random): void {
  const volumes = listOf(spec, "volumes");
  const existing = volumes.find((volume) => stringAt(volume, "name").startsWith("kube-api-access-"));
  const name = existing === undefined ? `kube-api-access-${random.suffix(5)}` : stringAt(existing, "name");
  let isUsed = false;
  for (const field of ["initContainers", "containers"]) {
    for (const container of listOf(spec, field)) {
      const mounts = listOf(container, "volumeMounts");
      if (mounts.some((mount) => stringAt(mount, "mountPath") === mountPath)) continue;
      container["volumeMounts"] = [...mounts, { name, readOnly: true, mountPath }];
      isUsed = true;
    }
  }
  if (isUsed && existing === undefined) spec["volumes"] = [...volumes, tokenVolume(name)];
}

function tokenVolume(name: string): JsonObject {
  const namespaceFile = { path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } };
  return {
    name,
    projected: {
      sources: [
        { serviceAccountToken: { expirationSeconds: tokenSeconds, path: "token" } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
        { downwardAPI: { items: [namespaceFile] } },
      ],
      defaultMode: 420,
    },
  };
}

function listOf(object: JsonObject, field: string): JsonObject[] {
  const value = object[field];
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function isEmptyList(value: unknown): boolean {
  return !Array.isArray(value) || value.length === 0;
}
