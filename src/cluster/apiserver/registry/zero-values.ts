import type { ShapeType } from "./shape.js";

/*
 * The API server answers with objects that went through Go structs: an optional field that is a plain value vanishes when
 * it is zero, one that is a pointer keeps its zero. The schemas do not say which is which; these tables do. Strings are
 * mostly plain, numbers and booleans mostly pointers, so each table lists the rarer sort.
 */

const plainBooleans = new Set(
  (
    "hostNetwork hostPID hostIPC stdin stdinOnce tty readOnly paused publishNotReadyAddresses unschedulable authenticated " +
    "denied deprecated exclusiveMaximum exclusiveMinimum globalDefault nullable preserveUnknownFields uniqueItems " +
    "insecureSkipTLSVerify sslEnabled chapAuthDiscovery chapAuthSession x-kubernetes-embedded-resource x-kubernetes-int-or-string"
  ).split(" "),
);

const plainNumbers = new Set(
  (
    "minReadySeconds initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold hostPort nodePort " +
    "healthCheckNodePort observedGeneration generation active succeeded failed availableReplicas fullyLabeledReplicas " +
    "readyReplicas updatedReplicas unavailableReplicas currentReplicas numberAvailable numberUnavailable " +
    "updatedNumberScheduled count deprecatedCount number signal sizeBytes partition retryAfterSeconds code"
  ).split(" "),
);

const pointerNumbers = new Set([
  "RollingUpdateStatefulSetStrategy.partition",
  "ClientIPConfig.timeoutSeconds",
  "ListMeta.remainingItemCount",
]);

const plainByOwner = new Set([
  "DeploymentStatus.replicas",
  "CustomResourceColumnDefinition.priority",
  "HorizontalPodAutoscalerStatus.currentReplicas",
]);

const pointerStrings = new Set(
  (
    "storageClassName ingressClassName preemptionPolicy volumeMode mountPropagation fsGroupChangePolicy loadBalancerClass " +
    "appProtocol nodeName zone signerName runtimeClassName containerName pathType podReplacementPolicy completionMode " +
    "timeZone managedBy volumeAttributesClassName preferredHolder strategy holderIdentity"
  ).split(" "),
);
/** Optional strings that are plain although the name is on the list above. */
const plainStrings = new Set([
  "PodSpec.nodeName",
  "PersistentVolumeSpec.storageClassName",
  "ResourceFieldSelector.containerName",
]);

const nullableTimes = new Set(["lastProbeTime", "lastTransitionTime", "lastUpdateTime", "lastHeartbeatTime"]);
const eventTimes = new Set([
  "eventTime",
  "firstTimestamp",
  "lastTimestamp",
  "deprecatedFirstTimestamp",
  "deprecatedLastTimestamp",
]);

/** Optional lists that are written even when nothing is in them, and then as null. */
const nullLists = new Set(["ClusterRole.rules", "Role.rules", "EndpointSlice.endpoints", "EndpointSlice.ports"]);

/** Whether an empty list is written as null. */
export function isNullList(owner: string, field: string): boolean {
  return nullLists.has(`${owner}.${field}`);
}

/** Times that are no pointers are written as null when they are not set. */
export function isNullTime(owner: string, field: string): boolean {
  return (
    (owner.endsWith("Condition") && owner !== "Condition" && nullableTimes.has(field)) ||
    (owner === "Event" && eventTimes.has(field))
  );
}

/** Whether an optional field of a native kind is written even when its value is zero or empty. */
export function keepsZero(owner: string, field: string, type: ShapeType): boolean {
  const qualified = `${owner}.${field}`;
  switch (type) {
    case "boolean":
      return !plainBooleans.has(field) || owner === "PersistentVolumeClaimVolumeSource";
    case "integer":
    case "number":
      if (plainByOwner.has(qualified)) return false;
      return !plainNumbers.has(field) || pointerNumbers.has(qualified);
    case "string":
      if (owner === "EndpointPort" || owner === "Endpoint") return true;
      return pointerStrings.has(field) && !plainStrings.has(qualified);
    case "list":
    case "map":
      return false;
    default:
      return true;
  }
}
