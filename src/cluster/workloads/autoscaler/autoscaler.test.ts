import { afterAll, beforeAll, expect, test } from "vitest";
import type { ApiClient } from "../../../kernel/client/index.js";
import {
  DeploymentKind,
  EventKind,
  type HorizontalPodAutoscaler,
  HorizontalPodAutoscalerKind,
  type Json,
  PodKind,
  timeOf,
} from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";

let play: PlayCluster;
/** What the metrics APIs say; a path that is not here goes to the server, which has none. */
const metrics = new Map<string, (query: URLSearchParams) => Json>();
const through = (client: ApiClient): ApiClient => ({
  ...client,
  resource: (kind) => client.resource(kind),
  dynamic: (kind) => client.dynamic(kind),
  findKind: (apiVersion, kind) => client.findKind(apiVersion, kind),
  async json(method, path, body, options) {
    const url = new URL(path, "http://api");
    const answer = metrics.get(url.pathname);
    return answer === undefined ? client.json(method, path, body, options) : answer(url.searchParams);
  },
});
beforeAll(async () => {
  play = await startPlayCluster(["node-1", "node-2"], { through });
});
afterAll(() => play.close());

const at = { namespace: "default" };
const scalers = () => play.client.resource(HorizontalPodAutoscalerKind);
const deployments = () => play.client.resource(DeploymentKind);
const get = (name: string) => scalers().get(name, at);
const sizeOf = async (name: string) => (await deployments().get(name, at)).spec.replicas;
const condition = async (name: string, type: string) =>
  (await get(name)).status?.conditions?.find((one) => one.type === type);
const events = async (name: string) =>
  (await play.client.resource(EventKind).list(at)).items
    .filter(({ involvedObject }) => involvedObject.kind === "HorizontalPodAutoscaler" && involvedObject.name === name)
    .map(({ reason, message }) => `${reason}: ${message}`);

async function deploy(name: string, replicas: number, requests: Record<string, string> = { cpu: "100m" }) {
  const labels = { app: name };
  await deployments().create({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "default" },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { containers: [{ name: "main", image: "one", resources: { requests } }] },
      },
    },
  });
  await play.until(async () => (await deployments().get(name, at)).status?.availableReplicas === replicas);
}

async function autoscale(name: string, spec: Partial<HorizontalPodAutoscaler["spec"]>) {
  await scalers().create({
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { name, namespace: "default" },
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name },
      minReplicas: 1,
      maxReplicas: 10,
      ...spec,
    },
  });
}

const cpuTarget = (averageUtilization: number) => [
  { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization } } },
];

/** Serves metrics.k8s.io: every pod uses what `use` says, by name; `undefined`: nothing is known of it. */
function serveUse(use: (pod: string) => Record<string, string> | undefined) {
  metrics.set("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods", (query) => {
    const app = (query.get("labelSelector") ?? "").replace("app=", "");
    const pods = play.informers.informer(PodKind).list("default");
    const items = pods
      .filter(({ metadata }) => metadata.labels?.["app"] === app)
      .flatMap(({ metadata }) => {
        const usage = use(metadata.name);
        if (usage === undefined) return [];
        const { name, namespace = "" } = metadata;
        const containers = [{ name: "main", usage }];
        return [{ metadata: { name, namespace }, timestamp: timeOf(play.clock.now()), window: "15s", containers }];
      });
    return { kind: "PodMetricsList", apiVersion: "metrics.k8s.io/v1beta1", metadata: {}, items };
  });
}

test("without a metrics API it says so, as upstream words it, and changes nothing", async () => {
  await deploy("blind", 2);
  await autoscale("blind", { metrics: cpuTarget(50) });

  await play.until(async () => (await condition("blind", "ScalingActive"))?.status === "False");

  const why =
    "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)";
  expect(await condition("blind", "AbleToScale")).toMatchObject({ status: "True", reason: "SucceededGetScale" });
  expect(await condition("blind", "ScalingActive")).toMatchObject({
    reason: "FailedGetResourceMetric",
    message: `the HPA was unable to compute the replica count: ${why}`,
  });
  expect((await get("blind")).status).toMatchObject({ currentReplicas: 2, desiredReplicas: 0 });
  await play.until(async () => (await events("blind")).length >= 2);
  const told = await events("blind");
  expect(told).toHaveLength(2);
  expect(told).toContain(`FailedGetResourceMetric: ${why}`);
  expect(told).toContain(
    `FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: ${why}`,
  );
});

test("it grows with the load by a ledgered decision, and shrinks five minutes after it went", async () => {
  let milli = 60;
  serveUse(() => ({ cpu: `${milli}m` }));
  await deploy("busy", 1);
  await play.clock.advance(400_000);
  await autoscale("busy", { metrics: cpuTarget(50) });
  await play.until(async () => (await condition("busy", "ScalingActive"))?.status === "True");
  expect(await sizeOf("busy")).toBe(2);
  await play.until(async () => (await deployments().get("busy", at)).status?.availableReplicas === 2);
  expect(await events("busy")).toContain(
    "SuccessfulRescale: New size: 2; reason: cpu resource utilization (percentage of request) above target",
  );

  milli = 10;
  const tookMs = await play.until(async () => (await sizeOf("busy")) === 1, 900_000);

  expect(tookMs).toBeGreaterThan(280_000);
  expect(await condition("busy", "ScalingLimited")).toMatchObject({ status: "False", reason: "DesiredWithinRange" });
  expect((await get("busy")).status).toMatchObject({
    desiredReplicas: 1,
    currentMetrics: [
      { type: "Resource", resource: { name: "cpu", current: { averageUtilization: 10, averageValue: "10m" } } },
    ],
  });
  const [decision] = await play.ledger.query({ topic: "scaling", name: "busy" });
  expect(decision).toMatchObject({
    outcome: "scaled from 2 to 1 replicas",
    winners: [{ reason: "All metrics below target" }],
  });
});

test("pods without readings hold back both directions", async () => {
  let known = 1;
  const readable = new Map<string, number>();
  serveUse((pod) => {
    if (!pod.startsWith("half-")) return undefined;
    readable.set(pod, readable.get(pod) ?? readable.size);
    return (readable.get(pod) ?? 0) < known ? { cpu: "10m" } : undefined;
  });
  await deploy("half", 4);
  await play.clock.advance(400_000);
  await autoscale("half", { metrics: cpuTarget(50), behavior: { scaleDown: { stabilizationWindowSeconds: 0 } } });
  await play.until(async () => (await condition("half", "ScalingActive"))?.status === "True");

  // One pod at 10 % and three taken for 100 %: more than the target, so nothing is taken away.
  await play.clock.advance(60_000);
  expect(await sizeOf("half")).toBe(4);
  known = 4;
  await play.until(async () => (await sizeOf("half")) === 1);
});

test("use within the tolerance changes nothing; the behaviour may say how much that is", async () => {
  serveUse(() => ({ cpu: "54m" }));
  await deploy("calm", 2);
  await play.clock.advance(400_000);
  await autoscale("calm", { metrics: cpuTarget(50) });
  await play.until(async () => (await condition("calm", "ScalingActive"))?.status === "True");
  await play.clock.advance(40_000);
  expect(await sizeOf("calm")).toBe(2);

  const behavior = { scaleUp: { tolerance: "0.05" } };
  await scalers().patch("calm", "merge", { spec: { behavior } }, at);

  await play.until(async () => (await sizeOf("calm")) === 3);
});

test("bounds, a stopped target, a target without a scale", async () => {
  serveUse(() => ({ cpu: "50m" }));
  await deploy("large", 3);
  await autoscale("large", { maxReplicas: 2, metrics: cpuTarget(50) });
  await play.until(async () => (await sizeOf("large")) === 2);
  expect(await events("large")).toContain(
    "SuccessfulRescale: New size: 2; reason: Current number of replicas above Spec.MaxReplicas",
  );

  await deployments().patch("large", "merge", { spec: { replicas: 0 } }, at);
  await play.until(async () => (await condition("large", "ScalingActive"))?.reason === "ScalingDisabled");
  expect(await sizeOf("large")).toBe(0);

  await autoscale("nobody", { metrics: cpuTarget(50) });
  await play.until(async () => (await condition("nobody", "AbleToScale"))?.status === "False");
  expect(await condition("nobody", "AbleToScale")).toMatchObject({
    reason: "FailedGetScale",
    message: `the HPA controller was unable to get the target's current scale: deployments.apps "nobody" not found`,
  });
});

test("two autoscalers of the same pods are both refused", async () => {
  serveUse(() => ({ cpu: "50m" }));
  await deploy("twice", 1);
  await autoscale("twice", { metrics: cpuTarget(50) });
  await scalers().create({
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { name: "twice-b", namespace: "default" },
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "twice" },
      maxReplicas: 3,
      metrics: cpuTarget(50),
    },
  });

  await play.until(async () => (await condition("twice", "ScalingActive"))?.reason === "AmbiguousSelector");

  expect(await condition("twice", "ScalingActive")).toMatchObject({
    status: "False",
    message: "pods by selector app=twice are controlled by multiple HPAs: [default/twice default/twice-b]",
  });
});

test("pods', objects' and external metrics, raw amounts and single containers each count", async () => {
  const now = () => timeOf(play.clock.now());
  serveUse(() => ({ cpu: "100m", memory: "64Mi" }));
  metrics.set("/apis/custom.metrics.k8s.io", () => ({
    kind: "APIGroup",
    versions: [{ groupVersion: "custom.metrics.k8s.io/v1beta2", version: "v1beta2" }],
  }));
  const custom = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default";
  metrics.set(`${custom}/pods/*/requests`, () => ({
    items: play.informers
      .informer(PodKind)
      .list("default")
      .filter(({ metadata }) => metadata.labels?.["app"] === "many")
      .map(({ metadata }) => ({ describedObject: { name: metadata.name }, value: "30", timestamp: now() })),
  }));
  metrics.set(`${custom}/services/front/rate`, () => ({ items: [{ value: "90", timestamp: now() }] }));
  metrics.set("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue", (query) => ({
    items: query.get("labelSelector") === "of=a" ? [{ value: "20" }, { value: "500m" }] : [],
  }));
  await deploy("many", 2, { cpu: "100m", memory: "64Mi" });
  await play.clock.advance(400_000);
  await autoscale("many", {
    metrics: [
      { type: "Pods", pods: { metric: { name: "requests" }, target: { type: "AverageValue", averageValue: "30" } } },
      {
        type: "Object",
        object: {
          describedObject: { apiVersion: "v1", kind: "Service", name: "front" },
          metric: { name: "rate" },
          target: { type: "Value", value: "30" },
        },
      },
      {
        type: "External",
        external: {
          metric: { name: "queue", selector: { matchLabels: { of: "a" } } },
          target: { type: "AverageValue", averageValue: "5" },
        },
      },
      { type: "Resource", resource: { name: "memory", target: { type: "AverageValue", averageValue: "64Mi" } } },
      {
        type: "ContainerResource",
        containerResource: { name: "cpu", container: "main", target: { type: "Utilization", averageUtilization: 80 } },
      },
    ],
  });

  await play.until(async () => (await get("many")).status?.currentMetrics !== undefined);

  // Three times the rate for two pods: six, which doubles-or-four allows only in steps.
  expect(await sizeOf("many")).toBe(4);
  expect((await get("many")).status?.currentMetrics).toEqual([
    { type: "Pods", pods: { metric: { name: "requests" }, current: { averageValue: "30" } } },
    {
      type: "Object",
      object: {
        describedObject: { apiVersion: "v1", kind: "Service", name: "front" },
        metric: { name: "rate" },
        current: { value: "90" },
      },
    },
    {
      type: "External",
      external: {
        metric: { name: "queue", selector: { matchLabels: { of: "a" } } },
        current: { averageValue: "10250m" },
      },
    },
    { type: "Resource", resource: { name: "memory", current: { averageValue: "64Mi" } } },
    {
      type: "ContainerResource",
      containerResource: {
        name: "cpu",
        container: "main",
        current: { averageUtilization: 100, averageValue: "100m" },
      },
    },
  ]);
  expect(await condition("many", "ScalingLimited")).toMatchObject({ status: "True", reason: "ScaleUpLimit" });
  metrics.delete("/apis/custom.metrics.k8s.io");
  metrics.delete("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue");
});

test("custom and external metrics that nobody serves are told by name", async () => {
  await deploy("poor", 1);
  await autoscale("poor", {
    metrics: [
      { type: "External", external: { metric: { name: "queue" }, target: { type: "Value", value: "5" } } },
      { type: "Pods", pods: { metric: { name: "requests" }, target: { type: "AverageValue", averageValue: "30" } } },
    ],
  });

  await play.until(async () => (await condition("poor", "ScalingActive")) !== undefined);

  expect(await condition("poor", "ScalingActive")).toMatchObject({
    reason: "FailedGetExternalMetric",
    message:
      "the HPA was unable to compute the replica count: unable to get external metric default/queue/nil: unable to fetch metrics from external metrics API: the server could not find the requested resource (get queue.external.metrics.k8s.io)",
  });
  await play.until(async () =>
    (await events("poor")).some((event) => event.startsWith("FailedComputeMetricsReplicas")),
  );
  expect(await events("poor")).toContain(
    "FailedGetPodsMetric: unable to get metric requests: unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered",
  );
});
