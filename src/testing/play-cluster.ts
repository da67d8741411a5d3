import { type WorkloadOptions, workloadControllers } from "../cluster/workloads/index.js";
import type { ApiClient } from "../kernel/client/index.js";
import { type Clock, seededRandom, type Timer, type VirtualClock } from "../kernel/clock/index.js";
import { type ClusterAccess, type ControllerSpec, createManager, type Manager } from "../kernel/control/index.js";
import { isDeleting, LeaseKind, type Node, NodeKind, type Pod, PodKind, timeOf } from "../kernel/kinds/index.js";
import { createLogger } from "../kernel/log/index.js";
import { memoryLedger } from "../stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "./index.js";
import { playClock } from "./play-clock.js";

/** A cluster on virtual time with all workload controllers, nodes that are only objects, and pods that play their parts. */
export interface PlayCluster extends TestCluster {
  readonly clock: VirtualClock;
  readonly ledger: WorkloadOptions["ledger"];
  addNode(
    name: string,
    more?: { labels?: Record<string, string>; spec?: Node["spec"]; allocatable?: Record<string, string> },
  ): Promise<Node>;
  /** The node falls silent (its pods' statuses stay), or speaks again. */
  setAlive(name: string, isAlive: boolean): void;
  /** Stops the controllers as a kill would, and starts new ones. */
  restartControllers(): Promise<void>;
  /** Advances until the condition holds, or throws after a virtual minute or `limitMs`. */
  until(condition: () => boolean | Promise<boolean>, limitMs?: number): Promise<number>;
}

const condition = (type: string, status: string, nowMs: number) => ({
  type,
  status,
  reason: "Play",
  message: "",
  lastTransitionTime: timeOf(nowMs),
});

/**
 * The kubelet's part, by annotations of the pod: `play/exit: "0"` ends a second after the start with that code,
 * `play/ready: "false"` never becomes ready. Everything takes a second.
 */
export function playKubelet(): ControllerSpec<Pod> {
  return {
    name: "play-kubelet",
    kind: PodKind,
    concurrency: 50,
    async reconcile(_key, pod, { cluster, clock }) {
      if (pod?.spec.nodeName === undefined) return;
      const pods = cluster.client.resource(PodKind);
      const { name, namespace = "", annotations = {} } = pod.metadata;
      const write = (phase: string, ready: boolean, exitCode?: number) =>
        pods.updateStatus({
          ...pod,
          status: {
            ...pod.status,
            phase,
            startTime: pod.status?.startTime ?? timeOf(clock.now()),
            conditions: [
              condition("PodScheduled", "True", clock.now()),
              condition("Ready", ready ? "True" : "False", clock.now()),
            ],
            containerStatuses: pod.spec.containers.map((container) => ({
              name: container.name,
              image: container.image ?? "",
              imageID: "",
              ready,
              restartCount: 0,
              state:
                exitCode === undefined
                  ? { running: {} }
                  : { terminated: { exitCode, finishedAt: timeOf(clock.now()) } },
            })),
          },
        });
      const isEnded = pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
      if (isDeleting(pod)) {
        if (isEnded && (pod.metadata.deletionGracePeriodSeconds ?? 0) === 0) return;
        await clock.sleep(1000);
        await pods.delete(name, { namespace, gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } });
        return;
      }
      if (pod.status?.phase === "Pending" || pod.status?.phase === undefined) {
        await clock.sleep(1000);
        await write("Running", annotations["play/ready"] !== "false");
        return;
      }
      const exit = annotations["play/exit"];
      if (pod.status.phase !== "Running" || exit === undefined) return;
      await clock.sleep(1000);
      await write(exit === "0" ? "Succeeded" : "Failed", false, Number(exit));
    },
  };
}

/** Makes a Node that is ready and has room. */
export async function playNode(
  cluster: ClusterAccess,
  clock: Clock,
  name: string,
  more: { labels?: Record<string, string>; spec?: Node["spec"]; allocatable?: Record<string, string> } = {},
): Promise<Node> {
  const resource = cluster.client.resource(NodeKind);
  const labels = { "kubernetes.io/hostname": name, ...more.labels };
  await resource.create({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels },
    spec: more.spec ?? {},
  });
  const allocatable = { cpu: "4", memory: "8Gi", pods: "110", ...more.allocatable };
  const conditions = [condition("Ready", "True", clock.now())];
  return resource.patch(
    name,
    "merge",
    { status: { allocatable, capacity: allocatable, conditions } },
    { subresource: "status" },
  );
}

/** What a test may put between the controllers and the cluster. */
export interface PlayOptions {
  /** The client that the workload controllers get, for answers that no server in memory has (metrics, say). */
  readonly through?: (client: ApiClient) => ApiClient;
}

/** Starts one with nodes of these names. */
export async function startPlayCluster(
  nodes: readonly string[] = ["node-1", "node-2"],
  { through = (client) => client }: PlayOptions = {},
): Promise<PlayCluster> {
  const clock = playClock();
  const random = seededRandom(7);
  const lines: string[] = [];
  const log = createLogger({ clock, level: "warn", write: (line) => lines.push(line) });
  const cluster = await startTestCluster({ clock, random, log });
  const ledger = memoryLedger({ clock });
  let manager: Manager;
  const startControllers = (): void => {
    manager = createManager({ cluster: { ...cluster, client: through(cluster.client) }, clock, random, log });
    for (const spec of workloadControllers({ ledger, clusterName: cluster.name })) manager.add(spec);
    manager.start();
  };
  const kubelets = createManager({ cluster, clock, random, log });
  kubelets.add(playKubelet());
  kubelets.start();
  startControllers();
  const addNode: PlayCluster["addNode"] = (name, more) => playNode(cluster, clock, name, more);
  const dead = new Set<string>();
  let heart: Timer | undefined;
  const beat = (): void => {
    for (const { metadata } of cluster.informers.informer(NodeKind).list()) {
      if (dead.has(metadata.name)) continue;
      const spec = {
        holderIdentity: metadata.name,
        leaseDurationSeconds: 40,
        renewTime: `${timeOf(clock.now()).slice(0, -1)}.000000Z`,
      };
      // Fails only while the cluster closes.
      cluster.client
        .resource(LeaseKind)
        .apply(
          { metadata: { name: metadata.name, namespace: "kube-node-lease" }, spec },
          { fieldManager: "play-kubelet", force: true },
        )
        .catch(() => undefined);
    }
    heart = clock.setTimer(10_000, beat);
  };
  beat();
  for (const name of nodes) await addNode(name);
  return {
    ...cluster,
    clock,
    ledger,
    addNode,
    setAlive: (name, isAlive) => void (isAlive ? dead.delete(name) : dead.add(name)),
    async restartControllers() {
      const closing = manager.close();
      await clock.advance(5000);
      await closing;
      startControllers();
    },
    async until(reached, limitMs = 60_000) {
      try {
        return await clock.runUntil(reached, limitMs);
      } catch (error) {
        throw new Error(`${String(error)}\n${lines.slice(-10).join("")}`);
      }
    },
    async close() {
      heart?.cancel();
      const closing = Promise.all([manager.close(), kubelets.close()]);
      await clock.advance(5000);
      await closing;
      const closed = cluster.close();
      await clock.advance(5000);
      await closed;
    },
  };
}
