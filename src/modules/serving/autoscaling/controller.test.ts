import { afterEach, expect, test } from "vitest";
import type { ActivatorReport, ActivatorsReport } from "../../../dataplane/gateway/index.js";
import { type VirtualClock, virtualClock } from "../../../kernel/clock/index.js";
import { createManager, type Manager } from "../../../kernel/control/index.js";
import {
  DeploymentKind,
  HorizontalPodAutoscalerKind,
  IngressKind,
  NamespaceKind,
  PodKind,
} from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import type { Decision, Ledger } from "../../../stores/ledger/types.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { autoscalerController, type LoadSource, type MetricQuery } from "./index.js";

const namespace = "models";
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A gateway that counts what a test says. */
class FakeGateway implements LoadSource {
  readonly handlers = new Set<(report: ActivatorsReport | undefined) => void>();
  readonly clock: VirtualClock;
  report: ActivatorReport;

  constructor(clock: VirtualClock) {
    this.clock = clock;
    const refused = { full: 0, late: 0, cancelled: 0, gone: 0 };
    this.report = {
      name: `cloud/${namespace}/model`,
      ...{ atMs: 0, waiting: 0, active: 0, pods: 0, busyMs: 0, arrived: 0, answered: 0, latencySumMs: 0, waitSumMs: 0 },
      refused,
    };
  }

  onActivators(handler: (report: ActivatorsReport | undefined) => void): () => void {
    this.handlers.add(handler);
    return () => this.handlers.delete(handler);
  }

  tell(more: Partial<ActivatorReport> = {}): void {
    this.report = { ...this.report, ...more, atMs: this.clock.monotonicMs() };
    for (const handler of this.handlers) handler({ pid: 1, turn: 0, activators: [this.report] });
  }
}

interface Setup extends TestCluster {
  readonly virtual: VirtualClock;
  readonly gateway: FakeGateway;
  readonly decisions: Decision[];
  readonly deployments: ReturnType<TestCluster["client"]["resource"]>;
  restart(): Promise<void>;
  /** Lets seconds pass under a load: requests at once, in all pods together. */
  pass(seconds: number, concurrency: number): Promise<void>;
  replicas(): Promise<number>;
  outcomes(): string[];
}

async function start(
  annotations: Record<string, string> = {},
  more: { query?: MetricQuery; label?: string } = {},
): Promise<Setup> {
  const virtual = virtualClock(Date.parse("2026-01-01T00:00:00Z"));
  const cluster = await startTestCluster({ name: "cloud", clock: virtual });
  const gateway = new FakeGateway(virtual);
  const decisions: Decision[] = [];
  const ledger: Ledger = {
    record: (decision) => void decisions.push(decision),
    query: async () => [],
    flush: async () => {},
    close: async () => {},
  };
  let manager: Manager;
  const run = (): void => {
    manager = createManager({ cluster, clock: virtual, random: cluster.random, log: silentLogger });
    manager.add(
      autoscalerController(cluster, {
        ledger,
        loads: gateway,
        ...(more.query === undefined ? {} : { query: more.query }),
      }),
    );
    manager.start();
  };
  closers.push(() => cluster.close());
  closers.push(() => manager.close());
  await cluster.client.resource(NamespaceKind).apply({ metadata: { name: namespace } }, { fieldManager: "test" });
  const deployments = cluster.client.resource(DeploymentKind);
  const { label = "kpa" } = more;
  const metadata = { name: "model", namespace, labels: { "serving.argosy.dev/autoscaler": label }, annotations };
  const template = { metadata: { labels: { app: "model" } }, spec: { containers: [{ name: "c", image: "i" }] } };
  const apply = { namespace, fieldManager: "test", force: true };
  await deployments.apply({ metadata, spec: { selector: { matchLabels: { app: "model" } }, template } }, apply);
  run();
  const find = async () => {
    const found = await deployments.find("model", { namespace });
    if (found === undefined) throw new Error("it is gone");
    return found;
  };
  /** Stands in for the Deployment controller and the kubelet: what is asked for is there. */
  const settle = async (): Promise<void> => {
    const { metadata, spec, status } = await find();
    const replicas = spec.replicas ?? 1;
    const isOld = status?.observedGeneration !== metadata.generation;
    if (!isOld && (status?.readyReplicas ?? 0) === replicas) return;
    const counts = { replicas, readyReplicas: replicas, availableReplicas: replicas, updatedReplicas: replicas };
    const now = { observedGeneration: metadata.generation ?? 1, ...counts };
    await deployments.patch("model", "merge", { status: now }, { namespace, subresource: "status" });
  };
  return {
    ...cluster,
    virtual,
    gateway,
    decisions,
    deployments,
    async restart() {
      await manager.close();
      run();
      await virtual.advance(100);
    },
    async pass(seconds, concurrency) {
      for (let second = 0; second < seconds; second++) {
        await virtual.advance(1000);
        await settle();
        const pods = (await find()).spec.replicas ?? 1;
        gateway.tell({
          pods,
          active: pods > 0 ? concurrency : 0,
          waiting: pods > 0 ? 0 : concurrency,
          busyMs: gateway.report.busyMs + concurrency * 1000,
          arrived: gateway.report.arrived + concurrency,
        });
        await virtual.settle();
      }
    },
    replicas: async () => (await find()).spec.replicas ?? 1,
    outcomes: () => decisions.filter(({ topic }) => topic === "scaling").map(({ outcome }) => outcome),
  };
}

test("load scales up in panic, quiet scales down, and the last pod goes after a window and the grace period", async () => {
  const setup = await start({ "autoscaling.knative.dev/target": "10", "autoscaling.knative.dev/window": "20s" });
  await setup.pass(4, 1);
  expect(await setup.replicas()).toBe(1);
  await setup.pass(8, 70);
  expect(await setup.replicas()).toBe(10);
  expect(setup.outcomes().join("\n")).toMatch(/scaled from 1 to \d+: .*wanted ≥ 2 × 1 ready → panic/);
  await setup.pass(45, 7);
  expect(await setup.replicas()).toBe(1);
  await setup.pass(24, 0);
  // No request for the window: inactive, and its pod is still there.
  expect(await setup.replicas()).toBe(1);
  expect(setup.outcomes().at(-1)).toMatch(/stays at 1 \(inactive\): .*no request for 20 s → inactive/);
  await setup.pass(32, 0);
  expect(await setup.replicas()).toBe(0);
  expect(setup.outcomes().at(-1)).toMatch(/scaled from 1 to 0: .*inactive for 3\d s → 0/);
});

test("a request that meets zero has a pod asked for at once, and its way is told in parts", async () => {
  const setup = await start({ "serving.argosy.dev/cold-start-budget": "1s" });
  await setup.pass(3, 0);
  await setup.pass(100, 0);
  expect(await setup.replicas()).toBe(0);
  const { gateway, virtual } = setup;
  const beganAt = virtual.now();
  gateway.tell({ waiting: 3, arrived: gateway.report.arrived + 3, pods: 0, cold: { number: 1, beganAt } });
  await virtual.advance(20);
  expect(await setup.replicas()).toBe(1);
  const pods = setup.client.resource(PodKind);
  const labels = { app: "model" };
  const spec = { containers: [{ name: "c", image: "i" }], nodeName: "n" };
  await virtual.advance(30);
  await pods.apply({ metadata: { name: "p", namespace, labels }, spec }, { namespace, fieldManager: "test" });
  await virtual.advance(50);
  const running = { name: "c", image: "i", imageID: "", ready: false, restartCount: 0, state: { running: {} } };
  await pods.patch("p", "merge", { status: { containerStatuses: [running] } }, { namespace, subresource: "status" });
  await virtual.advance(200);
  const cold = { number: 1, beganAt, admittedAt: beganAt + 280, answeredAt: beganAt + 290 };
  gateway.tell({ waiting: 0, answered: 3, pods: 1, cold });
  await virtual.advance(20);
  const told = setup.decisions.find(({ topic }) => topic === "cold-start");
  expect(told?.outcome).toMatch(
    /^zero to first answer in 290 ms, within its 1000 ms: queue 0, schedule 50, fetch 50, load 180, first answer 10 ms$/,
  );
  const deployment = await setup.deployments.find("model", { namespace });
  const parts = JSON.parse(deployment?.metadata.annotations?.["serving.argosy.dev/cold-start"] ?? "{}");
  expect(parts.queueMs + parts.scheduleMs + parts.fetchMs + parts.loadMs + parts.answerMs).toBe(290);
});

test("a restart of the controller takes no pod away, and forgets neither phase nor first pods", async () => {
  const setup = await start({ "autoscaling.knative.dev/target": "10", "autoscaling.knative.dev/initial-scale": "2" });
  await setup.pass(1, 0);
  expect(await setup.replicas()).toBe(2);
  await setup.pass(10, 40);
  const before = await setup.replicas();
  expect(before).toBe(6);
  await setup.restart();
  const seen: number[] = [];
  for (let step = 0; step < 10; step++) {
    await setup.pass(1, 40);
    seen.push(await setup.replicas());
  }
  expect(seen).toEqual(Array(10).fill(6));
});

test("settings that change under load go on with what was measured: no panic for it, and no second window", async () => {
  const setup = await start({ "autoscaling.knative.dev/target": "10" });
  const set = (annotations: Record<string, string | null>) =>
    setup.deployments.patch("model", "merge", { metadata: { annotations } }, { namespace });
  await setup.pass(70, 28);
  // The panic of the first seconds is over a window after it.
  await setup.pass(70, 28);
  expect(await setup.replicas()).toBe(4);
  await set({ "autoscaling.knative.dev/target": "20" });
  await setup.pass(3, 28);
  expect(await setup.replicas()).toBe(2);
  expect(setup.outcomes().at(-1)).toBe(
    "scaled from 4 to 2: the stable window: 28 / 14 a pod → 2; the panic window: 28 / 14 a pod → 2",
  );
  // Another window is filled with what the one before it holds.
  await set({ "autoscaling.knative.dev/window": "30s", "autoscaling.knative.dev/target": "40" });
  await setup.pass(3, 28);
  expect(setup.outcomes().at(-1)).toContain("scaled from 2 to 1: the stable window: 28 / 28 a pod → 1");
  // Something else is measured: until it is known what the pods were needed for, none goes.
  await set({ "autoscaling.knative.dev/target": "10" });
  await setup.pass(6, 28);
  expect(await setup.replicas()).toBe(4);
  await setup.pass(70, 28);
  await set({ "autoscaling.knative.dev/metric": "rps", "autoscaling.knative.dev/target": "40" });
  await setup.pass(20, 28);
  expect(await setup.replicas()).toBe(4);
  await setup.pass(20, 28);
  expect(await setup.replicas()).toBe(1);
});

test("a scale-down delay goes on over other settings", async () => {
  const setup = await start({
    "autoscaling.knative.dev/target": "10",
    "autoscaling.knative.dev/window": "6s",
    "autoscaling.knative.dev/scale-down-delay": "60s",
  });
  await setup.pass(20, 28);
  expect(await setup.replicas()).toBe(4);
  await setup.pass(20, 7);
  const annotations = { "autoscaling.knative.dev/max-scale": "6" };
  await setup.deployments.patch("model", "merge", { metadata: { annotations } }, { namespace });
  await setup.pass(30, 7);
  expect(await setup.replicas()).toBe(4);
  // Half of them in one step, and the other ones when that is as long ago.
  await setup.pass(80, 7);
  expect(await setup.replicas()).toBe(1);
});

test("from requests to the HPA class and back: at zero too, and never both", async () => {
  const setup = await start();
  await setup.pass(130, 0);
  expect(await setup.replicas()).toBe(0);
  const scalers = setup.client.resource(HorizontalPodAutoscalerKind);
  const setClass = (name: string) =>
    setup.deployments.patch(
      "model",
      "merge",
      { metadata: { annotations: { "autoscaling.knative.dev/class": `${name}.autoscaling.knative.dev` } } },
      { namespace },
    );
  await setClass("hpa");
  await setup.virtual.advance(100);
  expect([await setup.replicas(), (await scalers.find("model", { namespace }))?.spec.minReplicas]).toEqual([1, 1]);
  await setClass("kpa");
  await setup.pass(3, 0);
  expect(await scalers.find("model", { namespace })).toBeUndefined();
  // It begins anew: a whole window and the grace period go by before the last pod goes.
  expect(await setup.replicas()).toBe(1);
  await setup.pass(130, 0);
  expect(await setup.replicas()).toBe(0);
});

test("bounds, faults of annotations, and limits for the gateway", async () => {
  const setup = await start({
    "autoscaling.knative.dev/min-scale": "2",
    "autoscaling.knative.dev/max-scale": "3",
    "autoscaling.knative.dev/window": "1s",
    "serving.argosy.dev/container-concurrency": "4",
    "serving.argosy.dev/queue-timeout": "20s",
  });
  const ingresses = setup.client.resource(IngressKind);
  const backend = { service: { name: "model", port: { number: 80 } } };
  const rules = [{ host: "model", http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }];
  const annotations = { "serving.argosy.dev/activator": "model" };
  const ingressOf = { metadata: { name: "model", namespace, annotations }, spec: { rules } };
  await ingresses.apply(ingressOf, { namespace, fieldManager: "test" });
  await setup.pass(4, 0);
  expect(await setup.replicas()).toBe(2);
  await setup.pass(6, 100);
  expect(await setup.replicas()).toBe(3);
  const ingress = await ingresses.find("model", { namespace });
  expect(ingress?.metadata.annotations?.["serving.argosy.dev/activator-limits"]).toBe(
    '{"model":{"concurrency":4,"waitMs":20000}}',
  );
  expect(setup.outcomes().join("\n")).toContain("> max scale 3 → 3");
});

test("without a word from the gateway nothing changes", async () => {
  const setup = await start();
  await setup.virtual.advance(400_000);
  expect(await setup.replicas()).toBe(1);
});

test("any PromQL", async () => {
  const asked: string[] = [];
  const query: MetricQuery = async (text) => {
    asked.push(text);
    return 35;
  };
  const annotations = {
    "serving.argosy.dev/metric": "promql",
    "serving.argosy.dev/query": "sum(tokens)",
    "autoscaling.knative.dev/target": "10",
  };
  const setup = await start(annotations, { query });
  await setup.pass(6, 0);
  expect([await setup.replicas(), asked[0]]).toEqual([4, "sum(tokens)"]);
  // What the gateway counts every second is no value of the query.
  await setup.pass(30, 0);
  expect(await setup.replicas()).toBe(4);
  const averages = setup.decisions.map(({ inputs }) => [inputs["stable"], inputs["panic"]]);
  expect(averages.at(-1)).toEqual([35, 35]);
});

test("latency and queue", async () => {
  const slow = await start({ "serving.argosy.dev/metric": "latency", "autoscaling.knative.dev/target": "100" });
  for (let second = 0; second < 6; second++) {
    const { answered, latencySumMs } = slow.gateway.report;
    slow.gateway.tell({ answered: answered + 10, latencySumMs: latencySumMs + 10 * 250 });
    await slow.pass(1, 1);
  }
  expect(await slow.replicas()).toBeGreaterThanOrEqual(3);
  const queued = await start({ "serving.argosy.dev/metric": "queue", "autoscaling.knative.dev/target": "5" });
  await queued.pass(2, 1);
  for (let second = 0; second < 6; second++) {
    queued.gateway.tell({ waiting: 20, pods: 1 });
    await queued.virtual.advance(1000);
  }
  expect(await queued.replicas()).toBe(4);
});

test("the HPA class", async () => {
  const setup = await start(
    {
      "autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev",
      "autoscaling.knative.dev/metric": "memory",
      "autoscaling.knative.dev/target": "200",
      "autoscaling.knative.dev/max-scale": "5",
    },
    { label: "hpa" },
  );
  await setup.virtual.advance(100);
  const scaler = await setup.client.resource(HorizontalPodAutoscalerKind).find("model", { namespace });
  expect(scaler?.spec).toMatchObject({
    minReplicas: 1,
    maxReplicas: 5,
    metrics: [{ resource: { name: "memory", target: { type: "AverageValue", averageValue: "200Mi" } } }],
  });
});

test("pre-warmed: where requests came the day before at this time, a pod is there before them", async () => {
  const setup = await start({ "serving.argosy.dev/prewarm": "history" });
  await setup.pass(3, 0);
  const slots = Array.from({ length: 96 }, (_, index) => (index === 10 ? 50 : 0));
  const deployments = setup.deployments;
  const history = JSON.stringify({ slots, slot: Math.floor(setup.virtual.now() / 900_000) });
  const annotations = { "serving.argosy.dev/traffic-history": history };
  await deployments.patch("model", "merge", { metadata: { annotations } }, { namespace });
  await setup.restart();
  await setup.pass(120, 0);
  expect(await setup.replicas()).toBe(0);
  // Slot 10 begins at 02:30; two minutes before it a pod is asked for.
  await setup.virtual.advance(Date.parse("2026-01-01T02:27:50Z") - setup.virtual.now());
  expect(await setup.replicas()).toBe(0);
  await setup.virtual.advance(20_000);
  expect(await setup.replicas()).toBe(1);
  expect(setup.outcomes().at(-1)).toMatch(/about 50 requests usually come .* → at least 1 \(pre-warmed\)/);
});
