import type { Json, JsonObject, KubeObject } from "../../../kernel/kinds/index.js";
import { equalJson, toJson, toJsonObject } from "../../../kernel/schema/index.js";
import type { Component, Interpreter, ReplicaRequirements } from "../interpreters/index.js";
import { jsonOf } from "../json.unsafe.js";
import type { Policy } from "../policies/choose.js";
import { groupsOf } from "./groups.js";
import type { BindingSpec } from "./kinds.js";

/** Longest name of a component in a binding. */
const MAX_NAME = 32;

/** What of a binding comes from template and policy. */
export function wishFor(
  template: KubeObject,
  policy: Policy,
  interpreter: Interpreter,
  old: BindingSpec | undefined,
): BindingSpec {
  const { spec } = policy;
  const object = jsonOf(template);
  const components = interpreter.components(object);
  const isWhole = components.length > 1;
  const groups = groupsOf(template, spec.placement);
  const wanted = isWhole ? undefined : interpreter.replicas(object);
  const { metadata, apiVersion, kind } = template;
  const suspension = {
    ...spec.suspension,
    ...(old?.suspension?.scheduling === undefined ? {} : { scheduling: old.suspension.scheduling }),
  };
  return {
    resource: {
      apiVersion,
      kind,
      name: metadata.name,
      uid: metadata.uid,
      resourceVersion: metadata.resourceVersion,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
    },
    placement: spec.placement ?? {},
    schedulerName: spec.schedulerName,
    conflictResolution: spec.conflictResolution,
    ...(wanted === undefined || wanted.replicas === 0 ? {} : { replicas: wanted.replicas }),
    ...(wanted?.requirements === undefined ? {} : { replicaRequirements: requirementsOf(wanted.requirements) }),
    ...(groups === undefined ? {} : { workloadAffinityGroups: groups }),
    ...(isWhole ? { components: components.map(componentOf) } : {}),
    ...(spec.propagateDeps === undefined ? {} : { propagateDeps: spec.propagateDeps }),
    ...(spec.failover === undefined ? {} : { failover: spec.failover }),
    ...(Object.keys(suspension).length === 0 ? {} : { suspension }),
    ...(spec.preserveResourcesOnDeletion === undefined
      ? {}
      : { preserveResourcesOnDeletion: spec.preserveResourcesOnDeletion }),
  };
}

const WISHED = [
  "placement",
  "schedulerName",
  "conflictResolution",
  "replicas",
  "replicaRequirements",
  "components",
  "workloadAffinityGroups",
  "propagateDeps",
  "failover",
  "suspension",
  "preserveResourcesOnDeletion",
  "schedulePriority",
] as const;

/** What of that is not as it should be. */
export function changedFields(spec: BindingSpec, wish: BindingSpec): string[] {
  const isSame = (a: unknown, b: unknown): boolean => equalJson(asJson(a), asJson(b));
  const changed: string[] = WISHED.filter((field) => !isSame(spec[field], wish[field]));
  if (spec.resource.uid !== wish.resource.uid) changed.push("resource");
  return changed;
}

const asJson = (value: unknown): Json | undefined => (value === undefined ? undefined : toJson(value));

/** Fields that template and policy say nothing of any more are gone. */
export function withoutAbsent(spec: BindingSpec, wish: BindingSpec): JsonObject {
  const all = toJsonObject(spec);
  for (const field of WISHED) if (wish[field] === undefined) delete all[field];
  return all;
}

function componentOf({ name, replicas, requirements }: Component): NonNullable<BindingSpec["components"]>[number] {
  return {
    name: name.slice(0, MAX_NAME),
    replicas,
    ...(requirements === undefined ? {} : { replicaRequirements: requirementsOf(requirements) }),
  };
}

function requirementsOf(needs: ReplicaRequirements): NonNullable<BindingSpec["replicaRequirements"]> {
  const { nodeClaim, resourceRequest, priorityClassName } = needs;
  return {
    ...(resourceRequest === undefined ? {} : { resourceRequest: { ...resourceRequest } }),
    ...(priorityClassName === undefined ? {} : { priorityClassName }),
    ...(nodeClaim === undefined
      ? {}
      : {
          nodeClaim: {
            ...(nodeClaim.hardNodeAffinity === undefined ? {} : { hardNodeAffinity: nodeClaim.hardNodeAffinity }),
            ...(nodeClaim.nodeSelector === undefined ? {} : { nodeSelector: { ...nodeClaim.nodeSelector } }),
            ...(nodeClaim.tolerations === undefined ? {} : { tolerations: nodeClaim.tolerations.map(tolerationOf) }),
          },
        }),
  };
}

function tolerationOf(value: JsonObject): Record<string, string> {
  return Object.fromEntries(
    ["key", "operator", "value", "effect"].flatMap((field) => {
      const text = value[field];
      return typeof text === "string" ? [[field, text]] : [];
    }),
  );
}
