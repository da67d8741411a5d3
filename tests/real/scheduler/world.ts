import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import type { Chance } from "../fuzz/chance.js";
import type { Theme } from "./pods.js";
import type { Write } from "./types.js";

/** A node as pods refer to it. */
export interface MadeNode {
  readonly name: string;
}

/** What pods of a scenario can refer to. */
export interface World {
  readonly seed: number;
  readonly nodes: readonly MadeNode[];
  /** By namespace `one`. */
  readonly claims: readonly string[];
}

const taints = [
  { key: "dedicated", value: "a", effect: "NoSchedule" },
  { key: "dedicated", value: "b", effect: "NoSchedule" },
  { key: "spot", effect: "PreferNoSchedule" },
  { key: "spot", value: "yes", effect: "NoExecute" },
  { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" },
  { key: "node.kubernetes.io/disk-pressure", effect: "NoSchedule" },
  { key: "fragile", effect: "PreferNoSchedule" },
];

function someTaints(chance: Chance): JsonObject[] {
  const chosen = taints.filter(() => chance.maybe(0.2));
  return chosen.filter(
    (one, index) => !chosen.slice(0, index).some((other) => other.key === one.key && other.effect === one.effect),
  );
}

function labelsOf(chance: Chance, name: string, index: number): Record<string, string> {
  return {
    "kubernetes.io/hostname": name,
    ...(chance.maybe(0.85) ? { zone: chance.pick(["z1", "z2", "z3"]) } : {}),
    ...(chance.maybe(0.4) ? { "topology.kubernetes.io/zone": chance.pick(["east", "west"]) } : {}),
    ...(chance.maybe(0.7) ? { disk: chance.pick(["ssd", "hdd"]) } : {}),
    ...(chance.maybe(0.7) ? { size: String(1 + index * 2) } : {}),
    ...(chance.maybe(0.3) ? { rack: chance.pick(["r1", "r2", "odd"]) } : {}),
  };
}

const images = [
  { names: ["app:1"], sizeBytes: 700_000_000 },
  { names: ["registry.example.com/tool:latest"], sizeBytes: 90_000_000 },
  { names: ["small:1"], sizeBytes: 9_000_000 },
];

function statusOf(chance: Chance, active: ReadonlySet<Theme>): JsonObject {
  const allocatable: Record<string, string> = {
    cpu: chance.pick(["2", "4", "3500m", "8"]),
    memory: chance.pick(["4Gi", "8Gi", "8000Mi", "16Gi"]),
    pods: active.has("resources") ? chance.pick(["110", "110", "3", "1"]) : "110",
    ...(active.has("resources") && chance.maybe(0.6) ? { "ephemeral-storage": chance.pick(["10Gi", "50Gi"]) } : {}),
    ...(active.has("resources") && chance.maybe(0.6) ? { "nvidia.com/gpu": chance.pick(["1", "2", "4"]) } : {}),
    ...(active.has("resources") && chance.maybe(0.3) ? { "hugepages-2Mi": "64Mi" } : {}),
  };
  const ready = active.has("taints") && chance.maybe(0.1) ? "False" : "True";
  return {
    allocatable,
    capacity: allocatable,
    conditions: [{ type: "Ready", status: ready, reason: "Test", message: "" }],
    ...(chance.maybe(0.3) ? { images: images.filter(() => chance.maybe(0.5)) } : {}),
  };
}

/** Nodes by API alone: nobody stands behind them. */
export function makeNodes(
  chance: Chance,
  seed: number,
  active: ReadonlySet<Theme>,
): { readonly nodes: readonly MadeNode[]; readonly writes: readonly Write[] } {
  const nodes: MadeNode[] = [];
  const writes: Write[] = [];
  const count = 1 + chance.int(5);
  for (let index = 0; index < count; index += 1) {
    const name = `n${index}-s${seed}`;
    nodes.push({ name });
    const unschedulable = active.has("taints") && chance.maybe(0.15) ? { unschedulable: true } : {};
    const metadata = { name, labels: labelsOf(chance, name, index) };
    const path = `/api/v1/nodes/${name}`;
    const wanted = active.has("taints") ? someTaints(chance) : [];
    writes.push(
      {
        method: "POST",
        path: "/api/v1/nodes",
        body: { apiVersion: "v1", kind: "Node", metadata, spec: unschedulable },
      },
      { method: "PATCH", path: `${path}/status`, body: { status: statusOf(chance, active) } },
      // The server gives newcomers a taint of its own.
      { method: "PATCH", path, body: { spec: { taints: wanted.length === 0 ? null : wanted } } },
    );
  }
  return { nodes, writes };
}

/** Storage classes of all scenarios, made once. */
export const storageClasses: readonly JsonObject[] = [
  ["waits", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"],
  ["static", "kubernetes.io/no-provisioner", "Immediate"],
  ["driver", "example.com/driver", "WaitForFirstConsumer"],
].map(([name = "", provisioner = "", volumeBindingMode = ""]) => ({
  apiVersion: "storage.k8s.io/v1",
  kind: "StorageClass",
  metadata: { name },
  provisioner,
  volumeBindingMode,
}));

/** Volumes that lie on certain nodes or anywhere, and claims that are bound, wait, or never will be. */
export function makeVolumes(
  chance: Chance,
  seed: number,
  active: ReadonlySet<Theme>,
  nodes: readonly MadeNode[],
): { readonly claims: readonly string[]; readonly writes: readonly Write[] } {
  if (!active.has("volumes")) return { claims: [], writes: [] };
  const [volumes, writes]: [Write[], Write[]] = [[], []];
  const claims: string[] = [];
  const count = 1 + chance.int(4);
  for (let index = 0; index < count; index += 1) {
    const claim = `claim${index}-s${seed}`;
    claims.push(claim);
    const storageClassName = chance.pick(["waits", "static", "waits", "none"]);
    const accessModes = [chance.maybe(0.2) ? "ReadWriteOncePod" : "ReadWriteOnce"];
    if (chance.maybe(0.75))
      volumes.push(volume(chance, { name: `pv${index}-s${seed}`, storageClassName, accessModes, nodes }));
    const spec = {
      storageClassName,
      accessModes,
      resources: { requests: { storage: chance.pick(["1Gi", "2Gi", "6Gi"]) } },
    };
    const metadata = { name: claim, namespace: "one" };
    writes.push({
      method: "POST",
      path: "/api/v1/namespaces/one/persistentvolumeclaims",
      body: { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata, spec },
    });
  }
  return { claims, writes: [...volumes, ...writes] };
}

function volume(
  chance: Chance,
  about: {
    readonly name: string;
    readonly storageClassName: string;
    readonly accessModes: string[];
    readonly nodes: readonly MadeNode[];
  },
): Write {
  const { name, storageClassName, accessModes, nodes } = about;
  const values = nodes.filter(() => chance.maybe(0.4)).map((node) => node.name);
  const required = {
    nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values }] }],
  };
  const zone = chance.maybe(0.2) ? { labels: { "topology.kubernetes.io/zone": chance.pick(["east", "west"]) } } : {};
  const spec = {
    // Of volumes of one size either may be taken.
    capacity: { storage: `${chance.pick([1024, 5120, 5120]) + Number(/\d/.exec(name)?.[0] ?? 0)}Mi` },
    accessModes,
    storageClassName,
    hostPath: { path: "/data" },
    ...(values.length === 0 ? {} : { nodeAffinity: { required } }),
  };
  return {
    method: "POST",
    path: "/api/v1/persistentvolumes",
    body: { apiVersion: "v1", kind: "PersistentVolume", metadata: { name, ...zone }, spec },
  };
}

/** Budgets whose status the test itself writes. */
export function makeBudgets(chance: Chance, seed: number): Write[] {
  return Array.from({ length: chance.int(3) }, (_, index) => {
    const name = `budget${index}-s${seed}`;
    const path = "/apis/policy/v1/namespaces/one/poddisruptionbudgets";
    const selector = chance.maybe(0.9) ? { matchLabels: { app: chance.pick(["a", "b", "c"]) } } : {};
    const status = {
      disruptionsAllowed: chance.int(3),
      currentHealthy: 2,
      desiredHealthy: 1,
      expectedPods: 2,
      observedGeneration: 1,
    };
    return [
      {
        method: "POST",
        path,
        body: {
          apiVersion: "policy/v1",
          kind: "PodDisruptionBudget",
          metadata: { name, namespace: "one" },
          spec: { minAvailable: 1, selector },
        },
      },
      { method: "PATCH", path: `${path}/${name}/status`, body: { status } },
    ] as const;
  }).flat();
}

/** Costs something itself. Made once. */
export const runtimeClass: JsonObject = {
  apiVersion: "node.k8s.io/v1",
  kind: "RuntimeClass",
  metadata: { name: "heavy" },
  handler: "heavy",
  overhead: { podFixed: { cpu: "500m", memory: "1Gi" } },
};

/** Services: pods of one are kept apart where nothing else is said. */
export function makeServices(chance: Chance, seed: number): Write[] {
  return Array.from({ length: chance.int(3) }, (_, index) => {
    const metadata = { name: `service${index}-s${seed}`, namespace: "one" };
    const selector = chance.pick([{ app: "a" }, { app: "b" }, { tier: "x" }]);
    const spec = { selector, ports: [{ port: 80 }] };
    return {
      method: "POST",
      path: "/api/v1/namespaces/one/services",
      body: { apiVersion: "v1", kind: "Service", metadata, spec },
    };
  });
}
