import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import { type Scenario, template, thenWait } from "./script.js";

const job = (name: string, spec: JsonObject, pod: JsonObject = {}): JsonObject => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name },
  spec: { template: template({ app: name }, { restartPolicy: "Never", ...pod }), ...spec },
});
const at = (index: string) => (pod: { metadata: { labels?: Readonly<Record<string, string>> } }) =>
  pod.metadata.labels?.["batch.kubernetes.io/job-completion-index"] === index;

const indexed = { completionMode: "Indexed", completions: 4, parallelism: 4, backoffLimitPerIndex: 0 };

/** Jobs: how they end, and why. */
export const jobs: readonly Scenario[] = [
  {
    name: "job",
    steps: [
      ["make", (s) => s.create("jobs", job("work", { completions: 3, parallelism: 2 }))],
      ["run", (s) => s.run(2)],
      ["one ends", (s) => s.finish(1, 0)],
      ["third runs", (s) => s.run(1)],
      ["all end", (s) => s.finish(2, 0)],
    ],
  },
  {
    name: "job-fails",
    steps: [
      ["make", (s) => s.create("jobs", job("work", { backoffLimit: 0, parallelism: 2, completions: 2 }))],
      ["run", (s) => s.run(2)],
      ["one fails", (s) => s.finish(1, 3)],
      ["other goes", (s) => s.reap()],
    ],
  },
  {
    name: "job-replace",
    steps: [
      ["make", (s) => s.create("jobs", job("work", { backoffLimit: 6, podReplacementPolicy: "Failed" }))],
      ["run", (s) => s.run(1)],
      ["is deleted", async (s) => s.remove("pods", (await s.pods())[0]?.metadata.name ?? "")],
      ["goes", (s) => s.reap()],
    ],
  },
  {
    name: "job-indexed",
    steps: [
      ["make", (s) => s.create("jobs", job("work", { ...indexed, maxFailedIndexes: 2 }))],
      ["run", (s) => s.run(4)],
      ["one ends", (s) => s.finish(1, 0, at("1"))],
      ["one fails", (s) => s.finish(1, 1, at("3"))],
      [
        "others end",
        async (s) => {
          await s.finish(1, 0, at("0"));
          await s.finish(1, 0, at("2"));
        },
      ],
    ],
  },
  {
    name: "job-indexes",
    steps: [
      ["make", (s) => s.create("jobs", job("work", { ...indexed, maxFailedIndexes: 1 }))],
      ["run", (s) => s.run(4)],
      ["one fails", (s) => s.finish(1, 1, at("0"))],
      ["two fail", (s) => s.finish(1, 1, at("3"))],
      ["others go", (s) => s.reap()],
    ],
  },
  {
    name: "job-policy",
    steps: [
      [
        "make",
        (s) =>
          s.create(
            "jobs",
            job("work", {
              parallelism: 2,
              completions: 2,
              backoffLimit: 3,
              podFailurePolicy: {
                rules: [
                  { action: "Ignore", onExitCodes: { containerName: "main", operator: "In", values: [7] } },
                  { action: "FailJob", onExitCodes: { operator: "In", values: [42] } },
                ],
              },
            }),
          ),
      ],
      ["run", (s) => s.run(2)],
      ["ignored", (s) => thenWait(s.finish(1, 7), 9000)],
      ["again", (s) => s.run(1)],
      ["fails the job", (s) => s.finish(1, 42)],
      ["other goes", (s) => s.reap()],
    ],
  },
  {
    name: "job-success",
    steps: [
      [
        "make",
        (s) =>
          s.create(
            "jobs",
            job("work", {
              completionMode: "Indexed",
              completions: 3,
              parallelism: 3,
              successPolicy: { rules: [{ succeededIndexes: "0" }] },
            }),
          ),
      ],
      ["run", (s) => s.run(3)],
      ["leader ends", (s) => s.finish(1, 0, at("0"))],
      ["others go", (s) => s.reap()],
    ],
  },
  {
    name: "job-suspend",
    steps: [
      ["make", (s) => s.create("jobs", job("work", { suspend: true, parallelism: 2, completions: 2 }))],
      ["resume", (s) => s.patch("jobs", "work", { spec: { suspend: false } })],
      ["run", (s) => s.run(2)],
      ["suspend", (s) => s.patch("jobs", "work", { spec: { suspend: true } })],
      ["gone", (s) => s.reap()],
      ["resume again", (s) => s.patch("jobs", "work", { spec: { suspend: false } })],
    ],
  },
  {
    name: "job-deadline",
    steps: [
      ["make", (s) => s.create("jobs", job("work", { activeDeadlineSeconds: 2 }))],
      ["run", (s) => thenWait(s.run(1), 2500)],
      ["gone", (s) => s.reap()],
    ],
  },
  {
    name: "job-ttl",
    steps: [
      ["make", (s) => s.create("jobs", job("work", { ttlSecondsAfterFinished: 2 }))],
      ["run", (s) => s.run(1)],
      ["end", (s) => thenWait(s.finish(1, 0), 3500)],
    ],
  },
  {
    name: "cron",
    steps: [
      [
        "suspended",
        (s) =>
          s.create("cronjobs", {
            apiVersion: "batch/v1",
            kind: "CronJob",
            metadata: { name: "tick" },
            spec: {
              schedule: "* * * * *",
              suspend: true,
              jobTemplate: { spec: { template: template({ app: "tick" }, { restartPolicy: "Never" }) } },
            },
          }),
      ],
    ],
  },
];
