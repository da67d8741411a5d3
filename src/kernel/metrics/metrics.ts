/** Values of a metric's labels by name; missing ones are empty. */
export type LabelValues = Readonly<Record<string, string>>;

/** Only goes up. */
export interface Counter {
  add(labels?: LabelValues, amount?: number): void;
  value(labels?: LabelValues): number;
}

/** Goes up and down. */
export interface Gauge {
  set(labels: LabelValues, value: number): void;
  add(labels: LabelValues, amount: number): void;
  /** Drops a series whose subject is gone. */
  remove(labels: LabelValues): void;
  value(labels?: LabelValues): number;
}

/** Counts observations by bucket. */
export interface Histogram {
  observe(labels: LabelValues, value: number): void;
}

/** What a metric is called and which labels it has. */
export interface MetricOptions {
  /** `argosy_<subsystem>_<noun>_<unit>`. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  /** Further label sets are counted together with every label `other`; default 1000. */
  readonly maxSeries?: number;
}

/** A registry; asking again for a name gives the metric that exists. */
export interface Metrics {
  counter(options: MetricOptions): Counter;
  gauge(options: MetricOptions): Gauge;
  histogram(options: MetricOptions & { readonly buckets?: readonly number[] }): Histogram;
  /** Prometheus text exposition format 0.0.4. */
  render(): string;
}

interface Series {
  readonly labels: LabelValues;
  value: number;
  sum: number;
  readonly buckets: number[];
}

interface Metric extends Omit<Gauge, "add">, Histogram {
  add(labels?: LabelValues, amount?: number): void;
  render(): string;
}

const defaultMaxSeries = 1000;
const defaultBuckets: readonly number[] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60];

const escapeLabel = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

function renderLabels(labels: LabelValues, extra: readonly (readonly [string, string])[] = []): string {
  const pairs = [...Object.entries(labels), ...extra].map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function renderSeries(name: string, type: string, series: Series, bounds: readonly number[]): string[] {
  if (type !== "histogram") return [`${name}${renderLabels(series.labels)} ${series.value}`];
  const lines = [...bounds, Number.POSITIVE_INFINITY].map((bound, index) => {
    const le = bound === Number.POSITIVE_INFINITY ? "+Inf" : String(bound);
    return `${name}_bucket${renderLabels(series.labels, [["le", le]])} ${series.buckets[index] ?? series.value}`;
  });
  return [
    ...lines,
    `${name}_sum${renderLabels(series.labels)} ${series.sum}`,
    `${name}_count${renderLabels(series.labels)} ${series.value}`,
  ];
}

function createMetric(
  type: "counter" | "gauge" | "histogram",
  options: MetricOptions,
  bounds: readonly number[],
): Metric {
  const names = options.labels ?? [];
  const all = new Map<string, Series>();
  const keyOf = (values: readonly string[]): string => values.join("\u0000");
  const at = (labels: LabelValues): Series => {
    // As `keyOf` has it; most are counted before, and each reconcile counts several times.
    let key = labels[names[0] ?? ""] ?? "";
    for (let index = 1; index < names.length; index += 1) key += `\u0000${labels[names[index] ?? ""] ?? ""}`;
    const known = all.get(key);
    if (known !== undefined) return known;
    const wanted = names.map((name) => labels[name] ?? "");
    const values = all.size < (options.maxSeries ?? defaultMaxSeries) ? wanted : names.map(() => "other");
    const overflow = all.get(keyOf(values));
    if (overflow !== undefined) return overflow;
    const made: Series = {
      labels: Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""])),
      value: 0,
      sum: 0,
      buckets: bounds.map(() => 0),
    };
    all.set(keyOf(values), made);
    return made;
  };
  return {
    add(labels = {}, amount = 1) {
      at(labels).value += amount;
    },
    set(labels, value) {
      at(labels).value = value;
    },
    remove(labels) {
      all.delete(keyOf(names.map((name) => labels[name] ?? "")));
    },
    value: (labels = {}) => all.get(keyOf(names.map((name) => labels[name] ?? "")))?.value ?? 0,
    observe(labels, value) {
      const series = at(labels);
      series.value += 1;
      series.sum += value;
      for (let index = 0; index < bounds.length; index += 1)
        if (value <= (bounds[index] ?? 0)) series.buckets[index] = (series.buckets[index] ?? 0) + 1;
    },
    render: () =>
      [
        `# HELP ${options.name} ${options.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`,
        `# TYPE ${options.name} ${type}`,
        ...[...all.values()].flatMap((series) => renderSeries(options.name, type, series, bounds)),
        "",
      ].join("\n"),
  };
}

/** Makes an empty registry. */
export function createMetrics(): Metrics {
  const metrics = new Map<string, Metric>();
  const register = (
    type: "counter" | "gauge" | "histogram",
    options: MetricOptions,
    bounds: readonly number[] = [],
  ): Metric => {
    const known = metrics.get(options.name);
    if (known !== undefined) return known;
    const made = createMetric(type, options, bounds);
    metrics.set(options.name, made);
    return made;
  };
  return {
    counter: (options) => register("counter", options),
    gauge: (options) => register("gauge", options),
    histogram: (options) => register("histogram", options, options.buckets ?? defaultBuckets),
    render: () => [...metrics.values()].map((metric) => metric.render()).join(""),
  };
}
