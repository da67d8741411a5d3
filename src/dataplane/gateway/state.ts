import { createHash } from "node:crypto";
import type { Backend, BackendStats, EffectiveWeight, Route } from "./balance.js";
import { METRIC_BOUNDS_MS } from "./latency.js";
import type { ListenerReport } from "./listeners.js";
import type { Shadow } from "./shadow.js";

/** One address of a backend in `/state`. */
export interface EndpointReport {
  readonly address: string;
  readonly healthy: boolean;
  readonly reason: string;
  readonly connections: number;
}

/** One backend of a route in `/state`. */
export interface BackendReport {
  readonly name: string;
  /** Asked for in the table. */
  readonly weight: number;
  /** 0 while it gets no traffic. */
  readonly weightEffective: number;
  /** Share of new requests that it gets now, 0 to 1. */
  readonly share: number;
  readonly healthy: boolean;
  /** It has answered since it is in the table, a request or a check; until it fails, a backend is taken for healthy without. */
  readonly answered: boolean;
  /** Why it gets less than it was given; empty when it gets that. */
  readonly reason: string;
  /** One word for why a backend that is in use gets less than it was given. */
  readonly word: "" | "StandsBy" | "WarmingUp";
  readonly requests: number;
  readonly failures: number;
  readonly retries: number;
  /** Requests that it was sent while another backend was still waited for. */
  readonly hedges: number;
  readonly inFlight: number;
  readonly latencySumMs: number;
  /** Requests by duration: how many are in each class that is not empty, by its upper bound in milliseconds. Absent before the first. */
  readonly latency?: Readonly<Record<string, number>>;
  readonly byClass: Readonly<Record<string, number>>;
  readonly endpoints: readonly EndpointReport[];
}

export interface RouteReport {
  readonly id: string;
  readonly listener: string;
  readonly hosts: readonly string[];
  readonly path: string;
  /** Requests answered 503 because no backend was left. */
  readonly unroutable: number;
  readonly backends: readonly BackendReport[];
  /** Absent: it has none. */
  readonly shadows?: readonly ShadowReport[];
}

/** One shadow of a route in `/state`; what it counts is in no backend's figures. */
export interface ShadowReport {
  readonly name: string;
  /** Share of the requests that is copied. */
  readonly percent: number;
  readonly inFlight: number;
  /** Copies sent; answered; and without an answer. */
  readonly copied: number;
  readonly answered: number;
  readonly failures: number;
  /** Why the last one failed; empty when none did. */
  readonly lastFailure: string;
  /** Requests that were to be copied and were not, by reason. */
  readonly skipped: { readonly busy: number; readonly tooLarge: number; readonly unfinished: number };
  readonly latencySumMs: number;
  /** As of backends. Absent before the first answer. */
  readonly latency?: Readonly<Record<string, number>>;
  readonly byClass: Readonly<Record<string, number>>;
  /** Of copies whose original was answered too: how many, how many of them with another status, and how long both took together. */
  readonly compared: number;
  readonly differing: number;
  readonly comparedSumMs: number;
  readonly originalSumMs: number;
}

/** What the gateway says of itself (`GET /state` on the admin socket). */
export interface GatewayState {
  /** Of this form. */
  readonly version: 1;
  readonly pid: number;
  /** RFC 3339. */
  readonly startedAt: string;
  /** For `/state?since=MARK`, which waits until health, the table or a listener differ. */
  readonly mark: string;
  /** Of the table in force. */
  readonly generation: string;
  /** Why the file on disk is not in force; empty when it is. */
  readonly tableError: string;
  readonly listeners: readonly ListenerReport[];
  /** `routes` has only those of which something is new since the mark that was given; none has gone. */
  readonly partial: boolean;
  readonly routes: readonly RouteReport[];
  readonly totals: Readonly<Record<string, number>>;
}

/** One word for what concerns no single route. */
export function factsOf(state: Pick<GatewayState, "generation" | "tableError" | "listeners">): string {
  const hash = createHash("sha256").update(`${state.generation} ${state.tableError}`);
  for (const listener of state.listeners) hash.update(`${listener.name} ${listener.listening};`);
  return hash.digest("base64url").slice(0, 12);
}

/** One route as `/state` shows it. */
export function reportRoute(route: Route, nowMs: number): RouteReport {
  const effective = route.effectiveWeights(nowMs);
  const total = effective.reduce((sum, { weight }) => sum + weight, 0);
  return {
    id: route.table.id,
    listener: route.table.listener,
    hosts: route.table.hosts,
    path: route.table.path,
    unroutable: route.unroutable,
    backends: route.backends.map((backend, index) => reportBackend(backend, effective[index] ?? NOTHING, total)),
    ...(route.shadows.length === 0 ? {} : { shadows: route.shadows.map(reportShadow) }),
  };
}

function reportShadow({ table, stats, inFlight }: Shadow): ShadowReport {
  return {
    name: table.name,
    percent: table.percent,
    inFlight,
    copied: stats.copied,
    answered: stats.answered,
    failures: stats.failures,
    lastFailure: stats.lastFailure,
    skipped: { busy: stats.busy, tooLarge: stats.tooLarge, unfinished: stats.unfinished },
    latencySumMs: rounded(stats.latencySumMs),
    ...(stats.answered === 0 ? {} : { latency: stats.latency.report() }),
    byClass: classesOf(stats.byClass),
    compared: stats.compared,
    differing: stats.differing,
    comparedSumMs: rounded(stats.comparedSumMs),
    originalSumMs: rounded(stats.originalSumMs),
  };
}

function classesOf(counts: readonly number[]): Record<string, number> {
  const byClass: Record<string, number> = {};
  for (const [index, count] of counts.entries()) if (count > 0) byClass[index === 0 ? "other" : `${index}xx`] = count;
  return byClass;
}

function rounded(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}

const NOTHING: EffectiveWeight = { weight: 0, reason: "", word: "" };

function reportBackend(backend: Backend, effective: EffectiveWeight, total: number): BackendReport {
  const { stats } = backend;
  return {
    name: backend.table.name,
    weight: backend.table.weight,
    weightEffective: effective.weight,
    share: total > 0 ? effective.weight / total : 0,
    healthy: backend.isHealthy,
    answered: backend.hasAnswered,
    reason: effective.reason,
    word: effective.word,
    requests: stats.requests,
    failures: stats.failures,
    retries: stats.retries,
    hedges: stats.hedges,
    inFlight: stats.inFlight,
    latencySumMs: rounded(stats.latencySumMs),
    ...(stats.requests === 0 ? {} : { latency: stats.latency.report() }),
    byClass: classesOf(stats.byClass),
    endpoints: backend.endpoints.map((endpoint) => ({
      address: endpoint.address,
      healthy: endpoint.isHealthy,
      reason: endpoint.reason,
      connections: endpoint.pool.openCount,
    })),
  };
}

/** Prometheus text of the same facts. */
export function renderMetrics(
  state: Pick<GatewayState, "listeners" | "tableError" | "totals">,
  routes: Iterable<Route>,
  nowMs: number,
): string {
  const lines: string[] = [
    "# TYPE argosy_gateway_connections gauge",
    ...state.listeners.map(
      (listener) => `argosy_gateway_connections{listener=${quoted(listener.name)}} ${listener.connections}`,
    ),
    "# TYPE argosy_gateway_listener_up gauge",
    ...state.listeners.map(
      (listener) => `argosy_gateway_listener_up{listener=${quoted(listener.name)}} ${listener.listening ? 1 : 0}`,
    ),
    "# TYPE argosy_gateway_table_ok gauge",
    `argosy_gateway_table_ok ${state.tableError === "" ? 1 : 0}`,
  ];
  for (const [name, count] of Object.entries(state.totals)) {
    const metric = `argosy_gateway_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`;
    lines.push(`# TYPE ${metric} counter`, `${metric} ${count}`);
  }
  const families = new Map<string, { readonly type: string; readonly samples: string[] }>();
  const sample = (name: string, type: string, text: string): void => {
    const family = families.get(name) ?? { type, samples: [] };
    families.set(name, family);
    family.samples.push(text);
  };
  for (const route of routes) routeSamples(route, nowMs, sample);
  for (const [name, family] of families) lines.push(`# TYPE ${name} ${family.type}`, ...family.samples);
  return `${lines.join("\n")}\n`;
}

type Sample = (name: string, type: string, text: string) => void;

function routeSamples(route: Route, nowMs: number, sample: Sample): void {
  const report = reportRoute(route, nowMs);
  const prefix = "argosy_gateway";
  sample(
    `${prefix}_unroutable_total`,
    "counter",
    `${prefix}_unroutable_total{route=${quoted(route.table.id)}} ${report.unroutable}`,
  );
  for (const [index, backend] of report.backends.entries()) {
    const labels = `route=${quoted(route.table.id)},backend=${quoted(backend.name)}`;
    for (const [statusClass, count] of Object.entries(backend.byClass)) {
      sample(
        `${prefix}_requests_total`,
        "counter",
        `${prefix}_requests_total{${labels},class="${statusClass}"} ${count}`,
      );
    }
    sample(`${prefix}_failures_total`, "counter", `${prefix}_failures_total{${labels}} ${backend.failures}`);
    sample(`${prefix}_retries_total`, "counter", `${prefix}_retries_total{${labels}} ${backend.retries}`);
    sample(`${prefix}_hedges_total`, "counter", `${prefix}_hedges_total{${labels}} ${backend.hedges}`);
    sample(`${prefix}_in_flight`, "gauge", `${prefix}_in_flight{${labels}} ${backend.inFlight}`);
    sample(`${prefix}_weight`, "gauge", `${prefix}_weight{${labels},kind="asked"} ${backend.weight}`);
    sample(`${prefix}_weight`, "gauge", `${prefix}_weight{${labels},kind="effective"} ${backend.weightEffective}`);
    const stats = route.backends[index]?.stats;
    if (stats !== undefined)
      latencySamples(`${prefix}_request_duration_seconds`, stats, stats.requests, { labels, sample });
  }
  for (const shadow of route.shadows) shadowSamples(shadow, route.table.id, sample);
}

function shadowSamples(shadow: Shadow, id: string, sample: Sample): void {
  const { stats } = shadow;
  const labels = `route=${quoted(id)},shadow=${quoted(shadow.table.name)}`;
  const prefix = "argosy_gateway_shadow";
  const count = (name: string, value: number, more = ""): void =>
    sample(`${prefix}_${name}`, "counter", `${prefix}_${name}{${labels}${more}} ${value}`);
  count("copies_total", stats.copied);
  for (const [statusClass, answers] of Object.entries(classesOf(stats.byClass)))
    count("answers_total", answers, `,class="${statusClass}"`);
  count("failures_total", stats.failures);
  for (const [reason, skipped] of Object.entries(reportShadow(shadow).skipped))
    count("skipped_total", skipped, `,reason="${reason}"`);
  count("compared_total", stats.compared);
  count("status_differs_total", stats.differing);
  // Their difference, divided by compared_total, is how much slower the shadow is.
  count("compared_seconds_total", stats.comparedSumMs / 1000, ',of="copy"');
  count("compared_seconds_total", stats.originalSumMs / 1000, ',of="original"');
  sample(`${prefix}_in_flight`, "gauge", `${prefix}_in_flight{${labels}} ${shadow.inFlight}`);
  latencySamples(`${prefix}_duration_seconds`, stats, stats.answered, { labels, sample });
}

function latencySamples(
  name: string,
  { latency, latencySumMs }: Pick<BackendStats, "latency" | "latencySumMs">,
  count: number,
  { labels, sample }: { readonly labels: string; readonly sample: Sample },
): void {
  for (const bound of METRIC_BOUNDS_MS)
    sample(name, "histogram", `${name}_bucket{${labels},le="${bound / 1000}"} ${latency.upTo(bound)}`);
  sample(name, "histogram", `${name}_bucket{${labels},le="+Inf"} ${count}`);
  sample(name, "histogram", `${name}_sum{${labels}} ${latencySumMs / 1000}`);
  sample(name, "histogram", `${name}_count{${labels}} ${count}`);
}

function quoted(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}
