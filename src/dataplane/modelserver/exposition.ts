/** Counters as Prometheus text: under Argosy's names, KServe's and MLServer's. */
import { BUCKETS_S, type Gauges, Histogram, type ModelCounters } from "./counters.js";

interface Counted {
  readonly models: readonly ModelCounters[];
  /** Answers by `method path status`. */
  readonly responses: ReadonlyMap<string, number>;
  /** gRPC calls by `method code`. */
  readonly calls: ReadonlyMap<string, number>;
  readonly gauges: Gauges;
}

type Family = readonly [name: string, type: string, help: string, values: readonly string[]];

/** The page. */
export function exposeMetrics(counted: Counted): string {
  const lines: string[] = [];
  for (const [name, type, help, values] of [
    ...ownFamilies(counted),
    ...kserveFamilies(counted),
    ...mlserverFamilies(counted),
  ]) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const value of values) lines.push(`${name}${value}`);
  }
  return `${lines.join("\n")}\n`;
}

function* ownFamilies({ models, responses, calls, gauges }: Counted): Generator<Family> {
  const prefix = "argosy_modelserver_";
  const perModel = (name: string, help: string, value: (model: ModelCounters) => number): Family => [
    ...([`${prefix}${name}`, "counter", help] as const),
    models.map((model) => `{${versionLabels(model)}} ${value(model)}`),
  ];
  yield perModel("inferences_total", "Inference requests answered.", (model) => model.latency.total);
  yield perModel("inference_failures_total", "Inference requests that failed.", (model) => model.failed);
  yield perModel("prompt_tokens_total", "Tokens of texts that were sent.", (model) => model.promptTokens);
  yield perModel("completion_tokens_total", "Tokens of texts that were generated.", (model) => model.completionTokens);
  yield [
    ...([`${prefix}inference_seconds`, "histogram", "Time from the whole request to its answer."] as const),
    models.flatMap((model) => histogramLines(versionLabels(model), model.latency)),
  ];
  const codes = sumBy(responses, (words) => words.at(-1) ?? "");
  yield [
    ...([`${prefix}http_responses_total`, "counter", "HTTP answers by status."] as const),
    [...codes].map(([code, count]) => `{code="${code}"} ${count}`),
  ];
  const ends = sumBy(calls, (words) => words.at(-1) ?? "");
  yield [
    ...([`${prefix}grpc_calls_total`, "counter", "gRPC calls by status."] as const),
    [...ends].map(([code, count]) => `{code="${code}"} ${count}`),
  ];
  for (const [name, { help, value }] of Object.entries(gauges))
    yield [`${prefix}${name}`, "gauge", help, [` ${value}`]];
}

/** KServe knows no versions: those of a model are one. */
function* kserveFamilies({ models }: Counted): Generator<Family> {
  const stages = [
    ["preprocess", (model: ModelCounters) => model.reading],
    ["predict", (model: ModelCounters) => model.predicting],
    ["postprocess", (model: ModelCounters) => model.writing],
    ["explain", (model: ModelCounters) => model.explaining],
  ] as const;
  for (const [stage, histogramOf] of stages) {
    const sums = new Map<string, Histogram>();
    for (const model of models) {
      const sum = sums.get(model.model) ?? new Histogram();
      sums.set(model.model, sum);
      addTo(sum, histogramOf(model));
    }
    const values = [...sums].flatMap(([model, sum]) => histogramLines(`model_name="${escapeLabel(model)}"`, sum));
    yield [`request_${stage}_seconds`, "histogram", `Seconds of the step ${stage} of requests.`, values];
  }
}

function* mlserverFamilies({ models, responses, calls }: Counted): Generator<Family> {
  const perModel = (value: (model: ModelCounters) => number): string[] =>
    models.map((model) => `{${versionLabels(model)}} ${value(model)}`);
  yield [
    "model_infer_request_success_total",
    "counter",
    "Inference requests answered.",
    perModel((model) => model.latency.total),
  ];
  yield [
    "model_infer_request_failure_total",
    "counter",
    "Inference requests that failed.",
    perModel((model) => model.failed),
  ];
  const durations = models.flatMap((model) => [
    `_count{${versionLabels(model)}} ${model.latency.total}`,
    `_sum{${versionLabels(model)}} ${model.latency.sum}`,
  ]);
  yield ["model_infer_request_duration", "summary", "Seconds of inference requests.", durations];
  const requests = [...responses].map(([key, count]) => {
    const [method = "", path = "", status = ""] = key.split(" ");
    return `{method="${method}",path="${escapeLabel(path)}",status_code="${status}"} ${count}`;
  });
  yield ["rest_server_requests_total", "counter", "HTTP answers by method, path and status.", requests];
  const handled = [...calls].map(([key, count]) => {
    const [path = "", code = ""] = key.split(" ");
    const [, service = "", method = ""] = path.split("/");
    const type =
      method.includes("Stream") || method === "Watch" || service.includes("reflection") ? "BIDI_STREAMING" : "UNARY";
    return `{grpc_type="${type}",grpc_service="${service}",grpc_method="${method}",grpc_code="${code}"} ${count}`;
  });
  yield ["grpc_server_handled_total", "counter", "gRPC calls that ended.", handled];
}

const versionLabels = ({ model, version }: ModelCounters): string =>
  `model="${escapeLabel(model)}",version="${escapeLabel(version)}"`;

function histogramLines(labels: string, { counts, sum, total }: Histogram): string[] {
  let below = 0;
  const buckets = BUCKETS_S.map((bound, index) => {
    below += counts[index] ?? 0;
    return `_bucket{${labels},le="${bound}"} ${below}`;
  });
  return [...buckets, `_bucket{${labels},le="+Inf"} ${total}`, `_sum{${labels}} ${sum}`, `_count{${labels}} ${total}`];
}

function addTo(sum: Histogram, part: Histogram): void {
  sum.sum += part.sum;
  sum.total += part.total;
  for (const [index, count] of part.counts.entries()) sum.counts[index] = (sum.counts[index] ?? 0) + count;
}

function sumBy(counts: ReadonlyMap<string, number>, keyOf: (words: readonly string[]) => string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [words, count] of counts) {
    const key = keyOf(words.split(" "));
    sums.set(key, (sums.get(key) ?? 0) + count);
  }
  return sums;
}

const escapeLabel = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
