import { type Framing, HeadFault, type RequestHead, type ResponseHead } from "../../kernel/http1/index.js";
import type { Backend, Choice, Endpoint, Route } from "./balance.js";
import type { ClientConnection } from "./client-connection.js";
import type { AnswerRead, Arrived, Failure } from "./exchange-text.js";
import * as wire from "./exchange-text.js";
import { ExchangeTimes } from "./exchange-times.js";
import { type Gate, gateOf } from "./gate.js";
import { Hedge, type Rival } from "./hedge.js";
import type { KnownRequest } from "./known-heads.js";
import type { Reply } from "./replies.js";
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
  #tried: readonly Endpoint[] = wire.NONE_TRIED;
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
  /** Only where the route holds requests. */
  #gate: Gate | undefined;

  constructor(client: ClientConnection, known: KnownRequest, route: Route) {
    this.#client = client;
    this.#known = known;
    this.#head = known.head;
    this.#route = route;
    this.#times = new ExchangeTimes(client.core, route.table.timeouts);
    const { connectionUpgrade, upgrade, rest } = known.head.fields;
    this.#request = new RequestBody(known.head.fields, route.table.maxBodyBytes, client.core.limits.replayBytes);
    this.#session = sessionIn(rest, route.table);
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
  }

  /** Where the route holds requests: asks for a pod. False: none is to be asked for. */
  #ask(joined: string | undefined): boolean {
    let isNow = true;
    const granted = (choice: Choice): void => this.#go(choice, isNow ? joined : undefined);
    this.#gate ??= gateOf(this.#head, this.#route, granted, (reply) => this.#reply(reply));
    const isAsked = this.#gate.ask(this.#tried);
    isNow = false;
    if (this.#gate.isWaiting) this.#deadline(this.#gate.waitMs);
    return isAsked;
  }

  /** How many bytes belong to the body; the rest stays with the client connection. -1: the request was refused. */
  #takeBody(chunk: Buffer, start: number, end: number, text?: string): number {
    const used = this.#request.take(chunk, start, end, text);
    const { fault } = this.#request;
    if (fault !== undefined) {
      this.#dropUpstream();
      if (this.#answer !== undefined) this.#abort();
      else this.#reply(fault);
      return -1;
    }
    if (start + used < end) this.#client.keep(chunk.subarray(start + used, end));
    return used;
  }

  #attempt(joined: string | undefined, again?: Endpoint): void {
    if (again === undefined && this.#route.isActivated && this.#ask(joined)) return;
    const choice =
      again !== undefined && this.#backend !== undefined
        ? { backend: this.#backend, endpoint: again }
        : this.#known.chooseFrom(this.#route, this.#tried, this.#client.core.nowMs, this.#session);
    if (choice !== undefined) this.#go(choice, joined, again !== undefined);
    else {
      this.#route.unroutable++;
      const message = wire.describeUnavailable(this.#route, this.#session);
      this.#reply({ status: 503, reason: "NoHealthyBackend", message, retryAfterSeconds: 1 });
    }
  }

  #go(choice: Choice, joined: string | undefined, isAgain = false): void {
    const core = this.#client.core;
    this.#backend = choice.backend;
    this.#endpoint = choice.endpoint;
    this.#partial = "";
    choice.backend.stats.inFlight++;
    const upstream = choice.endpoint.pool.acquire(this, core.nowMs, isAgain || this.#request.isLarge);
    this.#upstream = upstream;
    this.#deadline(upstream.isConnected ? this.#route.table.timeouts.responseMs : this.#route.table.timeouts.connectMs);
    if (!upstream.isConnected && !this.#request.isDone) this.#client.pause();
    else this.#client.resume();
    if (this.#head.fields.expectContinue && this.#attempts === 0 && this.#head.minor === 1 && !this.#request.isDone)
      this.#client.write("HTTP/1.1 100 Continue\r\n\r\n");
    this.#attempts++;
    this.#sendHead(upstream, choice.backend, joined);
    const isHedged = this.#route.table.hedge !== undefined && this.#attempts === 1;
    if (isHedged && this.#request.isDone && !this.#hasUpgrade && wire.isRepeatable(this.#route, this.#head))
      this.#planHedge();
    if (this.#route.shadows.length > 0 && this.#attempts === 1 && !this.#hasUpgrade)
      this.#copies = copiesOf(this.#route, this.#client, { head: this.#head, request: this.#request }, choice.backend);
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
    if (this.#request.isDone || (upstream === undefined && this.#gate?.isWaiting !== true)) {
      this.#client.keep(chunk);
      return;
    }
    const used = this.#takeBody(chunk, 0, chunk.length);
    if (used < 0) return;
    if (upstream === undefined) {
      if (this.#request.isLarge && !this.#request.isDone) this.#client.pause();
      return;
    }
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
    const chunk = { buffer, length, known: this.#upstream?.pool.answer };
    const read = wire.readAnswerHead(this.#partial, chunk, (interim) => {
      if (this.#head.minor === 1) this.#client.write(interim);
    });
    if (typeof read === "string") this.#partial = read;
    else if (read instanceof HeadFault) this.#failed({ kind: "malformed", detail: read.message });
    else return this.#begin(read);
    return true;
  }

  #begin(read: AnswerRead): boolean {
    const { answer, client } = { answer: read.answer, client: this.#client };
    const framing = wire.frameAnswer(answer, this.#head, this.#hasUpgrade);
    if (framing === undefined) {
      this.#failed({ kind: "malformed", detail: "it switched protocols unasked, or sent chunks to HTTP/1.0" });
      return true;
    }
    this.#isTunnel = answer.status === 101;
    if (this.#isTunnel) client.resume();
    const refusal = answer.status < 400 ? undefined : wire.refusalOf(answer, this.#route.table.retry.statuses);
    this.#partial = "";
    if (refusal !== undefined && this.#route.hasOther(this.#endpoint) && this.#canRepeat(refusal)) {
      this.#failed(refusal);
      return true;
    }
    this.#answer = answer;
    this.#response = framing;
    this.#request.forget();
    this.#hedge?.end();
    this.#times.isStream = this.#isTunnel || (framing.kind !== "length" && wire.isEventStream(answer));
    if (this.#endpoint !== undefined)
      this.#route.onAnswer(this.#endpoint, answer.status, this.#client.core.clock.monotonicMs());
    this.#keepClient =
      client.wantsKeepAlive(this.#head) && framing.kind !== "close" && !this.#isTunnel && this.#request.isDone;
    const mode = this.#isTunnel ? "upgrade" : this.#keepClient ? "keep" : "close";
    const by = { route: this.#route.table, session: this.#session, backend: this.#backend, endpoint: this.#endpoint };
    const added = wire.answerLines(by, client.listener.isSecure);
    const headText = wire.renderAnswerHead(answer, mode, this.#head.minor, added);
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
      const canReuse = this.#request.isDone && !hasExtra && wire.isReusable(answer, this.#head);
      if (canReuse) upstream.pool.release(upstream, this.#client.core.nowMs, answer.fields.keepAliveSeconds);
      else upstream.abandon();
    }
    this.#client.finish(this.#keepClient && this.#request.isDone);
  }

  #account(status: number): void {
    const stats = this.#backend?.stats;
    if (stats === undefined) return;
    stats.inFlight--;
    this.#gate?.leave(this.#answer === undefined ? 0 : status);
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
    const [upstream, endpoint, backend] = [this.#upstream, this.#endpoint, this.#backend];
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
    const isRepeated = this.#canRepeat(failure);
    if (!isRepeated || !isStale) this.#gate?.leave(0);
    if (isRepeated) {
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
    const reply = wire.failureReply(failure, backend, endpoint);
    backend.stats.record(reply.status, this.#times.passedMs);
    this.#backend = undefined;
    this.#reply(reply);
  }

  #canRepeat(failure: Failure): boolean {
    if (this.#request.replay === undefined || this.#attempts > wire.mostAttempts(this.#route, failure)) return false;
    return wire.mayRepeat(failure, this.#partial === "" && wire.isRepeatable(this.#route, this.#head));
  }

  #cut(detail: string): void {
    wire.noteBroken(this.#client.core.log, this.#route, this.#backend, detail);
    this.#dropUpstream();
    this.#abort();
  }

  onDeadline(): void {
    if (this.#gate?.isWaiting === true) {
      this.#gate.expire();
      return;
    }
    const how = { isAnswered: this.#answer !== undefined, isSent: this.#request.isDone };
    const { isWhole, kind, message } = this.#times.lateness({ ...how, isConnected: this.#upstream?.isConnected });
    if (isWhole) this.#hedge?.end();
    if (isWhole) this.#attempts = Number.MAX_SAFE_INTEGER;
    if (kind !== "idle") this.#failed({ kind, detail: message });
    else if (how.isAnswered) this.#cut("idle for too long");
    else {
      wire.noteBroken(this.#client.core.log, this.#route, this.#backend, "idle for too long");
      this.#dropUpstream();
      this.#reply({ status: 408, reason: "RequestTimeout", message });
    }
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
    this.#gate?.leave(0);
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

  #reply(reply: Omit<Reply, "route">): void {
    this.#isOver = true;
    this.#hedge?.end();
    this.#copies?.answered({ status: reply.status, tookMs: this.#times.passedMs });
    if (this.#backend !== undefined) this.#account(reply.status);
    this.#gate?.leave(0);
    this.#client.reply({ ...reply, route: this.#route.table.id }, this.#head, this.#request.isDone);
  }

  #dropUpstream(): void {
    this.#upstream?.abandon();
    this.#upstream = undefined;
  }

  #deadline(afterMs: number): void {
    this.#client.deadlineMs = this.#times.dueMs(afterMs);
  }
}
