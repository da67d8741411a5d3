import { afterEach, beforeEach, expect, test } from "vitest";
import { seededRandom, type VirtualClock, virtualClock } from "../../../kernel/clock/index.js";
import {
  EventKind,
  isConditionTrue,
  LeaseKind,
  NodeKind,
  type Pod,
  PodKind,
  type PodSpec,
} from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import {
  createNodeAgent,
  type NodeAgent,
  type SimulatedBehaviour,
  type SimulatedRuntime,
  simulatedImages,
  simulatedRuntime,
} from "../index.js";

let clock: VirtualClock;
let cluster: TestCluster;
let runtime: SimulatedRuntime;
let agent: NodeAgent;
/** Images are found once this resolves. */
let found: Promise<void>;
const behaviours = new Map<string, SimulatedBehaviour>();

beforeEach(async () => {
  behaviours.clear();
  found = Promise.resolve();
  clock = virtualClock(Date.UTC(2026, 0, 1));
  cluster = await startTestCluster({ clock });
  runtime = simulatedRuntime({ clock, behaviour: (spec) => behaviours.get(spec.name) ?? {} });
  agent = newAgent();
  await agent.start();
});

afterEach(async () => {
  await agent.close({ keepPods: true });
  await cluster.close();
});

function newAgent(): NodeAgent {
  return createNodeAgent({
    name: "sim",
    cluster,
    clock,
    random: seededRandom(1),
    log: silentLogger,
    dataDir: "/nonexistent",
    runtime,
    images: { ...simulatedImages(), resolve: (image) => found.then(() => simulatedImages().resolve(image)) },
    capacity: { cpuMillis: 64_000, pods: 1000 },
  });
}

async function create(name: string, spec: Partial<PodSpec>, annotations: Record<string, string> = {}): Promise<Pod> {
  return cluster.client.resource(PodKind).create({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", annotations },
    spec: { nodeName: "sim", containers: [{ name: "main", image: "x" }], automountServiceAccountToken: false, ...spec },
  });
}

const get = (name: string): Promise<Pod | undefined> =>
  cluster.client.resource(PodKind).find(name, { namespace: "default" });

async function until(
  name: string,
  holds: (pod: Pod | undefined) => boolean,
  limitMs = 3_600_000,
): Promise<{ pod: Pod | undefined; tookMs: number }> {
  const tookMs = await clock.runUntil(async () => holds(await get(name)), limitMs);
  return { pod: await get(name), tookMs };
}

const ready = (pod: Pod | undefined): boolean => isConditionTrue(pod?.status?.conditions, "Ready");

test("a pod becomes ready when its probe says so", async () => {
  behaviours.set("main", { startDelayMs: 500, readyAfterMs: 2_000 });
  await create("a", { containers: [{ name: "main", image: "x", readinessProbe: { httpGet: { port: 1 } } }] });

  const { pod, tookMs } = await until("a", ready);

  expect(tookMs).toBeGreaterThanOrEqual(2_500);
  expect(tookMs).toBeLessThan(6_000);
  expect(pod?.status).toMatchObject({
    phase: "Running",
    containerStatuses: [{ ready: true, started: true, restartCount: 0 }],
  });
});

test("back-off grows from 10 s to 5 min, and the message says so", async () => {
  behaviours.set("main", { exitAfterMs: 1_000, exitCode: 2 });
  await create("b", {});

  const ends: number[] = [];
  for (const restarts of [1, 2, 3, 4, 5, 6, 7]) {
    const { tookMs } = await until(
      "b",
      (pod) =>
        (pod?.status?.containerStatuses?.[0]?.restartCount ?? 0) >= restarts &&
        pod?.status?.containerStatuses?.[0]?.state?.waiting !== undefined,
    );
    ends.push(tookMs);
  }

  const status = (await get("b"))?.status?.containerStatuses?.[0];
  expect(ends.slice(1).map((ms) => Math.round(ms / 1000))).toEqual([11, 21, 41, 81, 161, 301]);
  expect(status?.state?.waiting).toMatchObject({
    reason: "CrashLoopBackOff",
    message: expect.stringContaining("back-off 5m0s restarting failed container=main"),
  });
  expect(status?.lastState?.terminated).toMatchObject({ exitCode: 2, reason: "Error" });
});

test("init containers run in turn, once, before the others", async () => {
  behaviours.set("one", { exitAfterMs: 1_000 });
  behaviours.set("two", { exitAfterMs: 1_000 });
  await create("c", {
    initContainers: [
      { name: "one", image: "x" },
      { name: "two", image: "x" },
    ],
  });

  const { pod: during } = await until(
    "c",
    (pod) => pod?.status?.initContainerStatuses?.[1]?.state?.running !== undefined,
  );
  const { pod } = await until("c", ready);

  expect(during?.status).toMatchObject({
    phase: "Pending",
    containerStatuses: [{ state: { waiting: { reason: "PodInitializing" } } }],
  });
  expect(during?.status?.conditions?.find((each) => each.type === "Initialized")).toMatchObject({
    status: "False",
    message: "containers with incomplete status: [two]",
  });
  expect(pod?.status?.initContainerStatuses?.map((each) => each.state?.terminated?.reason)).toEqual([
    "Completed",
    "Completed",
  ]);
});

test("a failed init container fails a pod that is never restarted", async () => {
  behaviours.set("one", { exitAfterMs: 1_000, exitCode: 3 });
  await create("d", { restartPolicy: "Never", initContainers: [{ name: "one", image: "x" }] });

  const { pod } = await until("d", (each) => each?.status?.phase === "Failed");

  expect(pod?.status?.containerStatuses?.[0]?.state?.waiting?.reason).toBe("PodInitializing");
});

test("a job's pod succeeds; its sidecar is ended", async () => {
  behaviours.set("main", { exitAfterMs: 5_000 });
  await create("e", {
    restartPolicy: "OnFailure",
    initContainers: [{ name: "proxy", image: "x", restartPolicy: "Always" }],
  });

  const { pod } = await until("e", (each) => each?.status?.phase === "Succeeded");

  expect(pod?.status?.containerStatuses?.[0]?.state?.terminated).toMatchObject({ exitCode: 0, reason: "Completed" });
  expect(pod?.status?.initContainerStatuses?.[0]?.state?.terminated).toBeDefined();
  expect(pod?.status?.conditions?.find((each) => each.type === "Ready")).toMatchObject({
    status: "False",
    reason: "PodCompleted",
  });
});

test("the deadline ends a pod for good", async () => {
  await create("f", { activeDeadlineSeconds: 30 });

  const { pod, tookMs } = await until("f", (each) => each?.status?.phase === "Failed");

  expect(Math.round(tookMs / 1000)).toBe(30);
  expect(pod?.status?.reason).toBe("DeadlineExceeded");
});

test("a liveness probe restarts what hangs", async () => {
  await create("g", {
    containers: [{ name: "main", image: "x", livenessProbe: { tcpSocket: { port: 1 }, periodSeconds: 5 } }],
  });
  const { pod } = await until("g", ready);
  runtime.setHealthy({ podUid: pod?.metadata.uid ?? "", name: "main", attempt: 0 }, false);

  const { pod: after } = await until(
    "g",
    (each) => each?.status?.containerStatuses?.[0]?.restartCount === 1 && ready(each),
  );

  expect(after?.status?.containerStatuses?.[0]?.lastState?.terminated?.exitCode).toBe(143);
  const events = await cluster.client.resource(EventKind).list({ namespace: "default" });
  expect(events.items.map((event) => event.message)).toContain(
    "Container main failed liveness probe, will be restarted",
  );
});

test("a deleted pod goes when its containers have gone, within the grace", async () => {
  behaviours.set("main", { stopDelayMs: 60_000 });
  await create("h", { terminationGracePeriodSeconds: 20 });
  await until("h", ready);
  await cluster.client.resource(PodKind).delete("h", { namespace: "default" });

  const { tookMs } = await until("h", (pod) => pod === undefined);

  expect(Math.round(tookMs / 1000)).toBe(20);
  expect(runtime.pods()).toEqual([]);
});

test("an agent that comes back adopts pods without flapping", async () => {
  await create("i", { containers: [{ name: "main", image: "x", readinessProbe: { httpGet: { port: 1 } } }] });
  const { pod: before } = await until("i", ready);

  await agent.close({ keepPods: true });
  agent = newAgent();
  await agent.start();
  await clock.advance(30_000);
  const after = await get("i");

  expect(after?.status?.conditions).toEqual(before?.status?.conditions);
  expect(after?.status?.containerStatuses?.[0]?.restartCount).toBe(0);
});

test("wishes that cannot be met are refused with a cause", async () => {
  await create("j", { shareProcessNamespace: true });

  const { pod } = await until(
    "j",
    (each) => each?.status?.containerStatuses?.[0]?.state?.waiting?.reason === "CreateContainerConfigError",
  );
  const events = await cluster.client.resource(EventKind).list({ namespace: "default" });

  expect(pod?.status?.containerStatuses?.[0]?.state?.waiting?.message).toContain("spec.shareProcessNamespace");
  expect(events.items.find((event) => event.reason === "FailedCreatePodSandBox")?.message).toContain("hostPID");
});

test("what kubelet turns away has failed before it began", async () => {
  await create("r", { securityContext: { sysctls: [{ name: "kernel.msgmax", value: "1" }] } });

  const { pod } = await until("r", (each) => each?.status?.phase === "Failed");

  expect(pod?.status).toMatchObject({ reason: "SysctlForbidden" });
  expect(pod?.status?.message).toContain("spec.securityContext.sysctls[kernel.msgmax].name");
});

test("a pod that was given to the wrong node is turned away, and those that are there stay", async () => {
  await create("stays", { nodeSelector: { "kubernetes.io/os": "linux" } });
  await until("stays", ready);
  await create("wrong", { nodeSelector: { disk: "ssd" } });
  await create("large", { containers: [{ name: "main", image: "x", resources: { requests: { cpu: "65" } } }] });

  const { pod: wrong } = await until("wrong", (each) => each?.status?.phase === "Failed");
  const { pod: large } = await until("large", (each) => each?.status?.phase === "Failed");

  expect(wrong?.status?.reason).toBe("NodeAffinity");
  expect(large?.status).toMatchObject({
    reason: "OutOfcpu",
    message: "Pod was rejected: Node didn't have enough resource: cpu, requested: 65000, used: 0, capacity: 64000",
  });
  expect(ready(await get("stays"))).toBe(true);
});

test("fields that are not carried out are named in an event", async () => {
  await create("k", {
    containers: [{ name: "main", image: "x", ports: [{ containerPort: 80, hostPort: 80 }] }],
    imagePullSecrets: [{ name: "registry" }],
  });
  await until("k", ready);

  const events = await cluster.client.resource(EventKind).list({ namespace: "default" });

  const message = events.items.find((event) => event.reason === "FieldsIgnored")?.message;
  expect(message).toContain("spec.containers[main].ports[0].hostPort");
  expect(message).toContain("spec.imagePullSecrets");
});

test("a pod that is deleted while its container is about to start is stopped as soon as it has", async () => {
  let open = (): void => undefined;
  found = new Promise((resolve) => {
    open = resolve;
  });
  await create("early", {});
  await until("early", (each) => each?.status?.podIP !== undefined);
  await cluster.client.resource(PodKind).delete("early", { namespace: "default", gracePeriodSeconds: 5 });
  await clock.advance(1_000);
  open();

  const { tookMs } = await until("early", (each) => each === undefined);

  expect(tookMs).toBeLessThan(60_000);
  expect(runtime.pods()).toEqual([]);
});

test("another image restarts the container, whatever the restart policy", async () => {
  await create("img", { restartPolicy: "Never" });
  await until("img", ready);

  const patch = { spec: { containers: [{ name: "main", image: "y" }] } };
  await cluster.client.resource(PodKind).patch("img", "strategic", patch, { namespace: "default" });
  const { pod } = await until("img", (each) => each?.status?.containerStatuses?.[0]?.image === "y" && ready(each));
  const events = await cluster.client.resource(EventKind).list({ namespace: "default" });

  expect(pod?.status?.containerStatuses?.[0]).toMatchObject({ restartCount: 1, imageID: "simulated://y" });
  expect(events.items.find((event) => event.reason === "Killing")?.message).toBe(
    "Container main definition changed, will be restarted",
  );
});

test("a resize is told as infeasible until the container starts anew", async () => {
  await create("rs", { containers: [{ name: "main", image: "x", resources: { requests: { cpu: "100m" } } }] });
  await until("rs", ready);
  const pending = (pod: Pod | undefined) => pod?.status?.conditions?.find((each) => each.type === "PodResizePending");

  const patch = { spec: { containers: [{ name: "main", resources: { requests: { cpu: "200m" } } }] } };
  await cluster.client
    .resource(PodKind)
    .patch("rs", "strategic", patch, { namespace: "default", subresource: "resize" });
  const { pod } = await until("rs", (each) => pending(each) !== undefined);
  const events = await cluster.client.resource(EventKind).list({ namespace: "default" });
  runtime.exit({ podUid: pod?.metadata.uid ?? "", name: "main", attempt: 0 }, 1);
  const { pod: after } = await until("rs", (each) => each?.status?.containerStatuses?.[0]?.restartCount === 1);

  expect(pending(pod)).toMatchObject({ status: "True", reason: "Infeasible" });
  expect(events.items.some((event) => event.reason === "ResizeInfeasible")).toBe(true);
  expect(pending(after)).toBeUndefined();
});

test("an ephemeral container runs; what it asks for in vain is told", async () => {
  const { pod } = await create("eph", {}).then(() => until("eph", ready));
  const ephemeralContainers = [{ name: "debug", image: "x", targetContainerName: "main" }];
  await cluster.client
    .resource(PodKind)
    .patch(
      "eph",
      "strategic",
      { spec: { ephemeralContainers } },
      { namespace: "default", subresource: "ephemeralcontainers" },
    );

  const { pod: now } = await until(
    "eph",
    (each) => each?.status?.ephemeralContainerStatuses?.[0]?.state?.running !== undefined,
  );
  await clock.advance(1_000);
  const events = await cluster.client.resource(EventKind).list({ namespace: "default" });

  expect(now?.status?.containerStatuses?.[0]?.restartCount).toBe(pod?.status?.containerStatuses?.[0]?.restartCount);
  expect(events.items.find((event) => event.reason === "FieldsIgnored")?.message).toContain(
    "spec.ephemeralContainers[debug].targetContainerName",
  );
});

test("the node renews its lease and comes back when somebody deletes it", async () => {
  const lease = async () =>
    (await cluster.client.resource(LeaseKind).get("sim", { namespace: "kube-node-lease" })).spec.renewTime;
  const first = await lease();
  await clock.advance(10_500);
  const second = await lease();
  await cluster.client.resource(NodeKind).delete("sim");
  await clock.runUntil(
    async () => (await cluster.client.resource(NodeKind).find("sim"))?.status?.allocatable !== undefined,
    900_000,
  );

  expect(second).not.toBe(first);
});

test("hundreds of pods are cheap", async () => {
  for (let index = 0; index < 300; index += 1) await create(`many-${index}`, {});

  await clock.runUntil(
    async () => (await cluster.client.resource(PodKind).list({ namespace: "default" })).items.every(ready),
    600_000,
  );

  expect(runtime.pods()).toHaveLength(300);
});
