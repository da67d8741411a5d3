import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, asString } from "../../../kernel/schema/index.js";
import { balanced, cronJobStatus, disruptionStatus, jobStatus, podStatus, summed, worstPhase } from "./aggregate.js";
import { generationOf, namespaceOf, only, statusOf, valueAt, wholeAt, withoutEmpty, withValueAt } from "./fields.js";
import * as judge from "./health.js";
import { podDependencies, podSpecAt, requirementsOf } from "./pods.js";
import * as retain from "./retain.js";
import type { DependentObject, Interpreter, PartialInterpreter } from "./types.js";

/** Annotation of a member's object: generation of the template that it was made from. */
const TEMPLATE_GENERATION = "resourcetemplate.karmada.io/generation";
const TEMPLATE = ["spec", "template", "spec"] as const;
const REPLICAS = ["spec", "replicas"] as const;

/** The named counters of a status, with the generations of the object and of its template; `always`: those that are told when they are 0, too. */
function counters(fields: readonly string[], always: readonly string[] = []): Interpreter["reflectStatus"] {
  return (object) => {
    const template = Number(asString(asObject(valueAt(object, ["metadata", "annotations"]))[TEMPLATE_GENERATION]));
    const status = statusOf(object);
    const told = withoutEmpty({
      generation: generationOf(object),
      resourceTemplateGeneration: Number.isSafeInteger(template) ? template : 0,
      ...only(status, [...fields, "observedGeneration"]),
    });
    return { ...told, ...Object.fromEntries(always.map((field) => [field, status[field] ?? 0])) };
  };
}

function part(fields: readonly string[]): Interpreter["reflectStatus"] {
  return (object) => (object["status"] === undefined ? undefined : only(statusOf(object), fields));
}

/** Kinds with `spec.replicas` and a pod template. */
function scaled(usual: number): Pick<Interpreter, "replicas" | "revise"> {
  return {
    replicas: (object) => ({
      replicas: wholeAt(object, REPLICAS, usual),
      requirements: requirementsOf(podSpecAt(object, TEMPLATE)),
    }),
    revise: (object, replicas) => withValueAt(object, REPLICAS, replicas),
  };
}

function fromPods(path: readonly string[]): Interpreter["dependencies"] {
  return (object) => podDependencies(podSpecAt(object, path), namespaceOf(object));
}

const DEPLOYMENT = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"];
const REPLICA_SET = ["replicas", "readyReplicas", "availableReplicas"];
const STATEFUL_SET = ["availableReplicas", "currentReplicas", "readyReplicas", "replicas", "updatedReplicas"];
const DAEMON_SET = [
  "currentNumberScheduled",
  "desiredNumberScheduled",
  "numberAvailable",
  "numberMisscheduled",
  "numberReady",
  "updatedNumberScheduled",
  "numberUnavailable",
];
const DAEMON_ALWAYS = ["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"];

/** A StatefulSet makes the claims of its own templates itself. */
function statefulDependencies(object: JsonObject): readonly DependentObject[] {
  const own = asObjects(valueAt(object, ["spec", "volumeClaimTemplates"])).map((claim) =>
    asString(asObject(claim["metadata"])["name"]),
  );
  return fromPods(TEMPLATE)(object).filter(
    ({ kind, name = "" }) => kind !== "PersistentVolumeClaim" || !own.includes(name),
  );
}

function ingressDependencies(object: JsonObject): readonly DependentObject[] {
  const names = asObjects(valueAt(object, ["spec", "tls"])).map((tls) => asString(tls["secretName"]));
  return [...new Set(names)]
    .filter((name) => name !== "")
    .map((name) => ({ apiVersion: "v1", kind: "Secret", namespace: namespaceOf(object), name }));
}

/** The Service that stands for an imported one, and its endpoints. */
function importDependencies(object: JsonObject): readonly DependentObject[] {
  const name = `derived-${asString(asObject(object["metadata"])["name"])}`;
  const namespace = namespaceOf(object);
  return [
    { apiVersion: "v1", kind: "Service", namespace, name },
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      namespace,
      labelSelector: { matchLabels: { "kubernetes.io/service-name": name } },
    },
  ];
}

/** No more run at once than are still to be completed. */
function jobReplicas(object: JsonObject): number {
  const parallelism = wholeAt(object, ["spec", "parallelism"], 1);
  return Math.min(parallelism, asNumber(valueAt(object, ["spec", "completions"])) ?? parallelism);
}

function isBalanced(object: JsonObject): boolean {
  return valueAt(object, ["spec", "type"]) === "LoadBalancer";
}

/** What is known of the kinds of Kubernetes itself, by `apiVersion/kind`. */
export const NATIVE_KINDS: Readonly<Record<string, PartialInterpreter>> = {
  "apps/v1/Deployment": {
    ...scaled(0),
    health: judge.rolledOut,
    reflectStatus: counters(DEPLOYMENT),
    aggregateStatus: summed(DEPLOYMENT, true),
    dependencies: fromPods(TEMPLATE),
    retain: retain.retainReplicas,
  },
  "apps/v1/ReplicaSet": {
    ...scaled(0),
    health: judge.enoughReplicas,
    reflectStatus: counters(REPLICA_SET, ["replicas"]),
    aggregateStatus: summed(REPLICA_SET, true),
    dependencies: fromPods(TEMPLATE),
    retain: retain.retainReplicas,
  },
  "apps/v1/StatefulSet": {
    ...scaled(0),
    health: judge.rolledOut,
    reflectStatus: counters(STATEFUL_SET, ["replicas", "availableReplicas"]),
    aggregateStatus: summed(STATEFUL_SET, true),
    dependencies: statefulDependencies,
    retain: retain.retainReplicas,
  },
  "apps/v1/DaemonSet": {
    health: judge.onEveryNode,
    reflectStatus: counters(DAEMON_SET, DAEMON_ALWAYS),
    aggregateStatus: summed(DAEMON_SET, true),
    dependencies: fromPods(TEMPLATE),
  },
  "batch/v1/Job": {
    replicas: (object) => ({
      replicas: jobReplicas(object),
      requirements: requirementsOf(podSpecAt(object, TEMPLATE)),
    }),
    revise: (object, replicas) => withValueAt(object, ["spec", "parallelism"], replicas),
    reflectStatus: part(["active", "succeeded", "failed", "conditions", "startTime", "completionTime"]),
    aggregateStatus: jobStatus,
    dependencies: fromPods(TEMPLATE),
    retain: retain.retainJob,
  },
  "batch/v1/CronJob": {
    aggregateStatus: cronJobStatus,
    dependencies: fromPods(["spec", "jobTemplate", "spec", "template", "spec"]),
  },
  "v1/Pod": {
    replicas: (object) => ({ replicas: 1, requirements: requirementsOf(asObject(object["spec"])) }),
    health: judge.podHealth,
    aggregateStatus: podStatus,
    dependencies: fromPods(["spec"]),
    retain: retain.retainPod,
  },
  "v1/Service": {
    health: judge.serviceHealth,
    reflectStatus: (object) => (isBalanced(object) ? part(["loadBalancer"])(object) : undefined),
    aggregateStatus: balanced(isBalanced),
    retain: retain.retainService,
  },
  "networking.k8s.io/v1/Ingress": {
    health: judge.ingressHealth,
    aggregateStatus: balanced(() => true),
    dependencies: ingressDependencies,
  },
  "v1/PersistentVolumeClaim": {
    health: judge.claimHealth,
    aggregateStatus: worstPhase(["Lost", "Pending", "Bound"], "Pending"),
    retain: retain.retainClaim,
  },
  "v1/PersistentVolume": {
    aggregateStatus: worstPhase(["Failed", "Pending", "Available", "Bound", "Released"], "Pending"),
    retain: retain.retainVolume,
  },
  "policy/v1/PodDisruptionBudget": {
    health: judge.disruptionHealth,
    reflectStatus: part(["disruptionsAllowed", "expectedPods", "desiredHealthy", "currentHealthy", "disruptedPods"]),
    aggregateStatus: disruptionStatus,
  },
  "autoscaling/v2/HorizontalPodAutoscaler": {
    reflectStatus: part(["currentReplicas", "desiredReplicas"]),
    aggregateStatus: summed(["currentReplicas", "desiredReplicas"], false),
  },
  "v1/ServiceAccount": { retain: retain.retainAccount },
  "v1/Secret": { retain: retain.retainToken },
  "multicluster.x-k8s.io/v1alpha1/ServiceImport": { dependencies: importDependencies },
};
