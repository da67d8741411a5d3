import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { valueAt, withValueAt } from "./fields.js";
import { textsOf } from "./pods.js";
import type { Interpreter } from "./types.js";

type Retain = Interpreter["retain"];

/** Label of a template: an autoscaler of the member decides about its replicas. */
const RETAIN_REPLICAS = "resourcetemplate.karmada.io/retain-replicas";

function kept(desired: JsonObject, observed: JsonObject, path: readonly string[]): JsonObject {
  const value = valueAt(observed, path);
  return value === undefined || value === "" || value === 0 ? desired : withValueAt(desired, path, value);
}

/** Replicas, where the template says that the member decides about them. */
export const retainReplicas: Retain = (desired, observed) =>
  textsOf(valueAt(desired, ["metadata", "labels"]))[RETAIN_REPLICAS] === "true"
    ? kept(desired, observed, ["spec", "replicas"])
    : desired;

/** What a member's API gives a Service, and does not let change. */
export const retainService: Retain = (desired, observed) => {
  const isSame = valueAt(desired, ["spec", "clusterIP"]) === "None";
  const withAddress = isSame ? desired : kept(desired, observed, ["spec", "clusterIP"]);
  return kept(withAddress, observed, ["spec", "healthCheckNodePort"]);
};

/** Secrets that a member's controllers gave an account are added to those that are wanted. */
export const retainAccount: Retain = (desired, observed) =>
  ["secrets", "imagePullSecrets"].reduce((object, field) => {
    const wanted = asObjects(desired[field]);
    const names = new Set(wanted.map((item) => asString(item["name"])));
    const more = asObjects(observed[field]).filter((item) => !names.has(asString(item["name"])));
    return more.length === 0 ? object : withValueAt(object, [field], [...wanted, ...more]);
  }, desired);

export const retainClaim: Retain = (desired, observed) => kept(desired, observed, ["spec", "volumeName"]);

export const retainVolume: Retain = (desired, observed) => kept(desired, observed, ["spec", "claimRef"]);

/** A Job's selector and the labels by which it finds its pods are the member's. */
export const retainJob: Retain = (desired, observed) => {
  const labels = valueAt(observed, ["spec", "template", "metadata", "labels"]);
  const withSelector = kept(desired, observed, ["spec", "selector", "matchLabels"]);
  return isObject(labels)
    ? withValueAt(withSelector, ["spec", "template", "metadata", "labels"], labels)
    : withSelector;
};

/** The token of a service account's Secret is the member's. */
export const retainToken: Retain = (desired, observed) =>
  desired["type"] === "kubernetes.io/service-account-token" ? kept(desired, observed, ["data"]) : desired;

/** What a member gives a pod when it takes and places it. */
export const retainPod: Retain = (desired, observed) => {
  let pod = desired;
  for (const field of ["nodeName", "serviceAccountName", "volumes"]) pod = kept(pod, observed, ["spec", field]);
  for (const field of ["containers", "initContainers"]) {
    const theirs = new Map(
      asObjects(valueAt(observed, ["spec", field])).map((container) => [asString(container["name"]), container]),
    );
    const containers = asObjects(valueAt(pod, ["spec", field])).map((container): Json => {
      const mounts = asObject(theirs.get(asString(container["name"])))["volumeMounts"];
      return mounts === undefined ? container : { ...container, volumeMounts: mounts };
    });
    if (containers.length > 0) pod = withValueAt(pod, ["spec", field], containers);
  }
  return pod;
};
