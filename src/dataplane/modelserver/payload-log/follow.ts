/** Following the server's own HTTP requests. */
import type { Http1Answer, Http1Request } from "../../../kernel/http1/index.js";
import { Collector } from "./collector.js";
import type { Exchange, PayloadLog } from "./log.js";

/** Follows the requests that HTTP handlers answer. */
export class HttpFollower {
  readonly #log: PayloadLog;
  readonly #open = new WeakMap<Http1Request, Exchange>();

  constructor(log: PayloadLog) {
    this.#log = log;
  }

  /** Before the request is answered. */
  begin(request: Http1Request): void {
    const exchange = this.#log.begin((name) => request.header(name));
    this.#open.set(request, exchange);
    request.onBody = (body) =>
      exchange.request({ body, type: request.header("content-type"), coding: request.header("content-encoding") });
  }

  /** The request's answer, whatever it says; what is to be sent in its place. */
  end(request: Http1Request, answer: Http1Answer): Http1Answer {
    const exchange = this.#open.get(request);
    if (exchange === undefined) return answer;
    this.#open.delete(request);
    const { status, type = "application/json", headers, body } = answer;
    const seen = { type, coding: headers?.["content-encoding"] };
    if (typeof body === "string" || body instanceof Uint8Array) {
      exchange.response({ ...seen, body }, { http: status });
      return answer;
    }
    const whole = gather(body, this.#log, (bytes, isCut) =>
      exchange.response({ ...seen, body: bytes, isCut }, { http: status }),
    );
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
