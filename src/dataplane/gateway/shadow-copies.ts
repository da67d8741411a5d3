import { type Framing, HeadFault, type RequestHead } from "../../kernel/http1/index.js";
import type { Backend, Route } from "./balance.js";
import type { ClientConnection } from "./client-connection.js";
import type { GatewayCore } from "./core.js";
import { type AnswerRead, frameAnswer, isReusable, readAnswerHead, renderCopyHead } from "./exchange-text.js";
import type { RequestBody } from "./request-body.js";
import type { Compared, Shadow } from "./shadow.js";
import type { UpstreamConnection, UpstreamUser } from "./upstream.js";

/** The copies of a request that just went to a backend; undefined when nobody gets one. What of its body is here is still kept. */
export function copiesOf(
  route: Route,
  client: ClientConnection,
  { head, request }: { readonly head: RequestHead; readonly request: RequestBody },
  backend: Backend,
): Copies | undefined {
  const shadows = route.shadows.filter((shadow) => shadow.takes(backend.table.name));
  if (shadows.length === 0) return undefined;
  const copies = new Copies(route, client, head, shadows);
  for (const piece of request.replay ?? [])
    copies.add(typeof piece === "string" ? Buffer.from(piece, "latin1") : piece, false);
  if (request.isDone) copies.send();
  return copies;
}

/** The copies of one request. Nothing of them reaches the client: neither what they answer, nor that they fail, nor how long they take. */
export class Copies {
  readonly #route: Route;
  readonly #client: ClientConnection;
  readonly #head: RequestHead;
  #waiting: Copy[];
  #sent: readonly Copy[] = [];
  readonly #body: Buffer[] = [];
  #bytes = 0;

  constructor(route: Route, client: ClientConnection, head: RequestHead, shadows: readonly Shadow[]) {
    this.#route = route;
    this.#client = client;
    this.#head = head;
    this.#waiting = shadows.map((shadow) => new Copy(client.core, route, shadow));
  }

  /** Another piece of the body, which must not change afterwards. With the last one the copies go out, after what is to be done for requests. */
  add(piece: Buffer, isLast: boolean): void {
    this.#bytes += piece.length;
    this.#waiting = this.#waiting.filter((copy) => !copy.isTooLong(this.#bytes));
    if (this.#waiting.length > 0) this.#body.push(piece);
    if (isLast) this.send();
  }

  /** The request is whole. */
  send(): void {
    const copies = this.#waiting;
    if (copies.length === 0) return;
    this.#waiting = [];
    this.#sent = copies;
    const lines = renderCopyHead(this.#head, this.#client, this.#route);
    setImmediate(() => {
      for (const copy of copies) copy.start(this.#head, lines, this.#body);
    });
  }

  /** What the client got; undefined: nothing that copies can be held against. */
  answered(original: Compared | undefined): void {
    for (const copy of this.#waiting) copy.drop();
    this.#waiting = [];
    if (original !== undefined) for (const copy of this.#sent) copy.hold(original);
  }
}

/** One copy on its way. */
class Copy implements UpstreamUser {
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #core: GatewayCore;
  readonly #route: Route;
  readonly #shadow: Shadow;
  #send: (upstream: UpstreamConnection) => void = () => {};
  #request: RequestHead | undefined;
  #upstream: UpstreamConnection | undefined;
  #startedMs = 0;
  #partial = "";
  #answer: AnswerRead["answer"] | undefined;
  #framing: Framing | undefined;
  #isOver = false;
  #original: Compared | undefined;
  #outcome: Compared | undefined;

  constructor(core: GatewayCore, route: Route, shadow: Shadow) {
    this.#core = core;
    this.#route = route;
    this.#shadow = shadow;
    shadow.inFlight++;
  }

  /** Whether its body has become longer than the shadow takes; the copy is given up then. */
  isTooLong(bytes: number): boolean {
    if (bytes <= this.#shadow.table.maxBodyBytes) return false;
    this.#shadow.stats.tooLarge++;
    this.#end();
    return true;
  }

  /** The request did not become whole. */
  drop(): void {
    this.#shadow.stats.unfinished++;
    this.#end();
  }

  start(head: RequestHead, linesFor: (shadow: Shadow) => string, body: readonly Buffer[]): void {
    const { stats, table } = this.#shadow;
    const now = this.#core.clock.monotonicMs();
    const lines = linesFor(this.#shadow);
    stats.copied++;
    this.#request = head;
    this.#startedMs = now;
    this.deadlineMs = now + table.timeoutMs;
    this.#core.timed.add(this);
    this.#send = (upstream) => {
      upstream.write(lines, "latin1");
      for (const piece of body) upstream.write(piece);
    };
    this.#connect(false);
  }

  #connect(fresh: boolean): void {
    const upstream = this.#shadow.nextPool()?.acquire(this, this.#core.nowMs, fresh);
    this.#upstream = upstream;
    if (upstream === undefined) this.#fail("it has no address");
    else this.#send(upstream);
  }

  /** What became of the original, now or earlier. */
  hold(original: Compared): void {
    this.#original = original;
    this.#compare();
  }

  #compare(): void {
    if (this.#original === undefined || this.#outcome === undefined) return;
    this.#shadow.stats.compare(this.#original, this.#outcome);
    // The original may end long after whoever asks for news has heard of both.
    this.#route.usedAt = this.#core.routing.turn;
  }

  onConnected(): void {}

  onDrain(): void {}

  onData(buffer: Buffer, length: number): boolean {
    if (this.#framing !== undefined) this.#consume(buffer, 0, length);
    else {
      const read = readAnswerHead(this.#partial, { buffer, length }, () => {});
      if (typeof read === "string") this.#partial = read;
      else if (read instanceof HeadFault) this.#fail(read.message);
      else this.#begin(read);
    }
    return true;
  }

  #begin({ answer, buffer, end, offset, length }: AnswerRead): void {
    const framing =
      this.#request === undefined || answer.status === 101 ? undefined : frameAnswer(answer, this.#request);
    if (framing === undefined) {
      this.#fail("it switched protocols unasked, or sent chunks to HTTP/1.0");
      return;
    }
    this.#answer = answer;
    this.#framing = framing;
    this.#consume(buffer, end + 4 + offset, length);
  }

  #consume(buffer: Buffer, start: number, end: number): void {
    const { framing, answer } = { framing: this.#framing, answer: this.#answer };
    if (framing === undefined || answer === undefined) return;
    const used = framing.consume(buffer, start, end);
    if (framing.isBroken) this.#fail("the chunked body is malformed");
    else if (framing.isDone) this.#complete(start + used === end);
  }

  #complete(isClean: boolean): void {
    const { upstream, answer, request } = { upstream: this.#upstream, answer: this.#answer, request: this.#request };
    this.#upstream = undefined;
    if (upstream !== undefined && answer !== undefined && request !== undefined) {
      if (isClean && isReusable(answer, request))
        upstream.pool.release(upstream, this.#core.nowMs, answer.fields.keepAliveSeconds);
      else upstream.abandon();
    }
    this.#finish();
  }

  /** It was answered. */
  #finish(): void {
    if (this.#isOver) return;
    this.#outcome = { status: this.#answer?.status ?? 0, tookMs: this.#core.clock.monotonicMs() - this.#startedMs };
    this.#shadow.stats.record(this.#outcome);
    this.#compare();
    this.#end();
  }

  onEnd(): void {
    this.onClosed(undefined);
  }

  onClosed(error: Error | undefined): void {
    if (this.#isOver) return;
    const upstream = this.#upstream;
    if (this.#framing?.kind === "close") this.#complete(false);
    // A kept connection that had just been given up there says nothing.
    else if (upstream !== undefined && upstream.uses > 0 && this.#partial === "" && this.#framing === undefined) {
      upstream.abandon();
      this.#connect(true);
    } else this.#fail(error?.message ?? "it closed the connection");
  }

  /** Its time is over. An answer that has begun is one: it may be a stream. */
  onDeadline(): void {
    if (this.#answer === undefined) this.#fail(`no answer within ${this.#shadow.table.timeoutMs} ms`);
    else this.#complete(false);
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
    this.#upstream?.abandon();
    this.#upstream = undefined;
    this.#core.timed.delete(this);
    this.#route.usedAt = this.#core.routing.turn;
  }
}
