/** What users say about scaling, in annotations, read and checked. */
import { didYouMean } from "../../../kernel/schema/index.js";
import type { Bounds, DecisionSettings } from "./decision.js";
import { parseDurationMs } from "./duration.js";
import { type Averaging, panicWindowMs } from "./window.js";

/** Prefix of Knative's annotations. */
export const KNATIVE = "autoscaling.knative.dev/";
/** Prefix of those that Knative has no word for. */
const OWN = "serving.argosy.dev/";

/** What is measured. */
export type ScalingMetric = "concurrency" | "rps" | "latency" | "queue" | "promql" | "cpu" | "memory";

/** Everything that scaling goes by. */
export interface ScalingSettings {
  readonly isHpa: boolean;
  readonly metric: ScalingMetric;
  /** Of `promql`. */
  readonly query: string;
  readonly decision: Omit<DecisionSettings, "reachable">;
  readonly bounds: Omit<Bounds, "initialized" | "reachable">;
  /** For HPA: what was said, without utilisation. */
  readonly hpaTarget: number;
  readonly panicWindowMs: number;
  readonly averaging: Averaging;
  readonly graceMs: number;
  readonly retentionMs: number;
  /** How long zero to first answer may take; absent: nobody said. */
  readonly coldStartBudgetMs?: number;
  /** Start a pod ahead of the time at which requests usually come. */
  readonly prewarm: boolean;
}

/** Defaults of Knative Serving, as an operator can set them. */
export const SCALING_DEFAULTS = {
  targetUtilization: 70,
  concurrencyTarget: 100,
  rpsTarget: 200,
  targetBurstCapacity: 211,
  stableWindowMs: 60_000,
  panicWindowPercent: 10,
  panicThresholdPercent: 200,
  maxScaleUpRate: 1000,
  maxScaleDownRate: 2,
  graceMs: 30_000,
  retentionMs: 0,
  activatorCapacity: 100,
  initialScale: 1,
  minScale: 0,
  maxScale: 0,
  scaleDownDelayMs: 0,
} as const;

const MIN_TARGET = 0.01;
const WINDOW_MIN_MS = 6000;
const HOUR_MS = 3_600_000;
const MAX_INT32 = 2_147_483_647;
/** Targets of the metrics that Knative has not: milliseconds, waiting requests, and the query's own unit. */
const OWN_TARGETS = { latency: 250, queue: 1, promql: 1, cpu: 80, memory: 0 } as const;

const CLASSES = ["kpa.autoscaling.knative.dev", "hpa.autoscaling.knative.dev"] as const;

/** Names that Knative's annotations have; the older spelling leads to the younger. */
const NAMES: ReadonlySet<string> = new Set([
  "class",
  "metric",
  "target",
  "target-utilization-percentage",
  "target-burst-capacity",
  "window",
  "panic-window-percentage",
  "panic-threshold-percentage",
  "min-scale",
  "max-scale",
  "initial-scale",
  "activation-scale",
  "scale-down-delay",
  "scale-to-zero-pod-retention-period",
  "metric-aggregation-algorithm",
]);

/** A fault in an annotation. */
export interface SettingFault {
  /** Full name of the annotation. */
  readonly annotation: string;
  readonly message: string;
}

function hint(name: string): string {
  const meant = didYouMean(name, NAMES);
  return meant === undefined ? "" : `; did you mean ${meant}?`;
}

/** The annotations of an object with what is wrong collected. */
class AnnotationReader {
  readonly faults: SettingFault[] = [];
  readonly #values = new Map<string, { readonly name: string; readonly value: string }>();

  constructor(annotations: Readonly<Record<string, string>>) {
    for (const [name, value] of Object.entries(annotations)) {
      if (name.startsWith(OWN)) this.#values.set(name, { name, value });
      if (!name.startsWith(KNATIVE)) continue;
      const given = name.slice(KNATIVE.length);
      const own = given.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      if (NAMES.has(own)) {
        // The spelling with dashes counts where both are there.
        if (given === own || !this.#values.has(own)) this.#values.set(own, { name, value });
      } else this.faults.push({ annotation: name, message: `there is no such setting${hint(own)}` });
    }
  }

  fault(key: string, message: string): undefined {
    const { name, value } = this.#values.get(key) ?? { name: key, value: "" };
    this.faults.push({ annotation: name, message: `"${value}" ${message}` });
  }

  text(key: string): string | undefined {
    return this.#values.get(key)?.value;
  }

  number(key: string, [minimum, maximum]: readonly [number, number], what = "a number"): number | undefined {
    const text = this.text(key);
    if (text === undefined) return undefined;
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
    const isFine = value >= minimum && value <= maximum && (what === "a number" || Number.isInteger(value));
    if (isFine) return value;
    const bounds = maximum === Number.POSITIVE_INFINITY ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
    return this.fault(key, `must be ${what} ${bounds}`);
  }

  whole(key: string, minimum = 0): number | undefined {
    return this.number(key, [minimum, MAX_INT32], "a whole number");
  }

  duration(key: string, [minimum, maximum]: readonly [number, number], isWholeSeconds: boolean): number | undefined {
    const text = this.text(key);
    if (text === undefined) return undefined;
    const value = parseDurationMs(text);
    if (value === undefined) return this.fault(key, "must be a duration such as 30s or 1m30s");
    if (value < minimum || value > maximum)
      return this.fault(key, `must be a duration from ${minimum / 1000}s to ${maximum / 1000}s`);
    if (isWholeSeconds && value % 1000 !== 0) return this.fault(key, "must be a whole number of seconds");
    return value;
  }

  choice<T extends string>(key: string, choices: readonly T[]): T | undefined {
    const text = this.text(key);
    if (text === undefined) return undefined;
    const found = choices.find((choice) => choice === text);
    return found ?? this.fault(key, `must be one of ${choices.join(", ")}`);
  }
}

/** What the annotations say, with defaults where they say nothing or something wrong. `containerConcurrency` 0 is no limit. */
export function readSettings(
  annotations: Readonly<Record<string, string>>,
  containerConcurrency: number,
): { readonly settings: ScalingSettings; readonly faults: readonly SettingFault[] } {
  const reader = new AnnotationReader(annotations);
  const isHpa = reader.choice("class", CLASSES) === "hpa.autoscaling.knative.dev";
  const metric = metricOf(reader, isHpa);
  const stableWindowMs = reader.duration("window", [WINDOW_MIN_MS, HOUR_MS], true) ?? SCALING_DEFAULTS.stableWindowMs;
  const panicPercent = reader.number("panic-window-percentage", [1, 100]) ?? SCALING_DEFAULTS.panicWindowPercent;
  const threshold = reader.number("panic-threshold-percentage", [110, 1000]) ?? SCALING_DEFAULTS.panicThresholdPercent;
  const budget = reader.duration(`${OWN}cold-start-budget`, [1, HOUR_MS], false);
  const settings: ScalingSettings = {
    isHpa,
    metric,
    query: queryOf(reader, metric),
    hpaTarget: isHpa ? (reader.number("target", [MIN_TARGET, Number.POSITIVE_INFINITY]) ?? OWN_TARGETS.cpu) : 0,
    decision: {
      ...targetsOf(reader, metric, containerConcurrency),
      maxScaleUpRate: SCALING_DEFAULTS.maxScaleUpRate,
      maxScaleDownRate: SCALING_DEFAULTS.maxScaleDownRate,
      panicThreshold: threshold / 100,
      stableWindowMs,
      activationScale: reader.whole("activation-scale", 1) ?? 1,
      scaleDownDelayMs: reader.duration("scale-down-delay", [0, HOUR_MS], true) ?? SCALING_DEFAULTS.scaleDownDelayMs,
      targetBurstCapacity: burstOf(reader),
    },
    bounds: boundsOf(reader),
    panicWindowMs: panicWindowMs(stableWindowMs, panicPercent),
    averaging: averagingOf(reader),
    graceMs: SCALING_DEFAULTS.graceMs,
    retentionMs:
      reader.duration("scale-to-zero-pod-retention-period", [0, HOUR_MS], false) ?? SCALING_DEFAULTS.retentionMs,
    prewarm: reader.choice(`${OWN}prewarm`, ["history", "off"]) === "history",
    ...(budget === undefined ? {} : { coldStartBudgetMs: budget }),
  };
  return { settings, faults: reader.faults };
}

function metricOf(reader: AnnotationReader, isHpa: boolean): ScalingMetric {
  const own = reader.choice(`${OWN}metric`, ["latency", "queue", "promql"]);
  if (isHpa) {
    if (own !== undefined) reader.fault(`${OWN}metric`, "needs the class kpa.autoscaling.knative.dev");
    return reader.choice("metric", ["cpu", "memory"]) ?? "cpu";
  }
  return own ?? reader.choice("metric", ["concurrency", "rps"]) ?? "concurrency";
}

function queryOf(reader: AnnotationReader, metric: ScalingMetric): string {
  const query = reader.text(`${OWN}query`) ?? "";
  if (metric === "promql" && query.trim() === "") reader.fault(`${OWN}query`, "must be a PromQL expression");
  if (query.length > 4096) reader.fault(`${OWN}query`, "must not be longer than 4096 characters");
  return query.slice(0, 4096);
}

/** What a pod may have at most, and what it should have of that. */
function targetsOf(
  reader: AnnotationReader,
  metric: ScalingMetric,
  containerConcurrency: number,
): Pick<DecisionSettings, "target" | "total"> {
  const given = reader.number("target", [MIN_TARGET, Number.POSITIVE_INFINITY]);
  const percent = reader.number("target-utilization-percentage", [1, 100]) ?? SCALING_DEFAULTS.targetUtilization;
  if (metric !== "concurrency" && metric !== "rps") {
    // Their targets are wanted values, not capacities, so that there is nothing to take a share of.
    const total = given ?? OWN_TARGETS[metric];
    return { total, target: Math.max(MIN_TARGET, total) };
  }
  let total = given ?? (metric === "rps" ? SCALING_DEFAULTS.rpsTarget : SCALING_DEFAULTS.concurrencyTarget);
  if (metric === "concurrency" && containerConcurrency > 0)
    total = given === undefined ? containerConcurrency : Math.min(given, containerConcurrency);
  return { total, target: Math.max(MIN_TARGET, (total * percent) / 100) };
}

function burstOf(reader: AnnotationReader): number {
  const key = "target-burst-capacity";
  const value = reader.number(key, [-1, Number.POSITIVE_INFINITY]) ?? SCALING_DEFAULTS.targetBurstCapacity;
  if (value >= 0 || value === -1) return value;
  reader.fault(key, "must be -1 (every request may be held) or at least 0");
  return SCALING_DEFAULTS.targetBurstCapacity;
}

function boundsOf(reader: AnnotationReader): ScalingSettings["bounds"] {
  const minScale = reader.whole("min-scale") ?? SCALING_DEFAULTS.minScale;
  const maxScale = reader.whole("max-scale") ?? SCALING_DEFAULTS.maxScale;
  const initialScale = reader.whole("initial-scale") ?? SCALING_DEFAULTS.initialScale;
  if (maxScale > 0 && maxScale < minScale) reader.fault("max-scale", `is less than min-scale, which is ${minScale}`);
  const activation = reader.whole("activation-scale", 1);
  if (activation !== undefined && maxScale > 0 && activation > maxScale)
    reader.fault("activation-scale", `is more than max-scale, which is ${maxScale}`);
  return { minScale, maxScale: maxScale > 0 ? Math.max(minScale, maxScale) : 0, initialScale };
}

function averagingOf(reader: AnnotationReader): Averaging {
  const key = "metric-aggregation-algorithm";
  const value = reader.choice(key, ["linear", "weighted-exponential", "weightedExponential"]);
  return value === undefined || value === "linear" ? "linear" : "weighted-exponential";
}
