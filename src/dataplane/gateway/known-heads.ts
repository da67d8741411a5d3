import { latin1, parseRequestHead, type RequestHead, type ResponseHead } from "../../kernel/http1/index.js";
import type { Backend, Choice, Endpoint, Route } from "./balance.js";
import type { ClientConnection } from "./client-connection.js";
import { renderRequestHead } from "./exchange-text.js";
import { isNoLoad } from "./gate.js";
import { fieldIn, type Session } from "./sessions.js";

// Programs ask the same again and again, with the same head, and get heads that are the same for a second at least. What was made
// of the last one is kept as long as it comes again. Longer heads are not worth their memory.
const MAX_LENGTH = 2048;
const MAX_BACKENDS = 16;

/** A request's head, with the route that it leads to and what backends were sent for it. */
export class KnownRequest {
  readonly head: RequestHead;
  /** With its empty line; empty: it will not be recognised. */
  readonly text: string;
  #table: object | undefined;
  #route: Route | undefined;
  #isNoLoad: boolean | undefined;
  readonly #lines = new Map<Backend, string>();

  constructor(head: RequestHead, text: string) {
    this.head = head;
    this.text = text;
  }

  /** Its route in the table that is in force. */
  routeFor({ core, listener }: ClientConnection): Route | undefined {
    const { routing } = core;
    if (this.#table === routing.table) return this.#route;
    this.#lines.clear();
    this.#route = routing.find(listener.name, this.head.host, this.head.target);
    this.#table = routing.table;
    return this.#route;
  }

  /** Where an attempt goes; a check or a probe, which say so, takes no turn. */
  chooseFrom(route: Route, tried: readonly Endpoint[], nowMs: number, session?: Session): Choice | undefined {
    if (route.backends.length > 1) this.#isNoLoad ??= isNoLoad((name) => fieldIn(this.head.fields.rest, name));
    return this.#isNoLoad === true ? route.peek(tried, nowMs, session) : route.choose(tried, nowMs, session);
  }

  /** The head as a backend gets it. */
  linesFor(
    client: ClientConnection,
    to: { readonly route: Route; readonly backend: Backend; readonly isUpgrade: boolean },
  ): string {
    if (this.text === "" || to.route !== this.#route) return renderRequestHead(this.head, client, to);
    const known = this.#lines.get(to.backend);
    if (known !== undefined) return known;
    const lines = renderRequestHead(this.head, client, to);
    if (this.#lines.size < MAX_BACKENDS) this.#lines.set(to.backend, lines);
    return lines;
  }
}

/** Parses the head that ends with the empty line at `end` of a chunk's text, and keeps it if that is worth while. */
export function readRequest(chunk: Buffer, text: string, end: number, skipped: number) {
  const isKept = end + 4 <= MAX_LENGTH && skipped === 0;
  // A text of its own: a part of the chunk's would hold the whole of it.
  const own = isKept && text.length > end + 4 ? latin1(chunk, 0, end + 4) : text;
  const head = parseRequestHead(own, end + 2);
  return "method" in head ? new KnownRequest(head, isKept ? own : "") : head;
}

/** The last answer's head of an address. */
export class KnownAnswer {
  #text = "";
  #answer: ResponseHead | undefined;

  /** The answer that a text begins with, if it is the one that is known. */
  find(text: string): ResponseHead | undefined {
    return this.#answer !== undefined && text.startsWith(this.#text) ? this.#answer : undefined;
  }

  /** Length of the known head with its empty line. */
  get length(): number {
    return this.#text.length;
  }

  /** Keeps the one whose empty line is at `end` of what stands in the buffer. */
  keep(answer: ResponseHead, buffer: Buffer, end: number): void {
    if (end + 4 > MAX_LENGTH) return;
    this.#text = latin1(buffer, 0, end + 4);
    this.#answer = answer;
  }
}
