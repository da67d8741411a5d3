import type { ClientHttp2Stream } from "node:http2";
import type { Timer } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import type { Endpoint } from "./balance.js";
import type { GatewayCore } from "./core.js";
import type { Check, Outcome } from "./health.js";

const PATH = "/grpc.health.v1.Health/Check";
/** HealthCheckResponse.ServingStatus SERVING. */
const SERVING = 1;
const UNIMPLEMENTED = "12";

/** One check by gRPC's own health protocol; a server that does not know it is alive by saying so. */
export class GrpcProbe implements Check {
  readonly #core: GatewayCore;
  readonly #endpoint: Endpoint;
  readonly #service: string;
  readonly #done: (outcome: Outcome) => void;
  #timer: Timer | undefined;
  #stream: ClientHttp2Stream | undefined;
  #isOver = false;

  /** `service` is asked for by name; empty: the server as a whole. */
  constructor(core: GatewayCore, endpoint: Endpoint, service: string, done: (outcome: Outcome) => void) {
    this.#core = core;
    this.#endpoint = endpoint;
    this.#service = service;
    this.#done = done;
  }

  start(): void {
    const { health } = this.#endpoint.table;
    this.#timer = this.#core.clock.setTimer(health.timeoutMs, () =>
      this.#finish({
        isAlive: false,
        reason: `no answer to the health check within ${health.timeoutMs} ms`,
        isSilence: true,
      }),
    );
    this.#ask().catch((error: unknown) => this.#fail(messageOf(error)));
  }

  async #ask(): Promise<void> {
    const session = await this.#endpoint.pool.http2Session();
    if (this.#isOver) return;
    const { host } = this.#endpoint.table;
    const stream = session.request({
      ":method": "POST",
      ":path": PATH,
      ...(host === undefined ? {} : { ":authority": host }),
      "content-type": "application/grpc",
      te: "trailers",
    });
    this.#stream = stream;
    let body = Buffer.alloc(0);
    let status: string | undefined;
    const note = (headers: Readonly<Record<string, unknown>>): void => {
      const value = headers["grpc-status"];
      if (typeof value === "string") status = value;
    };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("data", (chunk: Buffer) => {
      if (body.length < 1024) body = Buffer.concat([body, chunk]);
    });
    stream.on("error", (error) => this.#fail(error.message));
    stream.on("close", () => this.#finish(this.#judge(status, body)));
    stream.end(requestFor(this.#service));
  }

  #judge(status: string | undefined, body: Buffer): Outcome {
    if (status === UNIMPLEMENTED) return { isAlive: true };
    if (status === undefined)
      return { isAlive: false, reason: "the health check got no gRPC answer", isSilence: false };
    if (status !== "0") return { isAlive: false, reason: `the health check answered ${status}`, isSilence: false };
    const serving = servingStatusIn(body);
    if (serving === SERVING) return { isAlive: true };
    return { isAlive: false, reason: `the server says that it is not serving (${serving})`, isSilence: false };
  }

  #fail(reason: string): void {
    this.#finish({ isAlive: false, reason, isSilence: false });
  }

  cancel(): void {
    this.#finish({ isAlive: true });
  }

  #finish(outcome: Outcome): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    this.#stream?.close();
    this.#done(outcome);
  }
}

/** A gRPC message with field 1 set to the service's name. */
function requestFor(service: string): Buffer {
  const name = Buffer.from(service).subarray(0, 127);
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Field 1 of the answer, a small number; 0 when it is absent. */
function servingStatusIn(body: Buffer): number {
  return body.length >= 7 && body[5] === 0x08 ? (body[6] ?? 0) : 0;
}
