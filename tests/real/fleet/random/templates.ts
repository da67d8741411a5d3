import type { JsonObject } from "../../../../src/kernel/kinds/object.js";
import type { Chance } from "../../fuzz/chance.js";

/** A template, and how others speak of it. */
export interface Template {
  readonly object: JsonObject;
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Where its number of replicas is; absent: it has none. */
  readonly replicas?: readonly string[];
  /** Where its pods' template is; absent: it has none. */
  readonly pods?: readonly string[];
}

/** Custom kinds: member4 does not have the first. */
export const FLEET_GROUP = "fleet.example.com";

const images = [
  "registry.example/app:1.0",
  "registry.example:5000/team/app:1.0",
  "app:2",
  "team/app",
  `registry.example/app@sha256:${"ab".repeat(32)}`,
];

export function resources(chance: Chance): JsonObject {
  const requests = chance.weighted<JsonObject>([
    [3, {}],
    [2, { cpu: "1" }],
    [2, { cpu: "500m", memory: "1Gi" }],
    [1, { cpu: "1500m", memory: "2Gi" }],
    [1, { memory: "3Gi" }],
    [1, { cpu: "250m" }],
  ]);
  return Object.keys(requests).length === 0 ? {} : { resources: { requests } };
}

function podTemplate(chance: Chance, labels: JsonObject, more: JsonObject = {}): JsonObject {
  const container = {
    name: "app",
    image: chance.pick(images),
    ...(chance.maybe(0.4) ? { args: ["--one", "--two=2"] } : {}),
    ...(chance.maybe(0.3) ? { command: ["run", "it"] } : {}),
    ...resources(chance),
    ...(chance.maybe(0.35) ? { envFrom: [{ configMapRef: { name: "conf" } }] } : {}),
  };
  const volumes = [
    ...(chance.maybe(0.3) ? [{ name: "keys", secret: { secretName: "key" } }] : []),
    ...(chance.maybe(0.1) ? [{ name: "data", persistentVolumeClaim: { claimName: "claim" } }] : []),
  ];
  const spec = {
    containers: [
      container,
      ...(chance.maybe(0.3) ? [{ name: "side", image: "registry.example/side:1.0", ...resources(chance) }] : []),
    ],
    ...(chance.maybe(0.15) ? { initContainers: [{ name: "init", image: "registry.example/init:1.0" }] } : {}),
    ...(chance.maybe(0.15) ? { serviceAccountName: "runner" } : {}),
    ...(chance.maybe(0.15) ? { nodeSelector: { disk: "ssd" } } : {}),
    ...(volumes.length === 0 ? {} : { volumes }),
    ...more,
  };
  return { metadata: { labels }, spec };
}

const makers: Readonly<Record<string, (chance: Chance) => JsonObject>> = {
  Deployment: (chance) => {
    const labels = { app: "web" };
    const replicas = chance.pick([0, 1, 2, 3, 4, 5, 7, 9, 12, 20]);
    return { spec: { replicas, selector: { matchLabels: labels }, template: podTemplate(chance, labels) } };
  },
  StatefulSet: (chance) => {
    const labels = { app: "db" };
    const replicas = chance.pick([1, 2, 3, 5, 8]);
    return {
      spec: { replicas, serviceName: "db", selector: { matchLabels: labels }, template: podTemplate(chance, labels) },
    };
  },
  DaemonSet: (chance) => {
    const labels = { app: "agent" };
    return { spec: { selector: { matchLabels: labels }, template: podTemplate(chance, labels) } };
  },
  Job: (chance) => {
    const counts = chance.pick<JsonObject>([
      {},
      { parallelism: 2 },
      { parallelism: 4, completions: 9 },
      { completions: 3 },
      { parallelism: 5, completions: 5 },
    ]);
    return { spec: { ...counts, template: podTemplate(chance, { app: "batch" }, { restartPolicy: "Never" }) } };
  },
  CronJob: (chance) => ({
    spec: {
      schedule: "0 0 1 1 *",
      jobTemplate: { spec: { template: podTemplate(chance, {}, { restartPolicy: "Never" }) } },
    },
  }),
  ConfigMap: (chance) => ({
    data: {
      k: chance.pick(["v", "w"]),
      "app.yaml": "a: 1\nb:\n  c: [1, 2, 3]\n  d: text # a comment\n",
      "app.json": '{"a":1,"b":{"c":[1,2,3],"d":"text"}}',
    },
  }),
  Secret: () => ({ type: "Opaque", data: { password: "c2VjcmV0" } }),
  Service: (chance) => ({
    spec: { selector: { app: "web" }, ports: [{ port: 80 }], ...(chance.maybe(0.3) ? { type: "LoadBalancer" } : {}) },
  }),
  ServiceAccount: () => ({}),
  PersistentVolumeClaim: () => ({
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
  }),
  Role: () => ({ rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }] }),
  Ingress: () => ({ spec: { defaultBackend: { service: { name: "web", port: { number: 80 } } } } }),
  PodDisruptionBudget: () => ({ spec: { minAvailable: 1, selector: { matchLabels: { app: "web" } } } }),
  Widget: (chance) => ({ spec: { size: chance.int(5), note: "text" } }),
  Gizmo: (chance) => ({ spec: { size: chance.int(5) } }),
};

const names: Readonly<Record<string, readonly [apiVersion: string, name: string]>> = {
  Deployment: ["apps/v1", "web"],
  StatefulSet: ["apps/v1", "db"],
  DaemonSet: ["apps/v1", "agent"],
  Job: ["batch/v1", "batch"],
  CronJob: ["batch/v1", "tick"],
  ConfigMap: ["v1", "conf"],
  Secret: ["v1", "key"],
  Service: ["v1", "web"],
  ServiceAccount: ["v1", "runner"],
  PersistentVolumeClaim: ["v1", "claim"],
  Role: ["rbac.authorization.k8s.io/v1", "reader"],
  Ingress: ["networking.k8s.io/v1", "door"],
  PodDisruptionBudget: ["policy/v1", "some"],
  Widget: [`${FLEET_GROUP}/v1`, "thing"],
  Gizmo: [`${FLEET_GROUP}/v1`, "part"],
};

const podPaths: Readonly<Record<string, readonly string[]>> = {
  Deployment: ["spec", "template"],
  StatefulSet: ["spec", "template"],
  DaemonSet: ["spec", "template"],
  Job: ["spec", "template"],
  CronJob: ["spec", "jobTemplate", "spec", "template"],
};
const replicaPaths: Readonly<Record<string, readonly string[]>> = {
  Deployment: ["spec", "replicas"],
  StatefulSet: ["spec", "replicas"],
  Job: ["spec", "parallelism"],
};

function makeTemplate(chance: Chance, kind: string): Template {
  const [apiVersion, name] = names[kind] ?? ["v1", "none"];
  const labels = {
    ...(chance.maybe(0.7) ? { tier: chance.pick(["a", "b"]) } : {}),
    ...(chance.maybe(0.3) ? { team: chance.pick(["x", "y"]) } : {}),
  };
  const annotations = chance.maybe(0.3) ? { annotations: { note: "text", "example.com/k": "v" } } : {};
  const metadata = { name, ...(Object.keys(labels).length === 0 ? {} : { labels }), ...annotations };
  const object = { apiVersion, kind, metadata, ...makers[kind]?.(chance) };
  const [replicas, pods] = [replicaPaths[kind], podPaths[kind]];
  return {
    object,
    apiVersion,
    kind,
    name,
    labels,
    ...(replicas === undefined ? {} : { replicas }),
    ...(pods === undefined ? {} : { pods }),
  };
}

/** One to four objects; a workload is nearly always among them. */
export function makeTemplates(chance: Chance): Template[] {
  const kinds = new Set<string>();
  if (chance.maybe(0.85)) kinds.add("Deployment");
  if (chance.maybe(0.5)) kinds.add("ConfigMap");
  const rest = Object.keys(makers);
  for (let count = chance.int(3); count > 0 || kinds.size === 0; count -= 1) kinds.add(chance.pick(rest));
  return [...kinds].map((kind) => makeTemplate(chance, kind));
}
