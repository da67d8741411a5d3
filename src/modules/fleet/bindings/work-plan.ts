import { createHash } from "node:crypto";
import type { JsonObject, KubeObject } from "../../../kernel/kinds/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import { labelsCarriedTo } from "../clusters/state-preservation.js";
import type { Interpreters } from "../interpreters/index.js";
import { asManifest } from "../interpreters/index.js";
import { jsonOf } from "../json.unsafe.js";
import { WorkKind } from "../kinds.js";
import { EXECUTION_FINALIZER, executionSpaceOf, KARMADA } from "../names.js";
import { applyOverrides, describeApplied, type Overridden, type OverridePolicyFacts } from "../overrides/index.js";
import { webster } from "../placement/divide.js";
import type { ClusterFacts } from "../placement/types.js";
import { BINDING, workNameOf } from "../policies/marks.js";
import type { BindingSpec, ResourceBinding } from "./kinds.js";

/** Annotations of a Work: the override rules that made it what it is. */
const APPLIED_OVERRIDES = "policy.karmada.io/applied-overrides";
const APPLIED_CLUSTER_OVERRIDES = "policy.karmada.io/applied-cluster-overrides";

/** A cluster that a binding goes to. */
export interface WorkTarget {
  readonly name: string;
  /** `undefined`: as the template says. */
  readonly replicas: number | undefined;
}

/** Where a binding goes: where it was placed, and where those are that need it. */
export function clustersOf(spec: BindingSpec): WorkTarget[] {
  const targets = new Map<string, WorkTarget>();
  for (const { name, replicas } of spec.clusters ?? []) targets.set(name, { name, replicas });
  for (const { clusters = [] } of spec.requiredBy ?? [])
    for (const { name } of clusters) if (!targets.has(name)) targets.set(name, { name, replicas: undefined });
  return [...targets.values()];
}

/** Namespaces of Works that stay as they are until an eviction is over. */
export function keptClustersOf(spec: BindingSpec): string[] {
  return (spec.gracefulEvictionTasks ?? [])
    .filter(({ purgeMode }) => purgeMode !== "Immediately" && purgeMode !== "Directly")
    .map(({ fromCluster }) => executionSpaceOf(fromCluster));
}

/** What a Work depends on besides binding and template. */
export interface WorkSurroundings {
  readonly interpreters: Interpreters;
  readonly facts: ClusterFacts;
  readonly overrides: readonly OverridePolicyFacts[];
}

/** The Work of a binding for one cluster. Throws `OverrideError` when an override does not fit the object. */
export function workDraftFor(
  binding: ResourceBinding,
  template: KubeObject,
  target: WorkTarget,
  { interpreters, facts, overrides }: WorkSurroundings,
) {
  const { spec, metadata } = binding;
  const namespace = executionSpaceOf(target.name);
  const name = workNameOf(template.kind, template.metadata.namespace ?? "", template.metadata.name);
  const isScoped = metadata.namespace !== undefined;
  const bindingId = metadata.labels?.[isScoped ? BINDING.id : BINDING.clusterId] ?? "";
  const workId = identifierOf(`${bindingId}/${target.name}`);
  const idLabel = { [isScoped ? BINDING.id : BINDING.clusterId]: bindingId };
  const from: Record<string, string> = isScoped
    ? { [BINDING.namespace]: metadata.namespace ?? "", [BINDING.name]: metadata.name }
    : { [BINDING.clusterName]: metadata.name };
  const own = template.metadata.annotations?.[KARMADA.conflictResolution];
  const resolution = own === "overwrite" || own === "abort" ? own : spec.conflictResolution.toLowerCase();
  const overridden = applyOverrides(ownManifest(binding, template, target, interpreters), facts, overrides);
  const revised = overridden.manifest;
  const meta = isObject(revised["metadata"]) ? revised["metadata"] : {};
  const { generation } = template.metadata;
  const marked = {
    ...revised,
    apiVersion: template.apiVersion,
    kind: template.kind,
    metadata: {
      ...meta,
      labels: { ...asMarks(meta["labels"]), ...idLabel, [KARMADA.managed]: "true" },
      annotations: {
        ...asMarks(meta["annotations"]),
        ...from,
        [KARMADA.conflictResolution]: resolution,
        [BINDING.templateUid]: template.metadata.uid,
        ...(generation === undefined ? {} : { [KARMADA.templateGeneration]: String(generation) }),
        [KARMADA.workName]: name,
        [KARMADA.workNamespace]: namespace,
      },
    },
  };
  const { apiVersion, kind } = template;
  const { dispatching, dispatchingOnClusters } = spec.suspension ?? {};
  return {
    apiVersion: `${WorkKind.group}/${WorkKind.version}`,
    kind: WorkKind.kind,
    metadata: {
      name,
      namespace,
      labels: { ...idLabel, [BINDING.workId]: workId },
      annotations: { ...from, [KARMADA.conflictResolution]: resolution, ...appliedMarks(overridden) },
      finalizers: [EXECUTION_FINALIZER],
    },
    spec: {
      workload: { manifests: [{ ...asManifest(marked, workId), apiVersion, kind }] },
      suspendDispatching: dispatching === true || dispatchingOnClusters?.clusterNames?.includes(target.name) === true,
      preserveResourcesOnDeletion: spec.preserveResourcesOnDeletion === true,
    },
  };
}

/** Which overrides made it, as annotations of the Work. */
function appliedMarks({ cluster, namespaced }: Overridden): Record<string, string> {
  return {
    ...(cluster.length === 0 ? {} : { [APPLIED_CLUSTER_OVERRIDES]: describeApplied(cluster) }),
    ...(namespaced.length === 0 ? {} : { [APPLIED_OVERRIDES]: describeApplied(namespaced) }),
  };
}

/** The template as this cluster gets it, before overrides: with the state that it had where it failed. */
function ownManifest(
  binding: ResourceBinding,
  template: KubeObject,
  target: WorkTarget,
  interpreters: Interpreters,
): JsonObject {
  const revised = revisedFor(binding, template, target, interpreters);
  const carried = labelsCarriedTo(target.name, binding.spec);
  if (Object.keys(carried).length === 0) return revised;
  const metadata = asMarks(revised["metadata"]);
  return { ...revised, metadata: { ...metadata, labels: { ...asMarks(metadata["labels"]), ...carried } } };
}

/** The template with the replicas, and of a Job the completions, that this cluster gets. */
function revisedFor(
  { spec }: ResourceBinding,
  template: KubeObject,
  target: WorkTarget,
  interpreters: Interpreters,
): JsonObject {
  const object = jsonOf(template);
  if (target.replicas === undefined) return object;
  const revised = interpreters.interpreterFor(template.apiVersion, template.kind).revise(object, target.replicas);
  const isDivided = spec.placement?.replicaScheduling?.replicaSchedulingType === "Divided";
  const inner = revised["spec"];
  if (!isDivided || template.kind !== "Job" || !template.apiVersion.startsWith("batch/") || !isObject(inner))
    return revised;
  const completions = inner["completions"];
  if (typeof completions !== "number") return revised;
  const shares = new Map((spec.clusters ?? []).map(({ name, replicas = 0 }) => [name, replicas]));
  const own = webster(completions, shares, false).get(target.name) ?? 0;
  return { ...revised, spec: { ...inner, completions: own } };
}

function asMarks(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

/** An identifier in the form of a UUID, always the same for the same text. */
function identifierOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    "-",
  );
}
