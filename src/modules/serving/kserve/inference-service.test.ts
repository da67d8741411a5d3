import { expect, test } from "vitest";
import type { Deployment, JsonObject } from "../../../kernel/kinds/index.js";
import {
  DeploymentKind,
  HorizontalPodAutoscalerKind,
  IngressKind,
  SecretKind,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import {
  addPod,
  answer,
  applyService,
  conditionOf,
  deploymentOf,
  namespace,
  type Setup,
  settle,
  startServing,
  until,
} from "./fixture.js";
import { type InferenceService, InferenceServiceKind } from "./inference-service-kind.js";

const onnx = (more: JsonObject = {}): JsonObject => ({
  model: { modelFormat: { name: "onnx" }, storageUri: "pvc://models/digits" },
  ...more,
});
const names = async (cluster: Setup, kind: typeof ServiceKind | typeof DeploymentKind | typeof IngressKind) =>
  (await cluster.client.resource(kind as typeof ServiceKind).list({ namespace })).items
    .map(({ metadata }) => metadata.name)
    .sort();

test("a model becomes a Deployment, Services and addresses, and is Ready only after it answered", async () => {
  const cluster = await startServing();
  await applyService(cluster, "digits", { predictor: onnx() });

  const deployment = await deploymentOf(cluster, "digits-predictor");
  const container = deployment.spec.template.spec?.containers[0];
  expect(container?.args).toEqual(["--model-name=digits", "--model-dir=/mnt/models", "--http=8080"]);
  expect(container?.volumeMounts).toEqual([
    { name: "kserve-source-0", mountPath: "/mnt/models", readOnly: true, subPath: "digits" },
  ]);
  const waiting = await until(cluster, "digits", (service) => conditionOf(service, "Ready") === "Unknown Starting");
  expect(waiting.status?.modelStatus?.transitionStatus).toBe("InProgress");

  await settle(cluster, "digits-predictor");
  const silent = await until(cluster, "digits", (service) => conditionOf(service, "Ready") === "False NotAnswering");
  expect(silent.status?.modelStatus?.lastFailureInfo).toMatchObject({
    reason: "RuntimeUnhealthy",
    message: expect.stringMatching(/cluster cloud: http:\/\/digits-predictor.*\/v2\/health\/ready does not answer/),
  });

  answer(cluster, "digits-predictor", "digits");
  const ready = await until(cluster, "digits", (service) => conditionOf(service, "Ready") === "True Answers");
  expect(ready.status).toMatchObject({
    url: "http://digits.models.cloud.argosy.localhost:8081",
    address: { url: "http://digits.models.svc.cluster.local" },
    deploymentMode: "Standard",
    clusterServingRuntimeName: expect.stringMatching(/argosy-modelserver|kserve-tritonserver/),
    modelStatus: {
      transitionStatus: "UpToDate",
      states: { activeModelState: "Loaded", targetModelState: "Loaded" },
      copies: { failedCopies: 0, totalCopies: 1 },
    },
    components: {
      predictor: {
        url: "http://digits-predictor.models.cloud.argosy.localhost:8081",
        latestCreatedRevision: "digits-predictor-00001",
        latestReadyRevision: "digits-predictor-00001",
        latestRolledoutRevision: "digits-predictor-00001",
        traffic: [{ latestRevision: true, percent: 100, revisionName: "digits-predictor-00001" }],
      },
    },
  });
  expect(await names(cluster, ServiceKind)).toEqual(["digits", "digits-predictor"]);
  expect(await names(cluster, IngressKind)).toEqual(["digits", "digits-predictor"]);
});

test("what is wrong is said in KServe's words, with cluster and pod, and mends itself", async () => {
  const cluster = await startServing();
  await applyService(cluster, "a", {
    predictor: { model: { modelFormat: { name: "tensorflow" }, storageUri: "s3://m/a" } },
  });
  const unsupported = await until(
    cluster,
    "a",
    (service) => conditionOf(service, "PredictorReady") === "False NoSupportingRuntime",
  );
  expect(unsupported.status?.modelStatus).toMatchObject({
    transitionStatus: "InvalidSpec",
    lastFailureInfo: { reason: "NoSupportingRuntime", message: expect.stringMatching(/convert the model to ONNX/) },
  });

  await applyService(cluster, "a", { predictor: { model: { modelFormat: { name: "onnx" }, storageUri: "s3://m/a" } } });
  await until(cluster, "a", (service) => conditionOf(service, "Ready") === "False SecretNotFound");
  await cluster.client.resource(SecretKind).apply(
    {
      metadata: { name: "s3", namespace, labels: { "tensorstack.dev/resource": "s3" } },
      data: { ".s3cfg": Buffer.from("[default]").toString("base64") },
    },
    { fieldManager: "user", force: true, namespace },
  );
  const deployment = await deploymentOf(cluster, "a-predictor");
  expect(deployment.spec.template.spec?.containers[0]?.args).toEqual(
    expect.arrayContaining([
      ...["--model-dir=/mnt/models", "--model-uri", "s3://m/a"],
      ...["--storage-config", "/var/run/argosy/store/s3/.s3cfg"],
    ]),
  );

  const failed = {
    state: { waiting: { reason: "CrashLoopBackOff" } },
    lastState: { terminated: { exitCode: 1, message: "model-server: ModelDownloadFailed: s3://m/a: no such key" } },
  };
  await addPod(cluster, "a-1", deployment, {
    phase: "Running",
    conditions: [{ type: "PodScheduled", status: "True" }],
    containerStatuses: [
      { name: "kserve-container", image: "x", imageID: "", ready: false, restartCount: 2, ...failed },
    ],
  });
  const broken = await until(cluster, "a", (service) => conditionOf(service, "Ready") === "False ModelDownloadFailed");
  expect(broken.status?.modelStatus).toMatchObject({
    transitionStatus: "BlockedByFailedLoad",
    states: { activeModelState: "FailedToLoad" },
    lastFailureInfo: {
      location: "cluster cloud, pod models/a-1",
      reason: "ModelLoadFailed",
      modelRevisionName: "a-predictor-00001",
    },
  });
});

test("a canary has pods of its own and its share, and becomes the one that is rolled out without a restart", async () => {
  const cluster = await startServing();
  const service = (uri: string, more: JsonObject = {}) =>
    applyService(cluster, "digits", {
      predictor: { ...onnx({ minReplicas: 2 }), model: { modelFormat: { name: "onnx" }, storageUri: uri }, ...more },
    });
  await service("pvc://models/one");
  await settle(cluster, "digits-predictor");
  answer(cluster, "digits-predictor", "digits");
  await until(cluster, "digits", (seen) => conditionOf(seen, "Ready") === "True Answers");

  await service("pvc://models/two", { canaryTrafficPercent: 10 });
  await deploymentOf(cluster, "digits-predictor-00002", ({ spec }) => spec.replicas === 1);
  const before = await until(
    cluster,
    "digits",
    ({ status }) => status?.components?.["predictor"]?.latestCreatedRevision === "digits-predictor-00002",
  );
  expect(before.status?.components?.["predictor"]?.traffic).toEqual([
    expect.objectContaining({ percent: 100, revisionName: "digits-predictor-00001", tag: "prev" }),
  ]);
  await settle(cluster, "digits-predictor-00002");
  await settle(cluster, "digits-predictor");
  answer(cluster, "latest-digits-predictor", "prev-digits-predictor");
  const split = await until(
    cluster,
    "digits",
    (seen) =>
      conditionOf(seen, "Ready") === "True Answers" && seen.status?.components?.["predictor"]?.traffic?.length === 2,
  );
  expect(split.status?.components?.["predictor"]).toMatchObject({
    latestReadyRevision: "digits-predictor-00002",
    latestRolledoutRevision: "digits-predictor-00001",
    traffic: [
      { latestRevision: true, percent: 10, revisionName: "digits-predictor-00002" },
      { latestRevision: false, percent: 90, revisionName: "digits-predictor-00001", tag: "prev" },
    ],
  });
  const ingress = await cluster.client.resource(IngressKind).get("digits", { namespace });
  expect(ingress.metadata.annotations?.["argosy.dev/weights"]).toBe(
    '{"digits-predictor":90,"digits-predictor-00002":10}',
  );

  await service("pvc://models/two");
  await deploymentOf(cluster, "digits-predictor-00002", ({ spec }) => spec.replicas === 2);
  await settle(cluster, "digits-predictor-00002");
  const done = await until(
    cluster,
    "digits",
    ({ status }) =>
      status?.components?.["predictor"]?.latestRolledoutRevision === "digits-predictor-00002" &&
      status.components["predictor"].traffic?.length === 1,
  );
  expect(done.status?.components?.["predictor"]?.previousRolledoutRevision).toBe("digits-predictor-00001");
  while ((await names(cluster, DeploymentKind)).includes("digits-predictor"))
    await new Promise<void>((resolve) => setImmediate(resolve));
  const inside = await cluster.client.resource(ServiceKind).get("digits-predictor", { namespace });
  expect(inside.spec.selector).toMatchObject({ "serving.argosy.dev/variant": "digits-predictor-00002" });
});

test("what an autoscaler has brought to six pods has six pods while a canary shares its requests, and after it", async () => {
  const cluster = await startServing();
  const service = (uri: string, more: JsonObject = {}) =>
    applyService(cluster, "digits", {
      predictor: {
        ...{ minReplicas: 1, maxReplicas: 8, ...more },
        model: { modelFormat: { name: "onnx" }, storageUri: uri },
      },
    });
  await service("pvc://models/one");
  await settle(cluster, "digits-predictor");
  answer(cluster, "digits-predictor", "digits", "latest-digits-predictor", "prev-digits-predictor");
  await until(cluster, "digits", (seen) => conditionOf(seen, "Ready") === "True Answers");
  const deployments = cluster.client.resource(DeploymentKind);
  const scaled = { metadata: { name: "digits-predictor", namespace }, spec: { replicas: 6 } };
  await deployments.apply(scaled, { namespace, fieldManager: "argosy-autoscaler", force: true });
  await settle(cluster, "digits-predictor");

  await service("pvc://models/two", { canaryTrafficPercent: 30 });
  await deploymentOf(cluster, "digits-predictor-00002", ({ spec }) => spec.replicas === 2);
  const before = await deploymentOf(cluster, "digits-predictor", ({ spec }) => spec.replicas !== 6);
  expect(before.spec.replicas).toBe(5);
  await settle(cluster, "digits-predictor-00002");
  await settle(cluster, "digits-predictor");
  await until(cluster, "digits", ({ status }) => status?.components?.["predictor"]?.traffic?.[0]?.percent === 30);
  expect((await deploymentOf(cluster, "digits-predictor")).spec.replicas).toBe(5);

  await service("pvc://models/two");
  await deploymentOf(cluster, "digits-predictor-00002", ({ spec }) => spec.replicas === 6);
  // It has everything once all of its pods are ready.
  const growing = await cluster.client.resource(InferenceServiceKind).get("digits", { namespace });
  expect(growing.status?.components?.["predictor"]?.latestRolledoutRevision).toBe("digits-predictor-00001");
  await settle(cluster, "digits-predictor-00002");
  const isAlone = ({ metadata }: Deployment): boolean =>
    metadata.annotations?.["serving.argosy.dev/rollout-pods"] === undefined;
  expect((await deploymentOf(cluster, "digits-predictor-00002", isAlone)).spec.replicas).toBe(6);
});

test("spec.canary: own predictors, only those that answer get a share", async () => {
  const cluster = await startServing();
  const canary = {
    trafficPercent: 25,
    predictor: { name: "next", model: { modelFormat: { name: "onnx" }, storageUri: "pvc://models/next" } },
  };
  const annotations = { "serving.argosy.dev/shadow": "next=50", "serving.argosy.dev/affinity": "cookie=model" };
  const predictor = onnx({ minReplicas: 4, timeout: 20 });
  await applyService(cluster, "digits", { predictor, canary: [canary] }, { annotations });
  await settle(cluster, "digits-predictor");
  answer(cluster, "stable-digits-predictor", "digits");
  const alone = await until(cluster, "digits", (seen) => conditionOf(seen, "Ready") === "True Answers");
  expect(conditionOf(alone, "CanaryPredictorReady")).toBe("False CanariesNotReady");

  await settle(cluster, "digits-next-predictor");
  answer(cluster, "digits-next-predictor");
  const both = await until(
    cluster,
    "digits",
    (seen) => conditionOf(seen, "CanaryPredictorReady") === "True AllCanariesReady",
  );
  expect(both.status?.canaryStatuses).toEqual([
    expect.objectContaining({ name: "next", ready: true, trafficPercent: 25 }),
  ]);
  expect(both.status?.components?.["predictor"]?.traffic).toEqual([
    { latestRevision: true, percent: 75, revisionName: "digits-predictor-00001" },
    expect.objectContaining({ latestRevision: false, percent: 25, tag: "next" }),
  ]);
  const { metadata } = await cluster.client.resource(IngressKind).get("digits", { namespace });
  expect(metadata.annotations).toMatchObject({
    "argosy.dev/weights": '{"digits-predictor":75,"digits-next-predictor":25}',
    "argosy.dev/shadows": '{"digits-next-predictor":50}',
    "argosy.dev/affinity": "cookie=model",
    "argosy.dev/timeout-seconds": "20",
  });
});

test("transformer, explainer, autoscaler and stop; nothing is left", async () => {
  const cluster = await startServing();
  const container = { name: "kserve-container", image: "example.com/transformer" };
  const spec = {
    predictor: onnx({ minReplicas: 1, maxReplicas: 3, scaleTarget: 60 }),
    transformer: { containers: [container] },
    explainer: { containers: [{ name: "explainer", image: "example.com/explainer" }] },
  };
  await applyService(cluster, "digits", spec);
  const transformer = await deploymentOf(cluster, "digits-transformer");
  expect(transformer.spec.template.spec?.containers[0]).toMatchObject({
    args: ["--model_name", "digits", "--predictor_host", "digits-predictor.models.svc.cluster.local"],
    resources: { requests: { cpu: "1", memory: "2Gi" } },
  });
  for (const name of ["predictor", "transformer", "explainer"]) await settle(cluster, `digits-${name}`);
  answer(cluster, "digits", "digits-predictor", "digits-transformer", "digits-explainer");
  const ready = await until(cluster, "digits", (seen) => conditionOf(seen, "Ready") === "True Answers");
  expect(
    ["PredictorReady", "TransformerReady", "ExplainerReady", "IngressReady"].map((type) => conditionOf(ready, type)),
  ).toEqual(Array.from({ length: 4 }, () => "True Answers"));
  const ingress = await cluster.client.resource(IngressKind).get("digits", { namespace });
  expect(ingress.spec.rules?.[0]?.http?.paths.map(({ path, backend }) => [path, backend.service?.name])).toEqual([
    ["/v1/models/digits:explain", "digits-explainer"],
    ["/v2/models/digits/explain", "digits-explainer"],
    ["/", "digits-transformer"],
  ]);
  const scaler = await cluster.client.resource(HorizontalPodAutoscalerKind).get("digits-predictor", { namespace });
  expect(scaler.spec).toMatchObject({
    minReplicas: 1,
    maxReplicas: 3,
    metrics: [{ resource: { name: "cpu", target: { averageUtilization: 60 } } }],
  });

  await cluster.restart();
  await applyService(cluster, "digits", spec, { annotations: { "serving.kserve.io/stop": "true" } });
  const stopped = await until(cluster, "digits", (seen) => conditionOf(seen, "Stopped") === "True Stopped");
  expect(conditionOf(stopped, "Ready")).toBe("False Stopped");
  for (const kind of [DeploymentKind, ServiceKind, IngressKind]) expect(await names(cluster, kind)).toEqual([]);
  expect((await cluster.client.resource(HorizontalPodAutoscalerKind).list({ namespace })).items).toEqual([]);
});

test("a transformer that is added takes the traffic when it answers, and keeps it", async () => {
  const cluster = await startServing();
  const transformer = { containers: [{ name: "kserve-container", image: "example.com/transformer" }] };
  const leadsTo = async (): Promise<unknown[]> => {
    const ingress = await cluster.client.resource(IngressKind).get("digits", { namespace });
    const own = await cluster.client.resource(ServiceKind).get("digits", { namespace });
    return [ingress.spec.rules?.[0]?.http?.paths[0]?.backend.service?.name, own.metadata.labels?.["component"]];
  };
  await applyService(cluster, "digits", { predictor: onnx() });
  await settle(cluster, "digits-predictor");
  answer(cluster, "digits", "digits-predictor");
  await until(cluster, "digits", (seen) => conditionOf(seen, "Ready") === "True Answers");

  await applyService(cluster, "digits", { predictor: onnx(), transformer });
  await settle(cluster, "digits-transformer", 0);
  const waits = await until(cluster, "digits", (seen) => conditionOf(seen, "TransformerReady").startsWith("Unknown"));
  expect([conditionOf(waits, "Answering"), await leadsTo()]).toEqual([
    "True Answers",
    ["digits-predictor", "predictor"],
  ]);
  await settle(cluster, "digits-transformer");
  answer(cluster, "digits-transformer");
  await until(cluster, "digits", (seen) => conditionOf(seen, "Ready") === "True Answers");
  expect(await leadsTo()).toEqual(["digits-transformer", "transformer"]);
  await settle(cluster, "digits-transformer", 0);
  await until(cluster, "digits", (seen) => conditionOf(seen, "TransformerReady") !== "True Answers");
  expect(await leadsTo()).toEqual(["digits-transformer", "transformer"]);
});

test("admission fills in and refuses; what nobody carries out says so", async () => {
  const cluster = await startServing();
  const made = await applyService(cluster, "iris", { predictor: { sklearn: { storageUri: "s3://m/iris" } } });
  const refused = await applyService(cluster, "bad", { predictor: onnx({ minReplicas: 3, maxReplicas: 2 }) }).catch(
    String,
  );
  const idle = await applyService(cluster, "idle", {
    predictor: onnx({ minReplicas: 0, logger: { url: "gs://dumped" } }),
  });

  expect(made.spec.predictor.model).toMatchObject({ modelFormat: { name: "sklearn" }, protocolVersion: "v1" });
  expect(refused).toMatch(/spec.predictor.minReplicas: .*3 is more than maxReplicas, 2/);
  expect(idle.spec.predictor.logger).toEqual({ url: "gs://dumped", mode: "all" });
  const ignored = (seen: InferenceService) =>
    seen.status?.conditions?.find(({ type }) => type === "AllFieldsHonored")?.message ?? "";
  await until(cluster, "idle", (seen) => /logger.url gs:.*not scaled by requests/.test(ignored(seen)));
  await cluster.client.resource(InferenceServiceKind).delete("idle", { namespace });
});

test("an API server that refuses what a service needs is named in its status, with the reason", async () => {
  const cluster = await startServing();
  await cluster.client.json("POST", `/api/v1/namespaces/${namespace}/resourcequotas`, {
    apiVersion: "v1",
    kind: "ResourceQuota",
    metadata: { name: "few", namespace },
    spec: { hard: { services: "0" } },
  });
  // The quota controller's part, which a real API server goes by, and not at once.
  const headers = { "content-type": "application/merge-patch+json" };
  const status = { hard: { services: "0" }, used: { services: "0" } };
  const path = `/api/v1/namespaces/${namespace}`;
  await cluster.client.json("PATCH", `${path}/resourcequotas/few/status`, { status }, { headers });
  const another = { metadata: { name: "another" }, spec: { ports: [{ port: 80 }] } };
  const isTaken = () => cluster.client.json("POST", `${path}/services?dryRun=All`, another).catch(() => undefined);
  while ((await isTaken()) !== undefined) await new Promise<void>((resolve) => setImmediate(resolve));
  await applyService(cluster, "digits", { predictor: onnx() });

  const refused = await until(cluster, "digits", (service) => conditionOf(service, "Ready") === "False QuotaExceeded");
  expect(refused.status?.modelStatus?.lastFailureInfo).toMatchObject({
    reason: "RuntimeUnhealthy",
    message: expect.stringMatching(/cluster cloud refuses Service models\/digits-predictor: .*exceeded quota: few/),
  });
});
