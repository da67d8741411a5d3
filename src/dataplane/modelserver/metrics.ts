/** Counters of the server as Prometheus text (exposition format 0.0.4). */
import { createEngineMetrics, type EngineMetrics } from "./engine-metrics.js";

const BUCKETS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

interface Histogram {
  readonly counts: Float64Array;
  sum: number;
  total: number;
}

interface ModelCounters {
  readonly labels: string;
  succeeded: number;
  failed: number;
  readonly latency: Histogram;
}

/** What the server counts. Labels are names and versions of models that exist, so their number is bounded. */
export interface ServerMetrics extends EngineMetrics {
  /** An inference request was answered. */
  inference(model: string, version: string, seconds: number): void;
  /** An inference request to a model of ours failed. */
  failure(model: string, version: string): void;
  /** Any HTTP request was answered. */
  response(status: number): void;
  /** The page; `gauges` are added as they are now. */
  render(gauges: Readonly<Record<string, { help: string; value: number }>>): string;
}

/** Counters at zero. */
export function createMetrics(): ServerMetrics {
  const models = new Map<string, ModelCounters>();
  const engines = createEngineMetrics();
  const responses = new Map<number, number>();
  const of = (model: string, version: string): ModelCounters => {
    const key = `${model}\n${version}`;
    let counters = models.get(key);
    if (counters === undefined) {
      const labels = `model="${escapeLabel(model)}",version="${escapeLabel(version)}"`;
      counters = {
        labels,
        succeeded: 0,
        failed: 0,
        latency: { counts: new Float64Array(BUCKETS_S.length), sum: 0, total: 0 },
      };
      models.set(key, counters);
    }
    return counters;
  };
  return {
    inference(model, version, seconds) {
      const counters = of(model, version);
      counters.succeeded++;
      observe(counters.latency, seconds);
    },
    failure: (model, version) => {
      of(model, version).failed++;
    },
    ...engines,
    response: (status) => {
      responses.set(status, (responses.get(status) ?? 0) + 1);
    },
    render: (gauges) => renderPage([...models.values()], responses, gauges) + engines.lines(),
  };
}

function observe(histogram: Histogram, seconds: number): void {
  histogram.sum += seconds;
  histogram.total++;
  for (let index = BUCKETS_S.length - 1; index >= 0 && seconds <= (BUCKETS_S[index] ?? 0); index--) {
    histogram.counts[index] = (histogram.counts[index] ?? 0) + 1;
  }
}

function renderPage(
  models: readonly ModelCounters[],
  responses: ReadonlyMap<number, number>,
  gauges: Parameters<ServerMetrics["render"]>[0],
): string {
  const lines: string[] = [];
  const family = (name: string, type: string, help: string, values: readonly string[]): void => {
    lines.push(`# HELP argosy_modelserver_${name} ${help}`, `# TYPE argosy_modelserver_${name} ${type}`);
    for (const value of values) lines.push(`argosy_modelserver_${name}${value}`);
  };
  const perModel = (name: string, help: string, value: (model: ModelCounters) => number): void =>
    family(
      name,
      "counter",
      help,
      models.map((model) => `{${model.labels}} ${value(model)}`),
    );
  perModel("inferences_total", "Inference requests answered.", (model) => model.succeeded);
  perModel("inference_failures_total", "Inference requests that failed.", (model) => model.failed);
  const latency = models.flatMap(({ labels, latency: { counts, sum, total } }) => [
    ...BUCKETS_S.map((bound, index) => `_bucket{${labels},le="${bound}"} ${counts[index] ?? 0}`),
    `_bucket{${labels},le="+Inf"} ${total}`,
    `_sum{${labels}} ${sum}`,
    `_count{${labels}} ${total}`,
  ]);
  family("inference_seconds", "histogram", "Time from the whole request to its answer.", latency);
  family(
    "http_responses_total",
    "counter",
    "HTTP answers by status.",
    [...responses].map(([status, count]) => `{code="${status}"} ${count}`),
  );
  for (const [name, { help, value }] of Object.entries(gauges)) family(name, "gauge", help, [` ${value}`]);
  return `${lines.join("\n")}\n`;
}

const escapeLabel = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
