import { expect, test } from "vitest";
import {
  type Deployment,
  DeploymentKind,
  IngressKind,
  PodKind,
  SecretKind,
  ServiceKind,
} from "../../kernel/kinds/index.js";
import { type MLService, MLServiceKind, MLServiceRuntimeKind, WEIGHTS_ANNOTATION } from "./index.js";
import type { MLServiceSpec } from "./kinds.js";
import {
  apply,
  applyService,
  namespace,
  predictor,
  prepare,
  readyOf,
  releaseOf,
  runtime,
  type Setup,
  settle,
  start,
  until,
} from "./mlservice.fixture.js";

/** The same as often as the Deployment is changed, until the MLService is so. */
async function untilPlayed(cluster: Setup, ready: number, isTrue: (service: MLService) => boolean): Promise<MLService> {
  let isOver = false;
  const playing = (async () => {
    while (!isOver) {
      await settle(cluster, "digits-predict-v1", ready);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  })();
  const service = await until(cluster, isTrue);
  isOver = true;
  await playing;
  return service;
}

const pod = (name: string, status: object) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name,
    namespace,
    labels: { "tensorstack.dev/mlservice": "digits", "tensorstack.dev/mlservice-release": "v1" },
  },
  spec: { containers: [{ name: "user-container", image: "x" }], initContainers: [{ name: "fetch-model", image: "x" }] },
  status,
});

async function createPod(cluster: Setup, name: string, status: object): Promise<void> {
  const { status: _, ...draft } = pod(name, status);
  await cluster.client.resource(PodKind).create(draft, { namespace });
  await cluster.client
    .resource(PodKind)
    .patch(name, "merge", { status: JSON.parse(JSON.stringify(status)) }, { namespace, subresource: "status" });
}

const single: Partial<MLServiceSpec> = {
  default: "v1",
  releases: [{ name: "v1", predictor: predictor() }],
} as Partial<MLServiceSpec>;

test("a release becomes a Deployment, a Service and addresses, and is ready only after they answered", async () => {
  const cluster = await start();
  await prepare(cluster);
  await applyService(cluster, single);
  await settle(cluster, "digits-predict-v1", 1);
  const silent = await until(cluster, (service) => readyOf(service)?.reason === "NotAnswering");
  cluster.answers.set("digits-predict-v1.digits.cloud.argosy.localhost", { status: 200, body: "" });
  const half = await until(cluster, (service) => releaseOf(service, "v1")?.ready === true);
  cluster.answers.set("digits.digits.cloud.argosy.localhost", { status: 200, body: "" });

  const ready = await until(cluster, (service) => readyOf(service)?.status === "True");

  expect(readyOf(silent)?.message).toContain(
    "cluster cloud: http://digits-predict-v1.digits.cloud.argosy.localhost:8081/v2/health/ready does not answer: status 404",
  );
  expect(readyOf(half)?.status).toBe("False");
  expect(ready.status).toMatchObject({
    observedGeneration: 1,
    address: { url: "http://digits.digits.cloud.argosy.localhost:8081" },
    defaultRelease: "v1",
    releases: [
      {
        name: "v1",
        ready: true,
        trafficPercent: 100,
        url: "http://digits-predict-v1.digits.cloud.argosy.localhost:8081",
        readyReplicas: 1,
        totalReplicas: 1,
      },
    ],
  });
  expect(readyOf(ready)).toMatchObject({ reason: "Answers", observedGeneration: 1 });
  const deployment = await cluster.client.resource(DeploymentKind).get("digits-predict-v1", { namespace });
  const template = deployment.spec.template.spec;
  expect(template?.containers[0]).toMatchObject({
    args: [
      ...["--model-name=digits", "--model-dir=/var/lib/t9k/model", "--http=9000"],
      ...["--model-uri", "s3://artifacts/1/run/artifacts/model/", "--cache", "/var/cache/argosy/models"],
      ...["--storage-config", "/var/run/argosy/s3/.s3cfg", "--allow-code", "elsewhere"],
    ],
    ports: [{ containerPort: 9000 }],
  });
  expect(template?.initContainers).toBeUndefined();
  expect(template?.containers[0]?.volumeMounts?.map(({ name }) => name)).toEqual(["model", "model-cache", "model-s3"]);
  expect(deployment.metadata.ownerReferences).toMatchObject([{ kind: "MLService", name: "digits", controller: true }]);
  const service = await cluster.client.resource(ServiceKind).get("digits-predict-v1", { namespace });
  expect(service.spec.ports?.[0]).toMatchObject({ port: 80, targetPort: 9000 });
  const outcomes = cluster.decisions.filter(({ topic }) => topic === "readiness").map(({ outcome }) => outcome);
  expect(outcomes.at(-1)).toBe("ready: the model answers at http://digits.digits.cloud.argosy.localhost:8081");
});

test.each([
  [
    "ModelDownloadFailed",
    {
      initContainerStatuses: [
        {
          name: "fetch-model",
          image: "x",
          imageID: "",
          ready: false,
          restartCount: 2,
          state: { waiting: { reason: "CrashLoopBackOff" } },
          lastState: { terminated: { exitCode: 1, message: "ModelDownloadFailed: listing s3://artifacts/: 403" } },
        },
      ],
    },
    "403",
  ],
  [
    "ModelLoadFailed",
    {
      containerStatuses: [
        {
          name: "user-container",
          image: "x",
          imageID: "",
          ready: false,
          restartCount: 1,
          state: { waiting: { reason: "CrashLoopBackOff" } },
          lastState: {
            terminated: {
              exitCode: 1,
              message: "log\nmodel-server: ModelLoadFailed: model.onnx cannot be loaded as ONNX",
            },
          },
        },
      ],
    },
    "cannot be loaded as ONNX",
  ],
  [
    "CrashLoop",
    {
      containerStatuses: [
        {
          name: "user-container",
          image: "x",
          imageID: "",
          ready: false,
          restartCount: 3,
          state: { waiting: { reason: "CrashLoopBackOff" } },
          lastState: { terminated: { exitCode: 139 } },
        },
      ],
    },
    "exit code 139 (restarted 3 times)",
  ],
  [
    "ImageNotFound",
    {
      containerStatuses: [
        {
          name: "user-container",
          image: "nope:1",
          imageID: "",
          ready: false,
          restartCount: 0,
          state: { waiting: { reason: "ErrImagePull", message: "no such image" } },
        },
      ],
    },
    "image nope:1: no such image",
  ],
  [
    "Unschedulable",
    {
      conditions: [
        { type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/2 nodes: insufficient cpu" },
      ],
    },
    "insufficient cpu",
  ],
])("a pod's trouble is told as %s", async (reason, status, words) => {
  const cluster = await start();
  await prepare(cluster);
  await createPod(cluster, "p1", status);
  await applyService(cluster, single);

  const service = await until(cluster, (each) => readyOf(each)?.reason === reason);

  expect(readyOf(service)?.message).toContain("cluster cloud, pod digits/p1");
  expect(readyOf(service)?.message).toContain(words);
  expect(releaseOf(service, "v1")).toMatchObject({ ready: false, reason });
});

test("what is missing is named: runtime, secret, its label; and mends itself", async () => {
  const cluster = await start();
  await applyService(cluster, single);
  await until(cluster, (service) => readyOf(service)?.reason === "RuntimeNotFound");
  await cluster.client.resource(MLServiceRuntimeKind).apply(runtime, apply);
  await until(cluster, (service) => readyOf(service)?.reason === "SecretNotFound");
  await cluster.client.resource(SecretKind).apply({ metadata: { name: "s3", namespace } }, apply);
  await until(cluster, (service) => readyOf(service)?.reason === "InvalidSecret");
  await prepare(cluster);

  const service = await until(cluster, (each) => readyOf(each)?.reason === "Starting");

  expect(readyOf(service)?.message).toContain("0 of 1 pods are ready");
});

test("a canary gets its share when it answers, and promotion moves the traffic without a gap", async () => {
  const cluster = await start();
  await prepare(cluster);
  const hosts = (name: string) => `${name}.digits.cloud.argosy.localhost`;
  for (const name of ["digits", "digits-predict-v1"]) cluster.answers.set(hosts(name), { status: 200, body: "" });
  const releases = [
    { name: "v1", predictor: predictor() },
    { name: "v2", predictor: predictor({ model: { runtime: "onnx", parameters: { MODEL_NAME: "two" } } }) },
  ];
  await applyService(cluster, { default: "v1", canary: "v2", canaryTrafficPercent: 20, releases });
  await settle(cluster, "digits-predict-v1", 1);
  const before = await until(cluster, (service) => releaseOf(service, "v1")?.ready === true);
  await settle(cluster, "digits-predict-v2", 1);
  cluster.answers.set(hosts("digits-predict-v2"), { status: 200, body: "" });
  const shared = await until(cluster, (service) => readyOf(service)?.status === "True");
  const ingress = await cluster.client.resource(IngressKind).get("digits", { namespace });
  // The new default answers from the start; the former release is dropped in the same edit.
  await cluster.client
    .resource(MLServiceKind)
    .apply({ metadata: { name: "digits", namespace }, spec: { default: "v2", releases: releases.slice(1) } }, apply);

  const promoted = await until(
    cluster,
    (service) => service.status?.defaultRelease === "v2" && readyOf(service)?.status === "True",
  );

  expect(releaseOf(before, "v2")).toMatchObject({ ready: false, trafficPercent: 0 });
  expect(releaseOf(shared, "v1")?.trafficPercent).toBe(80);
  expect(releaseOf(shared, "v2")?.trafficPercent).toBe(20);
  expect(JSON.parse(ingress.metadata.annotations?.[WEIGHTS_ANNOTATION] ?? "")).toEqual({
    "digits-predict-v1": 80,
    "digits-predict-v2": 20,
  });
  expect(promoted.status?.releases?.map(({ name, trafficPercent }) => [name, trafficPercent])).toEqual([["v2", 100]]);
  expect(await cluster.client.resource(DeploymentKind).find("digits-predict-v1", { namespace })).toBeUndefined();
});

test("a default that does not answer yet leaves the traffic with the release before it, even one that was dropped", async () => {
  const cluster = await start();
  await prepare(cluster);
  for (const name of ["digits", "digits-predict-v1"])
    cluster.answers.set(`${name}.digits.cloud.argosy.localhost`, { status: 200, body: "" });
  await applyService(cluster, single);
  await settle(cluster, "digits-predict-v1", 1);
  await until(cluster, (service) => readyOf(service)?.status === "True");
  await applyService(cluster, { default: "v2", releases: [{ name: "v2", predictor: predictor() }] });

  const service = await until(cluster, (each) => readyOf(each)?.observedGeneration === 2);

  expect(service.status?.defaultRelease).toBe("v1");
  expect(releaseOf(service, "v1")).toMatchObject({ trafficPercent: 100, reason: "Retiring" });
  expect(readyOf(service)?.status).toBe("False");
  expect(await cluster.client.resource(DeploymentKind).find("digits-predict-v1", { namespace })).toBeDefined();
});

test.each([
  ["InvalidSpec", { default: "v9", releases: [{ name: "v1", predictor: predictor() }] }],
  ["InvalidSpec", { ...single, canary: "v2", canaryTrafficPercent: 10 }],
  [
    "InvalidRelease",
    { ...single, releases: [{ name: "v1", predictor: { ...predictor(), model: { runtime: "onnx" } } }] },
  ],
])("what cannot be carried out (%s) leaves the address answering, and says so", async (reason, spec) => {
  const cluster = await start();
  await prepare(cluster);
  for (const name of ["digits", "digits-predict-v1"])
    cluster.answers.set(`${name}.digits.cloud.argosy.localhost`, { status: 200, body: "" });
  await applyService(cluster, single);
  await settle(cluster, "digits-predict-v1", 1);
  await until(cluster, (service) => readyOf(service)?.status === "True");
  await applyService(cluster, spec);

  const { status } = await until(cluster, (service) => readyOf(service)?.reason === reason);

  expect(status?.conditions?.find(({ type }) => type === "Answering")?.status).toBe("True");
  expect(status).toMatchObject({ defaultRelease: "v1", releases: [{ name: "v1", ready: true, trafficPercent: 100 }] });
  expect(status?.canaryRelease).toBeUndefined();
});

test("a runtime's change is lazy, a release's is not, and edited children are mended", async () => {
  const cluster = await start();
  await prepare(cluster);
  await applyService(cluster, single);
  await settle(cluster, "digits-predict-v1", 0);
  const deployments = cluster.client.resource(DeploymentKind);
  await cluster.client
    .resource(MLServiceRuntimeKind)
    .patch("onnx", "merge", { spec: { template: { metadata: { labels: { tier: "new" } } } } }, { namespace });
  await deployments.patch(
    "digits-predict-v1",
    "merge",
    { spec: { template: { metadata: { labels: { stray: "x" } } }, replicas: 7 } },
    { namespace },
  );
  const mended = await untilDeployment(cluster, (each) => each.spec.replicas === 1);
  await applyService(cluster, {
    default: "v1",
    releases: [
      {
        name: "v1",
        predictor: predictor({
          template: {
            spec: { priority: 0, containers: [{ name: "user-container", args: ["--model-name=x", "--model-dir=/m"] }] },
          },
        }),
      },
    ],
  });

  const changed = await untilDeployment(cluster, (each) => each.spec.template.metadata?.labels?.["tier"] === "new");

  expect(mended.spec.template.metadata?.labels?.["tier"]).toBeUndefined();
  expect(changed.spec.template.spec?.containers[0]?.args).toEqual(["--model-name=x", "--model-dir=/m", "--http=9000"]);
});

function untilDeployment(cluster: Setup, wanted: (deployment: Deployment) => boolean): Promise<Deployment> {
  const informer = cluster.informers.informer(DeploymentKind);
  return new Promise((resolve) => {
    const check = (): void => {
      const found = informer.get({ namespace, name: "digits-predict-v1" });
      if (found === undefined || !wanted(found)) return;
      stop();
      resolve(found);
    };
    const stop = informer.onChange(check);
    setImmediate(check);
  });
}

test("contradictions and ignored fields are said in conditions", async () => {
  const cluster = await start();
  await prepare(cluster);
  await applyService(cluster, { default: "v9", releases: [{ name: "v1", predictor: predictor() }] });
  const invalid = await until(cluster, (service) => readyOf(service)?.reason === "InvalidSpec");
  await applyService(cluster, {
    default: "v1",
    releases: [{ name: "v1", predictor: predictor({ logger: { urls: ["http://x", "kafka://y"], resources: {} } }) }],
    transformer: {},
    scheduler: { t9kScheduler: { queue: "gold" } },
  });

  const service = await until(
    cluster,
    (each) =>
      each.status?.conditions?.some(
        ({ type, message }) => type === "AllFieldsHonored" && message.includes("resources"),
      ) === true,
  );

  expect(readyOf(invalid)?.message).toBe("spec.default is v9, but the releases are v1");
  const message = service.status?.conditions?.find(({ type }) => type === "AllFieldsHonored")?.message;
  expect(message).toContain("release v1: logger.urls kafka://y");
  expect(message).toContain("release v1: logger.resources");
  expect(message).not.toContain("http://x");
  expect(message).toContain("spec.scheduler.t9kScheduler");
  expect(service.status?.conditions?.find(({ type }) => type === "SchedulerFound")).toMatchObject({
    ...{ status: "False", reason: "SchedulerNotFound" },
  });
  expect(service.status?.transformer).toMatchObject({ ready: false, reason: "InvalidTransformer" });
});

test("a release with minReplicas 0 leaves its number to the autoscaler, and is ready without a pod once it has run", async () => {
  const cluster = await start();
  await prepare(cluster);
  const url = "digits.digits.cloud.argosy.localhost";
  const own = "digits-predict-v1.digits.cloud.argosy.localhost";
  for (const host of [url, own]) cluster.answers.set(host, { status: 200, body: "" });
  await applyService(cluster, {
    default: "v1",
    releases: [
      {
        name: "v1",
        predictor: predictor({
          minReplicas: 0,
          maxReplicas: 4,
          template: { metadata: { annotations: { "autoscaling.knative.dev/target": "7" } } },
        }),
      },
    ],
  });
  await untilPlayed(cluster, 1, (service) => readyOf(service)?.status === "True");
  const deployments = cluster.client.resource(DeploymentKind);
  const informer = cluster.informers.informer(DeploymentKind);
  const key = { namespace, name: "digits-predict-v1" };
  const keptOf = () => informer.get(key)?.metadata.annotations?.["serving.argosy.dev/scaling"] ?? "{}";
  while (!keptOf().includes('"phase":"active"')) await new Promise<void>((resolve) => setImmediate(resolve));
  const deployment = informer.get(key);
  expect(deployment?.metadata.labels).toMatchObject({ "serving.argosy.dev/autoscaler": "kpa" });
  expect(deployment?.metadata.annotations).toMatchObject({
    "autoscaling.knative.dev/target": "7",
    "autoscaling.knative.dev/min-scale": "0",
    "autoscaling.knative.dev/max-scale": "4",
  });
  const ingress = await cluster.client.resource(IngressKind).find("digits", { namespace });
  expect(ingress?.metadata.annotations).toMatchObject({ "serving.argosy.dev/activator": "digits-predict-v1" });
  // As the autoscaler leaves it when no request has come for long.
  const kept = JSON.parse(keptOf());
  expect(kept).toMatchObject({ initialized: true, phase: "active" });
  const annotations = { "serving.argosy.dev/scaling": JSON.stringify({ ...kept, phase: "inactive" }) };
  const asleep = { metadata: { name: "digits-predict-v1", namespace, annotations }, spec: { replicas: 0 } };
  for (const host of [url, own]) cluster.answers.delete(host);
  await deployments.apply(asleep, { namespace, fieldManager: "argosy-autoscaler", force: true });
  const service = await untilPlayed(
    cluster,
    0,
    (each) => readyOf(each)?.message.startsWith("no request, no pod") === true,
  );
  expect(readyOf(service)?.status).toBe("True");
  expect(releaseOf(service, "v1")).toMatchObject({ ready: true, readyReplicas: 0 });
});

test.each([
  ["canaryTrafficPercent 0", { canary: "v2", canaryTrafficPercent: 0 }],
  ["canaryTrafficPercent 100", { canary: "v2", canaryTrafficPercent: 100 }],
  ["a release without a runtime", { releases: [{ name: "v1", predictor: { model: {} } }] }],
  [
    "an s3 storage without a Secret",
    { releases: [{ name: "v1", predictor: { model: { runtime: "r" }, storage: { s3: { uri: "s3://a/b" } } } }] },
  ],
  ["a release name that is none", { releases: [{ name: "V_1", predictor: { model: { runtime: "r" } } }] }],
])("the API refuses %s", async (_, part) => {
  const cluster = await start();

  await expect(applyService(cluster, { ...single, ...part })).rejects.toMatchObject({ httpCode: 422 });
});

test("another owner's Deployment of that name is left alone", async () => {
  const cluster = await start();
  await prepare(cluster);
  const labels = { app: "other" };
  await cluster.client.resource(DeploymentKind).create(
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "digits-predict-v1", namespace },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
      },
    },
    { namespace },
  );
  await cluster.informers.informer(DeploymentKind).synced();
  await applyService(cluster, single);

  const service = await until(cluster, (each) => readyOf(each)?.reason === "NameConflict");

  expect(readyOf(service)?.message).toContain("Deployment digits/digits-predict-v1 is not ours; rename one of them");
  expect(
    (await cluster.client.resource(DeploymentKind).get("digits-predict-v1", { namespace })).spec.selector.matchLabels,
  ).toEqual(labels);
});

test("pausing runs no pods and says so", async () => {
  const cluster = await start();
  await prepare(cluster);
  await applyService(cluster, { ...single, runMode: "Pause" });

  const service = await until(cluster, (each) => readyOf(each)?.reason === "Paused");

  expect((await cluster.client.resource(DeploymentKind).get("digits-predict-v1", { namespace })).spec.replicas).toBe(0);
  expect(service.status?.conditions?.find(({ type }) => type === "Paused")?.status).toBe("True");
});

test("a model that shows to be code gets an init container, and its server no keys", async () => {
  const cluster = await start();
  await prepare(cluster);
  await applyService(cluster, single);
  const deployments = cluster.client.resource(DeploymentKind);
  type Template = NonNullable<Deployment["spec"]["template"]["spec"]>;
  const templateWhere = async (isWanted: (template: Template) => boolean): Promise<Template> => {
    for (;;) {
      const template = (await deployments.find("digits-predict-v1", { namespace }))?.spec.template.spec;
      if (template !== undefined && isWanted(template)) return template;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  const isApart = ({ initContainers = [] }: Template): boolean => initContainers.length > 0;
  const first = await templateWhere((template) => !isApart(template));
  const { status: _, ...draft } = pod("one", {});
  const spec = { containers: [{ name: "user-container", image: "x", args: first.containers[0]?.args ?? [] }] };
  await cluster.client.resource(PodKind).create({ ...draft, spec }, { namespace });
  const ended = { exitCode: 1, message: "ModelIsCode: model.js is code, and this server holds the keys" };
  const status = {
    phase: "Running",
    containerStatuses: [
      { name: "user-container", image: "x", imageID: "", ready: false, restartCount: 0, state: { terminated: ended } },
    ],
  };
  await cluster.client.resource(PodKind).patch("one", "merge", { status }, { namespace, subresource: "status" });

  const second = await templateWhere(isApart);
  expect(second.initContainers).toMatchObject([{ name: "fetch-model" }]);
  expect(second.containers[0]?.args).toEqual([
    ...["--model-name=digits", "--model-dir=/var/lib/t9k/model", "--http=9000"],
  ]);
  expect(second.containers[0]?.volumeMounts).toEqual([
    { name: "model", mountPath: "/var/lib/t9k/model", readOnly: true },
  ]);

  // Who said so is gone, and the same model is asked for otherwise.
  await cluster.client.json("DELETE", `/api/v1/namespaces/${namespace}/pods/one?gracePeriodSeconds=0`);
  const more = predictor({ containersResources: [{ name: "user-container", resources: { limits: { cpu: "1" } } }] });
  await applyService(cluster, { ...single, releases: [{ name: "v1", predictor: more }] });
  const third = await templateWhere(({ containers }) => containers[0]?.resources?.limits?.["cpu"] !== undefined);
  expect(isApart(third)).toBe(true);
});
