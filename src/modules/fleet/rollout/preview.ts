import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { equalJson, isObject } from "../../../kernel/schema/index.js";
import { coordinatesOf, type PlannedObject, planParts, type SpecParts } from "../hyper-plan.js";
import { manifestOf } from "../hyper-works.js";
import { asManifest, WORK_ID } from "../interpreters/index.js";
import type { Work } from "../kinds.js";
import { clusterOfSpace, KARMADA } from "../names.js";
import type { HyperRolloutSpec } from "./kind.js";
import { wavesOf } from "./waves.js";

/** One field that differs. A side that has nothing there is absent. */
export interface FieldChange {
  /** `spec.releases[v2].predictor`: entries of lists by their name where they have one, else by place. */
  readonly path: string;
  readonly before?: Json;
  readonly after?: Json;
}

/** One object of a cluster that would differ. */
export interface ObjectChange {
  readonly what: "add" | "change" | "remove";
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Empty where the whole object comes or goes. */
  readonly fields: readonly FieldChange[];
}

/** What a wave would do. */
export interface WavePreview {
  readonly name: string;
  readonly needsApproval: boolean;
  readonly clusters: readonly { readonly cluster: string; readonly changes: readonly ObjectChange[] }[];
}

/** What stands in place of a value that must not be shown. */
export const REDACTED = "(redacted)";

/** What is in force in each cluster, as Works have it. */
export function manifestsInForce(works: readonly Work[]): ReadonlyMap<string, readonly JsonObject[]> {
  const byCluster = new Map<string, JsonObject[]>();
  for (const work of works) {
    const cluster = clusterOfSpace(work.metadata.namespace ?? "");
    const manifest = manifestOf(work);
    if (cluster !== undefined && manifest !== undefined)
      byCluster.set(cluster, [...(byCluster.get(cluster) ?? []), manifest]);
  }
  return byCluster;
}

/** The same, as a spec has it. */
export function manifestsOf(parts: SpecParts): ReadonlyMap<string, readonly JsonObject[]> {
  const byCluster = new Map<string, JsonObject[]>();
  for (const { cluster, manifest } of planParts(parts).objects)
    byCluster.set(cluster, [...(byCluster.get(cluster) ?? []), manifest]);
  return byCluster;
}

/** What a new spec would change, cluster by cluster, in the order of its rollout's waves. Pure. */
export function previewOf(
  next: SpecParts,
  inForce: ReadonlyMap<string, readonly JsonObject[]>,
  rollout: {
    readonly waves: HyperRolloutSpec["waves"];
    readonly labelsOf: (cluster: string) => Readonly<Record<string, string>> | undefined;
  },
): WavePreview[] {
  const { objects } = planParts(next);
  const staying = [...new Set(objects.map(({ cluster }) => cluster))];
  const leaving = [...inForce.keys()].filter((cluster) => !staying.includes(cluster));
  return wavesOf(rollout.waves ?? [], { staying, leaving }, rollout.labelsOf).map((wave) => ({
    name: wave.name,
    needsApproval: wave.needsApproval,
    clusters: wave.clusters.map((cluster) => ({
      cluster,
      changes: changesIn(
        inForce.get(cluster) ?? [],
        objects.filter((one) => one.cluster === cluster),
      ),
    })),
  }));
}

function changesIn(before: readonly JsonObject[], after: readonly PlannedObject[]): ObjectChange[] {
  const olds = new Map(before.map((manifest) => [identityOf(manifest), asDelivered(manifest)]));
  const news = after.flatMap(({ manifest }): ObjectChange[] => {
    const old = olds.get(identityOf(manifest));
    olds.delete(identityOf(manifest));
    if (old === undefined) return [{ what: "add", ...coordinatesOf(manifest), fields: [] }];
    const fields = changedFields(old, asDelivered(manifest));
    return fields.length === 0 ? [] : [{ what: "change", ...coordinatesOf(manifest), fields }];
  });
  const gone = [...olds.values()].map(
    (manifest): ObjectChange => ({ what: "remove", ...coordinatesOf(manifest), fields: [] }),
  );
  return [...news, ...gone];
}

/** The fields in which two forms of an object differ; status and what the server keeps left out, values of Secrets redacted. */
export function changedFields(before: JsonObject, after: JsonObject): FieldChange[] {
  const isSecret = after["kind"] === "Secret";
  return differences(comparable(before), comparable(after), "").map(({ path, ...sides }): FieldChange => {
    if (!isSecret || !/^(data|stringData|metadata\.annotations)\b/.test(path)) return { path, ...sides };
    return {
      path,
      ...(sides.before === undefined ? {} : { before: REDACTED }),
      ...(sides.after === undefined ? {} : { after: REDACTED }),
    };
  });
}

const SERVER_METADATA: ReadonlySet<string> = new Set([
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "managedFields",
  "selfLink",
  "finalizers",
  "ownerReferences",
]);

function comparable(object: JsonObject): JsonObject {
  const { status: _status, metadata, ...rest } = object;
  if (!isObject(metadata)) return rest;
  const own = Object.fromEntries(Object.entries(metadata).filter(([name]) => !SERVER_METADATA.has(name)));
  return { ...rest, metadata: own };
}

function differences(before: Json | undefined, after: Json | undefined, path: string): FieldChange[] {
  if (before === undefined || after === undefined) {
    if (before === after) return [];
    return [{ path, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) }];
  }
  if (equalJson(before, after)) return [];
  if (isObject(before) && isObject(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
    return names.flatMap((name) => differences(before[name], after[name], path === "" ? name : `${path}.${name}`));
  }
  if (!Array.isArray(before) || !Array.isArray(after)) return [{ path, before, after }];
  const [olds, news] = [entriesOf(before), entriesOf(after)];
  const found = [...new Set([...olds.keys(), ...news.keys()])].flatMap((key) =>
    differences(olds.get(key), news.get(key), `${path}[${key}]`),
  );
  // The same entries in another order.
  return found.length === 0 ? [{ path, before, after }] : found;
}

/** Entries by name where each has one of its own, else by place. */
function entriesOf(list: readonly Json[]): ReadonlyMap<string, Json> {
  const names = list.map((entry) => (isObject(entry) ? entry["name"] : undefined));
  const isNamed = names.every((name) => typeof name === "string") && new Set(names).size === names.length;
  return new Map(list.map((entry, index) => [isNamed ? String(names[index]) : String(index), entry]));
}

function identityOf(manifest: JsonObject): string {
  const { kind, namespace, name } = coordinatesOf(manifest);
  const { apiVersion } = manifest;
  const group = typeof apiVersion === "string" && apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
  return JSON.stringify([group, kind, namespace, name]);
}

const MARKS: ReadonlySet<string> = new Set([
  KARMADA.managed,
  KARMADA.workName,
  KARMADA.workNamespace,
  KARMADA.templateGeneration,
  KARMADA.managedAnnotations,
  KARMADA.managedLabels,
  WORK_ID,
]);

/** A manifest as Works carry it, without the labels and annotations that delivery adds. */
function asDelivered(manifest: JsonObject): JsonObject {
  const delivered = asManifest(manifest, "");
  const { metadata } = delivered;
  if (!isObject(metadata)) return delivered;
  const cleaned = Object.entries(metadata).flatMap(([name, value]): [string, Json][] => {
    if (value === undefined) return [];
    if ((name !== "labels" && name !== "annotations") || !isObject(value)) return [[name, value]];
    const own = Object.entries(value).filter(([key]) => !MARKS.has(key));
    return own.length === 0 ? [] : [[name, Object.fromEntries(own)]];
  });
  return { ...delivered, metadata: Object.fromEntries(cleaned) };
}
