/**
 * Traces by W3C trace context: a request that carries a sampled `traceparent` becomes a span of its trace, sent to a collector by
 * OTLP over HTTP (JSON). What cannot be sent is dropped and counted; a collector is never in the way of requests.
 */
import type { Clock, Random, Timer } from "../clock/types.js";
import { ArgosyError, messageOf } from "../errors/index.js";
import type { Logger } from "../log/types.js";

/** A request that is followed. */
export interface Span {
  /** For requests that are made on its behalf. */
  readonly traceparent: string;
  /** Ends it; once. */
  end(outcome: { readonly isError: boolean; readonly attributes: Readonly<Record<string, string | number>> }): void;
}

/** Of a request that came, or of one that was made. */
export type SpanKind = "server" | "client";

/** Follows requests. */
export interface Tracer {
  /** `undefined` where the request is in no trace that is recorded. */
  begin(traceparent: string | undefined, name: string, kind?: SpanKind): Span | undefined;
  /** Spans that were lost. */
  readonly dropped: number;
  /** Sends what is there. */
  close(): Promise<void>;
}

export interface TracerOptions {
  /** The collector's address for traces, `http://host:4318/v1/traces`. */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly random: Pick<Random, "uuid">;
  readonly log: Logger;
  readonly version: string;
  /** Who writes them; default argosy-model-server. */
  readonly service?: string;
}

const MAX_WAITING = 2048;
const MAX_SENT = 512;
const SEND_MS = 2000;
const ANSWER_MS = 10_000;
/** As OTLP counts them. */
const KINDS: Readonly<Record<SpanKind, number>> = { server: 2, client: 3 };
const STATUS_ERROR = 2;

/** Trace and parent of a `traceparent` that is sampled (w3.org/TR/trace-context); `undefined` for any other text. */
export function readTraceparent(value: string | undefined): { traceId: string; parentId: string } | undefined {
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(value?.trim() ?? "");
  if (match === null) return undefined;
  const [, version = "", traceId = "", parentId = "", flags = "", rest] = match;
  if (version === "ff" || (version === "00" && rest !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined;
  return (Number.parseInt(flags, 16) & 1) === 1 ? { traceId, parentId } : undefined;
}

/** Makes a tracer that sends every two seconds. */
export function createTracer(options: TracerOptions): Tracer {
  return new OtlpTracer(options);
}

class OtlpTracer implements Tracer {
  readonly #options: TracerOptions;
  #waiting: object[] = [];
  #timer: Timer | undefined;
  #sending: Promise<void> = Promise.resolve();
  dropped = 0;

  constructor(options: TracerOptions) {
    this.#options = options;
  }

  begin(traceparent: string | undefined, name: string, kind: SpanKind = "server"): Span | undefined {
    const trace = readTraceparent(traceparent);
    if (trace === undefined) return undefined;
    const { clock, random } = this.#options;
    const startMs = clock.now();
    const begun = clock.monotonicMs();
    const spanId = random.uuid().replaceAll("-", "").slice(0, 16);
    return {
      traceparent: `00-${trace.traceId}-${spanId}-01`,
      end: ({ isError, attributes }) => {
        const endMs = startMs + (clock.monotonicMs() - begun);
        this.#keep({
          ...{ traceId: trace.traceId, parentSpanId: trace.parentId },
          spanId,
          ...{ name, kind: KINDS[kind], startTimeUnixNano: nanos(startMs), endTimeUnixNano: nanos(endMs) },
          attributes: Object.entries(attributes).map(([key, value]) => ({ key, value: otlpValue(value) })),
          status: isError ? { code: STATUS_ERROR } : {},
        });
      },
    };
  }

  #keep(span: object): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.dropped++;
      return;
    }
    this.#waiting.push(span);
    this.#timer ??= this.#options.clock.setTimer(SEND_MS, () => {
      this.#timer = undefined;
      this.#sending = this.#send();
    });
  }

  async #send(): Promise<void> {
    while (this.#waiting.length > 0) {
      const spans = this.#waiting.splice(0, MAX_SENT);
      try {
        await this.#post(spans);
      } catch (error) {
        this.dropped += spans.length;
        this.#options.log.debug("spans were lost", { err: messageOf(error), spans: spans.length });
        return;
      }
    }
  }

  async #post(spans: readonly object[]): Promise<void> {
    const { endpoint, version, service = "argosy-model-server" } = this.#options;
    const resource = { attributes: [{ key: "service.name", value: { stringValue: service } }] };
    const scopeSpans = [{ scope: { name: "argosy", version }, spans }];
    const answer = await fetch(endpoint, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ resourceSpans: [{ resource, scopeSpans }] }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    await answer.arrayBuffer();
    if (!answer.ok) throw new ArgosyError("CollectorRefused", `the collector answered ${answer.status}`);
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.#sending;
    await this.#send();
  }
}

const nanos = (ms: number): string => (BigInt(Math.round(ms * 1000)) * 1000n).toString();

const otlpValue = (value: string | number): object =>
  typeof value === "string" ? { stringValue: value } : { intValue: String(value) };
