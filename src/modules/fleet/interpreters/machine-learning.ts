import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { asList, asObject, asObjects, asString, cloneJson, isObject } from "../../../kernel/schema/index.js";
import { readyEverywhere, releasesOf, statusesIn, trainingStatus } from "./aggregate.js";
import { namespaceOf, statusOf, valueAt, wholeAt, withValueAt } from "./fields.js";
import * as judge from "./health.js";
import { NameSet, podDependencies, podSpecAt, ROLE_FIELDS, requirementsOf } from "./pods.js";
import type { Component, DependentObject, Interpreter, PartialInterpreter } from "./types.js";

type Depends = Interpreter["dependencies"];

const TEMPLATE = ["spec", "template", "spec"] as const;

/** Every reference once, in the order of first mention. */
function distinct(references: readonly DependentObject[]): DependentObject[] {
  return [...new Map(references.map((reference) => [JSON.stringify(reference), reference])).values()];
}

function reference(apiVersion: string, kind: string, namespace: string, name: Json | undefined): DependentObject[] {
  return typeof name === "string" && name !== "" ? [{ apiVersion, kind, namespace, name }] : [];
}

function component(name: string, replicas: number, podSpec: JsonObject): Component {
  return { name, replicas, requirements: requirementsOf(podSpec) };
}

/** A job of Kubeflow's training operator: roles, each with replicas and a pod template. */
function trainingJob(kind: string): PartialInterpreter {
  const roles = (object: JsonObject): [string, JsonObject][] =>
    Object.entries(asObject(valueAt(object, ["spec", ROLE_FIELDS[kind] ?? ""]))).map(([role, value]) => [
      role,
      asObject(value),
    ]);
  return {
    components: (object) =>
      roles(object).map(([role, value]) =>
        component(role.toLowerCase(), wholeAt(value, ["replicas"], 1), podSpecAt(value, ["template", "spec"])),
      ),
    health: judge.unlessFailed("Failed"),
    aggregateStatus: trainingStatus(kind),
    dependencies: (object) =>
      distinct(
        roles(object).flatMap(([, value]) =>
          podDependencies(podSpecAt(value, ["template", "spec"]), namespaceOf(object)),
        ),
      ),
  };
}

const trainJob: PartialInterpreter = {
  health: (object) => (judge.conditionIn(object, "Failed") === "True" ? "Unhealthy" : "Healthy"),
  aggregateStatus: trainingStatus("TrainJob"),
  dependencies: (object) => {
    const runtime = asObject(valueAt(object, ["spec", "runtimeRef"]));
    const group = asString(runtime["apiGroup"]) === "" ? "trainer.kubeflow.org" : asString(runtime["apiGroup"]);
    const kind = asString(runtime["kind"]) === "" ? "ClusterTrainingRuntime" : asString(runtime["kind"]);
    // A runtime of a whole cluster is there, or is sent by a policy of its own.
    return kind === "ClusterTrainingRuntime"
      ? []
      : reference(`${group}/v1alpha1`, kind, namespaceOf(object), runtime["name"]);
  },
};

const notebook: PartialInterpreter = {
  replicas: (object) => ({ replicas: 1, requirements: requirementsOf(podSpecAt(object, TEMPLATE)) }),
  health: judge.notebookHealth,
  aggregateStatus: readyEverywhere(["readyReplicas"]),
  dependencies: (object) => podDependencies(podSpecAt(object, TEMPLATE), namespaceOf(object)),
};

/** The pod templates of a RayCluster's spec: head and groups of workers. */
function rayGroups(spec: JsonObject): Component[] {
  const head = asObject(spec["headGroupSpec"]);
  return [
    ...(isObject(head["template"]) ? [component("ray-head", 1, podSpecAt(head, ["template", "spec"]))] : []),
    ...asObjects(spec["workerGroupSpecs"]).map((group, index) => {
      const name = asString(group["groupName"]);
      return component(
        name === "" ? `worker-${index + 1}` : name,
        wholeAt(group, ["replicas"], 0),
        podSpecAt(group, ["template", "spec"]),
      );
    }),
  ];
}

function rayDependencies(spec: JsonObject, namespace: string): DependentObject[] {
  return [asObject(spec["headGroupSpec"]), ...asObjects(spec["workerGroupSpecs"])].flatMap((group) =>
    podDependencies(podSpecAt(group, ["template", "spec"]), namespace),
  );
}

/** Ray's kinds; `path` is where the spec of the RayCluster is. */
function ray(path: readonly string[], health: Interpreter["health"]): PartialInterpreter {
  return {
    components: (object) => rayGroups(podSpecAt(object, path)),
    health,
    aggregateStatus: readyEverywhere([
      "readyWorkerReplicas",
      "availableWorkerReplicas",
      "maxWorkerReplicas",
      "minWorkerReplicas",
      "desiredWorkerReplicas",
    ]),
    dependencies: (object) =>
      distinct([
        ...rayDependencies(podSpecAt(object, path), namespaceOf(object)),
        ...podDependencies(podSpecAt(object, ["spec", "submitterPodTemplate", "spec"]), namespaceOf(object)),
      ]),
  };
}

const PARTS = ["predictor", "transformer", "explainer"] as const;
const FRAMEWORKS = [
  "model",
  "sklearn",
  "xgboost",
  "tensorflow",
  "pytorch",
  "triton",
  "onnx",
  "huggingface",
  "lightgbm",
  "pmml",
];

/** KServe: what the parts of an InferenceService read, the runtime that it names, and the key of its storage. */
const inferenceDependencies: Depends = (object) => {
  const namespace = namespaceOf(object);
  return distinct(
    PARTS.flatMap((name) => {
      const part = asObject(valueAt(object, ["spec", name]));
      const models = FRAMEWORKS.map((framework) => asObject(part[framework]));
      const podSpec: JsonObject = { ...part, containers: [...asList(part["containers"]), ...models] };
      return [
        ...models.flatMap(({ runtime }) =>
          reference("serving.kserve.io/v1alpha1", "ServingRuntime", namespace, runtime),
        ),
        ...podDependencies(podSpec, namespace),
        ...models.flatMap((model) => [
          ...storageClaim(model["storageUri"], namespace),
          ...(isObject(model["storage"]) ? reference("v1", "Secret", namespace, "storage-config") : []),
        ]),
      ];
    }),
  );
};

const serviceReference = (namespace: string, name: Json | undefined): DependentObject[] =>
  reference("serving.kserve.io/v1beta1", "InferenceService", namespace, name);

/** KServe: the InferenceServices that a graph's steps name. */
const graphDependencies: Depends = (object) => {
  const namespace = namespaceOf(object);
  const [bundle] = asString(valueAt(object, ["metadata", "annotations", "serving.argosy.dev/ca-bundle"])).split("/");
  return distinct([
    ...Object.values(asObject(valueAt(object, ["spec", "nodes"]))).flatMap((node) =>
      asObjects(asObject(node)["steps"]).flatMap(({ serviceName }) => serviceReference(namespace, serviceName)),
    ),
    ...reference("v1", "ConfigMap", namespace, bundle),
  ]);
};

/** The claim in `pvc://claim/path`. */
function storageClaim(uri: Json | undefined, namespace: string): DependentObject[] {
  const [, claim] = /^pvc:\/\/([^/]+)/.exec(asString(uri)) ?? [];
  return reference("v1", "PersistentVolumeClaim", namespace, claim);
}

/** TensorStack: what a storage names, be it of a predictor, a transformer or a simple service. */
function storageDependencies(storage: JsonObject, namespace: string): DependentObject[] {
  return [
    ...reference("v1", "Secret", namespace, valueAt(storage, ["s3", "secretRef", "name"])),
    ...reference("v1", "PersistentVolumeClaim", namespace, valueAt(storage, ["pvc", "name"])),
  ];
}

const modelDependencies: Depends = (object) => {
  const namespace = namespaceOf(object);
  const predictors = asObjects(valueAt(object, ["spec", "releases"])).map((release) => asObject(release["predictor"]));
  const transformer = asObject(valueAt(object, ["spec", "transformer"]));
  return distinct([
    ...predictors.flatMap((predictor) =>
      reference("tensorstack.dev/v1beta1", "MLServiceRuntime", namespace, valueAt(predictor, ["model", "runtime"])),
    ),
    ...[...predictors, transformer].flatMap((part) => [
      ...podDependencies(podSpecAt(part, ["template", "spec"]), namespace),
      ...storageDependencies(asObject(part["storage"]), namespace),
    ]),
  ]);
};

/** TensorStack's MLService in several clusters: ready when it is so everywhere, releases with their replicas together. */
const modelStatus: Interpreter["aggregateStatus"] = (template, items, now) => {
  const status = readyEverywhere([])(template, items, now);
  if (status === undefined || items.length === 1) return status;
  const statuses = statusesIn(items);
  const paused = asObjects(statusOf(template)["conditions"]).filter(({ type }) => type === "Paused");
  return {
    ...status,
    conditions: [...asList(status["conditions"]), ...paused].map((condition) => cloneJson<Json>(condition)),
    releases: releasesOf(statuses),
  };
};

/** The container of a SimpleMLService: of the framework, or the pod that it gives itself. */
function simplePod(object: JsonObject): JsonObject {
  const spec = asObject(object["spec"]);
  const custom = asObject(asObject(spec["custom"])["spec"]);
  if (Object.keys(custom).length > 0) return custom;
  return { containers: ["tensorflow", "pytorch"].flatMap((name) => (isObject(spec[name]) ? [spec[name]] : [])) };
}

const simpleService: PartialInterpreter = {
  replicas: (object) => ({
    replicas: wholeAt(object, ["spec", "replicas"], 1),
    requirements: requirementsOf(simplePod(object)),
  }),
  revise: (object, replicas) => withValueAt(object, ["spec", "replicas"], replicas),
  health: judge.byCondition("Ready"),
  aggregateStatus: readyEverywhere([]),
  dependencies: (object) =>
    distinct([
      ...podDependencies(simplePod(object), namespaceOf(object)),
      ...storageDependencies(asObject(valueAt(object, ["spec", "storage"])), namespaceOf(object)),
    ]),
};

/** Kinds that only have pods to run, and whose readiness is a condition. */
function readyWithPods(path: readonly string[]): PartialInterpreter {
  return {
    health: judge.byCondition("Ready"),
    aggregateStatus: readyEverywhere([]),
    dependencies: (object) => podDependencies(podSpecAt(object, path), namespaceOf(object)),
  };
}

/** Kubeflow Pipelines' and Argo's runs. */
const workflow: PartialInterpreter = {
  health: (object) => {
    const phase = asString(statusOf(object)["phase"]);
    return phase === "" ? "Unknown" : phase === "Failed" || phase === "Error" ? "Unhealthy" : "Healthy";
  },
  dependencies: (object) => {
    const found = new NameSet();
    const spec = asObject(object["spec"]);
    found.add("ServiceAccount", spec["serviceAccountName"]);
    const templates = asObjects(spec["templates"]);
    const containers = templates.flatMap((template) => [asObject(template["container"]), asObject(template["script"])]);
    const inits = templates.flatMap((template) => asObjects(template["initContainers"]));
    const volumes = [spec, ...templates].flatMap((place) => asObjects(place["volumes"]));
    return distinct([
      ...found.references(namespaceOf(object)),
      ...podDependencies(
        {
          containers,
          initContainers: inits,
          volumes,
          imagePullSecrets: asList(spec["imagePullSecrets"]).map((item) => cloneJson(item)),
        },
        namespaceOf(object),
      ),
    ]);
  },
};

/** What is known of the kinds of machine learning, by `apiVersion/kind`. */
export const MACHINE_LEARNING_KINDS: Readonly<Record<string, PartialInterpreter>> = {
  ...Object.fromEntries(
    Object.keys(ROLE_FIELDS).flatMap((kind) =>
      ["kubeflow.org/v1", ...(kind === "MPIJob" ? ["kubeflow.org/v2beta1"] : [])].map((apiVersion) => [
        `${apiVersion}/${kind}`,
        trainingJob(kind),
      ]),
    ),
  ),
  "trainer.kubeflow.org/v1alpha1/TrainJob": trainJob,
  "kubeflow.org/v1/Notebook": notebook,
  "kubeflow.org/v1beta1/Notebook": notebook,
  "ray.io/v1/RayCluster": ray(["spec"], judge.rayClusterHealth),
  "ray.io/v1/RayJob": ray(["spec", "rayClusterSpec"], judge.rayJobHealth),
  "ray.io/v1/RayService": ray(["spec", "rayClusterConfig"], judge.byCondition("Ready")),
  "serving.kserve.io/v1beta1/InferenceService": {
    health: judge.byCondition("Ready"),
    aggregateStatus: readyEverywhere([]),
    dependencies: inferenceDependencies,
  },
  "serving.kserve.io/v1alpha1/InferenceGraph": {
    health: judge.byCondition("Ready"),
    aggregateStatus: readyEverywhere([]),
    dependencies: graphDependencies,
  },
  "serving.kserve.io/v1alpha1/TrainedModel": {
    health: judge.byCondition("Ready"),
    aggregateStatus: readyEverywhere([]),
    dependencies: (object) => serviceReference(namespaceOf(object), valueAt(object, ["spec", "inferenceService"])),
  },
  "serving.kserve.io/v1alpha1/ServingRuntime": {
    dependencies: (object) => podDependencies(asObject(object["spec"]), namespaceOf(object)),
  },
  "serving.knative.dev/v1/Service": readyWithPods(TEMPLATE),
  "tensorstack.dev/v1beta1/MLService": {
    health: judge.byCondition("Ready"),
    aggregateStatus: modelStatus,
    dependencies: modelDependencies,
  },
  "tensorstack.dev/v1beta1/MLServiceRuntime": {
    dependencies: (object) => podDependencies(podSpecAt(object, TEMPLATE), namespaceOf(object)),
  },
  "tensorstack.dev/v1beta1/SimpleMLService": simpleService,
  "argoproj.io/v1alpha1/Workflow": workflow,
};
