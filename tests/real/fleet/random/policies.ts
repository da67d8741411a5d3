import type { Json, JsonObject } from "../../../../src/kernel/kinds/object.js";
import type { Chance } from "../../fuzz/chance.js";
import { makeAffinity, makePlacement } from "./placements.js";
import type { Template } from "./templates.js";
import { MEMBERS } from "./types.js";

export const POLICY_GROUP = "policy.karmada.io/v1alpha1";

/** Where a case is, and what is in it. */
export interface Scene {
  readonly namespace: string;
  readonly templates: readonly Template[];
}

/** Whom a policy means: by name, labels, or all of a kind. Those of the whole cluster name the case's namespace. */
function selectors(chance: Chance, { namespace, templates }: Scene, isCluster: boolean): JsonObject[] {
  const chosen = templates.filter(() => chance.maybe(0.75));
  return (chosen.length === 0 ? templates.slice(0, 1) : chosen).map(({ apiVersion, kind, name }) => ({
    apiVersion,
    kind,
    ...(isCluster ? { namespace } : {}),
    ...chance.weighted<JsonObject>([
      [5, { name }],
      [2, { labelSelector: { matchLabels: { tier: chance.pick(["a", "b"]) } } }],
      [1, { labelSelector: { matchExpressions: [{ key: "team", operator: "DoesNotExist" }] } }],
      [2, {}],
    ]),
  }));
}

function suspension(chance: Chance): JsonObject {
  const clusterNames = MEMBERS.filter(() => chance.maybe(0.5));
  return chance.maybe(0.5) ? { dispatching: true } : { dispatchingOnClusters: { clusterNames } };
}

function failover(chance: Chance): JsonObject {
  return chance.pick<JsonObject>([
    {
      application: { decisionConditions: { tolerationSeconds: 600 }, purgeMode: "Gracefully", gracePeriodSeconds: 30 },
    },
    { application: { decisionConditions: {}, purgeMode: "Never" } },
    { cluster: { purgeMode: "Directly" } },
    { cluster: {} },
  ]);
}

/** A propagation policy of either scope. */
export function makePolicy(chance: Chance, scene: Scene, name: string): JsonObject {
  const isCluster = chance.maybe(0.25);
  const flags: JsonObject = {
    ...(chance.maybe(0.35) ? { priority: chance.int(4) } : {}),
    ...(chance.maybe(0.25) ? { preemption: "Always" } : {}),
    ...(chance.maybe(0.3) ? { propagateDeps: true } : {}),
    ...(chance.maybe(0.12) ? { suspension: suspension(chance) } : {}),
    ...(chance.maybe(0.15) ? { conflictResolution: "Overwrite" } : {}),
    ...(chance.maybe(0.1) ? { activationPreference: "Lazy" } : {}),
    ...(chance.maybe(0.1) ? { preserveResourcesOnDeletion: true } : {}),
  };
  // Failover of applications wants the dependencies to come along.
  if (chance.maybe(0.12)) Object.assign(flags, { failover: failover(chance), propagateDeps: chance.maybe(0.8) });
  return {
    apiVersion: POLICY_GROUP,
    kind: isCluster ? "ClusterPropagationPolicy" : "PropagationPolicy",
    metadata: { name: isCluster ? `${scene.namespace}-${name}` : name },
    spec: {
      resourceSelectors: selectors(chance, scene, isCluster),
      ...(chance.maybe(0.95) ? { placement: makePlacement(chance) } : {}),
      ...flags,
    },
  };
}

const operators = ["add", "replace", "remove"];

function imageChange(chance: Chance): JsonObject {
  const component = chance.pick(["Registry", "Repository", "Tag"]);
  const operator = chance.pick(operators);
  const value =
    {
      Registry: ["mirror.example", "mirror.example:5000", ".cn"],
      Repository: ["team/app", "/more", "-x"],
      Tag: ["2.0", "-slim", `sha256:${"cd".repeat(32)}`],
    }[component] ?? [];
  return {
    component,
    operator,
    ...(operator === "remove" ? {} : { value: chance.pick(value) }),
    ...(chance.maybe(0.15) ? { predicate: { path: "/spec/template/spec/containers/0/image" } } : {}),
  };
}

function wordChange(chance: Chance): JsonObject {
  return {
    containerName: chance.pick(["app", "app", "side", "nobody"]),
    operator: chance.pick(["add", "remove"]),
    value: chance.pick<Json[]>([["--one"], ["--more=1", "it"], ["--two=2", "--one"]]),
  };
}

function mapChange(chance: Chance): JsonObject {
  return {
    operator: chance.pick(operators),
    value: chance.pick<JsonObject>([
      { tier: "z" },
      { note: "other" },
      { fresh: "yes", team: "q" },
      { "example.com/k": "w" },
    ]),
  };
}

function plainChange(chance: Chance): JsonObject {
  return chance.pick<JsonObject>([
    { path: "/metadata/annotations/by", operator: "add", value: "override" },
    { path: "/metadata/labels/extra", operator: "add", value: "1" },
    { path: "/spec/replicas", operator: "replace", value: 1 },
    { path: "/spec/template/spec/containers/0/image", operator: "replace", value: "other.example/x:9" },
    { path: "/spec/template/spec/containers/0/env", operator: "add", value: [{ name: "WHERE", value: "here" }] },
    { path: "/spec/template/spec/nodeSelector", operator: "add", value: { gpu: "yes" } },
    { path: "/spec/template/spec/nodeSelector", operator: "remove" },
    { path: "/spec/template/spec/containers/0/args/-", operator: "add", value: "--last" },
    { path: "/spec/template/spec/containers/0/args/0", operator: "replace", value: "--first" },
    { path: "/data/k", operator: "replace", value: "overridden" },
    { path: "/data/more", operator: "add", value: "m" },
    { path: "/data/k", operator: "remove" },
    { path: "/spec/size", operator: "replace", value: 42 },
  ]);
}

function fieldChange(chance: Chance): JsonObject {
  const change = chance.pick<JsonObject>([
    { subPath: "/a", operator: "replace", value: 2 },
    { subPath: "/b/c/1", operator: "remove" },
    { subPath: "/b/c/-", operator: "add", value: { x: [true, null] } },
    { subPath: "/b/d", operator: "replace", value: "other <b> & text: é" },
    { subPath: "/e", operator: "add", value: "yes" },
  ]);
  return chance.maybe(0.5)
    ? { fieldPath: "/data/app.yaml", yaml: [change] }
    : { fieldPath: "/data/app.json", json: [change] };
}

const overriderMakers: readonly (readonly [string, (chance: Chance) => JsonObject])[] = [
  ["imageOverrider", imageChange],
  ["commandOverrider", wordChange],
  ["argsOverrider", wordChange],
  ["labelsOverrider", mapChange],
  ["annotationsOverrider", mapChange],
  ["plaintext", plainChange],
  ["fieldOverrider", fieldChange],
];

function rule(chance: Chance): JsonObject {
  const overriders: JsonObject = {};
  for (let count = 1 + chance.int(3); count > 0; count -= 1) {
    const [key, make] = chance.pick(overriderMakers);
    overriders[key] = Array.from({ length: 1 + chance.int(2) }, () => make(chance));
  }
  return { ...(chance.maybe(0.7) ? { targetCluster: makeAffinity(chance) } : {}), overriders };
}

/** An override policy of either scope. */
export function makeOverride(chance: Chance, scene: Scene, name: string): JsonObject {
  const isCluster = chance.maybe(0.3);
  return {
    apiVersion: POLICY_GROUP,
    kind: isCluster ? "ClusterOverridePolicy" : "OverridePolicy",
    metadata: { name: isCluster ? `${scene.namespace}-${name}` : name },
    spec: {
      ...(isCluster || chance.maybe(0.85) ? { resourceSelectors: selectors(chance, scene, isCluster) } : {}),
      overrideRules: Array.from({ length: 1 + chance.int(2) }, () => rule(chance)),
    },
  };
}
