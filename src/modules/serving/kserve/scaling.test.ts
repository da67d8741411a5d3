import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { InferenceService } from "./inference-service-kind.js";
import { scalingOf } from "./scaling.js";

const service = (annotations: Record<string, string> = {}): InferenceService =>
  ({ metadata: { name: "m", namespace: "n", annotations } }) as unknown as InferenceService;
const scale = (component: JsonObject, annotations: Record<string, string> = {}, mode = "Standard") =>
  scalingOf(service(annotations), component, mode, true);

test("one pod, or as many as are asked for, where nothing is said of more", () => {
  expect(scale({})).toMatchObject({ by: "nobody", replicas: 1, ignored: [] });
  expect(scale({ minReplicas: 3 })).toMatchObject({ by: "nobody", replicas: 3 });
  expect(scale({ maxReplicas: 5, minReplicas: 2 }, { "serving.kserve.io/autoscalerClass": "none" })).toMatchObject({
    by: "nobody",
    replicas: 2,
  });
});

test("more pods follow CPU at 80 %, or what is asked for", () => {
  const cpu = (target: number) => [
    { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: target } } },
  ];

  expect(scale({ maxReplicas: 3 }).hpa).toEqual({ minReplicas: 1, maxReplicas: 3, metrics: cpu(80) });
  expect(scale({ maxReplicas: 3, scaleMetric: "cpu", scaleTarget: 50 }).hpa?.["metrics"]).toEqual(cpu(50));
  expect(scale({ maxReplicas: 3 }, { "serving.kserve.io/targetUtilizationPercentage": "60" }).hpa?.["metrics"]).toEqual(
    cpu(60),
  );
  const external = { maxReplicas: 3, autoScaling: { metrics: [{ type: "External" }] } };
  expect(scale(external)).toMatchObject({ by: "nobody", ignored: [expect.stringContaining("type External")] });
});

test("requests decide from zero on, in Knative mode, and where they are the metric", () => {
  for (const scaled of [
    scale({ minReplicas: 0 }),
    scale({}, {}, "Knative"),
    scale({ scaleMetric: "rps", scaleTarget: 20 }),
  ])
    expect(scaled).toMatchObject({ by: "kpa", labels: { "serving.argosy.dev/autoscaler": "kpa" }, ignored: [] });
  expect(
    scale({ minReplicas: 0, maxReplicas: 4, scaleMetric: "concurrency", scaleTarget: 2, containerConcurrency: 8 })
      .annotations,
  ).toEqual({
    "autoscaling.knative.dev/min-scale": "0",
    "autoscaling.knative.dev/max-scale": "4",
    "autoscaling.knative.dev/metric": "concurrency",
    "autoscaling.knative.dev/target": "2",
    "serving.argosy.dev/container-concurrency": "8",
  });
  expect(
    scale({ minReplicas: 0 }, { "autoscaling.knative.dev/window": "30s" }).annotations[
      "autoscaling.knative.dev/window"
    ],
  ).toBe("30s");
});

test("where nobody counts requests that is said", () => {
  expect(scalingOf(service(), { minReplicas: 0, scaleMetric: "rps" }, "Standard", false)).toMatchObject({
    by: "nobody",
    replicas: 1,
    ignored: [expect.stringContaining("minReplicas 0"), expect.stringContaining("scaleMetric rps")],
  });
});
