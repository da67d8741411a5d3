import { InputError } from "../../../kernel/errors/index.js";
import { type KubeObject, timeOf, withCondition } from "../../../kernel/kinds/index.js";
import { jsonOf } from "../json.unsafe.js";
import type { Cluster, ClusterSpec } from "../kinds.js";
import type { FleetCopy } from "./copy.js";
import { revisedObject } from "./typed.unsafe.js";

type Taint = NonNullable<ClusterSpec["taints"]>[number];

/** A taint that is set, or taken away (`effect` undefined: with any effect). */
export interface TaintChange {
  readonly key: string;
  readonly value?: string;
  readonly effect?: "NoSchedule" | "NoExecute";
  readonly isRemoval: boolean;
}

/** How a cluster that does not exist yet would be. */
export interface NewCluster {
  readonly name: string;
  /** One that it is like in everything that is not said here. */
  readonly like?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly region?: string;
  readonly provider?: string;
  readonly zones?: readonly string[];
  /** Quantities by resource. */
  readonly room: Readonly<Record<string, string>>;
}

/** One cluster changed. Throws `InputError` where there is none of that name. */
export function withCluster(copy: FleetCopy, name: string, change: (cluster: Cluster) => Cluster): FleetCopy {
  clusterIn(copy, name);
  return { ...copy, clusters: copy.clusters.map((each) => (each.metadata.name === name ? change(each) : each)) };
}

function clusterIn({ clusters }: FleetCopy, name: string): Cluster {
  const found = clusters.find(({ metadata }) => metadata.name === name);
  if (found !== undefined) return found;
  const known = clusters.map(({ metadata }) => metadata.name).sort();
  throw new InputError(`the hub has no cluster ${JSON.stringify(name)}; it has ${known.join(", ") || "none"}`);
}

/** Its taints as they would be. */
export function tainted(cluster: Cluster, changes: readonly TaintChange[], nowMs: number): Cluster {
  let taints: readonly Taint[] = cluster.spec?.taints ?? [];
  for (const { key, value, effect, isRemoval } of changes) {
    const isMeant = (taint: Taint): boolean => taint.key === key && (effect === undefined || taint.effect === effect);
    taints = taints.filter((taint) => !isMeant(taint));
    if (isRemoval || effect === undefined) continue;
    const added: Taint = { key, effect, timeAdded: timeOf(nowMs), ...(value === undefined ? {} : { value }) };
    taints = [...taints, added];
  }
  return { ...cluster, spec: { ...cluster.spec, taints: [...taints] } };
}

/** Its labels as they would be; `null` takes one away. */
export function labelled(cluster: Cluster, labels: Readonly<Record<string, string | null>>): Cluster {
  const next = Object.entries({ ...cluster.metadata.labels, ...labels }).flatMap(([key, value]) =>
    value === null ? [] : [[key, value] as const],
  );
  return { ...cluster, metadata: { ...cluster.metadata, labels: Object.fromEntries(next) } };
}

/** As it would be seen when it no longer answers. */
export function lost(cluster: Cluster, nowMs: number): Cluster {
  const draft = {
    type: "Ready",
    status: "False" as const,
    reason: "ClusterNotReachable",
    message: "cluster is not reachable",
  };
  return {
    ...cluster,
    status: { ...cluster.status, conditions: withCondition(cluster.status?.conditions, draft, nowMs) },
  };
}

/** As it would be when it leaves for good. */
export function leaving(cluster: Cluster, nowMs: number): Cluster {
  return { ...cluster, metadata: { ...cluster.metadata, deletionTimestamp: timeOf(nowMs) } };
}

/** With one more cluster: it serves every kind that any other one does, unless it is like one. */
export function withNewCluster(copy: FleetCopy, wanted: NewCluster): FleetCopy {
  const { name, like, labels, region, provider, zones, room } = wanted;
  if (copy.clusters.some(({ metadata }) => metadata.name === name))
    throw new InputError(`the hub has a cluster ${JSON.stringify(name)} already`);
  const model = like === undefined ? undefined : clusterIn(copy, like);
  const offered = Object.keys(room).length > 0;
  const ready = {
    type: "Ready",
    status: "True" as const,
    reason: "ClusterReady",
    message: "",
    lastTransitionTime: timeOf(copy.nowMs),
  };
  const spec: ClusterSpec = {
    ...model?.spec,
    syncMode: "Push",
    taints: [],
    ...(region === undefined ? {} : { region }),
    ...(provider === undefined ? {} : { provider }),
    ...(zones === undefined ? {} : { zones: [...zones] }),
  };
  const cluster: Cluster = {
    apiVersion: "cluster.karmada.io/v1alpha1",
    kind: "Cluster",
    metadata: {
      name,
      uid: `what-if-${name}`,
      resourceVersion: "0",
      creationTimestamp: timeOf(copy.nowMs),
      labels: { ...model?.metadata.labels, ...labels },
    },
    spec,
    status: {
      ...model?.status,
      apiEnablements: model?.status?.apiEnablements ?? allKinds(copy.clusters),
      conditions: [ready],
      ...(offered ? { resourceSummary: { allocatable: { pods: "110", ...room } } } : {}),
    },
  };
  return { ...copy, clusters: [...copy.clusters, cluster] };
}

function allKinds(clusters: readonly Cluster[]): NonNullable<NonNullable<Cluster["status"]>["apiEnablements"]> {
  const groups = new Map<string, NonNullable<NonNullable<Cluster["status"]>["apiEnablements"]>[number]>();
  for (const { status } of clusters)
    for (const group of status?.apiEnablements ?? []) {
      const known = groups.get(group.groupVersion)?.resources ?? [];
      const more = (group.resources ?? []).filter(({ kind }) => !known.some((each) => each.kind === kind));
      groups.set(group.groupVersion, { ...group, resources: [...known, ...more] });
    }
  return [...groups.values()];
}

/** With an object of that many replicas. Throws `InputError` where its kind has none. */
export function withReplicas(copy: FleetCopy, template: KubeObject, replicas: number): FleetCopy {
  const interpreter = copy.interpreters.interpreterFor(template.apiVersion, template.kind);
  if (interpreter.replicas(jsonOf(template)) === undefined)
    throw new InputError(`${template.kind} ${template.metadata.name} has no number of replicas`);
  return { ...copy, templates: [...copy.templates, revisedObject(interpreter.revise(jsonOf(template), replicas))] };
}
