import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checksOf } from "../src/cluster/apiserver/index.js";
import { workloadControllers } from "../src/cluster/workloads/index.js";
import { type GatewayDriver, gatewayDriver, runGateway } from "../src/dataplane/gateway/index.js";
import { type Clock, systemClock, systemRandom } from "../src/kernel/clock/index.js";
import { type ControllerSpec, createManager } from "../src/kernel/control/index.js";
import { DeploymentKind, NamespaceKind, type Pod, PodKind, timeOf } from "../src/kernel/kinds/index.js";
import { silentLogger } from "../src/kernel/log/index.js";
import { toJsonObject } from "../src/kernel/schema/index.js";
import { createFleetModule } from "../src/modules/fleet/index.js";
import { createHttpProbe, createServingModule } from "../src/modules/serving/index.js";
import { type KnativeService, KnativeServiceKind } from "../src/modules/serving/knative/kinds.js";
import { memoryLedger } from "../src/stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../src/testing/index.js";

// One member with its API server, its controllers and a gateway, all of it ten times as fast as life; a kubelet whose pods are HTTP servers.
const SPEED = 10;
const namespace = "models";
const apply = { namespace, fieldManager: "test", force: true };
const started = systemClock.now();

const fast: Clock = {
  now: () => started + (systemClock.now() - started) * SPEED,
  monotonicMs: () => systemClock.monotonicMs() * SPEED,
  setTimer: (delayMs, fire) => systemClock.setTimer(delayMs / SPEED, fire),
  sleep: (delayMs, signal) => systemClock.sleep(delayMs / SPEED, signal),
};

const closers: (() => Promise<unknown>)[] = [];
const ledger = memoryLedger({ clock: fast });
let cluster: TestCluster;
let driver: GatewayDriver;
let port = 0;

/** The kubelet's part: a pod is an HTTP server that says its Revision, at an address of its own. */
function kubelet(): ControllerSpec<Pod> {
  const servers = new Map<string, Server>();
  let last = 0;
  const stop = (name: string): void => {
    servers.get(name)?.closeAllConnections();
    servers.get(name)?.close();
    servers.delete(name);
  };
  closers.push(async () => [...servers.keys()].map(stop));
  return {
    name: "kubelet",
    kind: PodKind,
    concurrency: 20,
    async reconcile(key, pod, context) {
      const pods = context.cluster.client.resource(PodKind);
      if (pod === undefined) return;
      if (pod.metadata.deletionTimestamp !== undefined) {
        stop(key.name);
        await pods.delete(key.name, { namespace: key.namespace, gracePeriodSeconds: 0 });
        return;
      }
      if (servers.has(key.name)) return;
      const revision = pod.metadata.labels?.["serving.knative.dev/revision"] ?? "";
      const server = createServer((_request, response) => {
        setTimeout(() => response.end(revision), 20);
      });
      servers.set(key.name, server);
      const podIP = `127.88.${Math.floor(++last / 250)}.${(last % 250) + 1}`;
      await new Promise<void>((resolve) => server.listen(18_080, podIP, () => resolve()));
      const when = { lastTransitionTime: timeOf(context.clock.now()) };
      const container = { name: "user-container", image: "i", imageID: "", restartCount: 0, started: true };
      const status = {
        phase: "Running",
        podIP,
        podIPs: [{ ip: podIP }],
        conditions: [{ type: "Ready", status: "True", ...when }],
        containerStatuses: [
          { ...container, ready: true, state: { running: { startedAt: timeOf(context.clock.now()) } } },
        ],
      };
      await pods.patch(key.name, "merge", { status }, { namespace: key.namespace, subresource: "status" });
    },
  };
}

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "argosy-scaling-"));
  closers.push(async () => rmSync(directory, { recursive: true, force: true }));
  const gateway = await runGateway({ directory, clock: fast, random: systemRandom, log: silentLogger });
  closers.push(() => gateway.close(0));
  driver = gatewayDriver({ directory, clock: fast, log: silentLogger });
  await driver.start();
  closers.push(() => driver.close());
  await driver.open({ name: "ingress-cloud", host: "127.0.0.1", port: 0 });
  const { listeners } = await driver.observe();
  port = Number(listeners[0]?.address.split(":").at(-1));
  const listener = { name: "ingress-cloud", host: "127.0.0.1", port: 0 };
  const fleet = createFleetModule({
    members: () => undefined,
    gateway: driver,
    ledger,
    headListener: listener,
    ingressListener: () => listener,
  });
  const serving = createServingModule({
    ledger,
    probe: createHttpProbe(() => `127.0.0.1:${port}`),
    address: () => ({ domain: "cloud.test", port }),
    loads: driver,
  });
  const kinds = serving.kinds.map(({ definition }) => definition);
  const admission = (serving.admission ?? []).filter(({ level }) => level === "cluster");
  cluster = await startTestCluster({ name: "cloud", clock: fast, kinds, checks: checksOf(admission, () => cluster) });
  closers.push(() => cluster.close());
  const manager = createManager({ cluster, clock: fast, random: cluster.random, log: silentLogger });
  closers.push(() => manager.close());
  for (const spec of workloadControllers({ ledger, clusterName: "cloud", scheduler: false })) manager.add(spec);
  for (const spec of serving.controllers("cluster", cluster)) manager.add(spec);
  for (const spec of fleet.controllers("cluster", cluster)) if (spec.name === "ingress-controller") manager.add(spec);
  manager.add(kubelet());
  await cluster.client.resource(NamespaceKind).apply({ metadata: { name: namespace } }, { fieldManager: "test" });
  manager.start();
});

afterAll(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const host = (name: string): string => `${name}.${namespace}.cloud.test`;

/** One request to an address, by the body of its answer. */
function ask(name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request({ port, host: "127.0.0.1", headers: { host: host(name) }, agent: false }, (response) => {
      let text = "";
      response.on("data", (piece: Buffer) => {
        text += piece.toString();
      });
      response.on("end", () => resolve(response.statusCode === 200 ? text : `${response.statusCode}: ${text}`));
    });
    call.on("error", reject);
    call.end();
  });
}

async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  for (let attempt = 0; attempt < 1500; attempt++) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await systemClock.sleep(20);
  }
  throw new Error(`never came true: ${what}`);
}

const replicasOf = async (revision: string): Promise<number> => {
  const found = await cluster.client.resource(DeploymentKind).find(`${revision}-deployment`, { namespace });
  return found?.spec.replicas ?? -1;
};

const service = (more: { traffic?: object[]; env?: string } = {}) => ({
  metadata: { name: "hello" },
  spec: {
    template: {
      metadata: {
        annotations: {
          "autoscaling.knative.dev/window": "6s",
          "autoscaling.knative.dev/target": "3",
          "autoscaling.knative.dev/target-utilization-percentage": "100",
        },
      },
      spec: {
        containers: [
          {
            image: "i",
            ports: [{ containerPort: 18_080 }],
            ...(more.env === undefined ? {} : { env: [{ name: "V", value: more.env }] }),
          },
        ],
      },
    },
    ...(more.traffic === undefined ? {} : { traffic: more.traffic.map((target) => toJsonObject(target)) }),
  },
});

async function ready(observed: number): Promise<KnativeService> {
  return until("the service is ready", async () => {
    const found = await cluster.client.resource(KnativeServiceKind).find("hello", { namespace });
    const condition = found?.status?.conditions?.find(({ type }) => type === "Ready");
    return found?.metadata.generation === observed &&
      condition?.status === "True" &&
      condition.observedGeneration === observed
      ? found
      : undefined;
  });
}

test("a service answers, goes to zero when it is quiet, wakes by a request, grows under load and shrinks again", async () => {
  const services = cluster.client.resource(KnativeServiceKind);
  await services.apply(service(), apply);
  const made = await ready(1);
  expect(made.status).toMatchObject({
    url: `http://${host("hello")}:${port}`,
    latestReadyRevisionName: "hello-00001",
    traffic: [{ latestRevision: true, percent: 100, revisionName: "hello-00001" }],
  });
  expect(await ask("hello")).toBe("hello-00001");

  await until("it is at zero", async () => (await replicasOf("hello-00001")) === 0);
  expect((await ready(1)).status?.latestReadyRevisionName).toBe("hello-00001");
  // Ten at once that meet nothing: all of them wait for the first pod.
  const woken = await Promise.all(Array.from({ length: 10 }, () => ask("hello")));
  expect(woken).toEqual(Array(10).fill("hello-00001"));

  let isLoaded = true;
  const failures: string[] = [];
  const load = Promise.all(
    Array.from({ length: 12 }, async () => {
      while (isLoaded) {
        const answer = await ask("hello");
        if (answer !== "hello-00001") failures.push(answer);
      }
    }),
  );
  const most = await until("it has grown", async () => {
    const replicas = await replicasOf("hello-00001");
    return replicas >= 3 && replicas;
  });
  isLoaded = false;
  await load;
  expect(failures).toEqual([]);
  await until("it has shrunk", async () => (await replicasOf("hello-00001")) < most);

  const decisions = await ledger.query({ kind: "Deployment", name: "hello-00001-deployment", limit: 500 });
  const outcomes = decisions.map(({ outcome }) => outcome).join("\n");
  // By which window it grew, and whether it panicked, depends on how fast this machine is; kpa.test.ts has both on its own clock.
  expect(outcomes).toMatch(/scaled from \d+ to [3-9]: the stable window: .* → \d+; the panic window: .* → \d+/);
  expect(outcomes).toMatch(/scaled from 1 to 0: .*inactive for \d+ s → 0/);
  expect(outcomes).toMatch(
    /zero to first answer in \d+ ms: queue \d+, schedule \d+, fetch \d+, load \d+, first answer \d+ ms/,
  );
});

test("two Revisions share an address 90 to 10, a tag has its own, and what cannot be is refused with reasons", async () => {
  const services = cluster.client.resource(KnativeServiceKind);
  const shares = [
    { revisionName: "hello-00001", percent: 90 },
    { latestRevision: true, percent: 10, tag: "next" },
  ];
  await services.apply(service({ env: "2", traffic: shares }), apply);
  const split = await ready(2);
  expect(split.status?.traffic).toMatchObject([
    { revisionName: "hello-00001", percent: 90 },
    { revisionName: "hello-00002", percent: 10, tag: "next", url: `http://${host("next-hello")}:${port}` },
  ]);
  const answers: string[] = [];
  for (let round = 0; round < 10; round++)
    answers.push(...(await Promise.all(Array.from({ length: 10 }, () => ask("hello")))));
  const next = answers.filter((answer) => answer === "hello-00002").length;
  // Exactly ten, but for requests that met a pod on its way out and were sent again.
  expect(Math.abs(next - 10)).toBeLessThanOrEqual(3);
  expect(answers.filter((answer) => answer === "hello-00001")).toHaveLength(100 - next);
  expect(await ask("next-hello")).toBe("hello-00002");

  const refused = services.apply(service({ traffic: [{ latestRevision: true, percent: 90 }] }), apply);
  await expect(refused).rejects.toThrow(/spec.traffic: .*the percents add up to 90; they must add up to 100/);
});
