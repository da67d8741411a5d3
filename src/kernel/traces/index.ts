/**
 * Spans of requests in others' traces (W3C trace context), sent to a collector by OTLP over HTTP. In: `traceparent` fields. Out: spans, in the
 * background; what the collector does not take is dropped and counted. May use: clock, errors, log.
 */

export { createTracer, readTraceparent, type Span, type Tracer } from "./traces.js";
