import {
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { Timer } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import type { Choice, Endpoint, Route } from "./balance.js";
import type { GatewayCore } from "./core.js";
import { describeUnavailable, isIdempotent } from "./exchange-text.js";
import { Gate, isNoLoad } from "./gate.js";
import { Http2Copies, statusOfCall } from "./http2-copies.js";
import type { Http2Request } from "./http2-over-http1.js";
import { cookieLine, type Session, sessionIn } from "./sessions.js";

/** Fields that belong to one connection (RFC 9113 8.2.2). */
const NOT_PASSED = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host"]);
/** Codes with which a backend says that it has not begun with the request (RFC 9113 8.7). */
const UNTOUCHED: ReadonlySet<number> = new Set([constants.NGHTTP2_REFUSED_STREAM]);

/** One stream of an HTTP/2 client to a backend that speaks HTTP/2, gRPC above all: both directions flow at once, trailers pass. */
export class Http2Exchange {
  readonly #core: GatewayCore;
  readonly #request: Http2Request;
  readonly #route: Route;
  readonly #client: ServerHttp2Stream;
  readonly #session: Session | undefined = undefined;
  readonly #startedMs: number;
  #tried: readonly Endpoint[] = [];
  #choice: Choice | undefined;
  #upstream: ClientHttp2Stream | undefined;
  #timer: Timer | undefined;
  /** Bytes of the request went out: it cannot be begun again. */
  #isSent = false;
  #isAnswered = false;
  #isOver = false;
  #copies: Http2Copies | undefined;
  /** Only where the route holds requests. */
  #gate: Gate | undefined;
  /** What the client was given, for copies to be held against. */
  #given: IncomingHttpHeaders | undefined;
  #givenTrailers: IncomingHttpHeaders = {};

  constructor(core: GatewayCore, request: Http2Request & { readonly route: Route }) {
    this.#core = core;
    this.#request = request;
    this.#route = request.route;
    this.#client = request.stream;
    this.#startedMs = core.clock.monotonicMs();
    const { table } = request.route;
    if (table.affinity !== undefined || table.pin !== undefined)
      this.#session = sessionIn(linesOf(request.headers), table);
  }

  start(): void {
    this.#route.begun++;
    this.#client.on("close", () => this.#onClientGone());
    this.#attempt();
  }

  #attempt(): void {
    if (this.#route.isActivated && this.#ask()) return;
    const { nowMs } = this.#core;
    const isLoad = this.#route.backends.length < 2 || !isNoLoad((name) => this.#fieldOf(name));
    const choice = isLoad
      ? this.#route.choose(this.#tried, nowMs, this.#session)
      : this.#route.peek(this.#tried, nowMs, this.#session);
    if (choice !== undefined) this.#go(choice);
    else {
      this.#route.unroutable++;
      this.#route.usedAt = this.#core.routing.turn;
      this.#refuse(503, "NoHealthyBackend", describeUnavailable(this.#route, this.#session));
    }
  }

  #fieldOf(name: string): string | undefined {
    const value = this.#request.headers[name];
    return value === undefined ? undefined : String(value);
  }

  /** Where the route holds requests: asks for a pod. False: none is to be asked for. */
  #ask(): boolean {
    this.#gate ??= new Gate({
      route: this.#route,
      fieldOf: (name) => this.#fieldOf(name),
      granted: (choice) => this.#go(choice),
      refused: ({ status, reason, message, retryAfterSeconds }) =>
        this.#refuse(status, reason, message, retryAfterSeconds),
    });
    const gate = this.#gate;
    const isAsked = gate.ask(this.#tried);
    if (gate.isWaiting) this.#wait(gate.waitMs, () => gate.expire());
    return isAsked;
  }

  #go(choice: Choice): void {
    this.#choice = choice;
    this.#tried = [...this.#tried, choice.endpoint];
    choice.backend.stats.inFlight++;
    const { connectMs } = this.#route.table.timeouts;
    this.#wait(connectMs, () => this.#failed(`no connection within ${connectMs} ms`, true));
    choice.endpoint.pool
      .http2Session()
      .then((session) => {
        if (this.#choice !== choice || this.#isOver) return;
        this.#beginCopies(choice.backend.table.name);
        this.#send(session.request(this.#headersFor(choice)));
      })
      .catch((error: unknown) => {
        if (this.#choice === choice) this.#failed(messageOf(error), true);
      });
  }

  #headersFor({ backend }: Choice): OutgoingHttpHeaders {
    return this.#headersTo(backend.table.host, backend.table.tls !== undefined);
  }

  #headersTo(host: string | undefined, isSecure: boolean): OutgoingHttpHeaders {
    const { headers, authority, target, address, listener } = this.#request;
    const sent: Record<string, string | string[] | undefined> = {};
    for (const [name, value] of Object.entries(headers))
      if (!name.startsWith(":") && !NOT_PASSED.has(name) && !name.startsWith("x-forwarded-")) sent[name] = value;
    const before = listener.trustForwarded ? headers["x-forwarded-for"] : undefined;
    return {
      ...sent,
      ":method": headers[":method"] ?? "POST",
      ":path": this.#route.rewriteTarget(target),
      ":scheme": isSecure ? "https" : "http",
      ":authority": host ?? authority,
      "x-forwarded-for": before === undefined ? address : `${String(before)}, ${address}`,
      "x-forwarded-host": authority,
      "x-forwarded-proto": listener.isSecure ? "https" : "http",
    };
  }

  /** Once for all attempts: nothing of the call was sent before. */
  #beginCopies(backend: string): void {
    if (this.#route.shadows.length === 0 || this.#copies !== undefined) return;
    const headersFor = (host: string | undefined, isSecure: boolean): OutgoingHttpHeaders =>
      this.#headersTo(host, isSecure);
    const copies = Http2Copies.of({ core: this.#core, route: this.#route, headersFor }, backend);
    this.#copies = copies;
    if (copies === undefined) return;
    if (this.#client.endAfterHeaders) copies.send();
    this.#client.on("data", (piece: Buffer) => copies.add(piece));
    this.#client.on("end", () => {
      if (this.#isUnbroken) copies.send();
    });
  }

  #send(upstream: ClientHttp2Stream): void {
    this.#upstream = upstream;
    const { responseMs, streamIdleMs } = this.#route.table.timeouts;
    this.#wait(responseMs, () => this.#failed(`no answer within ${responseMs} ms`, false));
    upstream.on("response", (headers) => this.#respond(headers, upstream));
    upstream.on("error", (error) => this.#onUpstreamError(upstream, error));
    upstream.on("close", () => this.#onUpstreamClosed(upstream));
    upstream.on("data", (chunk: Buffer) => {
      this.#wait(streamIdleMs, () => this.#cut());
      if (this.#client.destroyed || this.#client.write(chunk)) return;
      upstream.pause();
      this.#client.once("drain", () => upstream.resume());
    });
    if (this.#client.endAfterHeaders) {
      upstream.end();
      return;
    }
    this.#client.on("data", (chunk: Buffer) => {
      this.#isSent = true;
      if (this.#isAnswered) this.#wait(streamIdleMs, () => this.#cut());
      if (upstream.destroyed || upstream.write(chunk)) return;
      this.#client.pause();
      upstream.once("drain", () => this.#client.resume());
    });
    // What was broken off ends too; the backend must not take it for whole.
    this.#client.on("end", () => {
      if (this.#isUnbroken) upstream.end();
    });
  }

  #respond(headers: IncomingHttpHeaders, upstream: ClientHttp2Stream): void {
    if (this.#isOver || this.#client.destroyed) return;
    this.#isAnswered = true;
    this.#given = headers;
    const { streamIdleMs } = this.#route.table.timeouts;
    this.#wait(streamIdleMs, () => this.#cut());
    const status = Number(headers[":status"] ?? 502);
    this.#note(status);
    const answer: OutgoingHttpHeaders = { ":status": status, ...this.#added() };
    for (const [name, value] of Object.entries(headers))
      if (!name.startsWith(":") && !NOT_PASSED.has(name)) answer[name] = value;
    if (upstream.endAfterHeaders || upstream.readableEnded) {
      this.#client.respond(answer, { endStream: true });
      return;
    }
    // A trailer is what a gRPC call ends with; it comes after the last byte.
    this.#client.respond(answer, { waitForTrailers: true });
    const trailers: OutgoingHttpHeaders = {};
    upstream.on("trailers", (given: IncomingHttpHeaders) => {
      this.#givenTrailers = given;
      for (const [name, value] of Object.entries(given)) if (!name.startsWith(":")) trailers[name] = value;
    });
    this.#client.on("wantTrailers", () => this.#client.sendTrailers(trailers));
    upstream.on("end", () => this.#client.end());
  }

  #note(status: number): void {
    const endpoint = this.#choice?.endpoint;
    if (endpoint === undefined) return;
    this.#route.onAnswer(endpoint, status, this.#core.clock.monotonicMs());
    this.#account(status);
  }

  #added(): OutgoingHttpHeaders {
    const { nameBackend, affinity } = this.#route.table;
    const name = this.#choice?.backend.table.name.replaceAll(/[^!-~]/g, "?") ?? "";
    const token = this.#choice?.endpoint.token ?? "";
    const isKnown = affinity?.by !== "cookie" || this.#session?.value === token;
    return {
      ...(nameBackend ? { "x-argosy-backend": name } : {}),
      ...(isKnown || affinity === undefined
        ? {}
        : { "set-cookie": cookieLine(affinity, token, this.#request.listener.isSecure).slice(12, -2) }),
    };
  }

  #onUpstreamError(upstream: ClientHttp2Stream, error: Error): void {
    if (upstream !== this.#upstream || this.#isOver || this.#isAnswered) return;
    this.#failed(error.message, UNTOUCHED.has(upstream.rstCode));
  }

  #onUpstreamClosed(upstream: ClientHttp2Stream): void {
    if (upstream !== this.#upstream || this.#isOver) return;
    if (!this.#isAnswered) {
      this.#failed("the backend closed the stream", UNTOUCHED.has(upstream.rstCode));
      return;
    }
    this.#timer?.cancel();
    const code = upstream.rstCode;
    if (code !== constants.NGHTTP2_NO_ERROR && !this.#client.destroyed) this.#client.close(code);
  }

  /** The attempt ended before an answer. `isUntouched`: the backend has not seen the request. */
  #failed(detail: string, isUntouched: boolean): void {
    const { choice, upstream } = { choice: this.#choice, upstream: this.#upstream };
    if (choice === undefined || this.#isOver) return;
    this.#choice = undefined;
    this.#upstream = undefined;
    upstream?.close(constants.NGHTTP2_CANCEL);
    const { stats, table } = choice.backend;
    stats.inFlight--;
    this.#gate?.leave(0);
    stats.failures++;
    choice.endpoint.blame(detail, isUntouched, this.#core.clock.monotonicMs());
    const { retry } = this.#route.table;
    const mayRepeat = isUntouched || retry.nonIdempotent || isIdempotent(this.#request.headers[":method"] ?? "");
    if (mayRepeat && !this.#isSent && this.#tried.length <= retry.attempts && !this.#client.destroyed) {
      stats.retries++;
      this.#attempt();
      return;
    }
    stats.record(502, this.#core.clock.monotonicMs() - this.#startedMs);
    this.#refuse(502, "BackendFailed", `backend "${table.name}" at ${choice.endpoint.address}: ${detail}`);
  }

  #refuse(status: number, reason: string, message: string, retryAfterSeconds?: number): void {
    this.#isOver = true;
    this.#timer?.cancel();
    this.#gate?.leave(0);
    if (this.#client.destroyed) return;
    const isGrpc = String(this.#request.headers["content-type"] ?? "").startsWith("application/grpc");
    if (isGrpc) {
      // What gRPC clients read: an answer that is its own trailer, 14 being UNAVAILABLE.
      const said = { "grpc-status": "14", "grpc-message": encodeURIComponent(message).replaceAll("%20", " ") };
      this.#client.respond(
        { ":status": 200, "content-type": "application/grpc", "x-argosy-gateway": reason, ...said },
        { endStream: true },
      );
      return;
    }
    const body = JSON.stringify({ error: { code: status, reason, message, route: this.#route.table.id } });
    this.#client.respond({
      ":status": status,
      "content-type": "application/json",
      "x-argosy-gateway": reason,
      ...(retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) }),
    });
    this.#client.end(`${body}\n`);
  }

  #account(status: number): void {
    const stats = this.#choice?.backend.stats;
    if (stats === undefined) return;
    stats.inFlight--;
    stats.record(status, this.#core.clock.monotonicMs() - this.#startedMs);
    this.#route.usedAt = this.#core.routing.turn;
  }

  /** A stream that rested for too long. */
  #cut(): void {
    this.#upstream?.close(constants.NGHTTP2_CANCEL);
    if (!this.#client.destroyed) this.#client.close(constants.NGHTTP2_CANCEL);
  }

  #onClientGone(): void {
    if (this.#copies !== undefined) this.#tellCopies(this.#copies);
    this.#timer?.cancel();
    if (!this.#isAnswered && !this.#isOver) this.#account(499);
    this.#gate?.leave(this.#isAnswered ? 200 : 0);
    this.#isOver = true;
    this.#upstream?.close(constants.NGHTTP2_CANCEL);
  }

  get #isUnbroken(): boolean {
    return !this.#client.aborted && this.#client.rstCode === constants.NGHTTP2_NO_ERROR;
  }

  /** The client's stream is over: well, or broken off. */
  #tellCopies(copies: Http2Copies): void {
    const isWhole = this.#given !== undefined && this.#isUnbroken;
    const tookMs = this.#core.clock.monotonicMs() - this.#startedMs;
    const status = this.#given === undefined ? 0 : statusOfCall(this.#given, this.#givenTrailers);
    copies.answered(isWhole ? { status, tookMs } : undefined);
  }

  #wait(afterMs: number, onLate: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#core.clock.setTimer(afterMs, onLate);
  }
}

function linesOf(headers: IncomingHttpHeaders): string {
  return Object.entries(headers)
    .filter(([name]) => !name.startsWith(":"))
    .map(([name, value]) => `${name}: ${Array.isArray(value) ? value.join(", ") : String(value)}\r\n`)
    .join("");
}
