/** What the gateway counts, made into loads by the second. */
import type { ActivatorReport, ActivatorsReport } from "../../../dataplane/gateway/index.js";
import type { ScalingMetric, ScalingSettings } from "./settings.js";
import { LoadWindow } from "./window.js";

/** Where loads come from: the gateway, through the control plane's driver of it. */
export interface LoadSource {
  /** Called with what the activators count: every second, and at once when a request meets one without a pod; with undefined while the gateway is silent. Returns its removal. */
  onActivators(handler: (report: ActivatorsReport | undefined) => void): () => void;
}

/** Seconds without a report that are taken to have been as the next one says. */
const MAX_GAP_S = 5;
/** Of metrics that say nothing of requests in flight: what a request in flight weighs at least, as a share of the target, so that no pod is taken from it. */
const BUSY_SHARE = 0.01;

/** The loads of one workload over the stable and the panic window. */
export class Load {
  #metric: ScalingMetric;
  #target: number;
  #stable: LoadWindow;
  #panic: LoadWindow;
  #before: ActivatorReport | undefined;
  #lastSecond = Number.NEGATIVE_INFINITY;
  /** The last second in which what waits was counted outside of its turn. */
  #wokenSecond = Number.NEGATIVE_INFINITY;
  #latest: ActivatorReport | undefined;

  constructor({ metric, decision, panicWindowMs, averaging }: ScalingSettings) {
    this.#metric = metric;
    this.#target = decision.target;
    this.#stable = new LoadWindow(decision.stableWindowMs, averaging);
    this.#panic = new LoadWindow(panicWindowMs, averaging);
  }

  /** Goes on under other settings: in windows of their lengths, with what they hold where it is the same that is measured. */
  adopt({ metric, decision, panicWindowMs, averaging }: ScalingSettings, isSame: boolean): void {
    this.#metric = metric;
    this.#target = decision.target;
    const known = isSame ? this.#stable : new LoadWindow(decision.stableWindowMs);
    this.#stable = known.resized(decision.stableWindowMs, averaging);
    this.#panic = known.resized(panicWindowMs, averaging);
  }

  /** The last report; undefined while there is none. */
  get latest(): ActivatorReport | undefined {
    return this.#latest;
  }

  /** A report, at the wall-clock time of its coming. At most one counts a second. Of a workload without pods and without requests nothing is recorded, so that its first load is not diluted. */
  note(report: ActivatorReport, nowMs: number, readyPods: number): void {
    this.#latest = report;
    const second = Math.floor(nowMs / 1000);
    const before = this.#before;
    const isRestart = before !== undefined && report.atMs < before.atMs;
    const isWaking = report.waiting > 0 && report.pods === 0;
    if (second <= this.#lastSecond) {
      if (isWaking && second > this.#wokenSecond) this.#add(second, this.#instant(report, readyPods));
      return;
    }
    this.#before = report;
    // What is measured elsewhere is told by `noteValue`; here only who waits counts.
    if (before === undefined || isRestart || this.#metric === "promql") {
      if (isWaking) this.#record(second, this.#instant(report, readyPods));
      return;
    }
    const isQuiet = report.arrived === before.arrived && report.waiting + report.active === 0;
    if (readyPods === 0 && isQuiet) return;
    const value = this.#valueOf(before, report, readyPods);
    this.#record(second, isWaking ? Math.max(value, this.#instant(report, readyPods)) : value);
  }

  /** A value that was measured elsewhere. */
  noteValue(value: number, nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    const busy = (this.#latest?.active ?? 0) + (this.#latest?.waiting ?? 0) > 0 ? this.#target * BUSY_SHARE : 0;
    if (second > this.#lastSecond) this.#record(second, Math.max(value, busy));
  }

  #record(second: number, value: number): void {
    const from = second - this.#lastSecond > MAX_GAP_S ? second : this.#lastSecond + 1;
    for (let at = from; at <= second; at++) this.#add(at, value);
    this.#lastSecond = second;
  }

  #add(second: number, value: number): void {
    if (this.#latest?.pods === 0) this.#wokenSecond = second;
    this.#stable.record(second * 1000, value);
    this.#panic.record(second * 1000, value);
  }

  /** What waits now counts, not what waited on the average of a second that has hardly begun. */
  #instant(report: ActivatorReport, readyPods: number): number {
    switch (this.#metric) {
      case "concurrency":
      case "rps":
      case "queue":
        return report.waiting + report.active;
      default:
        return Math.max(1, readyPods) * this.#target * BUSY_SHARE;
    }
  }

  #valueOf(before: ActivatorReport, now: ActivatorReport, readyPods: number): number {
    const passedMs = Math.max(1, now.atMs - before.atMs);
    const concurrency = (now.busyMs - before.busyMs) / passedMs;
    const busy = concurrency > 0 ? this.#target * BUSY_SHARE : 0;
    switch (this.#metric) {
      case "concurrency":
        return concurrency;
      case "rps":
        return Math.max(((now.arrived - before.arrived) * 1000) / passedMs, busy);
      case "queue":
        return Math.max(now.waiting, busy);
      case "latency": {
        const answered = now.answered - before.answered;
        // As many times the pods as it takes too long.
        const mean = answered > 0 ? (now.latencySumMs - before.latencySumMs) / answered : 0;
        return Math.max(mean * Math.max(1, readyPods), busy);
      }
      default:
        return 0;
    }
  }

  /** Averages; nothing where nothing was recorded for a whole window. */
  averages(nowMs: number): { readonly stable?: number; readonly panic?: number } {
    if (this.#stable.isEmpty(nowMs)) return {};
    return { stable: this.#stable.average(nowMs), panic: this.#panic.average(nowMs) };
  }
}
