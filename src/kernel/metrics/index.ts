/**
 * Measurements of the program itself. In: counts and values from every room. Out: Prometheus text. Series are bounded, so
 * that labels from outside cannot fill the memory. May use: nothing.
 */
export { createMetrics, type Metrics } from "./metrics.js";
