import { afterEach, expect, test } from "vitest";
import {
  apiVersionOf,
  defineKind,
  type JsonObject,
  type KindDefinition,
  type Resource,
} from "../../../kernel/kinds/index.js";
import { s } from "../../../kernel/schema/index.js";
import { ResourceBindingKind } from "../bindings/kinds.js";
import { ENGINE_KINDS, eventually, startFleet, type TestFleet } from "../fixture.js";
import { ClusterKind } from "../kinds.js";
import { PropagationPolicyKind } from "../policies/kinds.js";
import { customInterpreter } from "./custom.js";
import type { CustomizationSpec, ResourceInterpreterCustomization } from "./customization-kind.js";
import { ResourceInterpreterCustomizationKind } from "./index.js";

const GizmoKind: KindDefinition<Resource<JsonObject, JsonObject>> = defineKind({
  group: "tensorstack.dev",
  version: "v1",
  kind: "Gizmo",
  description: "test",
  spec: s.preserveUnknown(),
  status: s.preserveUnknown().optional(),
});
const hubKinds = [...ENGINE_KINDS, GizmoKind];
const inDemo = { namespace: "demo" };
const fleets: TestFleet[] = [];
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.close();
});

const META = { uid: "u", resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" };

function customization(
  name: string,
  customizations: Record<string, string>,
): ResourceInterpreterCustomization & { spec: CustomizationSpec } {
  const scripts = Object.entries(customizations).map(([operation, luaScript]) => [operation, { luaScript }]);
  return {
    apiVersion: "config.karmada.io/v1alpha1",
    kind: "ResourceInterpreterCustomization",
    metadata: { name, ...META },
    spec: {
      target: { apiVersion: "tensorstack.dev/v1", kind: "Gizmo" },
      customizations: Object.fromEntries(scripts) as CustomizationSpec["customizations"],
    },
  };
}

function part(customizations: Record<string, string>, told: string[] = []) {
  const report = (operation: string, message: string): void => void told.push(`${operation}: ${message}`);
  return customInterpreter([customization("c", customizations)], { nowMs: () => 0, report });
}

const pod = {
  spec: { containers: [{ resources: { requests: { cpu: "500m" } }, envFrom: [{ secretRef: { name: "s" } }] }] },
};

test("scripts tell replicas and needs, revise, retain, and find what an object cannot do without", () => {
  const gizmo = part({
    replicaResource: `local kube = require("kube")
      function GetReplicas(obj) return obj.spec.copies, kube.accuratePodRequirements(obj.spec.template) end`,
    replicaRevision: "function ReviseReplica(obj, n) obj.spec.copies = n return obj end",
    retention: "function Retain(desired, observed) desired.spec.paused = observed.spec.paused return desired end",
    dependencyInterpretation: `local kube = require("kube")
      function GetDependencies(obj) return kube.getPodDependencies(obj.spec.template, obj.metadata.namespace) end`,
  });
  const object = { metadata: { namespace: "demo" }, spec: { copies: 3, template: pod, empty: {}, none: [] } };
  expect(gizmo.replicas?.(object)).toEqual({ replicas: 3, requirements: { resourceRequest: { cpu: "500m" } } });
  expect(gizmo.revise?.(object, 7)).toEqual({ ...object, spec: { ...object.spec, copies: 7 } });
  expect(object.spec.copies).toBe(3);
  expect(gizmo.retain?.({ spec: { a: 1 } }, { spec: { paused: true } })).toEqual({ spec: { a: 1, paused: true } });
  expect(gizmo.dependencies?.(object)).toEqual([{ apiVersion: "v1", kind: "Secret", namespace: "demo", name: "s" }]);
});

test("scripts tell status and health; what goes wrong there is told, and nothing is made up", () => {
  const told: string[] = [];
  const gizmo = part(
    {
      statusReflection: "function ReflectStatus(obj) return {ready = obj.status.ready} end",
      statusAggregation: `function AggregateStatus(obj, items)
        obj.status = {ready = 0}
        if items == nil then return obj end
        for i = 1, #items do obj.status.ready = obj.status.ready + (items[i].status and items[i].status.ready or 0) end
        return obj
      end`,
      healthInterpretation: "function InterpretHealth(obj) return obj.status.ready > 2 end",
    },
    told,
  );
  expect(gizmo.reflectStatus?.({ status: { ready: 2, more: 1 } })).toEqual({ ready: 2 });
  const items = [{ clusterName: "a", status: { ready: 2 } }, { clusterName: "b" }];
  expect(gizmo.aggregateStatus?.({}, items, "")).toEqual({ ready: 2 });
  expect(gizmo.aggregateStatus?.({}, [], "")).toEqual({ ready: 0 });
  expect(gizmo.health?.({ status: { ready: 3 } })).toBe("Healthy");
  expect(gizmo.health?.({})).toBe("Unknown");
  expect(gizmo.reflectStatus?.({})).toBeUndefined();
  expect(told).toHaveLength(2);
  expect(() => part({ replicaResource: "function GetReplicas(obj) return 'x' end" }).replicas?.({})).toThrow(
    "is not number",
  );
});

test("a customization divides replicas of a kind that nobody knows, and one that is no Lua is refused with its place", async () => {
  const fleet = await startFleet(["member1", "member2"], { hubKinds, memberKinds: [GizmoKind] });
  fleets.push(fleet);
  const { hub } = fleet;
  const customizations = hub.client.resource(ResourceInterpreterCustomizationKind);
  const { metadata: _metadata, ...good } = customization("g", {
    replicaResource: "function GetReplicas(obj) return obj.spec.copies, {} end",
    replicaRevision: "function ReviseReplica(obj, n) obj.spec.copies = n return obj end",
    healthInterpretation: "function InterpretHealth(obj) return obj.spec.copies > 1 end",
  });
  await customizations.create({ ...good, metadata: { name: "g" } });
  const { metadata: _other, ...bad } = customization("b", { retention: "function Retain(a) return end end" });
  await expect(customizations.create({ ...bad, metadata: { name: "b" } })).rejects.toThrow(
    /InterpreterOperation\(Retain\) Lua script error: <string> line:1\(column:33\) near 'end': {3}syntax error/,
  );
  await expect(customizations.create({ ...good, metadata: { name: "twice" } })).rejects.toThrow(
    "conflicting with InterpreterOperation(InterpretReplica) of existing ResourceInterpreterCustomization(g)",
  );
  await eventually(
    () => hub.client.resource(ClusterKind).list(),
    ({ items }) => items.every(({ status }) => (status?.apiEnablements ?? []).length > 0),
    "kinds are known",
  );
  await hub.client
    .resource(GizmoKind)
    .create(
      { apiVersion: apiVersionOf(GizmoKind), kind: "Gizmo", metadata: { name: "g", ...inDemo }, spec: { copies: 3 } },
      inDemo,
    );
  await hub.client.resource(PropagationPolicyKind).create(
    {
      apiVersion: apiVersionOf(PropagationPolicyKind),
      kind: "PropagationPolicy",
      metadata: { name: "p", ...inDemo },
      spec: {
        resourceSelectors: [{ apiVersion: "tensorstack.dev/v1", kind: "Gizmo", name: "g" }],
        priority: 0,
        preemption: "Never",
        schedulerName: "default-scheduler",
        conflictResolution: "Abort",
        placement: { replicaScheduling: { replicaSchedulingType: "Divided", replicaDivisionPreference: "Weighted" } },
      },
    },
    inDemo,
  );
  const told = await eventually(
    () => hub.client.resource(ResourceBindingKind).find("g-gizmo", inDemo),
    (binding) => (binding?.status?.aggregatedStatus ?? []).filter(({ applied }) => applied).length === 2,
    "both have it",
  );
  expect(told?.spec.clusters?.map(({ replicas }) => replicas).toSorted()).toEqual([1, 2]);
  const healths = told?.status?.aggregatedStatus?.map(({ health }) => health).toSorted();
  expect(healths).toEqual(["Healthy", "Unhealthy"]);
});
