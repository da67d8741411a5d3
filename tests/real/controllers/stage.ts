import { setTimeout as sleep } from "node:timers/promises";
import type { ApiClient } from "../../../src/kernel/client/index.js";
import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import { normalised, type Seen } from "./normalise.js";

/** A pod as the part of kubelet sees it. */
export interface PodSeen {
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
    readonly finalizers?: readonly string[];
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly containers: readonly { readonly name: string }[];
    readonly affinity?: JsonObject;
  };
  readonly status?: { readonly phase?: string; readonly podIP?: string };
}

const kinds = [
  "/apis/apps/v1/namespaces/NS/deployments",
  "/apis/apps/v1/namespaces/NS/replicasets",
  "/apis/apps/v1/namespaces/NS/statefulsets",
  "/apis/apps/v1/namespaces/NS/daemonsets",
  "/apis/apps/v1/namespaces/NS/controllerrevisions",
  "/apis/batch/v1/namespaces/NS/jobs",
  "/apis/batch/v1/namespaces/NS/cronjobs",
  "/api/v1/namespaces/NS/pods",
  "/api/v1/namespaces/NS/persistentvolumeclaims",
  "/api/v1/namespaces/NS/services",
  "/api/v1/namespaces/NS/endpoints",
  "/api/v1/namespaces/NS/resourcequotas",
  "/api/v1/namespaces/NS/replicationcontrollers",
  "/api/v1/namespaces/NS/configmaps",
  "/api/v1/namespaces/NS/serviceaccounts",
  "/apis/discovery.k8s.io/v1/namespaces/NS/endpointslices",
  "/apis/policy/v1/namespaces/NS/poddisruptionbudgets",
];

/** Daemons are made for one node. */
function nodeFor({ spec }: PodSeen): string {
  return (
    /"metadata\.name","operator":"In","values":\["([^"]+)"/.exec(JSON.stringify(spec.affinity ?? {}))?.[1] ?? "node-a"
  );
}

/** A namespace of one of the two clusters, with the part of kubelet played by whoever calls. */
export class Stage {
  readonly client: ApiClient;
  readonly namespace: string;
  /** Names that were seen, so that they keep their substitutes from step to step. */
  readonly #seen: Seen = { hashes: new Map() };

  constructor(client: ApiClient, namespace: string) {
    this.client = client;
    this.namespace = namespace;
  }

  path(kind: string): string {
    const found = kinds.find((path) => path.endsWith(`/${kind}`));
    if (found === undefined) throw new Error(`no path for ${kind}`);
    return found.replace("NS", this.namespace);
  }

  async send(method: string, path: string, body?: JsonObject): Promise<JsonObject> {
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    return (await this.client.json(method, path, body, { headers: { "content-type": type } })) as JsonObject;
  }

  create(kind: string, body: JsonObject): Promise<JsonObject> {
    return this.send("POST", this.path(kind), body);
  }

  patch(kind: string, name: string, body: JsonObject): Promise<JsonObject> {
    return this.send("PATCH", `${this.path(kind)}/${name}`, body);
  }

  remove(kind: string, name: string, body: JsonObject = {}): Promise<JsonObject> {
    return this.send("DELETE", `${this.path(kind)}/${name}`, body);
  }

  async pods(): Promise<readonly PodSeen[]> {
    const list = (await this.send("GET", this.path("pods"))) as unknown as { items: PodSeen[] };
    return list.items;
  }

  /** Waits for so many pods that fit. */
  async atLeast(count: number, fits: (pod: PodSeen) => boolean): Promise<readonly PodSeen[]> {
    for (const end = Date.now() + 15_000; Date.now() < end; await sleep(50)) {
      const found = (await this.pods()).filter(fits);
      if (found.length >= count) return found.slice(0, count);
    }
    throw new Error(`${this.namespace}: waited in vain for ${count} pods`);
  }

  /** So many pods that wait come to a node and start; they are ready unless it is said otherwise. */
  async run(count: number, isReady = true, fits: (pod: PodSeen) => boolean = () => true): Promise<void> {
    const isWaiting = ({ status, metadata }: PodSeen): boolean =>
      (status?.phase ?? "Pending") === "Pending" && metadata.deletionTimestamp === undefined;
    for (const pod of await this.atLeast(count, (one) => isWaiting(one) && fits(one))) await this.start(pod, isReady);
  }

  async start(pod: PodSeen, isReady: boolean): Promise<void> {
    const { name } = pod.metadata;
    const path = `${this.path("pods")}/${name}`;
    if ((pod.spec.nodeName ?? "") === "") {
      const target = { apiVersion: "v1", kind: "Node", name: nodeFor(pod) };
      await this.send("POST", `${path}/binding`, { apiVersion: "v1", kind: "Binding", metadata: { name }, target });
    }
    await this.#say(pod, { phase: "Running", isReady, state: { running: {} } });
  }

  /** So many running pods end. */
  async finish(count: number, exitCode: number, fits: (pod: PodSeen) => boolean = () => true): Promise<void> {
    const isRunning = ({ status, metadata }: PodSeen): boolean =>
      status?.phase === "Running" && metadata.deletionTimestamp === undefined;
    for (const pod of await this.atLeast(count, (one) => isRunning(one) && fits(one)))
      await this.#say(pod, {
        phase: exitCode === 0 ? "Succeeded" : "Failed",
        isReady: false,
        state: { terminated: { exitCode, reason: exitCode === 0 ? "Completed" : "Error" } },
      });
  }

  /** Pods that are asked to go, go. */
  async reap(): Promise<void> {
    for (const { metadata } of await this.pods())
      if (metadata.deletionTimestamp !== undefined)
        await this.remove("pods", metadata.name, { gracePeriodSeconds: 0 }).catch(() => undefined);
  }

  async #say(
    pod: PodSeen,
    about: { readonly phase: string; readonly isReady: boolean; readonly state: JsonObject },
  ): Promise<void> {
    const { phase, isReady, state } = about;
    const now = new Date().toISOString().replace(/\.\d+/, "");
    const condition = (type: string, isTrue: boolean): JsonObject => ({
      type,
      status: isTrue ? "True" : "False",
      lastTransitionTime: now,
    });
    const number = Number.parseInt(pod.metadata.name.slice(-1), 36) % 250;
    const podIP = pod.status?.podIP ?? `10.1.0.${number}`;
    const conditions = [
      condition("Initialized", true),
      condition("Ready", isReady),
      condition("ContainersReady", isReady),
      condition("PodScheduled", true),
    ];
    const containerStatuses = pod.spec.containers.map(({ name }) => ({
      name,
      image: "app:1",
      imageID: "",
      ready: isReady,
      started: isReady,
      restartCount: 0,
      state,
    }));
    const status = { phase, conditions, containerStatuses, podIP, podIPs: [{ ip: podIP }], startTime: now };
    await this.send("PATCH", `${this.path("pods")}/${pod.metadata.name}/status`, { status });
  }

  /** Everything in the namespace, in words that are the same for both clusters. */
  async look(): Promise<readonly string[]> {
    const lists = await Promise.all(
      kinds.map(async (path) => {
        const list = await this.send("GET", path.replace("NS", this.namespace));
        return (list["items"] as JsonObject[]).map((item) => ({ kind: path.split("/").at(-1) ?? "", item }));
      }),
    );
    const namespace = await this.send("GET", `/api/v1/namespaces/${this.namespace}`);
    const events = (await this.send("GET", `/api/v1/namespaces/${this.namespace}/events`))["items"] as JsonObject[];
    const nodes = ((await this.send("GET", "/api/v1/nodes"))["items"] as JsonObject[])
      .filter((item) => (item["metadata"] as { name: string }).name.startsWith(`${this.namespace}-`))
      .map((item) => ({ kind: "nodes", item }));
    return normalised([{ kind: "namespaces", item: namespace }, ...nodes, ...lists.flat()], events, this.#seen);
  }
}
