import {
  addQuantities,
  compareQuantities,
  formatQuantity,
  type JsonObject,
  type Quantity,
  tryParseQuantity,
} from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import type { DependentObject, NodeClaim, ReplicaRequirements } from "./types.js";

type Amounts = Map<string, Quantity>;

/** What a pod of this spec needs; `undefined` when it asks for nothing. */
export function requirementsOf(podSpec: JsonObject): ReplicaRequirements | undefined {
  const nodeClaim = nodeClaimOf(podSpec);
  const resourceRequest = requestOf(podSpec);
  if (nodeClaim === undefined && resourceRequest === undefined) return undefined;
  return {
    ...(nodeClaim === undefined ? {} : { nodeClaim }),
    ...(resourceRequest === undefined ? {} : { resourceRequest }),
  };
}

function nodeClaimOf(podSpec: JsonObject): NodeClaim | undefined {
  const affinity = asObject(asObject(podSpec["affinity"])["nodeAffinity"])[
    "requiredDuringSchedulingIgnoredDuringExecution"
  ];
  const nodeSelector = podSpec["nodeSelector"];
  const tolerations = asObjects(podSpec["tolerations"]);
  const claim: NodeClaim = {
    ...(isObject(affinity) ? { hardNodeAffinity: affinity } : {}),
    ...(isObject(nodeSelector) ? { nodeSelector: textsOf(nodeSelector) } : {}),
    ...(tolerations.length === 0 ? {} : { tolerations }),
  };
  return Object.keys(claim).length === 0 ? undefined : claim;
}

/** The texts of a map, as labels are. */
export function textsOf(value: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries(asObject(value)).flatMap(([key, item]) => (typeof item === "string" ? [[key, item]] : [])),
  );
}

/**
 * What a pod asks for as the scheduler counts it: containers and sidecars together, or the largest init container with the
 * sidecars that run already, whichever is more, and the overhead. A limit without a request is a request.
 */
function requestOf(podSpec: JsonObject): Record<string, string> | undefined {
  const total: Amounts = new Map();
  const sidecars: Amounts = new Map();
  const highest: Amounts = new Map();
  for (const container of asObjects(podSpec["initContainers"])) {
    const wanted = requestsOf(container);
    if (container["restartPolicy"] === "Always") {
      addTo(sidecars, wanted);
      raiseTo(highest, sidecars);
    } else {
      addTo(wanted, sidecars);
      raiseTo(highest, wanted);
    }
  }
  for (const container of asObjects(podSpec["containers"])) addTo(total, requestsOf(container));
  addTo(total, sidecars);
  raiseTo(total, highest);
  addTo(total, amountsOf(podSpec["overhead"]));
  const asked = [...total].filter(([, quantity]) => quantity.nanos > 0n);
  return asked.length === 0
    ? undefined
    : Object.fromEntries(asked.map(([name, quantity]) => [name, formatQuantity(inFormatOf(name, quantity))]));
}

/** Sizes are told in powers of two, amounts in powers of ten, however they were written. */
function inFormatOf(name: string, { nanos }: Quantity): Quantity {
  const isSize = name === "memory" || name === "ephemeral-storage" || name.startsWith("hugepages-");
  return { nanos, format: isSize ? "BinarySI" : "DecimalSI" };
}

function requestsOf(container: JsonObject): Amounts {
  const resources = asObject(container["resources"]);
  return new Map([...amountsOf(resources["limits"]), ...amountsOf(resources["requests"])]);
}

function amountsOf(value: unknown): Amounts {
  return new Map(
    Object.entries(asObject(value)).flatMap(([name, text]) => {
      const quantity = typeof text === "string" || typeof text === "number" ? tryParseQuantity(text) : undefined;
      return quantity === undefined ? [] : [[name, quantity] as const];
    }),
  );
}

function addTo(total: Amounts, more: Amounts): void {
  for (const [name, quantity] of more) {
    const before = total.get(name);
    total.set(name, before === undefined ? quantity : addQuantities(before, quantity));
  }
}

function raiseTo(total: Amounts, floor: Amounts): void {
  for (const [name, quantity] of floor) {
    const before = total.get(name);
    if (before === undefined || compareQuantities(before, quantity) < 0) total.set(name, quantity);
  }
}

/** What a pod reads from its namespace: ConfigMaps, Secrets, its ServiceAccount, volume claims; by kind and name, each once. */
export function podDependencies(podSpec: JsonObject, namespace: string): DependentObject[] {
  const found = new NameSet();
  for (const field of ["initContainers", "containers", "ephemeralContainers"])
    for (const container of asObjects(podSpec[field])) containerReferences(container, found);
  for (const secret of asObjects(podSpec["imagePullSecrets"])) found.add("Secret", secret["name"]);
  for (const volume of asObjects(podSpec["volumes"])) volumeReferences(volume, found);
  const account = asString(podSpec["serviceAccountName"]);
  // Every namespace has that one.
  if (account !== "default") found.add("ServiceAccount", account);
  return found.references(namespace);
}

/** Names by kind, in the order in which they are told: ConfigMap, Secret, ServiceAccount, PersistentVolumeClaim. */
export class NameSet {
  readonly #names = new Map<string, Set<string>>(
    ["ConfigMap", "Secret", "ServiceAccount", "PersistentVolumeClaim"].map((kind) => [kind, new Set<string>()]),
  );

  add(kind: string, name: unknown): void {
    if (typeof name === "string" && name !== "") this.#names.get(kind)?.add(name);
  }

  references(namespace: string): DependentObject[] {
    return [...this.#names].flatMap(([kind, names]) =>
      [...names].toSorted().map((name) => ({ apiVersion: "v1", kind, namespace, name })),
    );
  }
}

function containerReferences(container: JsonObject, found: NameSet): void {
  for (const source of asObjects(container["envFrom"])) {
    found.add("ConfigMap", asObject(source["configMapRef"])["name"]);
    found.add("Secret", asObject(source["secretRef"])["name"]);
  }
  for (const variable of asObjects(container["env"])) {
    const source = asObject(variable["valueFrom"]);
    found.add("ConfigMap", asObject(source["configMapKeyRef"])["name"]);
    found.add("Secret", asObject(source["secretKeyRef"])["name"]);
  }
}

/** Volume sources that keep their credentials in a Secret, and under which names. */
const SECRET_FIELDS = ["secretRef", "chapAuthSecretRef", "nodePublishSecretRef"] as const;

function volumeReferences(volume: JsonObject, found: NameSet): void {
  found.add("ConfigMap", asObject(volume["configMap"])["name"]);
  found.add("Secret", asObject(volume["secret"])["secretName"]);
  found.add("Secret", asObject(volume["azureFile"])["secretName"]);
  found.add("PersistentVolumeClaim", asObject(volume["persistentVolumeClaim"])["claimName"]);
  for (const source of asObjects(asObject(volume["projected"])["sources"])) {
    found.add("ConfigMap", asObject(source["configMap"])["name"]);
    found.add("Secret", asObject(source["secret"])["name"]);
  }
  for (const driver of Object.values(volume))
    if (isObject(driver)) for (const field of SECRET_FIELDS) found.add("Secret", asObject(driver[field])["name"]);
}

/** The pod spec at a path of an object; empty where there is none. */
export function podSpecAt(object: JsonObject, path: readonly string[]): JsonObject {
  return path.reduce<JsonObject>((value, field) => asObject(value[field]), object);
}

/** Where the kinds that Argosy knows keep the spec of their pods; for each kind all places, as in a job with several roles. */
export function podSpecPaths(object: JsonObject): readonly (readonly string[])[] {
  const kind = asString(object["kind"]);
  const fixed = PLACES[kind];
  if (fixed !== undefined) return [fixed];
  const roles = ROLE_FIELDS[kind];
  if (roles === undefined) return [];
  return Object.keys(asObject(asObject(object["spec"])[roles])).map((role) => [
    "spec",
    roles,
    role,
    "template",
    "spec",
  ]);
}

const TEMPLATE = ["spec", "template", "spec"] as const;
const PLACES: Readonly<Record<string, readonly string[]>> = {
  Pod: ["spec"],
  ReplicaSet: TEMPLATE,
  Deployment: TEMPLATE,
  DaemonSet: TEMPLATE,
  StatefulSet: TEMPLATE,
  Job: TEMPLATE,
  Notebook: TEMPLATE,
  MLServiceRuntime: TEMPLATE,
  CronJob: ["spec", "jobTemplate", "spec", "template", "spec"],
};

/** Kubeflow's jobs: the field of the spec that holds a pod template for each role. */
export const ROLE_FIELDS: Readonly<Record<string, string>> = {
  PyTorchJob: "pytorchReplicaSpecs",
  TFJob: "tfReplicaSpecs",
  MPIJob: "mpiReplicaSpecs",
  XGBoostJob: "xgbReplicaSpecs",
  PaddleJob: "paddleReplicaSpecs",
  JAXJob: "jaxReplicaSpecs",
};
