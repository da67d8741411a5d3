/** What is counted of models' runs, as Prometheus text. */
import type { BatchRun } from "./batcher.js";
import type { FaultKind } from "./failures.js";

const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const WAIT_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

/** Counters of runs, faults and loads. Labels are names and versions of models that exist. */
export interface EngineMetrics {
  /** A counter of runs for one version, to be called after each. */
  runOf(model: string, version: string): (run: BatchRun) => void;
  /** A model's worker failed. */
  fault(model: string, version: string, kind: FaultKind): void;
  /** A model was loaded, or could not be. */
  loaded(model: string, isLoaded: boolean): void;
  /** A model left memory for others. */
  evicted(): void;
  /** The counters' part of the page. */
  lines(): string;
}

interface Histogram {
  readonly counts: Float64Array;
  sum: number;
  total: number;
}

interface VersionCounters {
  readonly labels: string;
  requests: number;
  seconds: number;
  readonly rows: Histogram;
  readonly waits: Histogram;
}

/** Counters at zero. */
export function createEngineMetrics(): EngineMetrics {
  const versions = new Map<string, VersionCounters>();
  const faults = new Map<string, number>();
  const loads = new Map<string, number>();
  let evictions = 0;
  return {
    runOf(model, version) {
      const labels = labelsOf({ model, version });
      const known = versions.get(labels);
      const counters = known ?? { labels, requests: 0, seconds: 0, rows: histogram(ROWS), waits: histogram(WAIT_S) };
      versions.set(labels, counters);
      return ({ rows, requests, ms, waitsMs }) => {
        counters.requests += requests;
        counters.seconds += ms / 1000;
        observe(counters.rows, ROWS, rows);
        for (const wait of waitsMs) observe(counters.waits, WAIT_S, wait / 1000);
      };
    },
    fault: (model, version, kind) => count(faults, labelsOf({ model, version, kind })),
    loaded: (model, isLoaded) => count(loads, labelsOf({ model, outcome: isLoaded ? "loaded" : "failed" })),
    evicted: () => {
      evictions++;
    },
    lines: () => render([...versions.values()], { faults, loads, evictions }),
  };
}

function render(
  versions: readonly VersionCounters[],
  rest: { faults: ReadonlyMap<string, number>; loads: ReadonlyMap<string, number>; evictions: number },
): string {
  const lines: string[] = [];
  const family = (name: string, [type, help]: readonly [string, string], values: readonly string[]): void => {
    lines.push(`# HELP argosy_modelserver_${name} ${help}`, `# TYPE argosy_modelserver_${name} ${type}`);
    for (const value of values) lines.push(`argosy_modelserver_${name}${value}`);
  };
  const perVersion = (name: string, help: string, value: (counters: VersionCounters) => number): void =>
    family(
      name,
      ["counter", help],
      versions.map((each) => `{${each.labels}} ${value(each)}`),
    );
  perVersion(
    "runs_total",
    "Runs of the model; fewer than inferences where requests shared one.",
    (each) => each.rows.total,
  );
  perVersion("rows_total", "Rows computed.", (each) => each.rows.sum);
  perVersion("run_requests_total", "Requests whose rows were computed.", (each) => each.requests);
  perVersion("run_seconds_total", "Seconds inside the model.", (each) => each.seconds);
  const histograms = (
    name: string,
    help: string,
    [bounds, of]: readonly [readonly number[], (each: VersionCounters) => Histogram],
  ) =>
    family(
      name,
      ["histogram", help],
      versions.flatMap((each) => histogramLines(each.labels, bounds, of(each))),
    );
  histograms("batch_rows", "Rows of a run.", [ROWS, (each) => each.rows]);
  histograms("batch_wait_seconds", "Time that a request waited for its run.", [WAIT_S, (each) => each.waits]);
  const counted = (values: ReadonlyMap<string, number>) => [...values].map(([labels, value]) => `{${labels}} ${value}`);
  family("worker_faults_total", ["counter", "Failures of models' workers, by kind."], counted(rest.faults));
  family("loads_total", ["counter", "Loads of models, by outcome."], counted(rest.loads));
  family("evictions_total", ["counter", "Models that left memory for others."], [` ${rest.evictions}`]);
  return `${lines.join("\n")}\n`;
}

const histogramLines = (labels: string, bounds: readonly number[], { counts, sum, total }: Histogram): string[] => [
  ...bounds.map((bound, index) => `_bucket{${labels},le="${bound}"} ${counts[index] ?? 0}`),
  `_bucket{${labels},le="+Inf"} ${total}`,
  `_sum{${labels}} ${sum}`,
  `_count{${labels}} ${total}`,
];

const histogram = (bounds: readonly number[]): Histogram => ({
  counts: new Float64Array(bounds.length),
  sum: 0,
  total: 0,
});

function observe(into: Histogram, bounds: readonly number[], value: number): void {
  into.sum += value;
  into.total++;
  for (let index = bounds.length - 1; index >= 0 && value <= (bounds[index] ?? 0); index--) {
    into.counts[index] = (into.counts[index] ?? 0) + 1;
  }
}

function count(into: Map<string, number>, labels: string): void {
  into.set(labels, (into.get(labels) ?? 0) + 1);
}

const labelsOf = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(
      ([name, value]) => `${name}="${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`,
    )
    .join(",");
