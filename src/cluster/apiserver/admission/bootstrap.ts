import { isIPv4 } from "node:net";
import { ArgosyError, messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { bootstrapRoles } from "../auth/index.js";
import { equalJson, objectAt, stringAt } from "../fields.js";
import { objectKey } from "../store/keys.js";
import type { ApiResponse, Store } from "../types.js";
import { type AddressRange, parseRange, toAddress } from "./address-pool.js";
import { renumberServices } from "./renumber.js";

/** Runs one request through the whole line as `system:apiserver` (group `system:masters`). */
export type Submit = (method: string, path: string, body?: JsonObject) => Promise<ApiResponse>;

export interface BootstrapOptions {
  readonly store: Store;
  readonly submit: Submit;
  /** ClusterRoles besides those that every cluster has. */
  readonly roles?: readonly JsonObject[];
}

/** The objects that a cluster is born with could not be written. */
export class BootstrapError extends ArgosyError {
  constructor(message: string) {
    super("BootstrapFailed", message);
  }
}

interface Wanted {
  readonly group: string;
  readonly plural: string;
  readonly namespace: string;
  readonly object: JsonObject;
}

/** Makes the namespaces, roles, priority classes and the `kubernetes` Service that are missing; puts changed default roles right. */
export async function ensureBootstrapObjects(
  options: BootstrapOptions & { readonly serviceCidrs: readonly string[] },
): Promise<void> {
  const inNamespace = (namespace: string, object: JsonObject) => ({ group: "", plural: "services", namespace, object });
  const ranges = options.serviceCidrs.map(parseRange);
  await renumberServices(options.store, ranges);
  await writeAll(options, namespaces());
  await writeAll(options, [
    ...roles(options.roles),
    ...priorityClasses(),
    ...ranges.slice(0, 1).map((range) => inNamespace("default", apiService(range))),
  ]);
}

/** Tells pods where the API server answers: endpoint of the `kubernetes` Service. `host` must be an IPv4 address. */
export async function publishApiAddress(options: BootstrapOptions, host: string, port: number): Promise<void> {
  if (!isIPv4(host)) return;
  const ports = [{ name: "https", port, protocol: "TCP" }];
  const slice: JsonObject = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: "IPv4",
    endpoints: [{ addresses: [host], conditions: { ready: true } }],
    ports,
  };
  // Both are written here, so nobody shall make slices of the older form.
  const endpoints: JsonObject = {
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: {
      name: "kubernetes",
      namespace: "default",
      labels: { "endpointslice.kubernetes.io/skip-mirror": "true" },
    },
    subsets: [{ addresses: [{ ip: host }], ports }],
  };
  await replace(options, { group: "", plural: "endpoints", namespace: "default", object: endpoints });
  await replace(options, { group: "discovery.k8s.io", plural: "endpointslices", namespace: "default", object: slice });
}

function namespaces(): Wanted[] {
  return ["default", "kube-system", "kube-public", "kube-node-lease"].map((name) => ({
    group: "",
    plural: "namespaces",
    namespace: "",
    object: { apiVersion: "v1", kind: "Namespace", metadata: { name } },
  }));
}

function roles(more: readonly JsonObject[] = []): Wanted[] {
  return [...bootstrapRoles(), ...more].map((object) => ({
    group: "rbac.authorization.k8s.io",
    plural: `${stringAt(object, "kind").toLowerCase()}s`,
    namespace: stringAt(objectAt(object, "metadata"), "namespace"),
    object,
  }));
}

function priorityClasses(): Wanted[] {
  const classes = [
    [
      "system-cluster-critical",
      2_000_000_000,
      "must run in the cluster, but can be moved to another node if necessary",
    ],
    ["system-node-critical", 2_000_001_000, "must not be moved from their current node"],
  ] as const;
  return classes.map(([name, value, use]) => ({
    group: "scheduling.k8s.io",
    plural: "priorityclasses",
    namespace: "",
    object: {
      apiVersion: "scheduling.k8s.io/v1",
      kind: "PriorityClass",
      metadata: { name },
      value,
      description: `Used for system critical pods that ${use}.`,
    },
  }));
}

function apiService({ first }: AddressRange): JsonObject {
  const labels = { component: "apiserver", provider: "kubernetes" };
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kubernetes", namespace: "default", labels },
    spec: {
      type: "ClusterIP",
      clusterIP: toAddress(first),
      ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: 443 }],
    },
  };
}

async function writeAll(options: BootstrapOptions, list: readonly Wanted[]): Promise<void> {
  const results = await Promise.allSettled(list.map((wanted) => ensure(options, wanted)));
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw new BootstrapError(messageOf(failed.reason));
}

async function ensure(options: BootstrapOptions, wanted: Wanted): Promise<void> {
  const found = options.store.get(keyOf(wanted))?.value;
  if (found === undefined) await send(options, "POST", wanted);
  else if (wanted.group === "rbac.authorization.k8s.io" && needsRepair(found, wanted.object))
    await send(options, "PUT", repaired(found, wanted));
}

async function replace(options: BootstrapOptions, wanted: Wanted): Promise<void> {
  const found = options.store.get(keyOf(wanted))?.value;
  if (found === undefined) await send(options, "POST", wanted);
  else if (!["subsets", "endpoints", "ports"].every((field) => equalJson(found[field], wanted.object[field])))
    await send(options, "PUT", repaired(found, wanted));
}

/** Whether a default role or binding lost something; what people added to it stays. */
function needsRepair(found: JsonObject, wanted: JsonObject): boolean {
  const annotations = objectAt(objectAt(found, "metadata"), "annotations");
  if (annotations["rbac.authorization.kubernetes.io/autoupdate"] === "false") return false;
  // Gathered rules are the gathering controller's.
  const fields = wanted["aggregationRule"] === undefined ? ["rules", "subjects"] : ["aggregationRule"];
  return fields.some((field) => lacks(found[field], wanted[field]));
}

function lacks(found: JsonObject[string], wanted: JsonObject[string]): boolean {
  if (!Array.isArray(wanted)) return wanted !== undefined && !equalJson(found, wanted);
  return wanted.some((item) => !Array.isArray(found) || !found.some((known) => equalJson(known, item)));
}

function repaired(found: JsonObject, wanted: Wanted): Wanted {
  const metadata = objectAt(found, "metadata");
  const kept = { ...objectAt(wanted.object, "metadata"), resourceVersion: stringAt(metadata, "resourceVersion") };
  return { ...wanted, object: { ...wanted.object, metadata: kept } };
}

async function send(options: BootstrapOptions, method: "POST" | "PUT", wanted: Wanted): Promise<void> {
  const version = stringAt(wanted.object, "apiVersion");
  const root = wanted.group === "" ? "/api/v1" : `/apis/${version}`;
  const scope = wanted.namespace === "" ? "" : `/namespaces/${wanted.namespace}`;
  const name = stringAt(objectAt(wanted.object, "metadata"), "name");
  const path = `${root}${scope}/${wanted.plural}${method === "PUT" ? `/${name}` : ""}`;
  const response = await options.submit(method, path, wanted.object);
  // 409: another start of the same server was faster.
  if (response.status >= 300 && response.status !== 409)
    throw new BootstrapError(`${method} ${path} (${name}) was answered ${response.status}: ${textOf(response)}`);
}

function textOf(response: ApiResponse): string {
  return response.body instanceof Uint8Array ? Buffer.from(response.body).toString("utf8").slice(0, 500) : "";
}

function keyOf({ group, plural, namespace, object }: Wanted): string {
  return objectKey({ group, plural }, namespace, stringAt(objectAt(object, "metadata"), "name"));
}
