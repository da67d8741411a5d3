import { createHash } from "node:crypto";
import type { JsonObject } from "../../kernel/kinds/index.js";
import { didYouMean, isObject } from "../../kernel/schema/index.js";

/** One object for one cluster, as a HyperMLService asks for it. */
export interface PlannedObject {
  readonly cluster: string;
  readonly apiVersion: string;
  readonly kind: string;
  /** Empty for objects without a namespace. */
  readonly namespace: string;
  readonly name: string;
  /** Deliveries of a cluster go in the order of ranks: 0 Namespace, 1 CRD, 2 what others refer to, 3 runtimes, 4 everything else. */
  readonly rank: number;
  readonly workName: string;
  readonly manifest: JsonObject;
}

const RANKS: Readonly<Record<string, number>> = {
  Namespace: 0,
  CustomResourceDefinition: 1,
  Secret: 2,
  ConfigMap: 2,
  ServiceAccount: 2,
  Role: 2,
  RoleBinding: 2,
  ClusterRole: 2,
  ClusterRoleBinding: 2,
  PersistentVolume: 2,
  PersistentVolumeClaim: 2,
  StorageClass: 2,
  PriorityClass: 2,
  ResourceQuota: 2,
  LimitRange: 2,
  MLServiceRuntime: 3,
  ServingRuntime: 3,
  ClusterServingRuntime: 3,
};

/** What is wrong with a part of a HyperMLService; the field is a path from its root. */
export interface SpecFault {
  readonly field: string;
  readonly message: string;
}

/** The parts of a HyperMLService that say what runs where. */
export interface SpecParts {
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly workloads: readonly { readonly clusters: readonly string[]; readonly manifests: readonly JsonObject[] }[];
}

/** Reads a spec, validated or not: one entry for each cluster and manifest, in delivery's terms. Pure. */
export function planParts(owner: SpecParts): {
  /** In the order of clusters, kinds and names. */
  readonly objects: readonly PlannedObject[];
  /** What leaves it without a meaning. */
  readonly faults: readonly SpecFault[];
} {
  const objects: PlannedObject[] = [];
  const faults: SpecFault[] = [];
  const places = new Map<string, string>();
  for (const [w, workload] of owner.workloads.entries()) {
    for (const [m, manifest] of workload.manifests.entries()) {
      const place = `spec.workloads[${w}].manifests[${m}]`;
      const identity = identify(manifest, place);
      if ("message" in identity) {
        faults.push(identity);
        continue;
      }
      for (const cluster of workload.clusters) {
        const key = [cluster, identity.group, identity.kind, identity.namespace, identity.name].join("/");
        const earlier = places.get(key);
        if (earlier !== undefined) {
          const message = `${identity.kind} ${qualified(identity)} is given to cluster ${cluster} already by ${earlier}`;
          faults.push({ field: place, message });
          continue;
        }
        places.set(key, place);
        objects.push({
          cluster,
          ...identity,
          rank: RANKS[identity.kind] ?? 4,
          workName: workNameOf(owner, identity),
          manifest,
        });
      }
    }
  }
  objects.sort(compareObjects);
  return { objects, faults };
}

/** What HyperMLServices come to, as long as they do not change: the same objects for the same generation. */
export class Plans {
  readonly #plans = new Map<string, { readonly generation: number; readonly plan: ReturnType<typeof planParts> }>();

  of({ metadata, spec }: Planned): ReturnType<typeof planParts> {
    const { uid, generation } = metadata;
    const known = this.#plans.get(uid);
    if (known !== undefined && known.generation === generation) return known.plan;
    const plan = planParts({ metadata, workloads: spec.workloads });
    if (generation !== undefined) this.#plans.set(uid, { generation, plan });
    return plan;
  }

  forget(uid: string): void {
    this.#plans.delete(uid);
  }
}

interface Planned {
  readonly metadata: SpecParts["metadata"] & { readonly uid: string; readonly generation?: number };
  readonly spec: Pick<SpecParts, "workloads">;
}

/** The parts of an object that may not have been validated yet. */
export function specPartsOf(object: JsonObject): SpecParts {
  const { metadata, spec } = object;
  const { name, namespace } = isObject(metadata) ? metadata : {};
  const workloads = isObject(spec) && Array.isArray(spec["workloads"]) ? spec["workloads"] : [];
  return {
    metadata: {
      name: typeof name === "string" ? name : "",
      ...(typeof namespace === "string" ? { namespace } : {}),
    },
    workloads: workloads.filter(isObject).map(({ clusters, manifests }) => ({
      clusters: (Array.isArray(clusters) ? clusters : []).filter((cluster) => typeof cluster === "string"),
      manifests: (Array.isArray(manifests) ? manifests : []).filter(isObject),
    })),
  };
}

/** Planned objects, or what holds them, by cluster. */
export function groupedByCluster<T>(
  items: readonly T[],
  clusterOf: (item: T) => string,
): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const cluster = clusterOf(item);
    const group = groups.get(cluster);
    if (group === undefined) groups.set(cluster, [item]);
    else group.push(item);
  }
  return groups;
}

/** `demo/digits`, or the name alone. */
export function qualified(object: { readonly namespace: string; readonly name: string }): string {
  return object.namespace === "" ? object.name : `${object.namespace}/${object.name}`;
}

/** What is wrong with a cluster name. */
export function describeUnknownCluster(name: string, known: readonly string[]): string {
  const near = didYouMean(name, known);
  return `cluster "${name}" is not registered${near === undefined ? "" : `; did you mean "${near}"?`}`;
}

/** Coordinates in a manifest; empty where it has none. */
export function coordinatesOf(manifest: JsonObject | undefined): {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
} {
  const { kind, metadata } = manifest ?? {};
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  const { namespace, name } = isObject(metadata) ? metadata : {};
  return { kind: text(kind), namespace: text(namespace), name: text(name) };
}

type Identity = Pick<PlannedObject, "apiVersion" | "kind" | "namespace" | "name"> & { readonly group: string };

/** `v1`, `apps/v1`: a DNS subdomain and a DNS label (RFC 1123, RFC 1035). */
const API_VERSION =
  /^(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*\/)?[a-z](?:[-a-z0-9]*[a-z0-9])?$/;

function identify(manifest: JsonObject, place: string): Identity | SpecFault {
  const { apiVersion, kind, metadata } = manifest;
  const fault = (part: string, message: string): SpecFault => ({ field: `${place}${part}`, message });
  if (typeof apiVersion !== "string" || apiVersion === "") return fault(".apiVersion", "is required");
  if (!API_VERSION.test(apiVersion))
    return fault(".apiVersion", `"${apiVersion}" is neither VERSION nor GROUP/VERSION, such as v1 or apps/v1`);
  if (typeof kind !== "string" || kind === "") return fault(".kind", "is required");
  const name = isObject(metadata) ? metadata["name"] : undefined;
  if (typeof name !== "string" || name === "") return fault(".metadata.name", "is required");
  const namespace = isObject(metadata) ? metadata["namespace"] : undefined;
  if (namespace !== undefined && typeof namespace !== "string") return fault(".metadata.namespace", "must be a string");
  if (kind.endsWith("List")) return fault("", "lists are not delivered; give its items one by one");
  const slash = apiVersion.indexOf("/");
  return { apiVersion, kind, name, namespace: namespace ?? "", group: slash < 0 ? "" : apiVersion.slice(0, slash) };
}

/** The same for the same object at all times; readable, and short enough for any name. */
function workNameOf(owner: SpecParts, identity: Identity): string {
  const text = JSON.stringify([
    owner.metadata.namespace,
    owner.metadata.name,
    identity.group,
    identity.kind,
    identity.namespace,
    identity.name,
  ]);
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 10);
  const readable = `${owner.metadata.name}-${identity.kind}-${identity.name}`
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, "-");
  return `${readable.slice(0, 200).replace(/-+$/, "")}-${hash}`;
}

function compareObjects(a: PlannedObject, b: PlannedObject): number {
  return (
    compareText(a.cluster, b.cluster) ||
    compareText(a.kind, b.kind) ||
    compareText(a.namespace, b.namespace) ||
    compareText(a.name, b.name)
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
