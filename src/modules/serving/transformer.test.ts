import { expect, test } from "vitest";
import { DeploymentKind, EndpointSliceKind, IngressKind, ServiceKind } from "../../kernel/kinds/index.js";
import { MLServiceKind, WEIGHTS_ANNOTATION } from "./index.js";
import {
  apply,
  applyService,
  namespace,
  predictor,
  prepare,
  readyOf,
  type Setup,
  settle,
  start,
  until,
} from "./mlservice.fixture.js";

const hosts = (name: string): string => `${name}.digits.cloud.argosy.localhost`;
const transformer = (more: object = {}) => ({
  template: {
    metadata: { labels: { team: "blue" } },
    spec: {
      containers: [
        {
          name: "user-container",
          image: "somebody/transformer",
          args: ["--predictor=$(PREDICTOR_URL)"],
          ports: [{ containerPort: 7000 }],
        },
      ],
    },
  },
  ...more,
});
const answer = (cluster: Setup, ...names: string[]): void => {
  for (const name of names) cluster.answers.set(hosts(name), { status: 200, body: "" });
};
/** First Service behind an Ingress. */
const backendOf = async (cluster: Setup, name: string): Promise<string | undefined> => {
  const ingress = await cluster.client.resource(IngressKind).get(name, { namespace });
  return ingress.spec.rules?.[0]?.http?.paths[0]?.backend.service?.name;
};

/** As the controllers of EndpointSlices and of ingresses write them. */
async function slice(cluster: Setup, name: string, labels: Record<string, string> = {}): Promise<void> {
  await cluster.client.resource(EndpointSliceKind).apply(
    {
      metadata: { name, namespace, labels: { "kubernetes.io/service-name": "digits-predict", ...labels } },
      ...{ addressType: "IPv4", endpoints: [{ addresses: ["10.0.0.1"] }], ports: [{ name: "http", port: 1234 }] },
    },
    apply,
  );
}

test("a transformer has pods and an address of its own; the service's address leads to it, and it to the releases", async () => {
  const cluster = await start();
  await prepare(cluster);
  answer(cluster, "digits", "digits-predict-v1");
  const releases = [{ name: "v1", predictor: predictor() }];
  await applyService(cluster, { default: "v1", releases, transformer: transformer() });
  await settle(cluster, "digits-predict-v1", 1);
  const waiting = await until(cluster, (service) => service.status?.releases?.[0]?.ready === true);
  await settle(cluster, "digits-transform", 1);
  answer(cluster, "digits-transform");
  const pathless = await until(cluster, (service) => readyOf(service)?.message.includes("leads nowhere yet") === true);
  await slice(cluster, "digits-predict-a");
  const ready = await until(cluster, (service) => readyOf(service)?.status === "True");

  expect(readyOf(waiting)?.message).toContain("transformer: ");
  expect(pathless.status?.transformer?.ready).toBe(true);
  expect(ready.status?.transformer).toEqual({
    ...{ ready: true, url: "http://digits-transform.digits.cloud.argosy.localhost:8081" },
    ...{ readyReplicas: 1, totalReplicas: 1 },
  });
  const deployment = await cluster.client.resource(DeploymentKind).get("digits-transform", { namespace });
  const { metadata, spec } = deployment.spec.template;
  expect(metadata?.labels).toMatchObject({ team: "blue", "tensorstack.dev/mlservice-component": "transformer" });
  expect(spec?.containers[0]?.env).toEqual(
    expect.arrayContaining([{ name: "PREDICTOR_URL", value: "http://digits-predict.digits.svc.cluster.local" }]),
  );
  expect(await backendOf(cluster, "digits")).toBe("digits-transform");
  const way = await cluster.client.resource(ServiceKind).get("digits-predict", { namespace });
  expect(way.spec.selector).toMatchObject({ "tensorstack.dev/mlservice-release": "v1" });
  expect(way.spec.ports?.[0]?.targetPort).toBe(9000);

  await cluster.client
    .resource(MLServiceKind)
    .apply({ metadata: { name: "digits", namespace }, spec: { default: "v1", releases } }, apply);
  const without = await until(cluster, (service) => service.status?.transformer === undefined);
  expect(readyOf(without)?.status).toBe("True");
  expect(await backendOf(cluster, "digits")).toBe("digits-predict-v1");
  expect(await cluster.client.resource(DeploymentKind).find("digits-transform", { namespace })).toBeUndefined();
  expect(await cluster.client.resource(ServiceKind).find("digits-predict", { namespace })).toBeUndefined();
});

test("behind a transformer default and canary keep their shares, through the gateway; that it has no way in yet is said", async () => {
  const cluster = await start();
  await prepare(cluster);
  answer(cluster, "digits", "digits-predict-v1", "digits-predict-v2", "digits-transform");
  const releases = [
    { name: "v1", predictor: predictor() },
    { name: "v2", predictor: predictor() },
  ];
  await applyService(cluster, {
    ...{ default: "v1", canary: "v2", canaryTrafficPercent: 25, releases, transformer: transformer() },
  });
  for (const name of ["digits-predict-v1", "digits-predict-v2", "digits-transform"]) await settle(cluster, name, 1);
  await slice(cluster, "digits-predict-a");
  const honored = (service: Parameters<typeof readyOf>[0]) =>
    service.status?.conditions?.find(({ type }) => type === "AllFieldsHonored");
  const split = await until(cluster, (service) => readyOf(service)?.status === "True");
  const ingress = await cluster.client.resource(IngressKind).get("digits-predict", { namespace });
  const before = await cluster.client.resource(ServiceKind).get("digits-predict", { namespace });
  // As the ingress controller does.
  await slice(cluster, "digits-predict-door", { "argosy.dev/door-of": "digits-predict" });
  await until(cluster, (service) => honored(service)?.status === "True");
  const after = await cluster.client.resource(ServiceKind).get("digits-predict", { namespace });

  expect(honored(split)?.message).toContain("canaryTrafficPercent behind the transformer");
  expect(JSON.parse(ingress.metadata.annotations?.[WEIGHTS_ANNOTATION] ?? "")).toEqual({
    ...{ "digits-predict-v1": 75, "digits-predict-v2": 25 },
  });
  expect(ingress.metadata.annotations?.["argosy.dev/inside-only"]).toBe("true");
  expect(before.metadata.annotations?.["argosy.dev/through-ingress"]).toBe("digits-predict");
  expect(before.spec.selector).toBeDefined();
  expect(after.spec.selector).toBeUndefined();
});

test("a transformer that is added takes the traffic when it answers", async () => {
  const cluster = await start();
  await prepare(cluster);
  answer(cluster, "digits", "digits-predict-v1");
  const releases = [{ name: "v1", predictor: predictor() }];
  await applyService(cluster, { default: "v1", releases });
  await settle(cluster, "digits-predict-v1", 1);
  await until(cluster, (service) => readyOf(service)?.status === "True");
  await applyService(cluster, { default: "v1", releases, transformer: transformer() });
  await until(cluster, (service) => service.status?.transformer?.ready === false);
  const meanwhile = await backendOf(cluster, "digits");
  await slice(cluster, "digits-predict-a");
  await settle(cluster, "digits-transform", 1);
  answer(cluster, "digits-transform");
  await until(cluster, (service) => readyOf(service)?.status === "True" && service.status?.transformer?.ready === true);

  expect(meanwhile).toBe("digits-predict-v1");
  expect(await backendOf(cluster, "digits")).toBe("digits-transform");
});

test("loggers: in the built-in server, beside others; the scheduler, where the cluster has it; pods stay as they are when it comes", async () => {
  const cluster = await start();
  await prepare(cluster);
  const deployments = cluster.client.resource(DeploymentKind);
  const scheduler = {
    metadata: { name: "t9k-scheduler", namespace: "default" },
    spec: {
      ...{ replicas: 1, selector: { matchLabels: { a: "b" } } },
      template: { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "x" }] } },
    },
  };
  await deployments.apply(scheduler, { ...apply, namespace: "default" });
  const urls = ["http://dumper/"];
  await applyService(cluster, {
    ...{ default: "v1", scheduler: { t9kScheduler: { queue: "gold" } } },
    releases: [{ name: "v1", predictor: predictor({ logger: { urls, mode: "request" } }) }],
    transformer: transformer({ logger: { urls, resources: { requests: { cpu: "50m" } } } }),
  });
  await until(
    cluster,
    (service) =>
      service.status?.transformer !== undefined &&
      service.status.conditions?.some(({ type, status }) => type === "SchedulerFound" && status === "True") === true,
  );
  const release = (await deployments.get("digits-predict-v1", { namespace })).spec.template;
  const front = (await deployments.get("digits-transform", { namespace })).spec.template;
  const settingsIn = (args: readonly string[] = []) =>
    JSON.parse((args.find((arg) => arg.startsWith("--log-payloads=")) ?? "").slice("--log-payloads=".length));

  expect(release.spec?.schedulerName).toBe("t9k-scheduler");
  expect(release.metadata?.annotations?.["scheduler.tensorstack.dev/queue"]).toBe("gold");
  expect(release.spec?.containers).toHaveLength(1);
  expect(settingsIn(release.spec?.containers[0]?.args)).toEqual({
    ...{ urls, mode: "request", dialect: "mlservice", component: "predictor", service: "digits", namespace },
    ...{ source: "digits-predictor-v1", inferenceUrl: "http://digits-predict-v1.digits.cloud.argosy.localhost:8081" },
  });
  const [, forwarder] = front.spec?.containers ?? [];
  expect(forwarder).toMatchObject({ name: "payload-logger", resources: { requests: { cpu: "50m" } } });
  expect(forwarder?.args?.slice(0, 2)).toEqual(["--forward-to", "$(ARGOSY_MODEL_SERVER_HOST):7000"]);
  expect(settingsIn(forwarder?.args).source).toBe("digits-transformer");
  const service = await cluster.client.resource(ServiceKind).get("digits-transform", { namespace });
  expect(service.spec.ports?.[0]?.targetPort).toBe(9081);
});

test("a transformer before a release that may be at zero asks it through the gateway, which waits for a pod", async () => {
  const cluster = await start();
  await prepare(cluster);
  answer(cluster, "digits", "digits-predict-v1", "digits-transform");
  const releases = [{ name: "v1", predictor: predictor({ minReplicas: 0, maxReplicas: 2 }) }];
  await applyService(cluster, { default: "v1", releases, transformer: transformer({ minReplicas: 0 }) });
  const seen = await until(
    cluster,
    (service) =>
      service.status?.transformer !== undefined &&
      service.status.conditions?.some(({ type, status }) => type === "AllFieldsHonored" && status === "False") === true,
  );
  const way = await cluster.client.resource(IngressKind).get("digits-predict", { namespace });
  const own = await cluster.client.resource(IngressKind).get("digits", { namespace });
  const front = await cluster.client.resource(DeploymentKind).get("digits-transform", { namespace });

  const honored = seen.status?.conditions?.find(({ type }) => type === "AllFieldsHonored");
  expect(honored?.message).toContain("waiting for a pod of the default release behind the transformer");
  expect(way.metadata.annotations).toMatchObject({ "serving.argosy.dev/activator": "digits-predict-v1" });
  expect(own.metadata.annotations).toMatchObject({ "serving.argosy.dev/activator": "digits-transform" });
  expect(front.metadata.labels).toMatchObject({ "serving.argosy.dev/autoscaler": "kpa" });
});
