import { kubernetesVersion } from "../../kernel/assets/index.js";
import type { ApiClient } from "../../kernel/client/index.js";
import type { Clock, Timer } from "../../kernel/clock/index.js";
import { isAlreadyExists, isNotFound } from "../../kernel/errors/index.js";
import {
  type JsonObject,
  LeaseKind,
  type Node,
  type NodeCondition,
  NodeKind,
  timeOf,
  withCondition,
} from "../../kernel/kinds/index.js";
import type { Logger } from "../../kernel/log/index.js";
import { equalJson, toJson } from "../../kernel/schema/index.js";
import type { Isolation } from "./isolation/detect.js";
import { diskOf, machineInfo, type NodeCapacity } from "./machine.js";

export interface NodeObjectOptions {
  readonly name: string;
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly dataDir: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly { readonly key: string; readonly value?: string; readonly effect: string }[];
  readonly capacity: NodeCapacity;
  readonly isolation: Isolation | undefined;
  readonly runtimeName: string;
  readonly version: string;
  /** Why pods cannot run; `undefined` when they can. */
  refusal(): string | undefined;
  readonly imageNames: readonly string[];
  /** Default 10. */
  readonly heartbeatSeconds?: number;
}

const leaseNamespace = "kube-node-lease";
const leaseSeconds = 40;
const renewSeconds = 10;
/** As kubelet: an unchanged status is written this often. */
const reportMs = 300_000;
const minFreeShare = 0.05;

/** The node's own object: registered at start, its status written when it changes, its lease renewed. */
export class NodeObject {
  readonly #options: NodeObjectOptions;
  readonly #stop = new AbortController();
  #address = "127.0.0.1";
  #port: number | undefined;
  #timer: Timer | undefined;
  #reportedMs = 0;
  #last: JsonObject | undefined;
  #conditions: NodeCondition[] = [];
  #beating: Promise<void> | undefined;

  constructor(options: NodeObjectOptions) {
    this.#options = options;
  }

  /** Registers; resolves when the API has the node with its status. */
  async start(address: string, port: number | undefined): Promise<void> {
    this.#address = address;
    this.#port = port;
    await this.#register();
    await this.#beat();
    this.#schedule();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel();
    await this.#beating;
  }

  #schedule(): void {
    if (this.#stop.signal.aborted) return;
    this.#timer = this.#options.clock.setTimer((this.#options.heartbeatSeconds ?? renewSeconds) * 1000, () => {
      this.#beating = this.#beat()
        .catch((error: unknown) => {
          if (!this.#stop.signal.aborted)
            this.#options.log.warn("the node's heartbeat failed", { node: this.#options.name, err: error });
        })
        .finally(() => this.#schedule());
    });
  }

  async #beat(): Promise<void> {
    await this.#renewLease();
    await this.#report();
  }

  async #register(): Promise<void> {
    const { client, name, taints } = this.#options;
    const metadata = { name, labels: this.#labels(), annotations: this.#annotations() };
    const nodes = client.resource(NodeKind);
    try {
      const spec = taints.length === 0 ? {} : { taints: [...taints] };
      const node = await nodes.create({ apiVersion: "v1", kind: "Node", metadata, spec });
      this.#conditions = node.status?.conditions ?? [];
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const node = await nodes.patch(
        name,
        "merge",
        { metadata: { labels: metadata.labels, annotations: metadata.annotations } },
        {},
      );
      this.#conditions = node.status?.conditions ?? [];
    }
  }

  #labels(): Record<string, string> {
    const { name, labels, isolation } = this.#options;
    const { architecture } = machineInfo();
    return {
      "kubernetes.io/hostname": name,
      "kubernetes.io/arch": architecture,
      "kubernetes.io/os": "linux",
      ...(isolation === undefined ? {} : { "argosy.dev/isolation": isolation.mode }),
      ...labels,
    };
  }

  /** What isolates pods here, for people and for `doctor`. */
  #annotations(): Record<string, string> {
    const { isolation } = this.#options;
    return isolation === undefined ? {} : { "argosy.dev/isolation": JSON.stringify(isolation.capabilities) };
  }

  async #report(): Promise<void> {
    const { client, clock, name } = this.#options;
    const status = await this.#status();
    const json = toJson(status);
    const plain = typeof json === "object" && json !== null && !Array.isArray(json) ? json : {};
    const isDue = clock.now() - this.#reportedMs >= reportMs;
    if (!isDue && this.#last !== undefined && equalJson(this.#last, plain)) return;
    const now = timeOf(clock.now());
    const conditions = this.#conditions.map((condition) => ({ ...condition, lastHeartbeatTime: now }));
    try {
      const patch = { status: { ...plain, conditions: toJson(conditions) } };
      await client.resource(NodeKind).patch(name, "merge", patch, { subresource: "status", signal: this.#stop.signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      // Somebody deleted it: as kubelet, it comes back while the agent runs.
      this.#last = undefined;
      await this.#register();
      return;
    }
    this.#last = plain;
    this.#reportedMs = clock.now();
  }

  async #status(): Promise<NonNullable<Node["status"]>> {
    const { capacity, dataDir, name, runtimeName, version, imageNames } = this.#options;
    const unknown = { totalBytes: 0, freeBytes: 1 };
    const disk = runtimeName === "simulated" ? unknown : await diskOf(dataDir).catch(() => unknown);
    const resources = {
      cpu: capacity.cpuMillis % 1000 === 0 ? String(capacity.cpuMillis / 1000) : `${capacity.cpuMillis}m`,
      memory: `${Math.floor(capacity.memoryBytes / 1024)}Ki`,
      pods: String(capacity.pods),
      "ephemeral-storage": `${Math.floor(disk.totalBytes / 1024)}Ki`,
    };
    this.#setConditions(disk.totalBytes > 0 && disk.freeBytes < disk.totalBytes * minFreeShare);
    const { machineID, systemUUID, bootID, kernelVersion, osImage, architecture } = machineInfo();
    return {
      capacity: resources,
      allocatable: resources,
      addresses: [
        { type: "InternalIP", address: this.#address },
        { type: "Hostname", address: name },
      ],
      ...(this.#port === undefined ? {} : { daemonEndpoints: { kubeletEndpoint: { Port: this.#port } } }),
      nodeInfo: {
        machineID,
        systemUUID,
        bootID,
        kernelVersion,
        osImage,
        architecture,
        operatingSystem: "linux",
        containerRuntimeVersion: `argosy-${runtimeName}://${version}`,
        kubeletVersion: `${kubernetesVersion}+argosy`,
        kubeProxyVersion: "",
      },
      images: imageNames.map((image) => ({ names: [image] })),
      conditions: this.#conditions.map(({ type, status, reason, message }) => ({
        type,
        status,
        reason: reason ?? "",
        message: message ?? "",
      })),
    };
  }

  #setConditions(isDiskFull: boolean): void {
    const refusal = this.#options.refusal();
    const isolation = this.#options.isolation;
    const wanted = [
      {
        type: "MemoryPressure",
        status: "False",
        reason: "KubeletHasSufficientMemory",
        message: "kubelet has sufficient memory available",
      },
      isDiskFull
        ? {
            type: "DiskPressure",
            status: "True",
            reason: "KubeletHasDiskPressure",
            message: "less than 5 % of the data directory's file system is free",
          }
        : {
            type: "DiskPressure",
            status: "False",
            reason: "KubeletHasNoDiskPressure",
            message: "kubelet has no disk pressure",
          },
      {
        type: "PIDPressure",
        status: "False",
        reason: "KubeletHasSufficientPID",
        message: "kubelet has sufficient PID available",
      },
      ...(isolation === undefined ? [] : [isolationCondition(isolation)]),
      refusal === undefined
        ? { type: "Ready", status: "True", reason: "KubeletReady", message: "kubelet is posting ready status" }
        : { type: "Ready", status: "False", reason: "KubeletNotReady", message: refusal },
    ];
    for (const each of wanted) this.#conditions = withCondition(this.#conditions, each, this.#options.clock.now());
  }

  async #renewLease(): Promise<void> {
    const { client, clock, name } = this.#options;
    const leases = client.resource(LeaseKind);
    const renewTime = new Date(clock.now()).toISOString().replace("Z", "000Z");
    const spec = {
      holderIdentity: name,
      leaseDurationSeconds: Math.max(leaseSeconds, (this.#options.heartbeatSeconds ?? 0) * 4),
      renewTime,
    };
    try {
      await leases.patch(name, "merge", { spec }, { namespace: leaseNamespace, signal: this.#stop.signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await leases.create({
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name, namespace: leaseNamespace },
        spec,
      });
    }
  }
}

function isolationCondition(isolation: Isolation): { type: string; status: string; reason: string; message: string } {
  const missing = isolation.capabilities.filter((each) => !each.available && each.remedy !== "");
  const message =
    missing.length === 0
      ? "pods are fully isolated"
      : missing.map((each) => `${each.capability}: ${each.reason}`).join("; ");
  const reason = { root: "Namespaces", user: "UserNamespaces", none: "NotAvailable" }[isolation.mode];
  return { type: "PodIsolation", status: isolation.mode === "none" ? "False" : "True", reason, message };
}
