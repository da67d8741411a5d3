import { mkdirSync } from "node:fs";
import type { ApiClient } from "../../kernel/client/index.js";
import type { Clock, Random } from "../../kernel/clock/index.js";
import { type ClusterAccess, createEventRecorder, type OwnedEventRecorder } from "../../kernel/control/index.js";
import { EndpointSliceKind, PodKind, ServiceKind } from "../../kernel/kinds/index.js";
import type { Logger } from "../../kernel/log/index.js";
import { NodeEndpoint } from "./endpoint/server.js";
import type { ImageCatalogue } from "./images/catalogue.js";
import type { Isolation } from "./isolation/detect.js";
import { machineCapacity, type NodeCapacity } from "./machine.js";
import { HostsFiles } from "./network/hosts.js";
import type { PodNetwork } from "./network/types.js";
import { NodeObject } from "./node-object.js";
import { abilitiesOf } from "./pods/fields/abilities.js";
import { PodManager } from "./pods/manager.js";
import type { PodRuntime } from "./runtime/types.js";
import { VolumeManager } from "./volumes/manager.js";

/** Everything a node agent needs. */
export interface NodeAgentOptions {
  readonly name: string;
  /** With the node's identity (`system:node:<name>`), or one that may do as much. */
  readonly cluster: ClusterAccess;
  /** May create PersistentVolumes and bind claims; default: the node's own client. */
  readonly provisioner?: ApiClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The node's own folder. */
  readonly dataDir: string;
  readonly runtime: PodRuntime;
  readonly images: ImageCatalogue;
  /** Shared by all nodes of a data directory and started by its owner; absent with the simulated runtime. */
  readonly network?: PodNetwork;
  readonly isolation?: Isolation;
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly { readonly key: string; readonly value?: string; readonly effect: string }[];
  /** Default: the whole machine. Several nodes on one machine share its cores. */
  readonly capacity?: Partial<NodeCapacity>;
  /** Default `cluster.local`. */
  readonly clusterDomain?: string;
  /** Folders that no pod may mount or see: the platform's data directory. */
  readonly hiddenPaths?: readonly string[];
  /** Folders below those that pods may mount all the same. */
  readonly sharedPaths?: readonly string[];
  /** Absent: no logs, exec and port-forward through the API. */
  readonly endpoint?: EndpointOptions;
  /** How often the lease is renewed; default 10. */
  readonly heartbeatSeconds?: number;
  /** Shown in node.status.nodeInfo. */
  readonly version?: string;
}

/** How the agent's HTTPS endpoint shows itself, and whom it lets in. */
export interface EndpointOptions {
  /** A serving certificate for these names and addresses, by the cluster's authority. */
  issueCertificate(names: readonly string[]): Promise<{ readonly certPem: string; readonly keyPem: string }>;
  /** Authority of client certificates. */
  readonly clientCaPem: string;
  /** Default 0: any. */
  readonly port?: number;
  /** Common name of the only caller; default `kube-apiserver-kubelet-client`. */
  readonly caller?: string;
}

/** A node of a cluster in this process. */
export interface NodeAgent {
  readonly name: string;
  /** Adopts what runs, registers the node, begins to make pods true. */
  start(): Promise<void>;
  /** With `keepPods` containers go on and the next agent adopts them; otherwise they end, and the next agent starts them anew (the API is left as it is). */
  close(options: { readonly keepPods: boolean }): Promise<void>;
}

/** Makes an agent; nothing happens before `start`. */
export function createNodeAgent(options: NodeAgentOptions): NodeAgent {
  return new Agent(options);
}

class Agent implements NodeAgent {
  readonly name: string;
  readonly #options: NodeAgentOptions;
  readonly #events: OwnedEventRecorder;
  readonly #volumes: VolumeManager;
  readonly #hosts: HostsFiles;
  readonly #node: NodeObject;
  readonly #capacity: NodeCapacity;
  #pods: PodManager | undefined;
  #endpoint: NodeEndpoint | undefined;

  constructor(options: NodeAgentOptions) {
    const { cluster, clock, random, log, name, dataDir, runtime } = options;
    this.name = name;
    this.#options = options;
    this.#capacity = { ...machineCapacity(), ...options.capacity };
    this.#events = createEventRecorder({ client: cluster.client, clock, random, log, component: "kubelet" });
    this.#volumes = new VolumeManager({
      client: cluster.client,
      provisioner: options.provisioner ?? cluster.client,
      clock,
      log,
      nodeName: name,
      dataDir,
      hiddenPaths: [dataDir, ...(options.hiddenPaths ?? [])],
      sharedPaths: options.sharedPaths ?? [],
      allocatable: this.#capacity,
    });
    this.#hosts = new HostsFiles({
      informers: cluster.informers,
      clock,
      clusterDomain: options.clusterDomain ?? "cluster.local",
    });
    this.#node = new NodeObject({
      name,
      client: cluster.client,
      clock,
      log,
      dataDir,
      labels: options.labels ?? {},
      taints: options.taints ?? [],
      capacity: this.#capacity,
      isolation: options.isolation,
      runtimeName: runtime.name,
      version: options.version ?? "0.1.0",
      refusal: () => runtime.refusal(),
      imageNames: options.images.names(),
      ...(options.heartbeatSeconds === undefined ? {} : { heartbeatSeconds: options.heartbeatSeconds }),
    });
  }

  async start(): Promise<void> {
    const { cluster, clock, log, name, runtime, images } = this.#options;
    const { informers, client } = cluster;
    if (runtime.name !== "simulated") mkdirSync(this.#options.dataDir, { recursive: true, mode: 0o711 });
    await runtime.start();
    const hostIp = this.#options.network?.hostAddress ?? "127.0.0.1";
    await Promise.all([
      informers.informer(PodKind).synced(),
      informers.informer(ServiceKind).synced(),
      informers.informer(EndpointSliceKind).synced(),
    ]);
    this.#hosts.start();
    this.#pods = new PodManager({
      nodeName: name,
      client,
      informers,
      runtime,
      volumes: this.#volumes,
      images,
      hosts: this.#hosts,
      events: this.#events,
      clock,
      log,
      hostIp,
      clusterDomain: this.#options.clusterDomain ?? "cluster.local",
      allocatable: this.#capacity,
      abilities: abilitiesOf(runtime.name, this.#options.isolation),
    });
    const port = await this.#listen(hostIp, this.#pods);
    await this.#node.start(hostIp, port);
    await this.#pods.start();
  }

  async close(options: { readonly keepPods: boolean }): Promise<void> {
    await this.#endpoint?.close();
    await this.#pods?.close();
    await this.#node.close();
    this.#hosts.close();
    this.#volumes.close();
    await this.#events.close();
    await this.#options.runtime.close(options);
  }

  async #listen(hostIp: string, pods: PodManager): Promise<number | undefined> {
    const { endpoint, name, runtime, clock, log } = this.#options;
    if (endpoint === undefined) return undefined;
    const { certPem, keyPem } = await endpoint.issueCertificate([name, hostIp, "127.0.0.1", "localhost"]);
    this.#endpoint = new NodeEndpoint({
      pods,
      runtime,
      clock,
      log,
      nodeName: name,
      certPem,
      keyPem,
      clientCaPem: endpoint.clientCaPem,
      caller: endpoint.caller ?? "kube-apiserver-kubelet-client",
    });
    return this.#endpoint.listen(hostIp, endpoint.port ?? 0);
  }
}
