import { Pool } from "undici";
import { systemClock } from "../../src/kernel/clock/index.js";
import { eventually } from "./polling.js";

/** A request that was not answered as it should be. */
export interface Lost {
  /** Milliseconds after the stream began. */
  readonly atMs: number;
  readonly what: string;
}

/** Requests to one address by four clients, one after the other each, until it is stopped. */
export class Stream {
  readonly lost: Lost[] = [];
  /** Answers by backend, as the gateway names it. */
  readonly answered = new Map<string, number>();
  readonly #pool: Pool;
  readonly #workers: Promise<void>[];
  readonly #began = systemClock.monotonicMs();
  #isOver = false;

  constructor(origin: string, path: string, body: string) {
    this.#pool = new Pool(origin, { connections: 4, headersTimeout: 20_000, bodyTimeout: 20_000 });
    const headers = { "content-type": "application/json" };
    this.#workers = Array.from({ length: 4 }, async () => {
      while (!this.#isOver) {
        await this.#one({ method: "POST", path, headers, body });
        await systemClock.sleep(2);
      }
    });
  }

  get count(): number {
    return [...this.answered.values()].reduce((sum, each) => sum + each, 0);
  }

  /** Until so many more were answered. */
  async more(count: number): Promise<void> {
    const aim = this.count + count;
    const seen = () => ({ answered: Object.fromEntries(this.answered), lost: this.lost.slice(-3) });
    await eventually(`${count} more answers`, () => (this.count >= aim ? true : undefined), { seen });
  }

  /** Ends it; what was under way is answered first. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#workers);
    await this.#pool.close();
  }

  async #one(options: { method: "POST"; path: string; headers: Record<string, string>; body: string }): Promise<void> {
    const atMs = Math.round(systemClock.monotonicMs() - this.#began);
    try {
      const { statusCode, headers, body } = await this.#pool.request(options);
      const text = await body.text();
      const backend = String(headers["x-argosy-backend"]);
      if (statusCode === 200) this.answered.set(backend, (this.answered.get(backend) ?? 0) + 1);
      else this.lost.push({ atMs, what: `${statusCode} of ${backend}: ${text.slice(0, 200)}` });
    } catch (error) {
      this.lost.push({ atMs, what: String(error) });
      await systemClock.sleep(10);
    }
  }
}
