import type { ApiClient } from "../../../../src/kernel/client/index.js";
import type { Json, JsonObject } from "../../../../src/kernel/kinds/object.js";
import { asObject, asObjects, asString, isObject } from "../../../../src/kernel/schema/index.js";
import type { FleetSide } from "./sides.js";
import { type FleetCase, MEMBERS, type Ref } from "./types.js";
import { pathOf } from "./writes.js";

/** What is seen of each namespace, in lines that are the same for both fleets; of `""`: what all have in common. */
export type View = ReadonlyMap<string, readonly string[]>;

const dropped = new Set([
  ...["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink"],
  ...["deletionTimestamp", "deletionGracePeriodSeconds"],
  ...["lastTransitionTime", "lastUpdateTime", "lastScheduledTime", "observedGeneration", "schedulerObservedGeneration"],
  ...["resourceTemplateGeneration", "timeAdded"],
]);

/** Of addresses and ports that are given out it counts that there are some; claims that come after an object's creation count in its generation. */
const given: Readonly<Record<string, Json>> = {
  clusterIP: "IP",
  clusterIPs: ["IP"],
  nodePort: "PORT",
  "resourcetemplate.karmada.io/generation": "N",
};
/** What stands for the protection of somebody else's (claims of volumes), or for the order of cleaning up. */
const passing = new Set(["kubernetes.io/pvc-protection", "karmada.io/binding-dependencies-distributor"]);

/** Without what chance and the moment decide; keys in order. Marks of ours that no Karmada has are left out. */
function plain(value: unknown): Json {
  if (Array.isArray(value)) return value.filter((item) => typeof item !== "string" || !passing.has(item)).map(plain);
  if (isObject(value))
    return Object.fromEntries(
      Object.entries(value)
        .filter(([key, member]) => member !== undefined && !dropped.has(key) && !/argosy\.dev\//.test(key))
        // That something needs nothing is said in several ways.
        .filter(([key, member]) => !/\/dependencies$/.test(key) || (member !== "[]" && member !== "null"))
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, member]) => [key, given[key] ?? plain(member)]),
    );
  if (typeof value === "string")
    return value
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "UID")
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME");
  return typeof value === "number" || typeof value === "boolean" ? value : null;
}

const say = (value: unknown): string => JSON.stringify(plain(value));
const metaOf = (item: JsonObject): JsonObject => asObject(item["metadata"]);
const nameOf = (item: JsonObject): string => asString(metaOf(item)["name"]);
const spaceOf = (item: JsonObject): string => asString(metaOf(item)["namespace"]);
const isEmpty = (value: Json | undefined): boolean =>
  value === undefined ||
  value === null ||
  value === "" ||
  (typeof value === "object" && Object.keys(value).length === 0);

/** A line for each member of an object that holds something. */
function lines(what: string, object: JsonObject): string[] {
  return Object.entries(object)
    .map(([key, value]) => [key, value === undefined ? undefined : plain(value)] as const)
    .filter(([, value]) => !isEmpty(value))
    .map(([key, value]) => `${what} ${key}: ${say(value)}`);
}

const conditionsOf = (status: JsonObject): JsonObject =>
  Object.fromEntries(
    asObjects(status["conditions"]).map(({ type, status: value, reason, message }) => [
      `condition ${asString(type)}`,
      [value ?? null, reason ?? null, message ?? null],
    ]),
  );

function bindingLines(item: JsonObject): string[] {
  const [spec, status, meta] = [asObject(item["spec"]), asObject(item["status"]), metaOf(item)];
  const { resource, clusters, requiredBy, gracefulEvictionTasks, preserveResourcesOnDeletion, ...rest } = spec;
  const { kind, name } = asObject(resource);
  const what = `binding ${asString(kind)}/${asString(name)}`;
  if (meta["deletionTimestamp"] !== undefined) return [`${what} is leaving`];
  const aggregated = asObjects(status["aggregatedStatus"]).map(
    ({ clusterName, ...one }) => [`in ${asString(clusterName)}`, one] as const,
  );
  return lines(what, {
    name: meta["name"],
    labels: meta["labels"],
    annotations: meta["annotations"],
    finalizers: meta["finalizers"],
    clusters: Object.fromEntries(
      asObjects(clusters).map(({ name: cluster, replicas }) => [asString(cluster), replicas ?? null]),
    ),
    requiredBy: asObjects(requiredBy)
      .toSorted(byName)
      .map((one) => ({ ...one, clusters: asObjects(one["clusters"]).toSorted(byName) })),
    evictions: gracefulEvictionTasks,
    ...rest,
    // What is not kept is as if nothing were said of it.
    isKept: preserveResourcesOnDeletion === true ? true : undefined,
    affinity: status["schedulerObservingAffinityName"],
    ...conditionsOf(status),
    ...Object.fromEntries(aggregated),
  });
}

const byName = (a: JsonObject, b: JsonObject): number => (asString(a["name"]) < asString(b["name"]) ? -1 : 1);

/** Of which namespace a Work's object is, and what is seen of the Work. */
function workLines(member: string, item: JsonObject): readonly [string, string[]] {
  const [spec, status, meta] = [asObject(item["spec"]), asObject(item["status"]), metaOf(item)];
  const [manifest = {}] = asObjects(asObject(spec["workload"])["manifests"]);
  const { kind, metadata, apiVersion: _, ...content } = manifest;
  const { name, namespace, ...marks } = asObject(metadata);
  // Namespaces go to every member, whatever policies say.
  const space = asString(namespace);
  const what = `work ${member} ${asString(kind)}/${asString(name)}`;
  if (meta["deletionTimestamp"] !== undefined) return [space, [`${what} is leaving`]];
  const { workload: _w, ...rest } = spec;
  const statuses = asObjects(status["manifestStatuses"]).map(({ identifier: _i, ...one }) => one);
  return [
    space,
    lines(what, {
      labels: meta["labels"],
      annotations: meta["annotations"],
      marks,
      content,
      ...rest,
      ...conditionsOf(status),
      statuses,
    }),
  ];
}

function objectLines(what: string, item: JsonObject): string[] {
  const { apiVersion: _a, kind: _k, metadata, ...content } = item;
  const { labels, annotations, finalizers, deletionTimestamp } = asObject(metadata);
  if (deletionTimestamp !== undefined) return [`${what} is leaving`];
  return [`${what} is there`, ...lines(what, { labels, annotations, finalizers, ...content })];
}

const POLICIES = ["PropagationPolicy", "ClusterPropagationPolicy", "OverridePolicy", "ClusterOverridePolicy"];

/** Looks at everything of these cases. */
export class Watcher {
  readonly #side: FleetSide;
  readonly #namespaces: ReadonlySet<string>;
  readonly #kinds: readonly Ref[];

  constructor(side: FleetSide, cases: readonly FleetCase[]) {
    this.#side = side;
    this.#namespaces = new Set(cases.map(({ namespace }) => namespace));
    this.#kinds = kindsOf(cases);
  }

  async look(): Promise<View> {
    const seen = new Map<string, string[]>([...this.#namespaces, ""].map((name) => [name, []]));
    await Promise.all([
      this.#bindings(seen),
      this.#works(seen),
      this.#policies(seen),
      this.#clusters(seen),
      this.#objects(seen),
    ]);
    return new Map([...seen].map(([name, found]) => [name, found.toSorted()]));
  }

  async #bindings(seen: Map<string, string[]>): Promise<void> {
    const items = await list(this.#side.hub, "work.karmada.io/v1alpha2", "ResourceBinding");
    for (const item of items) seen.get(spaceOf(item))?.push(...bindingLines(item));
  }

  async #works(seen: Map<string, string[]>): Promise<void> {
    for (const member of MEMBERS) {
      const path = `/apis/work.karmada.io/v1alpha1/namespaces/karmada-es-${member}/works`;
      const { items } = asObject(await this.#side.hub.json("GET", path));
      for (const item of asObjects(items)) {
        const [space, found] = workLines(member, item);
        if (space !== "") seen.get(space)?.push(...found);
      }
    }
  }

  async #policies(seen: Map<string, string[]>): Promise<void> {
    for (const kind of POLICIES)
      for (const item of await list(this.#side.hub, "policy.karmada.io/v1alpha1", kind)) {
        const space = spaceOf(item) || (nameOf(item).split("-")[0] ?? "");
        seen.get(space)?.push(...objectLines(`${kind} ${nameOf(item)}`, item));
      }
    for (const item of await list(this.#side.hub, "apps.karmada.io/v1alpha1", "WorkloadRebalancer"))
      seen
        .get(nameOf(item).split("-")[0] ?? "")
        ?.push(...objectLines(`rebalancer ${nameOf(item)}`, { ...item, status: rebalanced(item) }));
  }

  async #clusters(seen: Map<string, string[]>): Promise<void> {
    for (const item of await list(this.#side.hub, "cluster.karmada.io/v1alpha1", "Cluster")) {
      const [spec, status] = [asObject(item["spec"]), asObject(item["status"])];
      const { region, provider, zones, resourceModels, taints } = spec;
      const { nodeSummary, resourceSummary } = status;
      const facts = {
        region,
        provider,
        zones,
        resourceModels,
        taints,
        nodeSummary,
        resourceSummary,
        labels: metaOf(item)["labels"],
      };
      seen.get("")?.push(...lines(`cluster ${nameOf(item)}`, { ...facts, ...conditionsOf(status) }));
    }
  }

  /** Templates in the hub, and what members have. */
  async #objects(seen: Map<string, string[]>): Promise<void> {
    const places = [["hub", this.#side.hub] as const, ...this.#side.members];
    await Promise.all(
      places.map(async ([place, client]) => {
        for (const { apiVersion, kind } of this.#kinds) {
          if (kind === "Widget" && place === "member4") continue;
          for (const item of await list(client, apiVersion, kind)) {
            if (["kube-root-ca.crt", "default"].includes(nameOf(item))) continue;
            seen.get(spaceOf(item))?.push(...objectLines(`${place} ${kind}/${nameOf(item)}`, item));
          }
        }
      }),
    );
  }
}

/** What it did with each, in the order of the objects. */
function rebalanced(item: JsonObject): JsonObject {
  const { observedWorkloads } = asObject(item["status"]);
  const rows = asObjects(observedWorkloads).map(({ workload, ...rest }) => ({ ...rest, workload: say(workload) }));
  return { observedWorkloads: rows.toSorted((a, b) => (a.workload < b.workload ? -1 : 1)) };
}

async function list(client: ApiClient, apiVersion: string, kind: string): Promise<readonly JsonObject[]> {
  const { items } = asObject(await client.json("GET", pathOf(apiVersion, kind, undefined)));
  return asObjects(items);
}

/** Of which kinds there are templates. */
function kindsOf(cases: readonly FleetCase[]): Ref[] {
  const kinds = new Map<string, Ref>();
  for (const { create } of cases.flatMap(({ phases }) => phases.flat())) {
    if (create === undefined) continue;
    const [apiVersion, kind] = [asString(create["apiVersion"]), asString(create["kind"])];
    if (/karmada/.test(apiVersion) || kind === "Namespace") continue;
    kinds.set(kind, { apiVersion, kind, name: "" });
  }
  return [...kinds.values()];
}
