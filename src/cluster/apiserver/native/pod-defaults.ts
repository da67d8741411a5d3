import { formatQuantity } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import {
  asList,
  asObject,
  asObjects,
  asString,
  at,
  ensureObject,
  isEmpty,
  setDefault,
  setDefaultText,
} from "../registry/read.js";
import { roundAmounts } from "./amounts.js";
import { tagOf } from "./pods/images.js";
import { aggregate } from "./pods/resources.js";

const fileMode = 0o644;
const tokenSeconds = 3600;
const graceSeconds = 30;
const portNumber = (port: JsonObject): number =>
  typeof port["containerPort"] === "number" ? port["containerPort"] : 0;

/** Defaults of a pod spec, in pods and in templates. */
export function defaultPodSpec(spec: JsonObject): void {
  setDefaultText(spec, "restartPolicy", "Always");
  setDefaultText(spec, "dnsPolicy", "ClusterFirst");
  setDefaultText(spec, "schedulerName", "default-scheduler");
  setDefault(spec, "terminationGracePeriodSeconds", graceSeconds);
  const grace = spec["terminationGracePeriodSeconds"];
  if (typeof grace === "number" && grace < 0) spec["terminationGracePeriodSeconds"] = 1;
  ensureObject(spec, "securityContext");
  mirrorServiceAccount(spec);
  for (const field of ["initContainers", "containers", "ephemeralContainers"])
    for (const container of asObjects(spec[field])) defaultContainer(container);
  roundAmounts(spec, ["overhead"]);
  roundAmounts(spec["resources"], ["limits", "requests"]);
  for (const volume of asObjects(spec["volumes"])) defaultVolume(volume);
}

/** `serviceAccount` is the older name of `serviceAccountName`; both are always there. */
export function mirrorServiceAccount(spec: JsonObject): void {
  const name = asString(spec["serviceAccountName"]) || asString(spec["serviceAccount"]);
  if (name === "") return;
  spec["serviceAccountName"] = name;
  spec["serviceAccount"] = name;
}

/** What pods have beyond their templates: requests follow limits, host ports follow container ports on the host's network. */
export function defaultPod(spec: JsonObject): void {
  defaultPodSpec(spec);
  setDefault(spec, "enableServiceLinks", true);
  const containers = [...asObjects(spec["initContainers"]), ...asObjects(spec["containers"])];
  for (const container of containers) requestsFromLimits(container);
  if (isObject(spec["resources"])) defaultPodResources(spec, spec["resources"]);
  if (spec["hostNetwork"] === true)
    for (const port of containers.flatMap((container) => asObjects(container["ports"])))
      setDefault(port, "hostPort", portNumber(port));
}

/** What a pod asks for as a whole is completed from what its containers ask for, and from its limits. */
function defaultPodResources(spec: JsonObject, resources: JsonObject): void {
  const setMissing = (kind: string, amounts: readonly (readonly [string, Json])[]): void => {
    for (const [name, amount] of amounts) setDefault(ensureObject(resources, kind), name, amount);
  };
  const ofContainers = (kind: "limits" | "requests"): [string, Json][] =>
    [...aggregate(spec, kind)].map(([name, amount]) => [name, formatQuantity(amount)]);
  const isAsked = (name: string): boolean => asObject(resources["requests"])[name] !== undefined;
  if (isEmpty(resources["limits"]) && isEmpty(resources["requests"])) return;
  setMissing(
    "limits",
    ofContainers("limits").filter(([name]) => isHugePage(name) && !isAsked(name)),
  );
  if (isEmpty(resources["limits"])) return;
  setMissing(
    "requests",
    ofContainers("requests").filter(([name]) => name === "cpu" || name === "memory"),
  );
  const limits = Object.entries(asObject(resources["limits"]));
  setMissing(
    "requests",
    limits.flatMap(([name, limit]) =>
      limit !== undefined && (name === "cpu" || name === "memory" || isHugePage(name)) ? [[name, limit] as const] : [],
    ),
  );
}

const isHugePage = (name: string): boolean => name.startsWith("hugepages-");

function requestsFromLimits(container: JsonObject): void {
  const limits = at(container, "resources", "limits");
  if (isEmpty(limits)) return;
  const requests = ensureObject(asObject(container["resources"]), "requests");
  for (const [name, value] of Object.entries(asObject(limits)))
    if (value !== undefined) setDefault(requests, name, value);
}

function defaultContainer(container: JsonObject): void {
  setDefaultText(container, "terminationMessagePath", "/dev/termination-log");
  setDefaultText(container, "terminationMessagePolicy", "File");
  setDefaultText(container, "imagePullPolicy", pullPolicyOf(asString(container["image"])));
  for (const variable of asObjects(container["env"])) {
    const reference = at(variable, "valueFrom", "fieldRef");
    if (reference !== undefined) setDefaultText(asObject(reference), "apiVersion", "v1");
  }
  for (const field of ["livenessProbe", "readinessProbe", "startupProbe"])
    if (container[field] !== undefined) defaultProbe(asObject(container[field]));
  roundAmounts(container["resources"], ["limits", "requests"]);
  for (const hook of ["postStart", "preStop"]) defaultHttp(at(container, "lifecycle", hook, "httpGet"));
}

/** An image without a tag, or with `latest`, is pulled anew each time. */
function pullPolicyOf(image: string): string {
  return tagOf(image) === "latest" ? "Always" : "IfNotPresent";
}

function defaultProbe(probe: JsonObject): void {
  const numbers = { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 };
  for (const [field, value] of Object.entries(numbers)) setDefault(probe, field, value);
  defaultHttp(probe["httpGet"]);
  if (probe["grpc"] !== undefined) setDefault(asObject(probe["grpc"]), "service", "");
}

function defaultHttp(action: JsonObject[string]): void {
  if (action === undefined) return;
  setDefaultText(asObject(action), "path", "/");
  setDefaultText(asObject(action), "scheme", "HTTP");
}

function defaultVolume(volume: JsonObject): void {
  if (Object.keys(volume).every((field) => field === "name")) volume["emptyDir"] = {};
  for (const source of ["secret", "configMap", "downwardAPI", "projected"])
    if (volume[source] !== undefined) setDefault(asObject(volume[source]), "defaultMode", fileMode);
  if (volume["hostPath"] !== undefined) setDefault(asObject(volume["hostPath"]), "type", "");
  defaultItems(volume["downwardAPI"]);
  for (const source of asList(at(volume, "projected", "sources"))) {
    defaultItems(at(source, "downwardAPI"));
    const token = at(source, "serviceAccountToken");
    if (token !== undefined) setDefault(asObject(token), "expirationSeconds", tokenSeconds);
  }
  const claim = at(volume, "ephemeral", "volumeClaimTemplate", "spec");
  if (claim === undefined) return;
  setDefaultText(asObject(claim), "volumeMode", "Filesystem");
  roundAmounts(at(claim, "resources"), ["limits", "requests"]);
}

function defaultItems(source: JsonObject[string]): void {
  for (const item of asObjects(at(source, "items")))
    if (item["fieldRef"] !== undefined) setDefaultText(asObject(item["fieldRef"]), "apiVersion", "v1");
}

/** Best effort, burstable or guaranteed: what the requests and limits of the pod say, or else those of all containers. */
export function qosClass(spec: JsonObject): string {
  const containers = isObject(spec["resources"])
    ? [spec["resources"]]
    : [...asObjects(spec["containers"]), ...asObjects(spec["initContainers"])].map((one) => asObject(one["resources"]));
  const named = (resources: JsonObject, kind: string): string[] =>
    Object.keys(asObject(resources[kind])).filter((name) => name === "cpu" || name === "memory");
  if (containers.every((one) => named(one, "requests").length + named(one, "limits").length === 0)) return "BestEffort";
  const guaranteed = containers.every((one) => {
    const limits = asObject(one["limits"]);
    const requests = asObject(one["requests"]);
    return ["cpu", "memory"].every(
      (name) => limits[name] !== undefined && (requests[name] ?? limits[name]) === limits[name],
    );
  });
  return guaranteed ? "Guaranteed" : "Burstable";
}
