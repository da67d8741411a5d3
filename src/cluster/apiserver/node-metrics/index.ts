/**
 * metrics.k8s.io: what nodes and pods use, for `kubectl top` and HorizontalPodAutoscalers. In: requests, the nodes' agents.
 * Out: NodeMetrics, PodMetrics, measured when they are asked for. May use: the API server's registry, request, render, store
 * and subresources.
 */
import type { Clock } from "../../../kernel/clock/index.js";
import { canonicalQuantity } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { apiVersionOf } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/index.js";
import { notFound } from "../failures.js";
import { asNumber, asObject, asObjects, asString } from "../registry/read.js";
import { formOf, partialMetadata, tableOf } from "../render/forms.js";
import { parseSelection } from "../request/selectors.js";
import { jsonResponse } from "../server/respond.js";
import { objectKey } from "../store/index.js";
import { type NodeCredentials, nodeAgents } from "../subresources/index.js";
import type { ApiResponse, ResourceType, Store } from "../types.js";
import { type Call, namespaceOf } from "../verbs/context.js";
import { nodeMetricsType, podMetricsType } from "./kinds.js";
import { NodeSummaries, type NodeSummary } from "./summaries.js";

/** A resource whose objects are made for each answer: its only verbs are get and list. */
export interface ComputedResource {
  readonly type: ResourceType;
  answer(call: Call): Promise<ApiResponse>;
}

/** What figures are read with. */
export interface NodeMetricsOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeCredentials: () => NodeCredentials | undefined;
  /** Otherwise there is no such API. */
  readonly isServed: boolean;
}

/** The two resources of metrics.k8s.io/v1beta1. */
export interface NodeMetrics {
  readonly resources: readonly ComputedResource[];
  /** Lets people read what they may see anyway, as metrics-server's role does. */
  readonly roles: readonly JsonObject[];
  close(): void;
}

/** Serves the figures of this cluster's nodes. */
export function createNodeMetrics(options: NodeMetricsOptions): NodeMetrics {
  if (!options.isServed) return { resources: [], roles: [], close: () => undefined };
  const agents = nodeAgents(options.nodeCredentials);
  const summaries = new NodeSummaries({ ...options, agents });
  const { store, clock } = options;
  return {
    resources: [
      computed(nodeMetricsType, clock, async (_namespace, name) => (await summaries.read(name)).map(nodeMetrics)),
      computed(podMetricsType, clock, async (namespace, name) => {
        const node = name === undefined ? undefined : nodeOf(store, namespace, name);
        if (node === "") return [];
        const all = (await summaries.read(node)).flatMap((summary) => podMetrics(summary, store));
        return all.filter(
          ({ metadata }) =>
            (namespace === "" || asObject(metadata)["namespace"] === namespace) &&
            (name === undefined || asObject(metadata)["name"] === name),
        );
      }),
    ],
    roles: [readerRole],
    close: () => agents.close(),
  };
}

const readerRole: JsonObject = {
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRole",
  metadata: {
    name: "system:aggregated-metrics-reader",
    labels: Object.fromEntries(
      ["admin", "edit", "view"].map((role) => [`rbac.authorization.k8s.io/aggregate-to-${role}`, "true"]),
    ),
  },
  rules: [{ apiGroups: ["metrics.k8s.io"], resources: ["pods", "nodes"], verbs: ["get", "list", "watch"] }],
};

type Read = (namespace: string, name: string | undefined) => Promise<readonly JsonObject[]>;

function computed(type: ResourceType, clock: Clock, read: Read): ComputedResource {
  return {
    type,
    async answer(call) {
      const { info, request, accepted } = call;
      const namespace = namespaceOf(call);
      const form = formOf(accepted, request.query);
      const about = { now: clock.now(), metadata: {}, withColumns: true };
      const shown = (object: JsonObject): JsonObject =>
        form.kind === "PartialObjectMetadata" ? partialMetadata(object, form.version) : object;
      if (info.verb === "get") {
        const [object] = await read(namespace, info.name);
        if (object === undefined) throw missing(type, namespace, info.name);
        const value = form.kind === "Table" ? tableOf(type, [object], form, about) : shown(object);
        return jsonResponse(200, value, accepted);
      }
      const selection = parseSelection(type, request.query);
      const found = (await read(namespace, selection.onlyName)).filter((object) => selection.matches(object));
      const objects = found.toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
      if (form.kind === "Table") return jsonResponse(200, tableOf(type, objects, form, about), accepted);
      const head =
        form.kind === "PartialObjectMetadata"
          ? { kind: "PartialObjectMetadataList", apiVersion: `meta.k8s.io/${form.version}` }
          : { kind: type.listKind, apiVersion: apiVersionOf(type) };
      return jsonResponse(200, { ...head, metadata: {}, items: objects.map(shown) }, accepted);
    },
  };
}

/** As metrics-server says it. */
function missing(type: ResourceType, namespace: string, name: string) {
  const about = { group: type.group, plural: type.kind.toLowerCase() };
  return notFound(about, type.namespaced ? `${namespace}/${name}` : name);
}

function placeOf(object: JsonObject): string {
  const { namespace, name } = asObject(object["metadata"]);
  return `${asString(namespace)}/${asString(name)}`;
}

/** The node of a pod; empty: it has none. */
function nodeOf(store: Store, namespace: string, name: string): string {
  const pod = store.get(objectKey({ group: "", plural: "pods" }, namespace, name))?.value;
  return asString(asObject(pod?.["spec"])["nodeName"]);
}

function usageOf(stats: JsonObject): JsonObject {
  const memory = asNumber(asObject(stats["memory"])["workingSetBytes"]) ?? 0;
  return {
    cpu: quantity(asNumber(asObject(stats["cpu"])["usageNanoCores"]) ?? 0, "n"),
    memory: quantity(Math.ceil(memory / 1024), "Ki"),
  };
}

const quantity = (amount: number, unit: string): string => canonicalQuantity(`${Math.round(amount)}${unit}`);

function measuredAt(stats: JsonObject): string {
  return asString(asObject(stats["cpu"])["time"]).replace(/\.\d+Z$/, "Z");
}

/** Over which time: the shortest of the containers'. */
function windowOf(containers: readonly JsonObject[]): string {
  const seconds = containers.map((one) => asNumber(one["windowSeconds"]) ?? 0);
  return `${seconds.length === 0 ? 0 : Math.round(Math.min(...seconds) * 1000) / 1000}s`;
}

function nodeMetrics({ node, summary }: NodeSummary): JsonObject {
  const stats = asObject(summary["node"]);
  const { name, labels } = asObject(node["metadata"]);
  const containers = asObjects(summary["pods"]).flatMap((pod) => asObjects(pod["containers"]));
  const timestamp = measuredAt(stats);
  return {
    kind: nodeMetricsType.kind,
    apiVersion: apiVersionOf(nodeMetricsType),
    metadata: { name, creationTimestamp: timestamp, ...(labels === undefined ? {} : { labels }) },
    timestamp,
    window: windowOf(containers),
    usage: usageOf(stats),
  };
}

function podMetrics({ summary }: NodeSummary, store: Store): JsonObject[] {
  return asObjects(summary["pods"]).flatMap((stats) => {
    const { name, namespace, uid } = asObject(stats["podRef"]);
    const key = objectKey({ group: "", plural: "pods" }, asString(namespace), asString(name));
    const pod = store.get(key)?.value;
    const metadata = asObject(pod?.["metadata"]);
    const containers = asObjects(stats["containers"]);
    const isRunning = asObject(pod?.["status"])["phase"] === "Running";
    if (metadata["uid"] !== uid || !isRunning || containers.length === 0) return [];
    const timestamp = measuredAt(stats);
    return [
      {
        kind: podMetricsType.kind,
        apiVersion: apiVersionOf(podMetricsType),
        metadata: {
          name,
          namespace,
          creationTimestamp: timestamp,
          ...(metadata["labels"] === undefined ? {} : { labels: metadata["labels"] }),
        },
        timestamp,
        window: windowOf(containers),
        containers: containers.map((one) => ({ name: asString(one["name"]), usage: usageOf(one) })),
      },
    ];
  });
}
