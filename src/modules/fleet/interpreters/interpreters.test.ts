import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asManifest, builtInInterpreter, withoutIrrelevant } from "./index.js";
import type { StatusItem } from "./types.js";

const NOW = "2026-01-02T03:04:05Z";
const deployment = builtInInterpreter("apps/v1", "Deployment");
const job = builtInInterpreter("batch/v1", "Job");

function pod(more: JsonObject = {}): JsonObject {
  return { containers: [{ name: "app", image: "registry.example/app:1.0" }], ...more };
}

function workload(podSpec: JsonObject, more: JsonObject = {}): JsonObject {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace: "demo", generation: 3 },
    spec: { replicas: 4, template: { spec: podSpec } },
    ...more,
  };
}

function item(clusterName: string, status?: JsonObject): StatusItem {
  return status === undefined ? { clusterName } : { clusterName, status };
}

const done: JsonObject = {
  succeeded: 1,
  startTime: "2026-01-01T00:00:00Z",
  completionTime: "2026-01-01T00:01:00Z",
  conditions: [
    { type: "SuccessCriteriaMet", status: "True" },
    { type: "Complete", status: "True" },
  ],
};
const broken: JsonObject = { failed: 1, conditions: [{ type: "Failed", status: "True" }] };

test("a replica asks for what its containers ask for together, or for the largest init container", () => {
  const object = workload(
    pod({
      containers: [
        { name: "a", resources: { requests: { cpu: "250m", memory: "1Gi" } } },
        { name: "b", resources: { limits: { cpu: "1", "nvidia.com/gpu": 1 } } },
      ],
      initContainers: [
        { name: "load", resources: { requests: { memory: "3Gi" } } },
        { name: "proxy", restartPolicy: "Always", resources: { requests: { cpu: "50m" } } },
      ],
      overhead: { cpu: "10m" },
      nodeSelector: { gpu: "yes" },
      tolerations: [{ key: "gpu", operator: "Exists" }],
    }),
  );
  expect(deployment.replicas(object)).toEqual({
    replicas: 4,
    requirements: {
      nodeClaim: { nodeSelector: { gpu: "yes" }, tolerations: [{ key: "gpu", operator: "Exists" }] },
      resourceRequest: { cpu: "1310m", memory: "3Gi", "nvidia.com/gpu": "1" },
    },
  });
  expect(deployment.replicas(workload(pod()))).toEqual({ replicas: 4, requirements: undefined });
  expect(builtInInterpreter("v1", "ConfigMap").replicas({})).toBeUndefined();
});

test("replicas are revised where the kind keeps them", () => {
  expect(deployment.revise(workload(pod()), 7)["spec"]).toMatchObject({ replicas: 7 });
  expect(job.replicas({ spec: { parallelism: 5, completions: 3, template: { spec: pod() } } })?.replicas).toBe(3);
  expect(job.revise({ spec: { parallelism: 5 } }, 2)).toEqual({ spec: { parallelism: 2 } });
});

test("a Deployment is healthy when its status is about this generation and all replicas are updated and available", () => {
  const status = { observedGeneration: 3, updatedReplicas: 4, availableReplicas: 4 };
  const health = (more: JsonObject): string => deployment.health(workload(pod(), { status: { ...status, ...more } }));
  expect(health({})).toBe("Healthy");
  expect(health({ availableReplicas: 3 })).toBe("Unhealthy");
  expect(health({ observedGeneration: 2 })).toBe("Unhealthy");
  expect(deployment.health(workload(pod()))).toBe("Unhealthy");
  expect(builtInInterpreter("v1", "Pod").health({ status: { phase: "Running" } })).toBe("Unhealthy");
  expect(builtInInterpreter("fleet.example.com/v1", "Gizmo").health({})).toBe("Healthy");
});

test("what a member tells of a Deployment names the generations of the object and of its template", () => {
  const annotations = { "resourcetemplate.karmada.io/generation": "2" };
  const object = workload(pod(), {
    metadata: { name: "web", namespace: "demo", generation: 3, annotations },
    status: { replicas: 4, readyReplicas: 0, observedGeneration: 3, conditions: [{ type: "Available" }] },
  });
  expect(deployment.reflectStatus(object)).toEqual({
    generation: 3,
    resourceTemplateGeneration: 2,
    observedGeneration: 3,
    replicas: 4,
  });
});

test("what a member always says of a StatefulSet or a DaemonSet is told when it is nothing, too", () => {
  const idle = { metadata: { name: "db", namespace: "demo", generation: 1 }, status: { replicas: 0 } };
  expect(builtInInterpreter("apps/v1", "StatefulSet").reflectStatus(idle)).toEqual({
    generation: 1,
    replicas: 0,
    availableReplicas: 0,
  });
  expect(builtInInterpreter("apps/v1", "DaemonSet").reflectStatus({ ...idle, status: { numberReady: 2 } })).toEqual({
    generation: 1,
    currentNumberScheduled: 0,
    desiredNumberScheduled: 0,
    numberMisscheduled: 0,
    numberReady: 2,
  });
});

test("counters of members are summed, and the template counts as observed when all of them have observed it", () => {
  const first = { replicas: 4, readyReplicas: 4, generation: 1, observedGeneration: 1, resourceTemplateGeneration: 3 };
  const second = { ...first, replicas: 2, readyReplicas: 1, unavailableReplicas: 1 };
  const template = workload(pod(), { status: { replicas: 9, collisionCount: 1 } });
  expect(deployment.aggregateStatus(template, [item("a", first), item("b", second)], NOW)).toEqual({
    replicas: 6,
    readyReplicas: 5,
    unavailableReplicas: 1,
    collisionCount: 1,
    observedGeneration: 3,
  });
  const partly = deployment.aggregateStatus(template, [item("a", first), item("b")], NOW);
  expect(partly).toEqual({ replicas: 4, readyReplicas: 4, collisionCount: 1 });
});

test("a Job is complete when it is so everywhere, and failed once nothing runs and one member's has failed", () => {
  const complete = job.aggregateStatus({}, [item("a", done), item("b", { ...done, succeeded: 2 })], NOW);
  expect(complete).toMatchObject({ succeeded: 3, completionTime: "2026-01-01T00:01:00Z" });
  expect(complete?.["conditions"]).toMatchObject([{ type: "SuccessCriteriaMet" }, { type: "Complete" }]);
  const failed = job.aggregateStatus({}, [item("a", done), item("b", broken)], NOW);
  expect(failed?.["conditions"]).toMatchObject([
    { type: "FailureTarget" },
    { type: "Failed", message: "Job executed failed in member clusters b" },
  ]);
  expect(failed).not.toHaveProperty("completionTime");
  const running = job.aggregateStatus({}, [item("a", { active: 1 }), item("b", broken)], NOW);
  expect(running?.["conditions"]).toMatchObject([{ type: "FailureTarget" }]);
  expect(job.aggregateStatus({ status: { ...done } }, [item("a", broken)], NOW)).toBeUndefined();
});

test("addresses of all members are told once, names first", () => {
  const service = builtInInterpreter("v1", "Service");
  const template = { spec: { type: "LoadBalancer" } };
  const of = (...ingress: JsonObject[]): JsonObject => ({ loadBalancer: { ingress } });
  const one = item("a", of({ ip: "192.0.2.2" }, { hostname: "b.example" }));
  const other = item("b", of({ ip: "192.0.2.1" }, { ip: "192.0.2.2" }));
  expect(service.aggregateStatus(template, [one, other], NOW)).toEqual(
    of({ hostname: "b.example" }, { ip: "192.0.2.1" }, { ip: "192.0.2.2" }),
  );
  expect(service.aggregateStatus({ spec: { type: "ClusterIP" } }, [one], NOW)).toBeUndefined();
});

test("a pod is as its worst member says, and one that says nothing is pending", () => {
  const container = { name: "app", image: "x", imageID: "y", ready: true, restartCount: 0 };
  const status = { phase: "Running", containerStatuses: [container] };
  expect(builtInInterpreter("v1", "Pod").aggregateStatus({}, [item("a", status), item("b")], NOW)).toEqual({
    phase: "Pending",
    containerStatuses: [container],
  });
});

test("a workload depends on what its pods read, each once and without the account that every namespace has", () => {
  const object = workload(
    pod({
      serviceAccountName: "runner",
      imagePullSecrets: [{ name: "pull" }],
      containers: [
        { name: "a", envFrom: [{ configMapRef: { name: "conf" } }] },
        { name: "b", env: [{ name: "K", valueFrom: { secretKeyRef: { name: "pull", key: "k" } } }] },
      ],
      volumes: [
        { name: "v", projected: { sources: [{ configMap: { name: "conf" } }, { secret: { name: "tls" } }] } },
        { name: "w", persistentVolumeClaim: { claimName: "data" } },
        { name: "x", csi: { driver: "d", nodePublishSecretRef: { name: "csi" } } },
      ],
    }),
  );
  const names = deployment.dependencies(object).map(({ kind, name }) => `${kind}/${name}`);
  expect(names).toEqual([
    "ConfigMap/conf",
    "Secret/csi",
    "Secret/pull",
    "Secret/tls",
    "ServiceAccount/runner",
    "PersistentVolumeClaim/data",
  ]);
  expect(deployment.dependencies(workload(pod({ serviceAccountName: "default" })))).toEqual([]);
});

test("a member keeps what it decides itself", () => {
  const wanted = workload(pod(), { metadata: { name: "web", labels: {} } });
  expect(deployment.retain(wanted, { spec: { replicas: 9 } })["spec"]).toMatchObject({ replicas: 4 });
  const labelled = { ...wanted, metadata: { labels: { "resourcetemplate.karmada.io/retain-replicas": "true" } } };
  expect(deployment.retain(labelled, { spec: { replicas: 9 } })["spec"]).toMatchObject({ replicas: 9 });
  const account = builtInInterpreter("v1", "ServiceAccount");
  expect(account.retain({ secrets: [{ name: "a" }] }, { secrets: [{ name: "a" }, { name: "b" }] })).toEqual({
    secrets: [{ name: "a" }, { name: "b" }],
  });
});

test("a manifest carries nothing that is true in the hub only, and names its own labels and annotations", () => {
  const object: JsonObject = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: "j",
      uid: "u",
      resourceVersion: "7",
      generation: 2,
      ownerReferences: [{ name: "o" }],
      finalizers: ["f"],
      labels: { team: "a" },
      annotations: { note: "n" },
    },
    spec: {
      ttlSecondsAfterFinished: 30,
      selector: { matchLabels: { "controller-uid": "u", app: "j" } },
      template: { metadata: { labels: { "job-name": "j", app: "j" } } },
    },
    status: { active: 1 },
  };
  expect(withoutIrrelevant(object)).toEqual({
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: "j", labels: { team: "a" }, annotations: { note: "n" } },
    spec: { selector: { matchLabels: { app: "j" } }, template: { metadata: { labels: { app: "j" } } } },
  });
  const manifest = asManifest(object, "id");
  expect(manifest["metadata"]).toEqual({
    name: "j",
    labels: { team: "a", "work.karmada.io/permanent-id": "id" },
    annotations: {
      note: "n",
      "resourcetemplate.karmada.io/managed-annotations":
        "note,resourcetemplate.karmada.io/managed-annotations,resourcetemplate.karmada.io/managed-labels",
      "resourcetemplate.karmada.io/managed-labels": "team,work.karmada.io/permanent-id",
    },
  });
  expect(asManifest(manifest, "id")).toEqual(manifest);
});

test("training jobs tell their parts, what they read, and fail when one member's fails", () => {
  const torch = builtInInterpreter("kubeflow.org/v1", "PyTorchJob");
  const object = {
    metadata: { namespace: "demo" },
    spec: {
      pytorchReplicaSpecs: {
        Master: { template: { spec: pod() } },
        Worker: {
          replicas: 3,
          template: {
            spec: pod({
              containers: [
                { resources: { limits: { "nvidia.com/gpu": 2 } }, envFrom: [{ secretRef: { name: "s3" } }] },
              ],
            }),
          },
        },
      },
    },
  };
  expect(torch.components(object)).toEqual([
    { name: "master", replicas: 1, requirements: undefined },
    { name: "worker", replicas: 3, requirements: { resourceRequest: { "nvidia.com/gpu": "2" } } },
  ]);
  expect(torch.dependencies(object)).toEqual([{ apiVersion: "v1", kind: "Secret", namespace: "demo", name: "s3" }]);
  const status = {
    replicaStatuses: { Worker: { active: 2, failed: 1 } },
    conditions: [{ type: "Failed", status: "True" }],
  };
  const whole = torch.aggregateStatus(
    {},
    [item("a", status), item("b", { replicaStatuses: { Worker: { active: 1 } } })],
    NOW,
  );
  expect(whole).toMatchObject({
    replicaStatuses: { Worker: { active: 3, failed: 1 } },
    conditions: [{ type: "Failed", message: "PyTorchJob executed failed in member clusters: a" }],
  });
});

test("a model service depends on its runtime and the secrets and claims of its storage, and is ready when it is so everywhere", () => {
  const service = builtInInterpreter("tensorstack.dev/v1beta1", "MLService");
  const object = {
    metadata: { namespace: "demo" },
    spec: {
      releases: [
        { name: "v1", predictor: { model: { runtime: "torch" }, storage: { s3: { secretRef: { name: "s3" } } } } },
        { name: "v2", predictor: { model: { runtime: "torch" }, storage: { pvc: { name: "models" } } } },
      ],
    },
  };
  expect(service.dependencies(object).map(({ kind, name }) => `${kind}/${name}`)).toEqual([
    "MLServiceRuntime/torch",
    "Secret/s3",
    "PersistentVolumeClaim/models",
  ]);
  const ready = (status: string): JsonObject => ({
    conditions: [{ type: "Ready", status }],
    releases: [{ name: "v1", ready: status === "True", readyReplicas: 1, totalReplicas: 2 }],
  });
  const whole = service.aggregateStatus({}, [item("a", ready("True")), item("b", ready("False"))], NOW);
  expect(whole).toMatchObject({
    conditions: [{ type: "Ready", status: "False", message: "not ready in b" }],
    releases: [{ name: "v1", ready: false, readyReplicas: 2, totalReplicas: 4 }],
  });
});

test("a graph depends on the services of its steps and on whom it trusts, a model of many on its service", () => {
  const of = (kind: string, spec: JsonObject, annotations: Record<string, string> = {}): string[] =>
    builtInInterpreter("serving.kserve.io/v1alpha1", kind)
      .dependencies({ metadata: { namespace: "demo", annotations }, spec })
      .map((one) => `${one.kind}/${one.name}`);
  const steps = [{ serviceName: "a" }, { nodeName: "next" }, { serviceUrl: "http://x/" }];
  const nodes = { root: { steps }, next: { steps: [{ serviceName: "b" }, { serviceName: "a" }] } };

  expect(of("InferenceGraph", { nodes })).toEqual(["InferenceService/a", "InferenceService/b"]);
  const trusting = of("InferenceGraph", { nodes: {} }, { "serving.argosy.dev/ca-bundle": "own/ca.crt" });
  expect(trusting).toEqual(["ConfigMap/own"]);
  expect(of("TrainedModel", { inferenceService: "many" })).toEqual(["InferenceService/many"]);
});
