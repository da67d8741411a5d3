import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import type { SchedulingCluster } from "./clusters.js";
import { namespaces } from "./generate.js";
import { priorityClasses } from "./pods.js";
import type { Outcome, Write } from "./types.js";
import { runtimeClass, storageClasses } from "./world.js";

interface Meta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly deletionTimestamp?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface PodView {
  readonly metadata: Meta;
  readonly spec: { readonly nodeName?: string; readonly schedulingGates?: readonly unknown[] };
  readonly status?: {
    readonly nominatedNodeName?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
  };
}

interface EventView {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly action?: string;
  readonly reportingComponent?: string;
  readonly source?: { readonly component?: string };
  readonly involvedObject: { readonly name: string; readonly kind: string };
  readonly related?: { readonly name: string };
}

const podNamespaces = Object.keys(namespaces);

/** One of the two clusters, as a scenario uses it. */
export class Side {
  readonly #cluster: SchedulingCluster;

  readonly #title: string;

  constructor(title: string, cluster: SchedulingCluster) {
    this.#title = title;
    this.#cluster = cluster;
  }

  /** What no scenario changes. */
  async furnish(): Promise<void> {
    for (const [name, labels] of Object.entries(namespaces)) {
      await this.write({ method: "POST", path: "/api/v1/namespaces", body: { metadata: { name, labels } } });
      const body = { metadata: { name: "default" } };
      await this.write({ method: "POST", path: `/api/v1/namespaces/${name}/serviceaccounts`, body });
    }
    for (const body of priorityClasses)
      await this.write({ method: "POST", path: "/apis/scheduling.k8s.io/v1/priorityclasses", body });
    for (const body of storageClasses)
      await this.write({ method: "POST", path: "/apis/storage.k8s.io/v1/storageclasses", body });
    await this.write({ method: "POST", path: "/apis/node.k8s.io/v1/runtimeclasses", body: runtimeClass });
  }

  async write({ method, path, body }: Write): Promise<void> {
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    try {
      await this.#cluster.client.json(method, path, body, { headers: { "content-type": type } });
    } catch (error) {
      throw new Error(`${method} ${path} ${JSON.stringify(body)}: ${String(error)}`);
    }
  }

  /** Writes what a scenario begins with. Volumes and claims one after the other: which claim gets a volume is no matter of chance then. */
  async setUp(writes: readonly Write[]): Promise<void> {
    for (const one of writes) {
      await this.write(one);
      const { name } = (one.body?.["metadata"] ?? {}) as { name?: string };
      if (one.path.endsWith("/persistentvolumes"))
        await this.#until(
          `${name} is offered`,
          async () => ((await this.#read(`${one.path}/${name}`)).status?.phase ?? "Pending") !== "Pending",
        );
      if (one.path.endsWith("/persistentvolumeclaims"))
        await this.#until(`something is said of ${name}`, async () => {
          const isBound = (await this.#read(`${one.path}/${name}`)).status?.phase === "Bound";
          return isBound || (await this.#events()).some(({ involvedObject }) => involvedObject.name === name);
        });
    }
  }

  async #read(path: string): Promise<{ readonly status?: { readonly phase?: string } }> {
    return (await this.#cluster.client.json("GET", path)) as { status?: { phase?: string } };
  }

  async #list<T>(path: string): Promise<readonly T[]> {
    return ((await this.#cluster.client.json("GET", path)) as unknown as { items: T[] }).items;
  }

  async pods(): Promise<readonly PodView[]> {
    return (await this.#list<PodView>("/api/v1/pods")).filter(({ metadata }) =>
      podNamespaces.includes(metadata.namespace),
    );
  }

  async pod(namespace: string, name: string): Promise<PodView | undefined> {
    return (await this.pods()).find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
  }

  /** Waits until the scheduler has seen all that was written: a pod that fits nowhere, whose refusal speaks of all nodes. */
  async settle(nodes: number, name: string): Promise<void> {
    const path = "/api/v1/namespaces/one/pods";
    const spec = {
      nodeSelector: { nowhere: "x" },
      tolerations: [{ operator: "Exists" }],
      containers: [{ name: "m", image: "i" }],
    };
    await this.write({ method: "POST", path, body: { metadata: { name }, spec } });
    await this.#until(`the scheduler sees ${nodes} nodes`, async () => {
      const message = scheduled(await this.pod("one", name))?.message ?? "";
      return message.startsWith(`0/${nodes} nodes`);
    });
    await this.write({ method: "DELETE", path: `${path}/${name}`, body: { gracePeriodSeconds: 0 } });
    await sleep(60);
  }

  async #until(what: string, isReached: () => Promise<boolean>, limitMs = 15_000): Promise<void> {
    for (const end = Date.now() + limitMs; Date.now() < end; await sleep(15)) if (await isReached()) return;
    throw new Error(`${this.#title} waited in vain: ${what}`);
  }

  /** Waits until the scheduler has said something about the pod. */
  async decided(namespace: string, name: string): Promise<void> {
    await this.#until(`a decision on ${name}`, async () => {
      const pod = await this.pod(namespace, name);
      const said = scheduled(pod);
      if ((pod?.spec.schedulingGates ?? []).length > 0) return true;
      if ((pod?.spec.nodeName ?? "") === "" && said === undefined) return false;
      return (await this.#events()).some((event) => event.involvedObject.name === name);
    });
  }

  async #events(): Promise<readonly EventView[]> {
    const lists = await Promise.all(
      podNamespaces.map((namespace) => this.#list<EventView>(`/api/v1/namespaces/${namespace}/events`)),
    );
    return lists.flat();
  }

  async outcome(namespace: string, name: string, before: readonly string[]): Promise<Outcome> {
    const pods = await this.pods();
    const events = await this.#events();
    const pod = pods.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
    const said = scheduled(pod);
    const uids = new Map(pods.map(({ metadata }) => [metadata.uid, metadata.name]));
    const told = (about: string): string[] =>
      [
        ...new Set(
          events
            .filter(({ involvedObject }) => involvedObject.name === about && involvedObject.kind === "Pod")
            .map((event) => eventText(event, uids)),
        ),
      ].sort();
    const victims = before.flatMap((other) => {
      const now = pods.find(({ metadata }) => metadata.name === other);
      if (now !== undefined && now.metadata.deletionTimestamp === undefined) return [];
      const target = now?.status?.conditions?.find(({ type }) => type === "DisruptionTarget");
      const word = target === undefined ? "" : ` ${target.status} ${target.reason}: ${target.message}`;
      return [`${other} ${now === undefined ? "is gone" : `ends${word}`} ${told(other).join(" + ")}`];
    });
    return {
      node: pod?.spec.nodeName ?? "",
      nominated: pod?.status?.nominatedNodeName ?? "",
      condition: said === undefined ? "" : `${said.status} ${said.reason ?? ""}: ${said.message ?? ""}`,
      events: told(name),
      victims,
      volumes: await this.#volumes(events),
    };
  }

  async #volumes(events: readonly EventView[]): Promise<string[]> {
    const claims = await this.#list<{
      metadata: Meta;
      spec: { volumeName?: string };
      status?: { phase?: string };
    }>("/api/v1/namespaces/one/persistentvolumeclaims");
    return claims.map(({ metadata, spec, status }) => {
      const selected = metadata.annotations?.["volume.kubernetes.io/selected-node"] ?? "";
      const told = events
        // Said or not, as it happens that the binder looks before the pod is placed.
        .filter(
          ({ involvedObject, reason }) => involvedObject.name === metadata.name && reason !== "WaitForPodScheduled",
        )
        .map(({ type, reason, message }) => `${type} ${reason}: ${message}`);
      return `${metadata.name} ${status?.phase ?? ""} ${spec.volumeName ?? ""} ${selected} ${[...new Set(told)].sort().join(" + ")}`;
    });
  }

  /** The nodes with the most points, as ours counted them. */
  async best(name: string): Promise<readonly string[]> {
    const decisions = (await this.#cluster.ledger?.query({ kind: "Pod", name, topic: "placement" })) ?? [];
    const [placed] = decisions.filter(({ outcome }) => outcome.startsWith("placed on"));
    const scored = [...(placed?.winners ?? []), ...(placed?.losers ?? [])];
    const most = Math.max(...scored.map(({ score }) => score ?? Number.NEGATIVE_INFINITY));
    return scored.filter(({ score }) => score === most).map((one) => one.name);
  }

  async scores(name: string): Promise<string> {
    const decisions = (await this.#cluster.ledger?.query({ kind: "Pod", name, topic: "placement" })) ?? [];
    const [placed] = decisions.filter(({ outcome }) => outcome.startsWith("placed on"));
    return [...(placed?.winners ?? []), ...(placed?.losers ?? [])]
      .map((one) => `${one.name}=${one.score ?? "-"} (${one.reason})`)
      .join("; ");
  }

  /** Puts the pod on the node where the other side has it. */
  async moveTo(node: string, manifest: JsonObject): Promise<void> {
    const { name, namespace } = manifest["metadata"] as { name: string; namespace: string };
    const path = `/api/v1/namespaces/${namespace}/pods`;
    await this.write({ method: "DELETE", path: `${path}/${name}`, body: { gracePeriodSeconds: 0 } });
    const { schedulingGates: _gates, ...spec } = manifest["spec"] as JsonObject;
    await this.write({ method: "POST", path, body: { ...manifest, spec: { ...spec, nodeName: node } } });
  }

  async remove(namespace: string, name: string): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    if ((await this.pod(namespace, name)) !== undefined)
      await this.write({ method: "DELETE", path, body: { gracePeriodSeconds: 0 } });
  }

  /** Nothing of a scenario stays. */
  async clear(): Promise<void> {
    const all = "/api/v1/nodes";
    const lists = podNamespaces.flatMap((namespace) => [
      `/api/v1/namespaces/${namespace}/pods`,
      `/api/v1/namespaces/${namespace}/events`,
      `/api/v1/namespaces/${namespace}/persistentvolumeclaims`,
      `/apis/policy/v1/namespaces/${namespace}/poddisruptionbudgets`,
    ]);
    const services = "/api/v1/namespaces/one/services";
    for (const { metadata } of await this.#list<{ metadata: Meta }>(services))
      await this.write({ method: "DELETE", path: `${services}/${metadata.name}` });
    for (const path of [...lists, "/api/v1/persistentvolumes", all]) {
      await this.write({ method: "DELETE", path, body: { gracePeriodSeconds: 0 } });
      for (const { metadata } of path.endsWith("events") ? [] : await this.#list<{ metadata: Meta }>(path))
        await this.write({
          method: "PATCH",
          path: `${path}/${metadata.name}`,
          body: { metadata: { finalizers: null } },
        }).catch((error: unknown) => {
          if (!String(error).includes("not found")) throw error;
        });
    }
  }
}

function scheduled(pod: PodView | undefined) {
  return pod?.status?.conditions?.find(({ type }) => type === "PodScheduled");
}

function eventText(event: EventView, uids: ReadonlyMap<string, string>): string {
  const message = event.message.replaceAll(
    /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g,
    (uid) => uids.get(uid) ?? "UID",
  );
  const reporter = event.reportingComponent || event.source?.component;
  return `${event.type} ${event.reason} ${event.action ?? ""} by ${reporter}${event.related === undefined ? "" : ` (${event.related.name})`}: ${message}`;
}
