/** The payload log: follows requests and hands copies of them and of their answers to sinks, never in the way of either. */
import type { Clock, Random } from "../../../kernel/clock/types.js";
import type { Logger } from "../../../kernel/log/types.js";
import { GatherBudget } from "./collector.js";
import { EVENT_BYTES, metadataOf, type PayloadEvent } from "./event.js";
import { DeliveryQueue, type Sink } from "./queue.js";
import type { PayloadLogSettings } from "./settings.js";

/** Something that was sent, as it was on the wire. */
export interface SeenBody {
  readonly body: string | Uint8Array;
  readonly type: string | undefined;
  /** Its content coding; absent: none. */
  readonly coding: string | undefined;
  readonly isCut?: boolean;
}

/** One request and its answer. Each of the two is told of at most once. */
export interface Exchange {
  request(seen: SeenBody): void;
  response(seen: SeenBody, status: PayloadEvent["status"]): void;
}

/** A payload log. */
export interface PayloadLog {
  /** Bodies that come in pieces are gathered within it. */
  readonly budget: GatherBudget;
  /** Begins to follow a request; `header` gives its fields by lower-case name. */
  begin(header: (name: string) => string | undefined): Exchange;
  /** Counts a body that is left out, or a connection that cannot be followed. */
  skip(): void;
  /** Counters as Prometheus text. */
  render(): string;
  /** Delivers what is there for at most so long. */
  close(forMs: number): Promise<void>;
}

export interface PayloadLogOptions {
  readonly settings: PayloadLogSettings;
  readonly sinks: readonly Sink[];
  readonly clock: Clock;
  readonly random: Pick<Random, "uuid" | "next">;
  readonly log: Logger;
}

/** A payload log with these sinks. */
export function createPayloadLog(options: PayloadLogOptions): PayloadLog {
  return new QueuedPayloadLog(options);
}

/** Whether a body's memory is its own, or nearly: what is cut out of something larger would hold all of that. */
const isOwn = (bytes: Uint8Array): boolean => bytes.buffer.byteLength <= bytes.length + 1024;

/** In memory of its own: `Buffer.from` may cut it out of a piece that many share, and hold all of that. */
function copyOf(body: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(body.length);
  copy.set(body);
  return copy;
}

/** Bodies up to here are kept as texts: thousands of small buffers would be a burden to the garbage collector, and so to requests. */
const SMALL_BYTES = 16_384;

const latin1Of = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");

const NO_METADATA: PayloadEvent["metadata"] = {};

interface Common {
  readonly mode: PayloadLogSettings["mode"];
  readonly id: string;
  readonly fileId: string;
  readonly metadata: PayloadEvent["metadata"];
  readonly traceparent: string | undefined;
}

class LoggedExchange implements Exchange {
  readonly #log: QueuedPayloadLog;
  readonly #common: Common;

  constructor(log: QueuedPayloadLog, common: Common) {
    this.#log = log;
    this.#common = common;
  }

  request(seen: SeenBody): void {
    if (this.#common.mode !== "response") this.#log.push("request", this.#common, seen, undefined);
  }

  response(seen: SeenBody, status: PayloadEvent["status"]): void {
    if (this.#common.mode !== "request") this.#log.push("response", this.#common, seen, status);
  }
}

class QueuedPayloadLog implements PayloadLog {
  readonly budget: GatherBudget;
  readonly #options: PayloadLogOptions;
  readonly #queues: readonly DeliveryQueue[];
  #skipped = 0;

  constructor(options: PayloadLogOptions) {
    const { settings, sinks, clock, random, log } = options;
    this.#options = options;
    this.budget = new GatherBudget(Math.floor(settings.maxBytes / 2), settings.maxBytes);
    this.#queues = sinks.map(
      (sink) =>
        new DeliveryQueue({
          ...{ sink, clock, random, log, maxEvents: settings.maxEvents, maxBytes: settings.maxBytes },
        }),
    );
  }

  begin(header: (name: string) => string | undefined): Exchange {
    const { settings, random } = this.#options;
    const chosen = idOf(header("ce-id"));
    const id = chosen ?? random.uuid();
    return new LoggedExchange(this, {
      mode: settings.mode,
      id,
      // Clients may choose an id twice: nobody's records take the place of others'.
      fileId: chosen === undefined ? id : `${chosen}-${random.uuid().slice(0, 8)}`,
      metadata: settings.headers.length === 0 ? NO_METADATA : metadataOf(settings.headers, header),
      traceparent: settings.dialect === "mlservice" ? header("traceparent")?.slice(0, 256) : undefined,
    });
  }

  skip(): void {
    this.#skipped++;
  }

  /** Takes a body of one kind. */
  push(kind: PayloadEvent["kind"], common: Common, seen: SeenBody, status: PayloadEvent["status"]): void {
    const isTooMuch = seen.body.length > this.budget.maxBodyBytes;
    if (isTooMuch) this.#skipped++;
    const body = isTooMuch ? "" : seen.body;
    const isCut = isTooMuch || seen.isCut === true;
    const { type } = seen;
    const isSmall = typeof body !== "string" && body.length <= SMALL_BYTES;
    const kept = typeof body === "string" ? body : isSmall ? latin1Of(body) : isOwn(body) ? body : copyOf(body);
    const { id, fileId, metadata, traceparent } = common;
    const coding = codingOf(seen.coding);
    const timeMs = this.#options.clock.now();
    const bytes = kept.length + EVENT_BYTES;
    const event = {
      kind,
      id,
      fileId,
      timeMs,
      type,
      coding,
      body: kept,
      isLatin1: isSmall,
      bytes,
      metadata,
      traceparent,
      status,
      isCut,
    };
    for (const queue of this.#queues) queue.push(event);
  }

  render(): string {
    const prefix = "argosy_payload_log_";
    const all = this.#queues.map((queue) => ({ sink: `sink="${escapeLabel(queue.name)}"`, ...queue.counts }));
    const outcomes = ["sent", "dropped", "refused", "failed"] as const;
    return [
      `# HELP ${prefix}events_total Events by what became of them.`,
      `# TYPE ${prefix}events_total counter`,
      ...all.flatMap((counts) =>
        outcomes.map((outcome) => `${prefix}events_total{${counts.sink},outcome="${outcome}"} ${counts[outcome]}`),
      ),
      `# HELP ${prefix}retries_total Deliveries that failed and may be tried again.`,
      `# TYPE ${prefix}retries_total counter`,
      ...all.map(({ sink, retries }) => `${prefix}retries_total{${sink}} ${retries}`),
      `# HELP ${prefix}skipped_total Bodies that were left out of their events, and connections that could not be followed.`,
      `# TYPE ${prefix}skipped_total counter`,
      `${prefix}skipped_total ${this.#skipped}`,
      `# HELP ${prefix}waiting Events that wait for delivery.`,
      `# TYPE ${prefix}waiting gauge`,
      ...all.map(({ sink, waiting }) => `${prefix}waiting{${sink}} ${waiting}`),
      `# HELP ${prefix}waiting_bytes Memory that they take.`,
      `# TYPE ${prefix}waiting_bytes gauge`,
      ...all.map(({ sink, waitingBytes }) => `${prefix}waiting_bytes{${sink}} ${waitingBytes}`),
      "",
    ].join("\n");
  }

  async close(forMs: number): Promise<void> {
    await Promise.all(this.#queues.map((queue) => queue.close(forMs)));
  }
}

/** A client's id, where it is one that can be sent on. */
const idOf = (value: string | undefined): string | undefined =>
  value !== undefined && value !== "" && value.length <= 256 ? value : undefined;

function codingOf(value: string | undefined): string | undefined {
  const coding = value?.trim().toLowerCase();
  return coding === "" || coding === "identity" ? undefined : coding;
}

const escapeLabel = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
