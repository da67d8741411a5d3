import {
  type Duplex,
  type Transport,
  type TransportRequest,
  type TransportResponse,
  UnavailableError,
} from "../../src/kernel/client/index.js";
import type { Clock, Random } from "../../src/kernel/clock/index.js";
import { type Answer, failure, type SimulatedMember } from "./member.js";

/** How a way to a member is when nothing is wrong. */
export interface Weather {
  readonly latencyMs: number;
  /** Added by chance, up to this. */
  readonly jitterMs: number;
  /** Share of exchanges of which the request or the answer is lost. */
  readonly loss: number;
}

/** One life of the hub's controllers; what is killed sends and hears nothing any more. */
export interface Life {
  isAlive: boolean;
  /** It cannot reach the hub's API. */
  isDeaf: boolean;
  /** Its controllers are at work. */
  isLeading: boolean;
  readonly token: (member: string) => string;
}

/** What is wrong with a way: silence (nothing arrives, nobody says so), or nobody listens. */
export type Outage = "silent" | "refused";

/** The way between the hub and one member, both directions, on a virtual clock. */
export class Link {
  readonly member: SimulatedMember;
  weather: Weather;
  outage: Outage | undefined;
  /** Share of answers that are no answers: errors, half of one, something else. */
  wrong = 0;
  /** Added to each way. */
  delayMs = 0;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #gridMs: number;
  readonly #streams = new Set<Stream>();

  constructor(options: { member: SimulatedMember; clock: Clock; random: Random; weather: Weather; gridMs: number }) {
    this.member = options.member;
    this.weather = options.weather;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#gridMs = options.gridMs;
  }

  /** A client's way in. */
  transport(life: Life): Transport {
    return {
      request: (request) => this.#request(request, life),
      upgrade: (): Promise<Duplex> => Promise.reject(new UnavailableError("a simulated member has no streams")),
      close: async () => {},
    };
  }

  cut(outage: Outage): void {
    this.outage = outage;
    if (outage === "refused") for (const stream of this.#streams) stream.break("ECONNRESET");
  }

  /** After a short outage the connections go on; after a long one they are found dead. */
  heal(keepsStreams: boolean): void {
    this.outage = undefined;
    for (const stream of this.#streams) {
      if (keepsStreams) stream.flush();
      else stream.break("ECONNRESET");
    }
  }

  /** Ends what a killed life had open. */
  drop(life: Life): void {
    for (const stream of this.#streams) if (stream.life === life) stream.break("the hub was killed");
  }

  async #request(request: TransportRequest, life: Life): Promise<TransportResponse> {
    request.signal?.throwIfAborted();
    if (!life.isAlive) throw new UnavailableError("the hub was killed");
    const isLost = this.#random.next() < this.weather.loss;
    const isLostOnTheWay = isLost && this.#random.next() < 0.5;
    await this.#travel(request.signal);
    if (this.outage === "refused") throw broken("ECONNREFUSED");
    if (this.outage === "silent" || isLostOnTheWay) return silence(request.signal);
    if (/[?&]watch=true/.test(request.path)) return this.#watch(request, life);
    const wrong = this.#random.next() < this.wrong ? this.#random.int(WRONG.length * 2) : undefined;
    // Something before the member answers in its place, or spoils what it answered.
    if (wrong !== undefined && wrong < WRONG.length) return this.#arrive(WRONG[wrong]?.("") ?? BUSY, request.signal);
    const answer = this.member.handle({
      method: request.method,
      path: request.path,
      body: typeof request.body === "string" ? request.body : "",
      contentType: request.headers?.["content-type"] ?? "",
      token: life.token(this.member.name),
    });
    if (isLost) return silence(request.signal);
    if (wrong !== undefined) return this.#arrive(WRONG[wrong - WRONG.length]?.(answer.body) ?? BUSY, request.signal);
    return this.#arrive(answer, request.signal, life);
  }

  async #arrive(answer: Answer, signal: AbortSignal | undefined, life?: Life): Promise<TransportResponse> {
    await this.#travel(signal);
    if (this.outage === "refused") throw broken("ECONNRESET");
    if (this.outage === "silent") return silence(signal);
    if (life?.isAlive === false) throw new UnavailableError("the hub was killed");
    if (answer.receipt !== undefined) answer.receipt.isHeard = true;
    return responseOf(answer);
  }

  async #watch(request: TransportRequest, life: Life): Promise<TransportResponse> {
    const stream = new Stream(this, life, (send) => this.#clock.setTimer(this.#untilMs(this.#tripMs()), send));
    const opened = this.member.watch(request.path, life.token(this.member.name), stream);
    if (typeof opened !== "function") return this.#arrive(opened, request.signal, life);
    this.#streams.add(stream);
    stream.onEnd = () => {
      opened();
      this.#streams.delete(stream);
    };
    request.signal?.addEventListener("abort", () => stream.fail(request.signal?.reason), { once: true });
    await this.#travel(request.signal);
    return { status: 200, headers: {}, body: stream };
  }

  #tripMs(): number {
    const { latencyMs, jitterMs } = this.weather;
    return (latencyMs + this.#random.next() * jitterMs) / 2 + this.delayMs;
  }

  /** Everything happens on a grid, so that a step of time moves many. */
  #untilMs(delayMs: number): number {
    const nowMs = this.#clock.monotonicMs();
    return Math.max(this.#gridMs, Math.ceil((nowMs + delayMs) / this.#gridMs) * this.#gridMs - nowMs);
  }

  #travel(signal: AbortSignal | undefined): Promise<void> {
    return this.#clock.sleep(this.#untilMs(this.#tripMs()), signal);
  }
}

/** What arrives of a watch, in order. */
class Stream implements AsyncIterable<Uint8Array> {
  readonly life: Life;
  onEnd: () => void = () => {};
  readonly #link: Link;
  readonly #later: (send: () => void) => void;
  /** Sent and not arrived yet. */
  #sent: string[] = [];
  #arrived: string[] = [];
  #isOnTheWay = false;
  #isEnding = false;
  #end: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(link: Link, life: Life, later: (send: () => void) => void) {
    this.#link = link;
    this.life = life;
    this.#later = later;
  }

  push(line: string): void {
    this.#sent.push(line);
    this.#send();
  }

  end(): void {
    this.#isEnding = true;
    this.#send();
  }

  /** What was held back goes on. */
  flush(): void {
    this.#send();
  }

  break(why: string): void {
    this.fail(broken(why));
  }

  fail(error: unknown): void {
    this.#finish({ error });
  }

  #send(): void {
    if (this.#isOnTheWay || this.#end !== undefined || (this.#sent.length === 0 && !this.#isEnding)) return;
    this.#isOnTheWay = true;
    this.#later(() => {
      this.#isOnTheWay = false;
      if (this.#link.outage !== undefined) return;
      this.#arrived.push(...this.#sent.splice(0));
      if (this.#isEnding) this.#finish({});
      this.#wake?.();
    });
  }

  #finish(end: { readonly error?: unknown }): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.onEnd();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        if (this.#arrived.length > 0 && this.life.isAlive) yield Buffer.from(`${this.#arrived.splice(0).join("\n")}\n`);
        else if (this.#end !== undefined) {
          if ("error" in this.#end) throw this.#end.error;
          return;
        } else
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
      }
    } finally {
      this.#finish({});
    }
  }
}

const BUSY: Answer = { ...failure(429, "TooManyRequests", "too many requests"), headers: { "retry-after": "1" } };
const WRONG: readonly ((body: string) => Answer)[] = [
  () => failure(500, "InternalError", "etcdserver: request timed out"),
  () => BUSY,
  (body) => ({ status: 200, body: body.slice(0, Math.floor(body.length / 2)) || '{"kind":"Lis' }),
  () => ({ status: 200, body: "<html><body>It works!</body></html>" }),
  () => ({ status: 502, body: "<html>502 Bad Gateway</html>" }),
];

function broken(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** Nobody ever answers. */
function silence(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal?.aborted === true) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function responseOf({ status, body, headers }: Answer): TransportResponse {
  return {
    status,
    headers: { "content-type": "application/json", ...headers },
    body: (async function* () {
      if (body !== "") yield Buffer.from(body);
    })(),
  };
}
