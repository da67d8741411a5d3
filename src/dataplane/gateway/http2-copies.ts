import { type ClientHttp2Stream, constants, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";
import { messageOf } from "../../kernel/errors/index.js";
import type { Route } from "./balance.js";
import type { GatewayCore } from "./core.js";
import type { Compared, Shadow } from "./shadow.js";

/** What gRPC's status codes are in HTTP's words, for counting (codes that mean the server's own failure are 500 and above). */
const HTTP_OF_GRPC: ReadonlyMap<string, number> = new Map([
  ["0", 200],
  ["1", 499],
  ["3", 400],
  ["4", 504],
  ["5", 404],
  ["6", 409],
  ["7", 403],
  ["8", 429],
  ["9", 400],
  ["10", 409],
  ["11", 400],
  ["12", 501],
  ["14", 503],
  ["16", 401],
]);

/** A call's outcome as one status. `headers` are the answer's, `trailers` what came behind it. */
export function statusOfCall(headers: IncomingHttpHeaders, trailers: IncomingHttpHeaders): number {
  const status = Number(headers[":status"] ?? 0);
  const code = trailers["grpc-status"] ?? headers["grpc-status"];
  return status !== 200 || code === undefined ? status : (HTTP_OF_GRPC.get(String(code)) ?? 500);
}

/** Who gets a copy of a call, and what it looks like there. */
interface CallPlan {
  readonly core: GatewayCore;
  readonly route: Route;
  /** The head for a Host; undefined: the client's own. */
  readonly headersFor: (host: string | undefined, isSecure: boolean) => OutgoingHttpHeaders;
}

/** The copies of one call over HTTP/2. They go out when the call's own message is whole; their answers are dropped. */
export class Http2Copies {
  readonly #plan: CallPlan;
  #waiting: CallCopy[];
  #sent: readonly CallCopy[] = [];
  readonly #body: Buffer[] = [];
  #bytes = 0;

  private constructor(plan: CallPlan, shadows: readonly Shadow[]) {
    this.#plan = plan;
    this.#waiting = shadows.map((shadow) => new CallCopy(plan, shadow));
  }

  /** Those of a call that goes to a backend; undefined when nobody gets one. */
  static of(plan: CallPlan, backend: string): Http2Copies | undefined {
    const shadows = plan.route.shadows.filter((shadow) => shadow.takes(backend));
    return shadows.length === 0 ? undefined : new Http2Copies(plan, shadows);
  }

  add(piece: Buffer): void {
    this.#bytes += piece.length;
    this.#waiting = this.#waiting.filter((copy) => !copy.isTooLong(this.#bytes));
    if (this.#waiting.length > 0) this.#body.push(piece);
  }

  send(): void {
    this.#sent = this.#waiting;
    this.#waiting = [];
    const copies = this.#sent;
    setImmediate(() => {
      for (const copy of copies) copy.start(this.#plan, this.#body);
    });
  }

  /** What became of the call; undefined: nothing that copies can be held against. */
  answered(original: Compared | undefined): void {
    for (const copy of this.#waiting) copy.drop();
    this.#waiting = [];
    if (original !== undefined) for (const copy of this.#sent) copy.hold(original);
  }
}

class CallCopy {
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #core: GatewayCore;
  readonly #route: Route;
  readonly #shadow: Shadow;
  #stream: ClientHttp2Stream | undefined;
  #startedMs = 0;
  #headers: IncomingHttpHeaders | undefined;
  #trailers: IncomingHttpHeaders = {};
  #isOver = false;
  #original: Compared | undefined;
  #outcome: Compared | undefined;

  constructor({ core, route }: CallPlan, shadow: Shadow) {
    this.#core = core;
    this.#route = route;
    this.#shadow = shadow;
    shadow.inFlight++;
  }

  isTooLong(bytes: number): boolean {
    if (bytes <= this.#shadow.table.maxBodyBytes) return false;
    this.#shadow.stats.tooLarge++;
    this.#end();
    return true;
  }

  drop(): void {
    this.#shadow.stats.unfinished++;
    this.#end();
  }

  start({ headersFor }: CallPlan, body: readonly Buffer[]): void {
    const { table, stats } = this.#shadow;
    stats.copied++;
    this.#startedMs = this.#core.clock.monotonicMs();
    this.deadlineMs = this.#startedMs + table.timeoutMs;
    this.#core.timed.add(this);
    const pool = this.#shadow.nextPool();
    if (pool === undefined) {
      this.#fail("it has no address");
      return;
    }
    const headers = { ...headersFor(table.host, table.tls !== undefined), "x-argosy-shadow": table.name };
    pool
      .http2Session()
      .then((session) => {
        if (this.#isOver) return;
        const stream = session.request(headers);
        this.#stream = stream;
        stream.on("response", (given) => {
          this.#headers = given;
        });
        stream.on("trailers", (given: IncomingHttpHeaders) => {
          this.#trailers = given;
        });
        stream.on("error", (error) => this.#fail(error.message));
        stream.on("close", () => this.#finish("it closed the stream"));
        stream.resume();
        for (const piece of body) stream.write(piece);
        stream.end();
      })
      .catch((error: unknown) => this.#fail(messageOf(error)));
  }

  hold(original: Compared): void {
    this.#original = original;
    this.#compare();
  }

  onDeadline(): void {
    this.#finish(`no answer within ${this.#shadow.table.timeoutMs} ms`);
  }

  /** It ended; `otherwise` is why it failed when there was no answer. */
  #finish(otherwise: string): void {
    if (this.#isOver) return;
    if (this.#headers === undefined) {
      this.#fail(otherwise);
      return;
    }
    const tookMs = this.#core.clock.monotonicMs() - this.#startedMs;
    this.#outcome = { status: statusOfCall(this.#headers, this.#trailers), tookMs };
    this.#shadow.stats.record(this.#outcome);
    this.#compare();
    this.#end();
  }

  #compare(): void {
    if (this.#original === undefined || this.#outcome === undefined) return;
    this.#shadow.stats.compare(this.#original, this.#outcome);
    // The original may end long after whoever asks for news has heard of both.
    this.#route.usedAt = this.#core.routing.turn;
  }

  #fail(detail: string): void {
    if (this.#isOver) return;
    this.#shadow.stats.fail(detail);
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#shadow.inFlight--;
    this.#core.timed.delete(this);
    this.#route.usedAt = this.#core.routing.turn;
    if (this.#stream !== undefined && !this.#stream.closed) this.#stream.close(constants.NGHTTP2_CANCEL);
  }
}
