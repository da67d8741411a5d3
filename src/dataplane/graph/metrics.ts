/** What a router counts. */
import { createMetrics } from "../../kernel/metrics/index.js";

/** Which step. */
export interface StepLabels {
  readonly node: string;
  readonly step: string;
}

/** Counts of one router. */
export interface RouterMetrics {
  /** A step was asked once; the outcome is a status, or `timeout`, `unreachable`, `cancelled`. */
  asked(labels: StepLabels, outcome: string, seconds: number): void;
  retried(labels: StepLabels): void;
  /** Requests under way: one more or less. */
  underWay(change: 1 | -1): void;
  answered(code: number, seconds: number): void;
  /** Prometheus text; `dropped`: spans that were lost. */
  render(dropped: number): string;
}

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Counts from zero. */
export function createRouterMetrics(): RouterMetrics {
  const metrics = createMetrics();
  const name = (rest: string): string => `argosy_graph_${rest}`;
  const steps = ["node", "step"];
  const requests = metrics.counter({ name: name("requests_total"), help: "Requests answered.", labels: ["code"] });
  const seconds = metrics.histogram({
    name: name("request_seconds"),
    help: "From request to answer.",
    buckets: BUCKETS,
  });
  const running = metrics.gauge({ name: name("requests_running"), help: "Requests under way." });
  const asked = metrics.counter({
    ...{ name: name("steps_total"), help: "Steps asked, each try; by status, or timeout, unreachable, cancelled." },
    labels: [...steps, "outcome"],
  });
  const stepSeconds = metrics.histogram({
    ...{ name: name("step_seconds"), help: "From a try to its answer, or the head of a stream." },
    ...{ labels: steps, buckets: BUCKETS },
  });
  const retries = metrics.counter({ name: name("retries_total"), help: "Tries after the first.", labels: steps });
  const lost = metrics.gauge({ name: name("spans_dropped"), help: "Spans of traces that no collector got." });
  running.set({}, 0);
  return {
    asked(labels, outcome, took) {
      asked.add({ ...labels, outcome });
      stepSeconds.observe({ ...labels }, took);
    },
    retried: (labels) => retries.add({ ...labels }),
    underWay: (change) => running.add({}, change),
    answered(code, took) {
      requests.add({ code: String(code) });
      seconds.observe({}, took);
    },
    render(dropped) {
      lost.set({}, dropped);
      return metrics.render();
    },
  };
}
