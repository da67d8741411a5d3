/** Following the server's own HTTP requests. */
import type { Http1Answer, Http1Request, RequestFollower } from "../../../kernel/http1/index.js";
import { Collector } from "./collector.js";
import type { Exchange, PayloadLog } from "./log.js";

/** One request that is followed; its answer is told of once. Plain literals, nothing spread: that would be made old at once. */
class FollowedRequest implements RequestFollower {
  readonly #exchange: Exchange;
  readonly #request: Http1Request;
  isAnswered = false;

  constructor(exchange: Exchange, request: Http1Request) {
    this.#exchange = exchange;
    this.#request = request;
  }

  onBody(body: Buffer): void {
    const request = this.#request;
    const [type, coding] = [request.header("content-type"), request.header("content-encoding")];
    this.#exchange.request({ body, type, coding, isCut: false });
  }

  onAnswer({ status, type = "application/json", headers, body }: Http1Answer, isCut: boolean): void {
    const whole = typeof body === "string" || body instanceof Uint8Array ? body : "";
    this.#exchange.response({ body: whole, type, coding: headers?.["content-encoding"], isCut }, { http: status });
  }
}

/** Follows the requests that HTTP handlers answer. */
export class HttpFollower {
  readonly #log: PayloadLog;

  constructor(log: PayloadLog) {
    this.#log = log;
  }

  /** Before the request is answered. */
  begin(request: Http1Request): void {
    request.follower = new FollowedRequest(
      this.#log.begin((name) => request.header(name)),
      request,
    );
  }

  /** The request's answer, whatever it says; what is to be sent in its place. */
  end(request: Http1Request, answer: Http1Answer): Http1Answer {
    const { follower } = request;
    if (!(follower instanceof FollowedRequest) || follower.isAnswered) return answer;
    follower.isAnswered = true;
    const { body } = answer;
    if (typeof body === "string" || body instanceof Uint8Array) {
      follower.onAnswer(answer, false);
      return answer;
    }
    const whole = gather(body, this.#log, (bytes, isCut) => follower.onAnswer({ ...answer, body: bytes }, isCut));
    return { ...answer, body: whole };
  }
}

/** Passes pieces on and keeps copies, as long as they are not too many; `done` is told at the end, also of a stream that is broken off. */
async function* gather(
  pieces: AsyncIterable<string | Uint8Array>,
  log: PayloadLog,
  done: (body: Buffer, isCut: boolean) => void,
): AsyncGenerator<string | Uint8Array> {
  const collector = new Collector(log.budget);
  let isWhole = false;
  try {
    for await (const piece of pieces) {
      collector.add(piece);
      yield piece;
    }
    isWhole = true;
  } finally {
    const body = collector.take();
    if (body === undefined) log.skip();
    done(body ?? Buffer.alloc(0), body === undefined || !isWhole);
  }
}
