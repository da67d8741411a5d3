import type { Json, JsonObject } from "../../../../src/kernel/kinds/object.js";
import { asObject, asObjects, asString } from "../../../../src/kernel/schema/index.js";
import type { Chance } from "../../fuzz/chance.js";
import { makePlacement } from "./placements.js";
import { makeOverride, makePolicy, type Scene } from "./policies.js";
import type { Template } from "./templates.js";
import { MEMBERS, type Ref, type Write } from "./types.js";

/** What is there, as far as changes go by it. */
export interface Scenery extends Scene {
  readonly policies: JsonObject[];
  readonly overrides: JsonObject[];
}

export const refOf = ({ apiVersion, kind, metadata }: JsonObject): Ref => ({
  apiVersion: asString(apiVersion),
  kind: asString(kind),
  name: asString(asObject(metadata)["name"]),
});

const nested = (path: readonly string[], value: Json): JsonObject => {
  const [first = "", ...rest] = path;
  return { [first]: rest.length === 0 ? value : nested(rest, value) };
};

function scale(chance: Chance, { replicas, object }: Template): Write[] {
  if (replicas === undefined) return [];
  // A Job's parallelism may be changed, its completions not.
  return [{ patch: refOf(object), with: nested(replicas, chance.pick([0, 1, 2, 3, 5, 6, 8, 11, 17])) }];
}

function relabel(chance: Chance, { object }: Template): Write[] {
  const labels = chance.pick<JsonObject>([
    { tier: "a" },
    { tier: "b" },
    { tier: null },
    { team: "x" },
    { team: null },
    { more: "yes" },
  ]);
  return [{ patch: refOf(object), with: { metadata: { labels } } }];
}

function annotate(chance: Chance, { object }: Template): Write[] {
  const annotations = chance.pick<JsonObject>([{ note: "new" }, { note: null }, { "example.com/k": "x" }]);
  return [{ patch: refOf(object), with: { metadata: { annotations } } }];
}

function edit(chance: Chance, { object, kind, pods }: Template): Write[] {
  const patch = refOf(object);
  if (kind === "ConfigMap") return [{ patch, with: { data: { k: chance.pick(["x", "y"]), added: "1" } } }];
  if (kind === "Widget" || kind === "Gizmo") return [{ patch, with: { spec: { size: 7 } } }];
  if (pods === undefined || kind === "Job") return [];
  const path = `/${[...pods, "spec", "containers", "0"].join("/")}`;
  const change = chance.pick<Json>([
    { op: "replace", path: `${path}/image`, value: "registry.example/app:2.0" },
    { op: "add", path: `${path}/resources`, value: { requests: { cpu: "2" } } },
    { op: "add", path: `${path}/env`, value: [{ name: "A", value: "b" }] },
  ]);
  return [{ patch, with: [change] }];
}

/** Somebody in a member meddles. Where the object is not there that is refused, in both alike. */
function meddle(chance: Chance, { object, replicas, kind }: Template): Write[] {
  const [on, ref] = [chance.pick(MEMBERS), refOf(object)];
  if (chance.maybe(0.3)) return [{ on, remove: ref }];
  if (replicas !== undefined && kind !== "Job") return [{ on, patch: ref, with: nested(replicas, 13) }];
  return [{ on, patch: ref, with: { metadata: { labels: { tier: "mine", own: "yes" } } } }];
}

/** What a member's controllers would say. */
function report(chance: Chance, { object, kind }: Template): Write[] {
  const [on, patch] = [chance.pick(MEMBERS), refOf(object)];
  const count = chance.pick([0, 1, 2, 5]);
  const workload = { replicas: count, updatedReplicas: count, readyReplicas: count, availableReplicas: count };
  const statuses: Readonly<Record<string, JsonObject>> = {
    Deployment: workload,
    StatefulSet: { ...workload, currentReplicas: count },
    DaemonSet: {
      currentNumberScheduled: count,
      desiredNumberScheduled: count,
      numberReady: count,
      numberMisscheduled: 0,
      updatedNumberScheduled: count,
      numberAvailable: count,
    },
    Job: { active: count, startTime: "2026-01-01T00:00:00Z" },
    Service: { loadBalancer: { ingress: [{ ip: `192.0.2.${count + 1}` }] } },
    Ingress: { loadBalancer: { ingress: [{ ip: `192.0.2.${count + 1}` }] } },
    PersistentVolumeClaim: { phase: "Bound" },
  };
  const status = statuses[kind];
  return status === undefined ? [] : [{ on, patch, with: { status }, isStatus: true }];
}

function editPolicy(chance: Chance, scenery: Scenery): Write[] {
  const policy = chance.pick(scenery.policies);
  const change = (path: string, value: Json): Write[] => [{ patch: refOf(policy), with: { spec: { [path]: value } } }];
  const replace = (path: string, value: Json): Write[] => [
    { patch: refOf(policy), with: [{ op: "add", path: `/spec/${path}`, value }] },
  ];
  return chance.weighted<() => Write[]>([
    [6, () => replace("placement", makePlacement(chance))],
    [2, () => change("priority", chance.int(4))],
    [2, () => change("suspension", chance.maybe(0.4) ? null : { dispatching: chance.maybe(0.5) })],
    [1, () => change("conflictResolution", chance.pick(["Abort", "Overwrite"]))],
    [1, () => change("propagateDeps", chance.maybe(0.5))],
    [1, () => change("preemption", chance.pick(["Always", "Never"]))],
    [1, () => change("preserveResourcesOnDeletion", chance.maybe(0.5))],
    [1, () => change("activationPreference", chance.maybe(0.5) ? "Lazy" : null)],
    [
      2,
      () =>
        replace("resourceSelectors", asObject(makePolicy(chance, scenery, "none")["spec"])["resourceSelectors"] ?? []),
    ],
  ])();
}

/** A cluster policy keeps to the case's namespace, whatever it is changed to. */
function kept(write: Write, namespace: string): Write {
  const changes =
    write.patch?.kind === "ClusterPropagationPolicy" && Array.isArray(write.with) ? asObjects(write.with) : [];
  for (const { path, value } of changes)
    if (path === "/spec/resourceSelectors") for (const selector of asObjects(value)) selector["namespace"] = namespace;
  return write;
}

function removed(chance: Chance, list: JsonObject[]): Write[] {
  if (list.length === 0) return [];
  const [one] = list.splice(chance.int(list.length), 1);
  return one === undefined ? [] : [{ remove: refOf(one) }];
}

function added(list: JsonObject[], object: JsonObject): Write[] {
  list.push(object);
  return [{ create: object }];
}

function rebalance({ namespace, templates }: Scene, name: string): Write[] {
  const workloads = templates.map(({ apiVersion, kind, name: of }) => ({ apiVersion, kind, name: of, namespace }));
  const create = {
    apiVersion: "apps.karmada.io/v1alpha1",
    kind: "WorkloadRebalancer",
    metadata: { name: `${namespace}-${name}` },
    spec: { workloads },
  };
  return [{ create }];
}

/** One change of anything, in the case's own namespace. */
export function makeChange(chance: Chance, scenery: Scenery, tag: string): Write[] {
  const template = chance.pick(scenery.templates);
  const { policies, overrides } = scenery;
  const writes = chance.weighted<() => Write[]>([
    [6, () => scale(chance, template)],
    [2, () => relabel(chance, template)],
    [1, () => annotate(chance, template)],
    [2, () => edit(chance, template)],
    [2, () => meddle(chance, template)],
    [3, () => report(chance, template)],
    [6, () => (policies.length === 0 ? [] : editPolicy(chance, scenery))],
    [2, () => removed(chance, policies)],
    [2, () => added(policies, makePolicy(chance, scenery, `p-${tag}`))],
    [2, () => added(overrides, makeOverride(chance, scenery, `o-${tag}`))],
    [2, () => removed(chance, overrides)],
    [2, () => rebalance(scenery, `r-${tag}`)],
    [1, () => [{ remove: refOf(template.object) }]],
  ])();
  return writes.map((write) => kept(write, scenery.namespace));
}
