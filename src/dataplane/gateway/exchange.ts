import { Framing, HeadFault, type RequestHead, type ResponseHead } from "../../kernel/http1/index.js";
import type { Backend, Endpoint, Route } from "./balance.js";
import type { ClientConnection } from "./client-connection.js";
import {
  type AnswerRead,
  type Arrived,
  answerLines,
  describeUnavailable,
  type Failure,
  frameAnswer,
  isEventStream,
  isRepeatable,
  isReusable,
  mayRepeat,
  NONE_TRIED,
  noteBroken,
  readAnswerHead,
  refusalOf,
  renderAnswerHead,
} from "./exchange-text.js";
import { ExchangeTimes } from "./exchange-times.js";
import { Hedge, type Rival } from "./hedge.js";
import type { KnownRequest } from "./known-heads.js";
import { RequestBody } from "./request-body.js";
import { type Session, sessionIn } from "./sessions.js";
import { type Copies, copiesOf } from "./shadow-copies.js";
import type { UpstreamConnection, UpstreamUser } from "./upstream.js";

// Below this, head and body go out as one string in one write; above, copying costs more than a second write.
const JOIN_BYTES = 16_384;

/** One request and its answer: chooses a backend, relays both ways, tries again where that is safe. */
export class Exchange implements UpstreamUser {
  readonly #client: ClientConnection;
  readonly #known: KnownRequest;
  readonly #head: RequestHead;
  readonly #route: Route;
  readonly #request: RequestBody;
  readonly #times: ExchangeTimes;
  #response: Framing | undefined;
  #answer: ResponseHead | undefined;
  #backend: Backend | undefined;
  #endpoint: Endpoint | undefined;
  #upstream: UpstreamConnection | undefined;
  #tried: readonly Endpoint[] = NONE_TRIED;
  #attempts = 0;
  /** The beginning of a response head. */
  #partial = "";
  #isTunnel = false;
  #isOver = false;
  #keepClient = false;
  #hasUpgrade: boolean;
  readonly #session: Session | undefined;
  #hedge: Hedge | undefined;
  #copies: Copies | undefined;

  constructor(client: ClientConnection, known: KnownRequest, route: Route) {
    this.#client = client;
    this.#known = known;
    this.#head = known.head;
    this.#route = route;
    this.#times = new ExchangeTimes(client.core, route.table.timeouts);
    const { connectionUpgrade, upgrade, rest } = known.head.fields;
    this.#request = new RequestBody(known.head.fields, route.table.maxBodyBytes, client.core.limits.replayBytes);
    this.#session = sessionIn(rest, route.table.affinity);
    route.begun++;
    route.usedAt = client.core.routing.turn;
    this.#hasUpgrade = connectionUpgrade && upgrade !== "" && !/h2c/i.test(upgrade) && this.#request.isAbsent;
  }

  /** Begins with the bytes that came along with the head. */
  start({ chunk, length, text, bodyStart }: Arrived): void {
    // The usual case: everything is here in one small piece, and its text is already made.
    const isJoined = bodyStart < length && text.length === length && length <= JOIN_BYTES;
    const used = this.#takeBody(chunk, bodyStart, length, isJoined ? text : undefined);
    if (used < 0) return;
    this.#attempt(isJoined && used > 0 ? text.slice(bodyStart, bodyStart + used) : undefined);
    if (this.#route.shadows.length > 0 && this.#backend !== undefined && !this.#hasUpgrade)
      this.#copies = copiesOf(this.#route, this.#client, { head: this.#head, request: this.#request }, this.#backend);
  }

  /** How many bytes belong to the body; the rest stays with the client connection. -1: the request was refused. */
  #takeBody(chunk: Buffer, start: number, end: number, text?: string): number {
    const used = this.#request.take(chunk, start, end, text);
    const { fault } = this.#request;
    if (fault !== undefined) {
      this.#dropUpstream();
      if (this.#answer !== undefined) this.#abort();
      else this.#reply(fault.status, fault.reason, fault.message);
      return -1;
    }
    if (start + used < end) this.#client.keep(chunk.subarray(start + used, end));
    return used;
  }

  #attempt(joined: string | undefined, again?: Endpoint): void {
    const core = this.#client.core;
    const choice =
      again !== undefined && this.#backend !== undefined
        ? { backend: this.#backend, endpoint: again }
        : this.#route.choose(this.#tried, core.nowMs, this.#session);
    if (choice === undefined) {
      this.#route.unroutable++;
      this.#reply(503, "NoHealthyBackend", describeUnavailable(this.#route), 1);
      return;
    }
    this.#backend = choice.backend;
    this.#endpoint = choice.endpoint;
    this.#partial = "";
    choice.backend.stats.inFlight++;
    const upstream = choice.endpoint.pool.acquire(this, core.nowMs, again !== undefined || this.#request.isLarge);
    this.#upstream = upstream;
    this.#deadline(upstream.isConnected ? this.#route.table.timeouts.responseMs : this.#route.table.timeouts.connectMs);
    if (!upstream.isConnected && !this.#request.isDone) this.#client.pause();
    if (this.#head.fields.expectContinue && this.#attempts === 0 && this.#head.minor === 1 && !this.#request.isDone) {
      this.#client.write("HTTP/1.1 100 Continue\r\n\r\n");
    }
    this.#attempts++;
    this.#sendHead(upstream, choice.backend, joined);
    const isHedged = this.#route.table.hedge !== undefined && this.#attempts === 1;
    if (isHedged && this.#request.isDone && !this.#hasUpgrade && isRepeatable(this.#route, this.#head))
      this.#planHedge();
  }

  #planHedge(): void {
    this.#hedge = new Hedge(this.#route, this.#client.core, {
      waitsFor: () => (this.#isOver || this.#answer !== undefined ? undefined : this.#endpoint),
      send: (upstream, backend) => this.#sendHead(upstream, backend, undefined),
      won: (rival, buffer, length) => {
        this.#promote(rival);
        return this.onData(buffer, length);
      },
    });
  }

  /** A second attempt takes the place of the first. */
  #promote(rival: Rival): void {
    this.#dropUpstream();
    if (this.#backend !== undefined) this.#backend.stats.inFlight--;
    this.#backend = rival.choice.backend;
    this.#endpoint = rival.choice.endpoint;
    this.#partial = "";
    this.#upstream = rival.handOver(this);
  }

  #sendHead(upstream: UpstreamConnection, backend: Backend, joined: string | undefined): void {
    const to = { route: this.#route, backend, isUpgrade: this.#hasUpgrade };
    const lines = this.#known.linesFor(this.#client, to);
    upstream.write(joined === undefined ? lines : lines + joined, "latin1");
    if (joined === undefined) for (const piece of this.#request.replay ?? []) upstream.write(piece, "latin1");
  }

  onClientData(chunk: Buffer): void {
    const upstream = this.#upstream;
    if (this.#isTunnel) {
      this.#deadline(this.#times.idleMs);
      if (upstream?.write(Buffer.from(chunk)) === false) this.#client.pause();
      return;
    }
    if (this.#request.isDone || upstream === undefined) {
      this.#client.keep(chunk);
      return;
    }
    const used = this.#takeBody(chunk, 0, chunk.length);
    if (used < 0) return;
    if (this.#request.isLarge && upstream.isConnected) this.#request.forget();
    const { responseMs, idleMs } = this.#route.table.timeouts;
    this.#deadline(this.#request.isDone && this.#answer === undefined ? responseMs : idleMs);
    const piece = Buffer.from(chunk.subarray(0, used));
    if (!upstream.write(piece)) this.#client.pause();
    this.#copies?.add(piece, this.#request.isDone);
  }

  onConnected(): void {
    this.#deadline(this.#request.isDone ? this.#route.table.timeouts.responseMs : this.#route.table.timeouts.idleMs);
    if (!this.#request.isDone) this.#client.resume();
  }

  onDrain(): void {
    this.#client.resume();
  }

  onClientDrain(): void {
    this.#deadline(this.#times.idleMs);
    this.#upstream?.resume();
  }

  onData(buffer: Buffer, length: number): boolean {
    if (this.#isTunnel) {
      this.#deadline(this.#times.idleMs);
      return this.#client.write(Buffer.from(buffer.subarray(0, length)));
    }
    if (this.#response !== undefined) return this.#relayBody(buffer, 0, length);
    const known = this.#upstream?.pool.answer;
    const read = readAnswerHead(this.#partial, { buffer, length, known }, (interim) => {
      if (this.#head.minor === 1) this.#client.write(interim);
    });
    if (typeof read === "string") this.#partial = read;
    else if (read instanceof HeadFault) this.#failed({ kind: "malformed", detail: read.message });
    else return this.#begin(read);
    return true;
  }

  #begin(read: AnswerRead): boolean {
    const { answer, client } = { answer: read.answer, client: this.#client };
    const framing = this.#frame(answer);
    if (framing === undefined) {
      this.#failed({ kind: "malformed", detail: "it switched protocols unasked, or sent chunks to HTTP/1.0" });
      return true;
    }
    const refusal = answer.status < 400 ? undefined : refusalOf(answer, this.#route.table.retry.statuses);
    this.#partial = "";
    if (refusal !== undefined && this.#route.hasOther(this.#endpoint) && this.#canRepeat(refusal)) {
      this.#failed(refusal);
      return true;
    }
    this.#answer = answer;
    this.#response = framing;
    this.#request.forget();
    this.#hedge?.end();
    this.#times.isStream = this.#isTunnel || (framing.kind !== "length" && isEventStream(answer));
    if (this.#endpoint !== undefined)
      this.#route.onAnswer(this.#endpoint, answer.status, this.#client.core.clock.monotonicMs());
    this.#keepClient =
      client.wantsKeepAlive(this.#head) && framing.kind !== "close" && !this.#isTunnel && this.#request.isDone;
    const mode = this.#isTunnel ? "upgrade" : this.#keepClient ? "keep" : "close";
    const by = { route: this.#route.table, session: this.#session, backend: this.#backend, endpoint: this.#endpoint };
    const headText = renderAnswerHead(answer, mode, this.#head.minor, answerLines(by, client.listener.isSecure));
    const bodyStart = read.end + 4;
    const rest = read.text.length - bodyStart;
    if (rest === 0) return this.#afterWrite(client.write(headText));
    const start = bodyStart + read.offset;
    if (rest > JOIN_BYTES || this.#isTunnel) {
      client.write(headText);
      return this.#isTunnel
        ? client.write(Buffer.from(read.buffer.subarray(start, read.length)))
        : this.#relayBody(read.buffer, start, read.length);
    }
    const used = framing.consume(read.buffer, start, read.length);
    const isFlowing = client.write(headText + read.text.slice(bodyStart, bodyStart + used));
    return this.#afterWrite(isFlowing, start + used < read.length);
  }

  #frame(answer: ResponseHead): Framing | undefined {
    if (answer.status !== 101) return frameAnswer(answer, this.#head);
    if (!this.#hasUpgrade) return undefined;
    this.#isTunnel = true;
    this.#times.isStream = true;
    this.#client.resume();
    return new Framing("close");
  }

  #relayBody(buffer: Buffer, start: number, end: number): boolean {
    const framing = this.#response;
    if (framing === undefined) return true;
    const used = framing.consume(buffer, start, end);
    const piece = buffer.subarray(start, start + used);
    const isFlowing = used === 0 || this.#client.writeCopy(piece, used <= JOIN_BYTES);
    return this.#afterWrite(isFlowing, start + used < end);
  }

  #afterWrite(isFlowing: boolean, hasExtra = false): boolean {
    const framing = this.#response;
    if (framing === undefined) return true;
    if (framing.isBroken) {
      this.#cut("the chunked body is malformed");
      return true;
    }
    if (framing.isDone) this.#complete(hasExtra);
    else this.#deadline(this.#times.idleMs);
    return isFlowing || framing.isDone;
  }

  /** The answer is whole. */
  #complete(hasExtra: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { upstream, answer } = { upstream: this.#upstream, answer: this.#answer };
    this.#upstream = undefined;
    this.#copies?.answered({ status: answer?.status ?? 0, tookMs: this.#times.passedMs });
    this.#account(answer?.status ?? 0);
    if (upstream !== undefined && answer !== undefined) {
      const canReuse = this.#request.isDone && !hasExtra && isReusable(answer, this.#head);
      if (canReuse) upstream.pool.release(upstream, this.#client.core.nowMs, answer.fields.keepAliveSeconds);
      else upstream.abandon();
    }
    this.#client.finish(this.#keepClient && this.#request.isDone);
  }

  #account(status: number): void {
    const stats = this.#backend?.stats;
    if (stats === undefined) return;
    stats.inFlight--;
    this.#route.usedAt = this.#client.core.routing.turn;
    stats.record(status, this.#times.passedMs);
    this.#backend = undefined;
  }

  onEnd(): void {
    if (this.#isTunnel) this.#client.closeSoon();
    else if (this.#response?.kind === "close") this.#complete(true);
    else this.#upstreamLost("the backend closed the connection");
  }

  /** The backend is frozen: what waits for it and may be sent twice goes elsewhere; the rest keeps waiting for its deadline. */
  onSilence(owner: object, reason: string): void {
    const failure: Failure = { kind: "silent", detail: reason };
    if (owner !== this.#endpoint || this.#answer !== undefined || !this.#canRepeat(failure)) return;
    if (this.#route.hasOther(this.#endpoint)) this.#failed(failure);
  }

  onClosed(error: Error | undefined): void {
    if (this.#isOver) return;
    if (this.#isTunnel || this.#response?.kind === "close") {
      this.#isOver = true;
      this.#upstream = undefined;
      this.#account(this.#answer?.status ?? 0);
      if (error === undefined) this.#client.closeSoon();
      else this.#client.destroy();
      return;
    }
    this.#upstreamLost(error === undefined ? "the backend closed the connection" : error.message);
  }

  #upstreamLost(detail: string): void {
    if (this.#isOver) return;
    if (this.#answer !== undefined) {
      this.#cut(detail);
      return;
    }
    this.#failed({ kind: this.#upstream?.isConnected === false ? "connect" : "closed", detail });
  }

  /** The attempt ended before an answer began: tries another backend if that cannot do harm, else answers 502 or 504. */
  #failed(failure: Failure): void {
    const upstream = this.#upstream;
    const { endpoint, backend } = { endpoint: this.#endpoint, backend: this.#backend };
    const wasReused = upstream !== undefined && upstream.uses > 0;
    const isStale = wasReused && failure.kind === "closed" && this.#partial === "" && endpoint?.isHealthy === true;
    this.#dropUpstream();
    if (endpoint === undefined || backend === undefined) return;
    backend.stats.inFlight--;
    if (failure.kind === "status") {
      this.#route.onAnswer(endpoint, 500, this.#client.core.clock.monotonicMs());
    } else if (!isStale) {
      backend.stats.failures++;
      endpoint.blame(failure.detail, failure.kind === "connect", this.#client.core.clock.monotonicMs());
    }
    const rival = this.#hedge?.take();
    if (rival !== undefined) {
      backend.stats.retries++;
      backend.stats.inFlight++;
      this.#promote(rival);
      return;
    }
    if (this.#canRepeat(failure)) {
      backend.stats.retries++;
      // A kept connection that the backend had just given up says nothing about the backend: the same one is asked again.
      if (isStale) this.#attempt(undefined, endpoint);
      else {
        this.#tried = [...this.#tried, endpoint];
        this.#backend = undefined;
        this.#attempt(undefined);
      }
      return;
    }
    const status = failure.kind === "timeout" ? 504 : 502;
    backend.stats.record(status, this.#times.passedMs);
    this.#backend = undefined;
    const message = `backend "${backend.table.name}" at ${endpoint.address}: ${failure.detail}`;
    this.#reply(status, failure.kind === "timeout" ? "BackendTimeout" : "BackendFailed", message, 1);
  }

  #canRepeat(failure: Failure): boolean {
    if (this.#request.replay === undefined || this.#attempts > this.#route.table.retry.attempts) return false;
    return mayRepeat(failure, this.#partial === "" && isRepeatable(this.#route, this.#head));
  }

  #cut(detail: string): void {
    this.#countFailure(detail);
    this.#dropUpstream();
    this.#abort();
  }

  /** An answer broke off: too late for another attempt. */
  #countFailure(detail: string): void {
    if (this.#backend !== undefined) noteBroken(this.#client.core.log, this.#route, this.#backend, detail);
  }

  onDeadline(): void {
    const { timeouts } = this.#route.table;
    if (this.#times.isLate && this.#answer === undefined) {
      this.#hedge?.end();
      this.#attempts = Number.MAX_SAFE_INTEGER;
      const detail = `not answered within the ${timeouts.requestMs} ms that a request may take`;
      this.#failed({ kind: "timeout", detail });
    } else if (this.#answer !== undefined || (!this.#request.isDone && this.#upstream?.isConnected === true)) {
      this.#countFailure("idle for too long");
      this.#dropUpstream();
      if (this.#answer !== undefined) this.#abort();
      else this.#reply(408, "RequestTimeout", `no more of the request body came within ${timeouts.idleMs} ms`);
    } else if (this.#upstream?.isConnected === false) {
      this.#failed({ kind: "connect", detail: `no connection within ${timeouts.connectMs} ms` });
    } else this.#failed({ kind: "timeout", detail: `no answer within ${timeouts.responseMs} ms` });
  }

  onClientEnd(): void {
    if (this.#isTunnel) this.#upstream?.end();
    // A client that only ends its sending side cannot be told from one that is gone; work for nobody would be the worse mistake.
    else this.#client.destroy();
  }

  onClientGone(): void {
    if (this.#isOver) return;
    this.#hedge?.end();
    this.#copies?.answered(undefined);
    if (!this.#isTunnel) this.#client.core.totals.clientAborts++;
    this.#dropUpstream();
    this.#account(this.#isTunnel ? 101 : 499);
    this.#isOver = true;
  }

  /** An answer that has begun and cannot be finished: cutting the connection is the only way to say so. */
  #abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#copies?.answered(undefined);
    this.#account(this.#answer?.status ?? 502);
    this.#client.destroy();
  }

  #reply(status: number, reason: string, message: string, retryAfterSeconds?: number): void {
    this.#isOver = true;
    this.#hedge?.end();
    this.#copies?.answered({ status, tookMs: this.#times.passedMs });
    if (this.#backend !== undefined) this.#account(status);
    const reply = { status, reason, message, route: this.#route.table.id, retryAfterSeconds };
    this.#client.reply(reply, this.#head, this.#request.isDone);
  }

  #dropUpstream(): void {
    this.#upstream?.abandon();
    this.#upstream = undefined;
  }

  #deadline(afterMs: number): void {
    this.#client.deadlineMs = this.#times.dueMs(afterMs);
  }
}
