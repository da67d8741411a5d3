import { checksOf } from "../../src/cluster/apiserver/index.js";
import { workloadControllers } from "../../src/cluster/workloads/index.js";
import { type GatewayDriver, gatewayDriver, runGateway } from "../../src/dataplane/gateway/index.js";
import { type Clock, systemClock, systemRandom } from "../../src/kernel/clock/index.js";
import { type ControllerSpec, createManager } from "../../src/kernel/control/index.js";
import { NamespaceKind, type Pod, PodKind, timeOf } from "../../src/kernel/kinds/index.js";
import { silentLogger } from "../../src/kernel/log/index.js";
import { createFleetModule } from "../../src/modules/fleet/index.js";
import { createHttpProbe, createServingModule } from "../../src/modules/serving/index.js";
import { type Ledger, memoryLedger } from "../../src/stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../../src/testing/index.js";

const speed = 10;
const started = systemClock.now();

/** Ten times as fast as life. */
const fastClock: Clock = {
  now: () => started + (systemClock.now() - started) * speed,
  monotonicMs: () => systemClock.monotonicMs() * speed,
  setTimer: (delayMs, fire) => systemClock.setTimer(delayMs / speed, fire),
  sleep: (delayMs, signal) => systemClock.sleep(delayMs / speed, signal),
};

/** What differs between the stages. */
export interface MemberStageOptions {
  /** The gateway's folder. */
  readonly directory: string;
  /** Made in the beginning. */
  readonly namespace: string;
  /** The first two numbers of pods' addresses, for instance `127.88`. */
  readonly network: string;
  /** Makes a pod answer at its address, until `stopped`; resolves when it does. */
  readonly startPod: (pod: Pod, podIP: string, stopped: Promise<void>) => Promise<void>;
  /** How long pods that are deleted go on, of the member's time; default: not at all. */
  readonly drainMs?: number;
  /** Whether the gateway's time is the member's; default: the machine's. */
  readonly isGatewayFast?: boolean;
  /** Whether programs in the cluster are led through the gateway; default: no. */
  readonly isGatewayInside?: boolean;
}

/** One member with its API server and its controllers, ten times as fast as life; a gateway; a kubelet whose pods are what the test says. */
export interface MemberStage {
  readonly cluster: TestCluster;
  readonly driver: GatewayDriver;
  readonly ledger: Ledger;
  /** Of the gateway's listener on 127.0.0.1. */
  readonly port: number;
  /** The host of a route: `NAME.NAMESPACE.cloud.test`. */
  host(name: string): string;
  close(): Promise<void>;
}

/** Starts it; what was begun is ended again when something does not start. */
export async function startMemberStage(options: MemberStageOptions): Promise<MemberStage> {
  const closers: Closers = [];
  const close = async (): Promise<void> => {
    for (const each of closers.splice(0).reverse()) await each();
  };
  try {
    const { driver, port } = await openGateway(options, closers);
    const ledger = memoryLedger({ clock: fastClock });
    const cluster = await openCluster(options, { driver, port, ledger }, closers);
    return { cluster, driver, ledger, port, host: (name) => `${name}.${options.namespace}.cloud.test`, close };
  } catch (error) {
    await close();
    throw error;
  }
}

type Closers = (() => Promise<unknown>)[];
const listener = { name: "ingress-cloud", host: "127.0.0.1", port: 0 };

async function openGateway({ directory, isGatewayFast = false }: MemberStageOptions, closers: Closers) {
  const clock = isGatewayFast ? fastClock : systemClock;
  const gateway = await runGateway({ directory, clock, random: systemRandom, log: silentLogger });
  closers.push(() => gateway.close(0));
  const driver = gatewayDriver({ directory, clock, log: silentLogger });
  await driver.start();
  closers.push(() => driver.close());
  await driver.open(listener);
  const { listeners } = await driver.observe();
  return { driver, port: Number(listeners[0]?.address.split(":").at(-1)) };
}

async function openCluster(
  options: MemberStageOptions,
  { driver, port, ledger }: Pick<MemberStage, "driver" | "port" | "ledger">,
  closers: Closers,
): Promise<TestCluster> {
  const fleet = createFleetModule({
    members: () => undefined,
    gateway: driver,
    ledger,
    headListener: listener,
    ingressListener: () => listener,
    ...(options.isGatewayInside === true ? { insideAddress: () => "127.0.0.1" } : {}),
  });
  const serving = createServingModule({
    ledger,
    probe: createHttpProbe(() => `127.0.0.1:${port}`),
    address: () => ({ domain: "cloud.test", port }),
    loads: driver,
    counts: driver,
  });
  const kinds = serving.kinds.map(({ definition }) => definition);
  const admission = (serving.admission ?? []).filter(({ level }) => level === "cluster");
  const cluster: TestCluster = await startTestCluster({
    ...{ name: "cloud", clock: fastClock, kinds, checks: checksOf(admission, () => cluster) },
  });
  closers.push(() => cluster.close());
  const manager = createManager({ cluster, clock: fastClock, random: cluster.random, log: silentLogger });
  closers.push(() => manager.close());
  for (const spec of workloadControllers({ ledger, clusterName: "cloud", scheduler: false })) manager.add(spec);
  for (const spec of serving.controllers("cluster", cluster)) manager.add(spec);
  for (const spec of fleet.controllers("cluster", cluster)) if (spec.name === "ingress-controller") manager.add(spec);
  manager.add(kubelet(options, closers));
  await cluster.client
    .resource(NamespaceKind)
    .apply({ metadata: { name: options.namespace } }, { fieldManager: "test" });
  manager.start();
  return cluster;
}

/** The kubelet's part: each pod has an address of its own, runs at once and is ready. */
function kubelet({ network, startPod, drainMs = 0 }: MemberStageOptions, closers: Closers): ControllerSpec<Pod> {
  const running = new Map<string, () => void>();
  let last = 0;
  const stop = (name: string): void => {
    running.get(name)?.();
    running.delete(name);
  };
  closers.push(async () => [...running.keys()].map(stop));
  return {
    name: "kubelet",
    kind: PodKind,
    concurrency: 20,
    async reconcile({ name, namespace }, pod, { cluster, clock }) {
      const pods = cluster.client.resource(PodKind);
      if (pod === undefined) return;
      if (pod.metadata.deletionTimestamp !== undefined) {
        // As a model server drains: who was told of it before is answered.
        if (drainMs > 0) await clock.sleep(drainMs);
        stop(name);
        await pods.delete(name, { namespace, gracePeriodSeconds: 0 });
        return;
      }
      if (running.has(name)) return;
      const podIP = `${network}.${Math.floor(++last / 250)}.${(last % 250) + 1}`;
      await startPod(pod, podIP, new Promise((resolve) => running.set(name, resolve)));
      const now = timeOf(clock.now());
      const status = {
        phase: "Running",
        podIP,
        podIPs: [{ ip: podIP }],
        conditions: [{ type: "Ready", status: "True", lastTransitionTime: now }],
        containerStatuses: pod.spec.containers.map((container) => ({
          ...{ name: container.name, image: "i", imageID: "", restartCount: 0, started: true, ready: true },
          state: { running: { startedAt: now } },
        })),
      };
      await pods.patch(name, "merge", { status }, { namespace, subresource: "status" });
    },
  };
}
