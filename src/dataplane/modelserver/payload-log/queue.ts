/** What waits to be delivered to one sink: bounded, oldest out first, tried again after growing pauses. */
import type { Clock, Random, Timer } from "../../../kernel/clock/types.js";
import { ArgosyError, messageOf } from "../../../kernel/errors/index.js";
import type { Logger } from "../../../kernel/log/types.js";
import type { PayloadEvent } from "./event.js";

/** A sink did not take something. */
export class DeliveryError extends ArgosyError {
  /** Whether another try may help. */
  readonly mayPass: boolean;

  constructor(message: string, mayPass: boolean, options?: ErrorOptions) {
    super("DeliveryError", message, options);
    this.mayPass = mayPass;
  }
}

/** Where events go. */
export interface Sink {
  /** For people; without secrets. */
  readonly name: string;
  /** Most deliveries at once. */
  readonly concurrency: number;
  /** Events that are delivered together. */
  readonly batchSize: number;
  /** Longest wait for a full batch, milliseconds; 0: until it is full. */
  readonly batchIntervalMs: number;
  /** Delivers; rejects with a `DeliveryError`. The order of events is not kept. */
  deliver(events: readonly PayloadEvent[]): Promise<void>;
  close(): Promise<void>;
}

/** What became of events. */
export interface QueueCounts {
  /** The sink took them. */
  readonly sent: number;
  /** Dropped for newer ones. */
  readonly dropped: number;
  /** The sink will not have them. */
  readonly refused: number;
  /** Given up after several tries, or at the end. */
  readonly failed: number;
  /** Tries that failed. */
  readonly retries: number;
  readonly waiting: number;
  readonly waitingBytes: number;
}

export interface QueueOptions {
  readonly sink: Sink;
  readonly maxEvents: number;
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly random: Pick<Random, "next">;
  readonly log: Logger;
}

interface Waiting {
  readonly event: PayloadEvent;
  readonly sinceMs: number;
  attempts: number;
}

const MAX_ATTEMPTS = 6;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 30_000;
/** Room at the front of the list is given back when it is this long. */
const COMPACT = 1024;

/** The events of one sink on their way. `push` never waits and never throws. */
export class DeliveryQueue {
  readonly #options: QueueOptions;
  #items: Waiting[] = [];
  #first = 0;
  #bytes = 0;
  #active = 0;
  #failures = 0;
  #pause: Timer | undefined;
  #interval: Timer | undefined;
  #isScheduled = false;
  #isClosing = false;
  #isClosed = false;
  #onIdle: (() => void) | undefined;
  #sent = 0;
  #dropped = 0;
  #refused = 0;
  #failed = 0;
  #retries = 0;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  get counts(): QueueCounts {
    return {
      ...{ sent: this.#sent, dropped: this.#dropped, refused: this.#refused, failed: this.#failed },
      ...{ retries: this.#retries, waiting: this.#items.length - this.#first + this.#active },
      waitingBytes: this.#bytes,
    };
  }

  get name(): string {
    return this.#options.sink.name;
  }

  push(event: PayloadEvent): void {
    const { maxBytes, clock } = this.#options;
    if (event.bytes > maxBytes) {
      this.#dropped++;
      return;
    }
    this.#items.push({ event, sinceMs: clock.monotonicMs(), attempts: 0 });
    this.#bytes += event.bytes;
    this.#trim();
    this.#schedule();
  }

  /** Delivers what is there for at most so long; the rest is given up. */
  async close(forMs: number): Promise<void> {
    const { clock, sink, log } = this.#options;
    this.#isClosing = true;
    this.#pump();
    if (this.#active > 0 || this.#items.length > this.#first) {
      await new Promise<void>((resolve) => {
        const timer = clock.setTimer(forMs, resolve);
        this.#onIdle = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    this.#pause?.cancel();
    this.#interval?.cancel();
    this.#isClosed = true;
    const lost = this.#items.length - this.#first;
    if (lost > 0) log.warn("payload log: events were not delivered in time", { sink: sink.name, events: lost });
    this.#failed += lost;
    this.#items = [];
    this.#first = 0;
    await sink.close();
  }

  /** Newer ones are worth more than older ones. */
  #trim(): void {
    const { maxEvents, maxBytes } = this.#options;
    while (this.#items.length - this.#first > maxEvents || this.#bytes > maxBytes) {
      const oldest = this.#items[this.#first];
      // What is under way cannot be dropped any more.
      if (oldest === undefined) return;
      this.#first++;
      this.#bytes -= oldest.event.bytes;
      this.#dropped++;
    }
    if (this.#first >= COMPACT) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
  }

  /** After what is being answered in this turn. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    const { sink } = this.#options;
    while (this.#pause === undefined && this.#active < sink.concurrency) {
      const batch = this.#take();
      if (batch.length === 0) break;
      this.#active++;
      void this.#deliver(batch);
    }
    if (this.#active === 0 && this.#items.length === this.#first) this.#onIdle?.();
  }

  /** The next batch, if it is full or has waited long enough. */
  #take(): Waiting[] {
    const { batchSize, batchIntervalMs } = this.#options.sink;
    const { clock } = this.#options;
    const there = this.#items.length - this.#first;
    const oldest = this.#items[this.#first];
    if (oldest === undefined) return [];
    if (there < batchSize && !this.#isClosing && oldest.attempts === 0) {
      if (batchIntervalMs === 0) return [];
      const left = oldest.sinceMs + batchIntervalMs - clock.monotonicMs();
      if (left > 0) {
        this.#interval ??= clock.setTimer(left, () => {
          this.#interval = undefined;
          this.#pump();
        });
        return [];
      }
    }
    const batch = this.#items.slice(this.#first, this.#first + batchSize);
    this.#first += batch.length;
    if (this.#first === this.#items.length) {
      this.#items = [];
      this.#first = 0;
    }
    return batch;
  }

  /** Never rejects. */
  async #deliver(batch: Waiting[]): Promise<void> {
    const { sink, log } = this.#options;
    try {
      await sink.deliver(batch.map(({ event }) => event));
      this.#sent += batch.length;
      this.#free(batch);
      if (this.#failures > 0) log.info("payload log: the sink takes events again", { sink: sink.name });
      this.#failures = 0;
    } catch (error) {
      this.#onFailure(batch, error);
    }
    this.#active--;
    this.#pump();
  }

  #onFailure(batch: Waiting[], error: unknown): void {
    const { sink, log } = this.#options;
    const mayPass = error instanceof DeliveryError ? error.mayPass : false;
    if (!mayPass) {
      this.#refused += batch.length;
      this.#free(batch);
      log.debug("payload log: the sink refused events", { sink: sink.name, err: messageOf(error) });
      return;
    }
    this.#retries++;
    if (this.#isClosed) {
      this.#failed += batch.length;
      return;
    }
    // Said once until it is over.
    if (this.#failures === 0)
      log.warn("payload log: the sink does not take events; they are kept and tried again, the oldest dropped first", {
        ...{ sink: sink.name, err: messageOf(error) },
      });
    for (const item of batch) item.attempts++;
    const given = batch.filter(({ attempts }) => attempts >= MAX_ATTEMPTS);
    this.#failed += given.length;
    this.#free(given);
    const again = batch.filter(({ attempts }) => attempts < MAX_ATTEMPTS);
    if (again.length > 0) {
      this.#items = [...again, ...this.#items.slice(this.#first)];
      this.#first = 0;
      this.#trim();
    }
    this.#rest();
  }

  /** Nothing is tried for a while that doubles with each failure; several that fail together count once. */
  #rest(): void {
    if (this.#pause !== undefined) return;
    const { clock, random } = this.#options;
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures);
    this.#failures++;
    this.#pause = clock.setTimer(longest * (0.5 + random.next() / 2), () => {
      this.#pause = undefined;
      this.#pump();
    });
  }

  #free(batch: readonly Waiting[]): void {
    for (const { event } of batch) this.#bytes -= event.bytes;
  }
}
