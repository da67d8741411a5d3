import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import { jobs } from "./jobs.js";
import { type Scenario, template, thenWait } from "./script.js";
import type { Stage } from "./stage.js";

const workload = (kind: string, apiVersion: string, name: string, spec: JsonObject): JsonObject => ({
  apiVersion,
  kind,
  metadata: { name },
  spec: { selector: { matchLabels: { app: name } }, ...spec },
});
const deployment = (name: string, spec: JsonObject): JsonObject =>
  workload("Deployment", "apps/v1", name, { template: template({ app: name }), ...spec });
const image = (tag: string): JsonObject => ({
  spec: { template: { spec: { containers: [{ name: "main", image: `app:${tag}` }] } } },
});
const deployments: readonly Scenario[] = [
  {
    name: "rollout",
    steps: [
      ["make", (s) => s.create("deployments", deployment("web", { replicas: 4, revisionHistoryLimit: 1 }))],
      ["two run", (s) => s.run(2)],
      ["all run", (s) => s.run(2)],
      ["another image", (s) => s.patch("deployments", "web", image("2"))],
      ["new ones run", (s) => s.run(2)],
      ["old ones go", (s) => s.reap()],
      ["the rest runs", (s) => s.run(2)],
      ["the last go", (s) => s.reap()],
      [
        "third image, annotated",
        (s) =>
          s.patch("deployments", "web", {
            metadata: { annotations: { "kubernetes.io/change-cause": "third" } },
            ...image("3"),
          }),
      ],
      ["back to the first", (s) => s.patch("deployments", "web", image("2"))],
      ["ends go", (s) => s.reap()],
      ["scale up", (s) => s.patch("deployments", "web", { spec: { replicas: 6 } })],
      ["pause", (s) => s.patch("deployments", "web", { spec: { paused: true } })],
      ["image while paused", (s) => s.patch("deployments", "web", image("4"))],
      ["scale while paused", (s) => s.patch("deployments", "web", { spec: { replicas: 3 } })],
      ["resume", (s) => s.patch("deployments", "web", { spec: { paused: false } })],
      ["delete", (s) => s.remove("deployments", "web")],
      ["gone", (s) => s.reap()],
    ],
  },
  {
    name: "recreate",
    steps: [
      ["make", (s) => s.create("deployments", deployment("web", { replicas: 2, strategy: { type: "Recreate" } }))],
      ["run", (s) => s.run(2)],
      ["another image", (s) => s.patch("deployments", "web", image("2"))],
      ["old ones go", (s) => s.reap()],
      ["new ones run", (s) => s.run(2)],
      ["to nothing", (s) => s.patch("deployments", "web", { spec: { replicas: 0 } })],
      ["gone", (s) => s.reap()],
    ],
  },
  {
    name: "deadline",
    steps: [
      ["make", (s) => s.create("deployments", deployment("web", { replicas: 2, progressDeadlineSeconds: 3 }))],
      ["never ready", (s) => thenWait(s.run(2, false), 4500)],
      [
        "ready at last",
        async (s) => {
          for (const pod of await s.pods()) await s.start(pod, true);
        },
      ],
      ["another image fails", (s) => thenWait(s.patch("deployments", "web", image("2")), 4500)],
      ["undone", (s) => s.patch("deployments", "web", image("1"))],
    ],
  },
  {
    name: "quota",
    steps: [
      [
        "quota",
        (s) =>
          s.create("resourcequotas", {
            apiVersion: "v1",
            kind: "ResourceQuota",
            metadata: { name: "few" },
            spec: { hard: { pods: "1", "requests.cpu": "1" } },
          }),
      ],
      [
        "make",
        (s) =>
          s.create(
            "deployments",
            deployment("web", {
              replicas: 2,
              template: template(
                { app: "web" },
                { containers: [{ name: "main", image: "app:1", resources: { requests: { cpu: "600m" } } }] },
              ),
            }),
          ),
      ],
      ["run", (s) => s.run(1)],
      [
        "pods without a request",
        (s) =>
          s.create(
            "replicasets",
            workload("ReplicaSet", "apps/v1", "bare", { replicas: 1, template: template({ app: "bare" }) }),
          ),
      ],
    ],
  },
  {
    name: "replicaset",
    steps: [
      [
        "an orphan",
        (s) =>
          s.create("pods", {
            apiVersion: "v1",
            kind: "Pod",
            metadata: { name: "orphan", labels: { app: "set" } },
            spec: { containers: [{ name: "main", image: "app:1" }] },
          }),
      ],
      [
        "make",
        (s) =>
          s.create(
            "replicasets",
            workload("ReplicaSet", "apps/v1", "set", {
              replicas: 3,
              minReadySeconds: 1,
              template: template({ app: "set" }),
            }),
          ),
      ],
      ["run", (s) => thenWait(s.run(3), 1500)],
      ["released", (s) => s.patch("pods", "orphan", { metadata: { labels: { app: "other" } } })],
      ["one fails", (s) => s.finish(1, 1, (pod) => pod.metadata.name !== "orphan")],
      ["fewer", (s) => s.patch("replicasets", "set", { spec: { replicas: 1 } })],
      ["gone", (s) => s.reap()],
      ["orphaned", (s) => s.remove("replicasets", "set", { propagationPolicy: "Orphan" })],
    ],
  },
];

const stateful = (name: string, spec: JsonObject): JsonObject =>
  workload("StatefulSet", "apps/v1", name, { serviceName: name, template: template({ app: name }), ...spec });
const claim = {
  metadata: { name: "data" },
  spec: { accessModes: ["ReadWriteOnce"], storageClassName: "", resources: { requests: { storage: "1Gi" } } },
};
const daemons = (spec: JsonObject): JsonObject =>
  workload("DaemonSet", "apps/v1", "agent", { template: template({ app: "agent" }), ...spec });

const sets: readonly Scenario[] = [
  {
    name: "stateful",
    steps: [
      [
        "make",
        (s) =>
          s.create(
            "statefulsets",
            stateful("db", {
              replicas: 3,
              volumeClaimTemplates: [claim],
              persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete", whenScaled: "Delete" },
            }),
          ),
      ],
      ["first", (s) => s.run(1)],
      ["second", (s) => s.run(1)],
      ["third", (s) => s.run(1)],
      [
        "partition",
        (s) =>
          s.patch("statefulsets", "db", {
            spec: {
              updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 2 } },
              ...(image("2")["spec"] as JsonObject),
            },
          }),
      ],
      ["last one goes", (s) => s.reap()],
      ["and runs anew", (s) => s.run(1)],
      ["all", (s) => s.patch("statefulsets", "db", { spec: { updateStrategy: { rollingUpdate: { partition: 0 } } } })],
      ["next goes", (s) => s.reap()],
      ["runs", (s) => s.run(1)],
      ["first goes", (s) => s.reap()],
      ["runs too", (s) => s.run(1)],
      ["fewer", (s) => s.patch("statefulsets", "db", { spec: { replicas: 1 } })],
      ["one goes", (s) => s.reap()],
      ["another goes", (s) => s.reap()],
      ["one fails", (s) => s.finish(1, 1)],
      ["it is made anew", (s) => s.reap()],
      ["delete", (s) => s.remove("statefulsets", "db")],
      ["gone", (s) => s.reap()],
    ],
  },
  {
    name: "parallel",
    steps: [
      [
        "make",
        (s) =>
          s.create(
            "statefulsets",
            stateful("db", {
              replicas: 3,
              podManagementPolicy: "Parallel",
              updateStrategy: { type: "OnDelete" },
              minReadySeconds: 1,
              ordinals: { start: 5 },
            }),
          ),
      ],
      ["run", (s) => thenWait(s.run(3), 1500)],
      ["image", (s) => s.patch("statefulsets", "db", image("2"))],
      ["delete one", (s) => s.remove("pods", "db-6")],
      ["it goes", (s) => s.reap()],
      ["runs", (s) => thenWait(s.run(1), 1500)],
      ["none", (s) => s.patch("statefulsets", "db", { spec: { replicas: 0 } })],
      ["gone", (s) => s.reap()],
    ],
  },
  {
    name: "daemons",
    steps: [
      ["make", (s) => s.create("daemonsets", daemons({}))],
      ["run", (s) => s.run(2)],
      ["image", (s) => s.patch("daemonsets", "agent", image("2"))],
      ["one goes", (s) => s.reap()],
      ["runs", (s) => s.run(1)],
      ["other goes", (s) => s.reap()],
      ["runs too", (s) => s.run(1)],
      [
        "surge",
        (s) =>
          s.patch("daemonsets", "agent", {
            spec: {
              updateStrategy: { rollingUpdate: { maxSurge: 2, maxUnavailable: 0 } },
              ...(image("3")["spec"] as JsonObject),
            },
          }),
      ],
      ["new ones run", (s) => s.run(2)],
      ["one fails", (s) => s.finish(1, 1, (pod) => pod.spec.nodeName === "node-a")],
      [
        "fewer nodes",
        (s) => s.patch("daemonsets", "agent", { spec: { template: { spec: { nodeSelector: { disk: "ssd" } } } } }),
      ],
      ["gone", (s) => s.reap()],
    ],
  },
];

const service = (name: string, spec: JsonObject): JsonObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name },
  spec: { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: "http" }], ...spec },
});
const ports = { containers: [{ name: "main", image: "app:1", ports: [{ name: "http", containerPort: 8080 }] }] };

const others: readonly Scenario[] = [
  {
    name: "endpoints",
    steps: [
      [
        "service first",
        (s) =>
          s.create(
            "services",
            service("web", {
              ports: [
                { name: "http", port: 80, targetPort: "http" },
                { name: "plain", port: 81, targetPort: 9090, appProtocol: "http" },
              ],
            }),
          ),
      ],
      ["headless", (s) => s.create("services", service("head", { clusterIP: "None", publishNotReadyAddresses: true }))],
      ["on the node", (s) => s.create("services", service("node", { trafficDistribution: "PreferSameNode" }))],
      ["close", (s) => s.create("services", service("close", { trafficDistribution: "PreferClose" }))],
      [
        "pods",
        (s) => s.create("deployments", deployment("web", { replicas: 3, template: template({ app: "web" }, ports) })),
      ],
      ["two are ready", (s) => s.run(2)],
      ["one is not", (s) => s.run(1, false)],
      ["fewer", (s) => s.patch("deployments", "web", { spec: { replicas: 2 } })],
      ["gone", (s) => s.reap()],
      [
        "other port",
        (s) => s.patch("services", "web", { spec: { ports: [{ name: "http", port: 80, targetPort: 8081 }] } }),
      ],
      ["no selector", (s) => s.patch("services", "web", { spec: { selector: null } })],
      ["not close any more", (s) => s.patch("services", "close", { spec: { trafficDistribution: null } })],
      ["service gone", (s) => s.remove("services", "head")],
    ],
  },
  {
    name: "budget",
    steps: [
      [
        "budget first",
        (s) =>
          s.create("poddisruptionbudgets", {
            apiVersion: "policy/v1",
            kind: "PodDisruptionBudget",
            metadata: { name: "half" },
            spec: { maxUnavailable: "50%", selector: { matchLabels: { app: "web" } } },
          }),
      ],
      ["pods", (s) => s.create("deployments", deployment("web", { replicas: 3 }))],
      ["run", (s) => s.run(3)],
      [
        "a second",
        (s) =>
          s.create("poddisruptionbudgets", {
            apiVersion: "policy/v1",
            kind: "PodDisruptionBudget",
            metadata: { name: "two" },
            spec: { minAvailable: 3, selector: { matchLabels: { app: "web" } } },
          }),
      ],
      [
        "a bare pod",
        (s) =>
          s.create("pods", {
            apiVersion: "v1",
            kind: "Pod",
            metadata: { name: "bare", labels: { app: "bare" } },
            spec: { containers: [{ name: "main", image: "app:1" }] },
          }),
      ],
      [
        "whose budget is a share",
        (s) =>
          s.create("poddisruptionbudgets", {
            apiVersion: "policy/v1",
            kind: "PodDisruptionBudget",
            metadata: { name: "bare" },
            spec: { maxUnavailable: 1, selector: { matchLabels: { app: "bare" } } },
          }),
      ],
    ],
  },
];

const cron = (name: string, spec: JsonObject): JsonObject => ({
  apiVersion: "batch/v1",
  kind: "CronJob",
  metadata: { name },
  spec: {
    schedule: "* * * * *",
    jobTemplate: {
      metadata: { labels: { from: name } },
      spec: { template: template({ app: name }, { restartPolicy: "Never" }) },
    },
    ...spec,
  },
});
const node = (stage: Stage, path: string, body: JsonObject): Promise<JsonObject> =>
  stage.send("PATCH", `/api/v1/nodes/nodes-1${path}`, body);
const ready = (status: string, more: JsonObject[] = []): JsonObject => ({
  status: { conditions: [{ type: "Ready", status, reason: "Test", message: "" }, ...more] },
});

const rest: readonly Scenario[] = [
  {
    // First of all: it takes two minutes.
    name: "ticks",
    steps: [
      [
        "two",
        async (s) => {
          await s.create("cronjobs", cron("forbid", { concurrencyPolicy: "Forbid", successfulJobsHistoryLimit: 1 }));
          await s.create("cronjobs", cron("replace", { concurrencyPolicy: "Replace", timeZone: "Etc/UTC" }));
          await thenWait(
            s.create("cronjobs", cron("never", { schedule: "0 0 31 2 *" })),
            61_000 - (Date.now() % 60_000),
          );
        },
      ],
      ["they run", (s) => s.run(2)],
      ["next minute", () => sleep(61_500 - (Date.now() % 60_000))],
      ["one goes", (s) => s.reap()],
      ["one ends", (s) => s.finish(1, 0)],
    ],
  },
  {
    name: "leaving",
    steps: [
      [
        "something that stays",
        (s) =>
          s.create("configmaps", {
            apiVersion: "v1",
            kind: "ConfigMap",
            metadata: { name: "kept", finalizers: ["example.com/keep"] },
          }),
      ],
      ["a pod", (s) => s.create("deployments", deployment("web", { replicas: 1 }))],
      ["it runs", (s) => s.run(1)],
      ["delete", (s) => s.send("DELETE", `/api/v1/namespaces/${s.namespace}`)],
    ],
  },
  {
    name: "controllers",
    steps: [
      [
        "make",
        (s) =>
          s.create("replicationcontrollers", {
            apiVersion: "v1",
            kind: "ReplicationController",
            metadata: { name: "old" },
            spec: { replicas: 2, selector: { app: "old" }, template: template({ app: "old" }) },
          }),
      ],
      ["run", (s) => s.run(2)],
      ["fewer", (s) => s.patch("replicationcontrollers", "old", { spec: { replicas: 1 } })],
      ["delete", (s) => s.remove("replicationcontrollers", "old", { propagationPolicy: "Background" })],
    ],
  },
  {
    name: "nodes",
    steps: [
      [
        "make",
        (s) =>
          s.send("POST", "/api/v1/nodes", {
            apiVersion: "v1",
            kind: "Node",
            metadata: { name: "nodes-1" },
            spec: { taints: [{ key: "only", effect: "NoSchedule" }] },
          }),
      ],
      ["ready", (s) => node(s, "/status", ready("True"))],
      [
        "under pressure",
        (s) =>
          node(
            s,
            "/status",
            ready("True", [
              { type: "MemoryPressure", status: "True" },
              { type: "DiskPressure", status: "True" },
              { type: "NetworkUnavailable", status: "True" },
            ]),
          ),
      ],
      ["cordoned", (s) => node(s, "", { spec: { unschedulable: true } })],
      ["not ready", (s) => node(s, "/status", ready("False"))],
      ["unknown", (s) => node(s, "/status", ready("Unknown"))],
      ["well again", (s) => node(s, "/status", ready("True"))],
      ["open again", (s) => node(s, "", { spec: { unschedulable: null } })],
    ],
  },
];

/** All of them; each in a namespace of its own. */
export const scenarios: readonly Scenario[] = [...rest, ...deployments, ...sets, ...jobs, ...others];
