import { expect, test } from "vitest";
import { createMetrics } from "./index.js";

test("renders counters, gauges and histograms as Prometheus text", () => {
  const metrics = createMetrics();
  metrics.counter({ name: "argosy_a_total", help: "A.", labels: ["x"] }).add({ x: 'q"\n' }, 2);
  metrics.gauge({ name: "argosy_b", help: "B." }).set({}, -1.5);
  const histogram = metrics.histogram({ name: "argosy_c_seconds", help: "C.", buckets: [1, 2] });
  for (const value of [0.5, 1.5, 9]) histogram.observe({}, value);

  expect(metrics.render()).toBe(
    [
      "# HELP argosy_a_total A.",
      "# TYPE argosy_a_total counter",
      'argosy_a_total{x="q\\"\\n"} 2',
      "# HELP argosy_b B.",
      "# TYPE argosy_b gauge",
      "argosy_b -1.5",
      "# HELP argosy_c_seconds C.",
      "# TYPE argosy_c_seconds histogram",
      'argosy_c_seconds_bucket{le="1"} 1',
      'argosy_c_seconds_bucket{le="2"} 2',
      'argosy_c_seconds_bucket{le="+Inf"} 3',
      "argosy_c_seconds_sum 11",
      "argosy_c_seconds_count 3",
      "",
    ].join("\n"),
  );
});

test("label sets beyond the bound are counted together", () => {
  const counter = createMetrics().counter({ name: "argosy_n_total", help: "N.", labels: ["x"], maxSeries: 2 });
  for (const x of ["a", "b", "c", "d"]) counter.add({ x });

  expect(counter.value({ x: "a" })).toBe(1);
  expect(counter.value({ x: "c" })).toBe(0);
  expect(counter.value({ x: "other" })).toBe(2);
});
