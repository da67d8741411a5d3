/**
 * Measurements of the program itself. In: counts and values from every room. Out: Prometheus text. Series are bounded, so
 * that labels from outside cannot fill the memory. May use: nothing.
 */
export { type Counter, createMetrics, type Gauge, type Histogram, type LabelValues, type Metrics } from "./metrics.js";
