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

test("KEDA's class and metrics that are no resource scale by a HorizontalPodAutoscaler, and say so", () => {
  const keda = scale({ maxReplicas: 3 }, { "serving.kserve.io/autoscalerClass": "keda" });
  expect([keda.by, keda.hpa?.["maxReplicas"], keda.ignored]).toEqual([
    "hpa",
    3,
    [expect.stringMatching(/ScaledObject/)],
  ]);

  const wrong = { maxReplicas: 3, scaleMetric: "concurrency", scaleTarget: 4 };
  const rest = scale(wrong, { "autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev" });
  expect([rest.by, rest.ignored]).toEqual(["hpa", [expect.stringMatching(/scaleMetric concurrency/)]]);
  expect(rest.hpa?.["metrics"]).toMatchObject([{ resource: { name: "cpu", target: { averageUtilization: 80 } } }]);
});

test("Knative's HPA class goes by its annotations: bounds, metric and target; what it does not know, or is wrong, is said", () => {
  const by = (settings: Record<string, string>, mode = "Knative") =>
    scale(
      {},
      Object.fromEntries(
        Object.entries({ class: "hpa.autoscaling.knative.dev", ...settings }).map(([name, value]) => [
          `autoscaling.knative.dev/${name}`,
          value,
        ]),
      ),
      mode,
    );
  const resource = (name: string, target: JsonObject) => [{ type: "Resource", resource: { name, target } }];

  const cpu = by({ "min-scale": "2", "max-scale": "4", metric: "cpu", target: "60" });
  expect(cpu).toMatchObject({ by: "hpa", replicas: 2, ignored: [] });
  const metrics = resource("cpu", { type: "Utilization", averageUtilization: 60 });
  expect(cpu.hpa).toEqual({ minReplicas: 2, maxReplicas: 4, metrics });
  expect(by({ "max-scale": "3", metric: "memory", target: "75" }, "Standard").hpa?.["metrics"]).toEqual(
    resource("memory", { type: "AverageValue", averageValue: "75Mi" }),
  );
  expect(by({ "max-scale": "3", target: "much", window: "30s" }).ignored).toEqual([
    expect.stringMatching(/target \("much" .*; its default counts\)/),
    expect.stringMatching(/window \(it is not scaled by requests\)/),
  ]);
  expect(by({}).ignored).toEqual([expect.stringMatching(/class \(there is no maxReplicas/)]);
});

test("settings of the autoscaler that are wrong are said, with what counts instead", () => {
  const wrong = { "autoscaling.knative.dev/target": "many", "autoscaling.knative.dev/windw": "30s" };

  expect(scale({}, wrong, "Knative").ignored).toEqual([
    expect.stringMatching(/windw \(there is no such setting; did you mean window\?; its default counts\)/),
    expect.stringMatching(/target \("many" must be a number .*; its default counts\)/),
  ]);
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

test("one figure of a Prometheus, and the autoscaler's own settings, are heard; what no autoscaler hears is said", () => {
  const external = (more: JsonObject = {}): JsonObject => ({
    maxReplicas: 3,
    autoScaling: {
      metrics: [
        {
          type: "External",
          external: {
            metric: { backend: "prometheus", query: "sum(queue)", ...more },
            target: { type: "Value", value: "4" },
          },
        },
      ],
    },
  });
  const scaled = scale(external());
  expect([scaled.by, scaled.ignored]).toEqual(["kpa", []]);
  expect(scaled.annotations).toMatchObject({
    "serving.argosy.dev/metric": "promql",
    "serving.argosy.dev/query": "sum(queue)",
    "autoscaling.knative.dev/target": "4",
    "autoscaling.knative.dev/max-scale": "3",
  });
  expect(scale(external(), { "serving.kserve.io/autoscalerClass": "keda" }).by).toBe("kpa");
  expect(scale(external({ serverAddress: "http://p" })).ignored).toEqual([expect.stringContaining("serverAddress")]);
  const own = { "serving.argosy.dev/metric": "queue", "serving.argosy.dev/prewarm": "history" };
  expect(scale({}, own)).toMatchObject({ by: "kpa", annotations: own });
  expect(scale({}, { "autoscaling.knative.dev/target": "5" }).ignored).toEqual([
    "annotation autoscaling.knative.dev/target (it is not scaled by requests)",
  ]);
  expect(scale({}, { "autoscaling.knative.dev/minscale": "5" }).ignored).toEqual([
    "annotation autoscaling.knative.dev/minscale (there is no such setting; did you mean min-scale?; it is not scaled by requests)",
  ]);
});

test("where nobody counts requests that is said", () => {
  expect(scalingOf(service(), { minReplicas: 0, scaleMetric: "rps" }, "Standard", false)).toMatchObject({
    by: "nobody",
    replicas: 1,
    ignored: [expect.stringContaining("minReplicas 0"), expect.stringContaining("scaleMetric rps")],
  });
});
