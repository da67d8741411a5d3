/** Counters of the server: as Prometheus text (exposition format 0.0.4) under three families of names, and as statistics. */
import { type Gauges, ModelCounters } from "./counters.js";
import { createEngineMetrics, type EngineMetrics } from "./engine-metrics.js";
import { exposeMetrics } from "./exposition.js";

/** What the server counts. Labels are names and versions of models that exist, so their number is bounded. */
export interface ServerMetrics extends EngineMetrics {
  /** The counters of a version. */
  of(model: string, version: string): ModelCounters;
  /** Any HTTP request was answered; `path` is a pattern. */
  response(status: number, method?: string, path?: string): void;
  /** A gRPC call ended; `method` exists, or is empty. */
  call(method: string, code: string): void;
  /** Every version that was ever counted. */
  all(): readonly ModelCounters[];
  /** The page; `gauges` are added as they are now. */
  render(gauges: Gauges): string;
}

/** Counters at zero. */
export function createMetrics(): ServerMetrics {
  const models = new Map<string, Map<string, ModelCounters>>();
  const responses = new Map<string, number>();
  const calls = new Map<string, number>();
  const engines = createEngineMetrics();
  const of = (model: string, version: string): ModelCounters => {
    let versions = models.get(model);
    if (versions === undefined) {
      versions = new Map();
      models.set(model, versions);
    }
    let counters = versions.get(version);
    if (counters === undefined) {
      counters = new ModelCounters(model, version);
      versions.set(version, counters);
    }
    return counters;
  };
  const all = (): ModelCounters[] => [...models.values()].flatMap((versions) => [...versions.values()]);
  return {
    of,
    ...engines,
    runOf(model, version) {
      const counters = of(model, version);
      const count = engines.runOf(model, version);
      return (run) => {
        counters.ran(run);
        count(run);
      };
    },
    response(status, method = "", path = "") {
      const key = `${method} ${path} ${status}`;
      responses.set(key, (responses.get(key) ?? 0) + 1);
    },
    call(method, code) {
      const key = `${method} ${code}`;
      calls.set(key, (calls.get(key) ?? 0) + 1);
    },
    all,
    render: (gauges) => exposeMetrics({ models: all(), responses, calls, gauges }) + engines.lines(),
  };
}
