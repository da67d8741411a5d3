import type { ApiClient } from "../../../kernel/client/index.js";
import type { Clock } from "../../../kernel/clock/index.js";
import type { EventRecorder, Informer, InformerSet } from "../../../kernel/control/index.js";
import { isConflict, isNotFound } from "../../../kernel/errors/index.js";
import { NodeKind, type Pod, PodKind, type Service, ServiceKind } from "../../../kernel/kinds/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import type { ImageCatalogue } from "../images/catalogue.js";
import type { NodeCapacity } from "../machine.js";
import type { HostsFiles } from "../network/hosts.js";
import type { PodRuntime } from "../runtime/types.js";
import type { VolumeManager } from "../volumes/manager.js";
import { namesNodes, type Rejection, rejectionOf } from "./admission.js";
import type { PodContext } from "./context.js";
import type { Abilities } from "./fields/types.js";
import { StatusWriter } from "./status-writer.js";
import { PodWorker } from "./worker.js";

export interface PodManagerOptions {
  readonly nodeName: string;
  readonly client: ApiClient;
  readonly informers: InformerSet;
  readonly runtime: PodRuntime;
  readonly volumes: VolumeManager;
  readonly images: ImageCatalogue;
  readonly hosts: HostsFiles;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostIp: string;
  readonly clusterDomain: string;
  readonly allocatable: NodeCapacity;
  readonly abilities: Abilities;
}

const nodeIndex = "spec.nodeName";

/** Gives every pod of this node a worker, and takes it away when pod and traces are gone. */
export class PodManager {
  readonly #options: PodManagerOptions;
  readonly #pods: Informer<Pod>;
  readonly #workers = new Map<string, PodWorker>();
  readonly #writer: StatusWriter;
  readonly #context: PodContext;
  readonly #stops: (() => void)[] = [];

  constructor(options: PodManagerOptions) {
    this.#options = options;
    this.#pods = options.informers.informer(PodKind);
    this.#pods.addIndex(nodeIndex, (pod) => (pod.spec.nodeName === undefined ? [] : [pod.spec.nodeName]));
    this.#writer = new StatusWriter(options);
    const services = options.informers.informer(ServiceKind);
    this.#context = {
      runtime: options.runtime,
      volumes: options.volumes,
      images: options.images,
      hosts: options.hosts,
      clock: options.clock,
      log: options.log,
      events: options.events,
      hostIp: options.hostIp,
      clusterDomain: options.clusterDomain,
      allocatable: options.allocatable,
      abilities: options.abilities,
      services: (): readonly Service[] => services.list(),
      rejection: (pod) => this.#rejection(pod),
      publish: (pod, status) => this.#writer.publish(pod, status),
      finished: (pod) => this.#finished(pod),
    };
  }

  /** Adopts what runs and begins to follow the API. The informers must be synced. */
  async start(): Promise<void> {
    const { runtime, nodeName } = this.#options;
    this.#stops.push(runtime.onChange((uid) => this.#workers.get(uid)?.look()));
    this.#stops.push(
      this.#pods.onChange((now, old) => {
        const pod = now ?? old;
        if (pod?.spec.nodeName !== nodeName) return;
        if (now === undefined) this.#vanished(pod);
        else this.#seen(now);
      }),
    );
    for (const pod of this.#pods.byIndex(nodeIndex, nodeName)) this.#seen(pod);
    await this.#removeOrphans();
  }

  /** The pods of this node, for the endpoint. */
  pods(): readonly Pod[] {
    return [...this.#workers.values()].map((worker) => worker.pod);
  }

  find(namespace: string, name: string): PodWorker | undefined {
    return [...this.#workers.values()].find(
      ({ pod }) => pod.metadata.name === name && (pod.metadata.namespace ?? "default") === namespace,
    );
  }

  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    await Promise.all([...this.#workers.values()].map((worker) => worker.close()));
    await this.#writer.close();
  }

  #seen(pod: Pod): void {
    const worker = this.#workers.get(pod.metadata.uid);
    if (worker !== undefined) {
      worker.update(pod);
      return;
    }
    const fresh = new PodWorker(this.#context, pod);
    this.#workers.set(pod.metadata.uid, fresh);
    fresh.look();
  }

  #vanished(pod: Pod): void {
    this.#workers.get(pod.metadata.uid)?.vanish();
  }

  /** Of the node itself only labels matter, and they are asked for only where a pod names some. */
  async #rejection(pod: Pod): Promise<Rejection | undefined> {
    const { client, nodeName, allocatable } = this.#options;
    const node = namesNodes(pod) ? await client.resource(NodeKind).get(nodeName) : undefined;
    const labels = node?.metadata.labels ?? {};
    const taken = [...this.#workers.values()]
      .filter((each) => each.isTaken && each.pod !== pod)
      .map((each) => each.pod);
    return rejectionOf(pod, { name: nodeName, labels, capacity: allocatable, taken });
  }

  async #finished(pod: Pod): Promise<void> {
    const { name, namespace = "default", uid } = pod.metadata;
    await this.#writer.flush(uid);
    try {
      const options = { namespace, gracePeriodSeconds: 0, preconditions: { uid } };
      await this.#options.client.resource(PodKind).delete(name, options);
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
    this.#writer.forget(uid);
    this.#workers.delete(uid);
  }

  /** Pods that run here and are nowhere in the API, or not on this node any more. */
  async #removeOrphans(): Promise<void> {
    const { runtime, volumes, log } = this.#options;
    for (const sandbox of [...runtime.pods()]) {
      if (this.#workers.has(sandbox.uid)) continue;
      log.info("removing a pod that the API does not know", { namespace: sandbox.namespace, pod: sandbox.name });
      volumes.remove(sandbox.uid);
      await runtime.removePod(sandbox.uid);
    }
    const uids = new Set(runtime.pods().map((pod) => pod.uid));
    if (runtime.name !== "simulated")
      await volumes
        .cleanUp(uids)
        .catch((error: unknown) => log.warn("old volumes could not be removed", { err: error }));
  }
}
