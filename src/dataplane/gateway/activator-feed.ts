import type { Clock } from "../../kernel/clock/types.js";
import type { ActivatorsReport } from "./activator-report.js";

/** Between two questions, so that many requests that meet no pod are one piece of news. */
const GATHER_MS = 10;
/** While the gateway does not answer. */
const SILENT_MS = 500;

type Handler = (report: ActivatorsReport | undefined) => void;

/** Asks the gateway what its activators count, as long as somebody wants to know: every second, and at once when a request meets no pod. */
export class ActivatorFeed {
  readonly #clock: Clock;
  readonly #read: (since: number | undefined, signal: AbortSignal) => Promise<ActivatorsReport>;
  readonly #handlers = new Set<Handler>();
  readonly #stop = new AbortController();
  #isRunning = false;

  constructor(clock: Clock, read: (since: number | undefined, signal: AbortSignal) => Promise<ActivatorsReport>) {
    this.#clock = clock;
    this.#read = read;
  }

  subscribe(handler: Handler): () => void {
    this.#handlers.add(handler);
    if (!this.#isRunning) {
      this.#isRunning = true;
      void this.#run();
    }
    return () => this.#handlers.delete(handler);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let since: number | undefined;
    while (!signal.aborted && this.#handlers.size > 0) {
      try {
        const report = await this.#read(since, signal);
        since = report.turn;
        for (const handler of this.#handlers) handler(report);
        await this.#clock.sleep(GATHER_MS, signal);
      } catch {
        since = undefined;
        if (signal.aborted) break;
        for (const handler of this.#handlers) handler(undefined);
        await this.#clock.sleep(SILENT_MS, signal).catch(() => undefined);
      }
    }
    this.#isRunning = false;
  }

  close(): void {
    this.#stop.abort();
    this.#handlers.clear();
  }
}
