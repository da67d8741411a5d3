import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import type { Chance } from "../fuzz/chance.js";
import type { World } from "./world.js";

/** What a scenario is about; the others stay out of it, so that answers are not all about the same. */
export const themes = [
  "resources",
  "nodes",
  "taints",
  "company",
  "spread",
  "ports",
  "volumes",
  "preemption",
  "gates",
] as const;
export type Theme = (typeof themes)[number];

/** Priority classes of all scenarios, made once. */
export const priorityClasses: readonly JsonObject[] = [
  { name: "low", value: -10 },
  { name: "middle", value: 100 },
  { name: "high", value: 1000 },
  { name: "polite", value: 1000, preemptionPolicy: "Never" },
].map(({ name, ...more }) => ({
  apiVersion: "scheduling.k8s.io/v1",
  kind: "PriorityClass",
  metadata: { name },
  ...more,
}));

function labelSelector(chance: Chance): JsonObject {
  return chance.weighted<JsonObject>([
    [5, { matchLabels: { app: chance.pick(["a", "b", "c"]) } }],
    [1, { matchLabels: { app: chance.pick(["a", "b"]), tier: "x" } }],
    [2, { matchExpressions: [{ key: "app", operator: "In", values: ["a", "b"] }] }],
    [1, { matchExpressions: [{ key: "tier", operator: "NotIn", values: ["x"] }] }],
    [1, { matchExpressions: [{ key: "tier", operator: "Exists" }] }],
    [1, { matchExpressions: [{ key: "tier", operator: "DoesNotExist" }] }],
    [0.5, {}],
  ]);
}

const topologyKeys = ["kubernetes.io/hostname", "zone", "rack", "topology.kubernetes.io/zone"];

function affinityTerm(chance: Chance): JsonObject {
  const namespaces = chance.weighted<JsonObject>([
    [5, {}],
    [1, { namespaces: [chance.pick(["one", "two"])] }],
    [1, { namespaceSelector: {} }],
    [1, { namespaceSelector: { matchLabels: { team: chance.pick(["a", "b", "c"]) } } }],
  ]);
  const keys = chance.weighted<JsonObject>([
    [8, {}],
    [1, { matchLabelKeys: ["version"] }],
    [1, { mismatchLabelKeys: ["version"] }],
  ]);
  return {
    topologyKey: chance.pick(topologyKeys),
    ...(chance.maybe(0.95) ? { labelSelector: labelSelector(chance), ...keys } : {}),
    ...namespaces,
  };
}

function terms(chance: Chance, share: number, isPreferred: boolean): JsonObject {
  const list = (): JsonObject[] => Array.from({ length: 1 + chance.int(2) }, () => affinityTerm(chance));
  return {
    ...(chance.maybe(share) ? { requiredDuringSchedulingIgnoredDuringExecution: list() } : {}),
    ...(isPreferred && chance.maybe(share)
      ? {
          preferredDuringSchedulingIgnoredDuringExecution: list().map((podAffinityTerm) => ({
            weight: 1 + chance.int(100),
            podAffinityTerm,
          })),
        }
      : {}),
  };
}

function nodeTerm(chance: Chance, world: World): JsonObject {
  const names = (): string[] => world.nodes.filter(() => chance.maybe(0.5)).map(({ name }) => name);
  const requirement = chance.weighted<JsonObject>([
    [2, { key: "disk", operator: "In", values: ["ssd"] }],
    [2, { key: "zone", operator: "NotIn", values: [chance.pick(["z1", "z2"])] }],
    [1, { key: "rack", operator: "Exists" }],
    [1, { key: "rack", operator: "DoesNotExist" }],
    [1, { key: "size", operator: "Gt", values: [String(chance.int(6))] }],
    [1, { key: "size", operator: "Lt", values: [String(chance.int(8))] }],
    [0.5, { key: "rack", operator: "Gt", values: ["1"] }],
    [1, { key: "kubernetes.io/hostname", operator: "In", values: [...names(), "none"] }],
  ]);
  const isByName = chance.maybe(0.3);
  const field = chance.weighted<JsonObject>([
    [3, { key: "metadata.name", operator: "In", values: [chance.pick([...world.nodes, { name: "gone" }]).name] }],
    [1, { key: "metadata.name", operator: "NotIn", values: [chance.pick(world.nodes).name] }],
  ]);
  return {
    ...(!isByName || chance.maybe(0.4) ? { matchExpressions: [requirement] } : {}),
    ...(isByName ? { matchFields: [field] } : {}),
  };
}

function nodeAffinity(chance: Chance, world: World): JsonObject {
  const list = (): JsonObject[] => Array.from({ length: 1 + chance.int(2) }, () => nodeTerm(chance, world));
  return {
    ...(chance.maybe(0.5) ? { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: list() } } : {}),
    ...(chance.maybe(0.4)
      ? {
          preferredDuringSchedulingIgnoredDuringExecution: list().map((preference) => ({
            weight: 1 + chance.int(100),
            preference,
          })),
        }
      : {}),
  };
}

function tolerations(chance: Chance): JsonObject[] {
  return [
    { key: "dedicated", operator: "Equal", value: "a", effect: "NoSchedule" },
    { key: "dedicated", operator: "Exists" },
    { key: "spot", operator: "Exists", effect: "PreferNoSchedule" },
    { key: "spot", value: "yes" },
    { key: "node.kubernetes.io/unschedulable", operator: "Exists" },
    { operator: "Exists" },
  ].filter(() => chance.maybe(0.18));
}

function spread(chance: Chance): JsonObject[] {
  const made = Array.from({ length: 1 + chance.int(2) }, () => {
    const whenUnsatisfiable = chance.maybe(0.65) ? "DoNotSchedule" : "ScheduleAnyway";
    return {
      maxSkew: 1 + chance.int(2),
      topologyKey: chance.pick(topologyKeys),
      whenUnsatisfiable,
      ...(chance.maybe(0.95) ? { labelSelector: labelSelector(chance) } : {}),
      ...(chance.maybe(0.3) && whenUnsatisfiable === "DoNotSchedule" ? { minDomains: 1 + chance.int(4) } : {}),
      ...(chance.maybe(0.25) ? { nodeTaintsPolicy: chance.pick(["Honor", "Ignore"]) } : {}),
      ...(chance.maybe(0.25) ? { nodeAffinityPolicy: chance.pick(["Honor", "Ignore"]) } : {}),
    };
  }).map((one) => ("labelSelector" in one && chance.maybe(0.15) ? { ...one, matchLabelKeys: ["version"] } : one));
  return made.filter(
    (one, index) =>
      !made
        .slice(0, index)
        .some((other) => other.topologyKey === one.topologyKey && other.whenUnsatisfiable === one.whenUnsatisfiable),
  );
}

function requests(chance: Chance, active: ReadonlySet<Theme>): JsonObject {
  const list: Record<string, string> = {
    ...(chance.maybe(0.8) ? { cpu: chance.pick(["100m", "500m", "1", "1500m", "3"]) } : {}),
    ...(chance.maybe(0.8) ? { memory: chance.pick(["100Mi", "1Gi", "3Gi", "6Gi"]) } : {}),
    ...(active.has("resources") && chance.maybe(0.2) ? { "ephemeral-storage": chance.pick(["1Gi", "20Gi"]) } : {}),
    ...(active.has("resources") && chance.maybe(0.3) ? { "nvidia.com/gpu": chance.pick(["1", "2"]) } : {}),
  };
  const gpu = list["nvidia.com/gpu"];
  return Object.keys(list).length === 0
    ? {}
    : { requests: list, ...(gpu === undefined ? {} : { limits: { "nvidia.com/gpu": gpu } }) };
}

function container(chance: Chance, active: ReadonlySet<Theme>, name: string): JsonObject {
  const port = {
    containerPort: 80,
    hostPort: chance.pick([8080, 9090]),
    ...(chance.maybe(0.4) ? { hostIP: chance.pick(["127.0.0.1", "10.0.0.1", "0.0.0.0"]) } : {}),
    ...(chance.maybe(0.3) ? { protocol: "UDP" } : {}),
  };
  return {
    name,
    image: chance.pick(["app:1", "registry.example.com/tool", "small:1", "other:2"]),
    resources: requests(chance, active),
    ...(active.has("ports") && chance.maybe(0.4) ? { ports: [port] } : {}),
  };
}

function containers(chance: Chance, active: ReadonlySet<Theme>): JsonObject {
  const isRich = active.has("resources") && chance.maybe(0.3);
  const init = { ...container(chance, active, "init"), ...(chance.maybe(0.4) ? { restartPolicy: "Always" } : {}) };
  return {
    containers: [
      container(chance, active, "main"),
      ...(isRich && chance.maybe(0.4) ? [container(chance, active, "more")] : []),
    ],
    ...(isRich ? { initContainers: [init] } : {}),
  };
}

function volumes(chance: Chance, world: World): JsonObject[] {
  const claimName = chance.pick([...world.claims, ...world.claims, "missing"]);
  return [{ name: "data", persistentVolumeClaim: { claimName } }];
}

/** What is asked of a pod. */
export interface PodAbout {
  readonly name: string;
  readonly active: ReadonlySet<Theme>;
  /** Runs already: nothing is asked about where it may go. */
  readonly isRunning: boolean;
}

function someLabels(chance: Chance): JsonObject {
  return {
    ...(chance.maybe(0.9) ? { app: chance.pick(["a", "b", "c"]) } : {}),
    ...(chance.maybe(0.4) ? { tier: chance.pick(["x", "y"]) } : {}),
    ...(chance.maybe(0.5) ? { version: chance.pick(["v1", "v2"]) } : {}),
  };
}

/** A pod with wishes that a scenario's themes allow. */
export function makePod(chance: Chance, world: World, { name, active, isRunning }: PodAbout): JsonObject {
  const has = (theme: Theme, share: number): boolean => active.has(theme) && chance.maybe(share);
  const hasVolume = has("volumes", isRunning ? 0.15 : 0.5);
  const labels = someLabels(chance);
  const isCompany = active.has("company");
  const affinity = {
    ...(has("nodes", 0.5) ? { nodeAffinity: nodeAffinity(chance, world) } : {}),
    ...(isCompany && chance.maybe(0.4) ? { podAffinity: terms(chance, isRunning ? 0.3 : 0.6, true) } : {}),
    ...(isCompany && chance.maybe(0.4) ? { podAntiAffinity: terms(chance, 0.5, true) } : {}),
  };
  const priority = isRunning ? ["low", "middle", "high"] : ["low", "middle", "high", "high", "polite"];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: hasVolume || chance.maybe(0.8) ? "one" : "two", labels },
    spec: {
      ...containers(chance, active),
      ...(Object.keys(affinity).length === 0 ? {} : { affinity }),
      ...(has("nodes", 0.25)
        ? { nodeSelector: { [chance.pick(["disk", "zone"])]: chance.pick(["ssd", "z1", "z2"]) } }
        : {}),
      ...(has("taints", 0.6) ? { tolerations: tolerations(chance) } : {}),
      ...(has("spread", 0.6) ? { topologySpreadConstraints: spread(chance) } : {}),
      ...(has("preemption", 0.8) ? { priorityClassName: chance.pick(priority) } : {}),
      ...(!isRunning && has("gates", 0.3) ? { schedulingGates: [{ name: "example.com/wait" }] } : {}),
      ...(hasVolume ? { volumes: volumes(chance, world) } : {}),
      ...(has("resources", 0.15) ? { runtimeClassName: "heavy" } : {}),
      // All alike: of several victims none ends before another.
      terminationGracePeriodSeconds: (world.seed % 2) * 30,
    },
  };
}
