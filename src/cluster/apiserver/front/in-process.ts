import {
  type Duplex,
  type Transport,
  type TransportRequest,
  type TransportResponse,
  UnavailableError,
} from "../../../kernel/client/index.js";
import { queryOf } from "../request/query.js";
import type { ApiRequest, ApiResponse, Upgraded } from "../types.js";

const nothing = new Uint8Array();
const never = new AbortController().signal;

/** What an in-process transport reaches. */
export interface InProcessTarget {
  handle(request: ApiRequest): Promise<ApiResponse>;
  upgrade(request: ApiRequest): Promise<Upgraded>;
  /** Opens a WebSocket, through the same front as one from outside. */
  openWebSocket(
    path: string,
    protocols: readonly string[],
    options: { readonly headers: Readonly<Record<string, string>>; readonly signal?: AbortSignal },
  ): Promise<Duplex>;
}

/** A client's way to a server in the same process: the whole request line, without sockets. */
export function inProcessTransport(target: InProcessTarget, token: string): Transport {
  const open = new Set<AbortController>();
  let isClosed = false;
  const authorization = { authorization: `Bearer ${token}` };
  const headers = completed(authorization);
  return {
    isLocal: true,
    async request(request) {
      if (isClosed) throw new UnavailableError("the client is closed");
      request.signal?.throwIfAborted();
      // What is over in a moment needs no end of its own.
      if (request.takesObjects === true && request.method !== "GET") {
        const signal = request.signal ?? never;
        const answer = await target.handle(toApiRequest(request, headers, signal));
        return toTransportResponse(answer, signal, () => undefined);
      }
      const ending = linkedController(request.signal, open);
      const response = await target.handle(toApiRequest(request, headers, ending.controller.signal));
      return toTransportResponse(response, request.signal, ending.release);
    },
    upgrade: (path, protocols, signal) =>
      target.openWebSocket(path, protocols, { headers: authorization, ...(signal === undefined ? {} : { signal }) }),
    switchProtocols(request) {
      const gone = new AbortController();
      return target.upgrade(toApiRequest(request, headers, request.signal ?? gone.signal));
    },
    close() {
      isClosed = true;
      for (const controller of open) controller.abort();
      open.clear();
      return Promise.resolve();
    },
  };
}

/** Aborts with the caller's signal and with the transport; `AbortSignal.any` would stay linked to a long-lived signal. */
function linkedController(
  signal: AbortSignal | undefined,
  open: Set<AbortController>,
): { readonly controller: AbortController; readonly release: () => void } {
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  open.add(controller);
  const release = (): void => {
    open.delete(controller);
    signal?.removeEventListener("abort", onAbort);
  };
  return { controller, release };
}

function toApiRequest(
  request: TransportRequest,
  complete: (sent: Headers) => Headers,
  signal: AbortSignal,
): ApiRequest {
  const mark = request.path.indexOf("?");
  const { method, body, content, repeatedHeaders, takesObjects = false } = request;
  return {
    method,
    path: mark < 0 ? request.path : request.path.slice(0, mark),
    query: queryOf(request.path),
    headers: complete(
      repeatedHeaders === undefined ? (request.headers ?? none) : { ...request.headers, ...joined(repeatedHeaders) },
    ),
    ...(repeatedHeaders === undefined ? {} : { repeatedHeaders }),
    ...(takesObjects ? { takesObjects } : {}),
    ...(content === undefined ? {} : { content }),
    // Of content few ask for the bytes.
    get body() {
      const sent = content === undefined ? body : JSON.stringify(content);
      return typeof sent === "string" ? Buffer.from(sent, "utf8") : (sent ?? nothing);
    },
    signal,
  };
}

type Headers = Readonly<Record<string, string>>;

const none: Headers = Object.freeze({});

/** With the headers that each request has. Clients send the same few headers again and again, frozen, and those are put together once. */
function completed(usual: Headers): (sent: Headers) => Headers {
  const known = new WeakMap<Headers, Headers>();
  return (sent) => {
    const before = known.get(sent);
    if (before !== undefined) return before;
    const all = { "user-agent": "argosy", ...sent, ...usual };
    if (Object.isFrozen(sent)) known.set(sent, all);
    return all;
  };
}

function joined(headers: Readonly<Record<string, readonly string[]>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, values.join(", ")]));
}

function toTransportResponse(
  response: ApiResponse,
  signal: AbortSignal | undefined,
  release: () => void,
): TransportResponse {
  const { status, warnings, body, object, events } = response;
  const headers =
    warnings === undefined ? response.headers : { ...response.headers, warning: warnings.map(warningValue).join(", ") };
  const end = (): void => {
    release();
    response.done?.();
  };
  if (events !== undefined)
    return { status, headers, body: onePiece(nothing), events: untilAborted(events, signal, end) };
  if (body instanceof Uint8Array) end();
  return {
    status,
    headers,
    ...(object === undefined ? {} : { object }),
    body: body instanceof Uint8Array ? onePiece(body) : untilAborted(body, signal, end),
  };
}

/** `299 - "text"` (RFC 9111 §5.5 of old), as the API's clients parse it: in UTF-8, a byte a character. */
export function warningValue(text: string): string {
  const bytes = Buffer.from(text, "utf8").toString("latin1");
  return `299 - "${bytes.replace(/[\r\n]+/g, " ").replace(/(["\\])/g, "\\$1")}"`;
}

async function* onePiece(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  if (bytes.byteLength > 0) yield bytes;
}

/** An aborted watch ends by itself; whoever reads it must see why. */
async function* untilAborted<T>(
  body: AsyncIterable<T>,
  signal: AbortSignal | undefined,
  release: () => void,
): AsyncIterable<T> {
  try {
    yield* body;
  } finally {
    release();
  }
  signal?.throwIfAborted();
}
