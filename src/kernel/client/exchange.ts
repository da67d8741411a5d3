import { abortReason, type Clock } from "../clock/index.js";
import { ApiError, messageOf } from "../errors/index.js";
import type { Json, JsonObject } from "../kinds/index.js";
import { failureFrom, localFailure, UnavailableError } from "./failures.js";
import type { HandedEvent, Transport, TransportRequest, TransportResponse } from "./types.js";
import { parseJson } from "./wire.unsafe.js";

/** What an exchange needs besides method and path. */
export interface ExchangeOptions {
  readonly body?: string;
  /** In the place of a body: what it says as JSON. It is not changed. */
  readonly content?: object;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** What is answered is shared, where the server is in the same process, and not changed. */
  readonly takesObjects?: boolean;
  /** What an answer's text says, where that was read before. */
  readonly known?: (text: string) => Json | undefined;
  /** Gives up after this long without an answer; default 60 s. */
  readonly timeoutMs?: number;
  /** The signal does that. */
  readonly isBounded?: boolean;
}

/** One transport with failures mapped to `ApiError`, time-outs, and patience with servers that ask for it. */
export interface Exchange {
  /** The whole answer as JSON. */
  json(method: string, path: string, options?: ExchangeOptions): Promise<Json>;
  /** The whole answer as JSON, and whether it is shared: then it must not be changed. */
  answer(method: string, path: string, options: ExchangeOptions): Promise<Answer>;
  /** What a watch tells as it arrives: bytes, or events. No time-out once the answer began. */
  watch(path: string, options?: ExchangeOptions): Promise<WatchStream>;
}

/** An answer. */
export interface Answer {
  readonly value: Json;
  readonly isShared: boolean;
  /** What it was read from, if it came as text. */
  readonly text?: string;
}

/** Lines in bytes, or events of a server in the same process. */
export type WatchStream =
  | { readonly body: AsyncIterable<Uint8Array> }
  | { readonly events: AsyncIterable<readonly HandedEvent[]> };

const defaultTimeoutMs = 60_000;
const maxBodyBytes = 512 * 1024 * 1024;
const maxRetries = 5;
const maxRetryAfterMs = 10_000;

async function readText({ whole, body }: TransportResponse, about: string): Promise<string> {
  if (whole !== undefined) return whole.toString("utf8");
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    if (bytes > maxBodyBytes) throw localFailure(500, `${about} was answered with more than ${maxBodyBytes} bytes`);
  }
  const [only] = chunks;
  const all = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
  return Buffer.from(all.buffer, all.byteOffset, all.byteLength).toString("utf8");
}

/** Where nothing can be late: the caller's own signal. */
function plainScope(signal: AbortSignal | undefined) {
  return { signal, stopTimer: (): void => undefined, release: (): void => undefined };
}

/** A signal that follows `outer` and can also be aborted by a time-out. */
function scopedSignal(clock: Clock, outer: AbortSignal | undefined, timeoutMs: number) {
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(outer?.reason);
  outer?.addEventListener("abort", onAbort, { once: true });
  if (outer?.aborted === true) onAbort();
  const timer = clock.setTimer(timeoutMs, () =>
    controller.abort(new UnavailableError(`no answer within ${timeoutMs} ms`)),
  );
  return {
    signal: controller.signal,
    stopTimer: (): void => timer.cancel(),
    release(): void {
      timer.cancel();
      outer?.removeEventListener("abort", onAbort);
    },
  };
}

/** The signal of one try: the caller's own where that ends in time, or nothing can be late. */
function scopeOf(clock: Clock, options: ExchangeOptions, isLocalServer: boolean) {
  const { signal, timeoutMs, takesObjects, isBounded } = options;
  const isLocal = isLocalServer && takesObjects === true && timeoutMs === undefined;
  const isOwn = isLocal || (isBounded === true && signal !== undefined);
  return isOwn ? plainScope(signal) : scopedSignal(clock, signal, timeoutMs ?? defaultTimeoutMs);
}

function retryAfterMs(response: TransportResponse): number | undefined {
  if (response.status !== 429 && response.status !== 503) return undefined;
  const seconds = Number(response.headers["retry-after"]);
  return Number.isFinite(seconds) && response.headers["retry-after"] !== undefined
    ? Math.min(Math.max(seconds * 1000, 100), maxRetryAfterMs)
    : undefined;
}

const brokenCodes: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"]);

function isBrokenConnection(error: unknown): boolean {
  return error instanceof Error && "code" in error && brokenCodes.has(error.code);
}

/** What a failed exchange is thrown as: the caller's abort reason, an ApiError as it is, anything else as unavailable. */
function translate(error: unknown, signal: AbortSignal | undefined, about: string): Error {
  if (signal?.aborted === true) return abortReason(signal);
  if (error instanceof ApiError) return error;
  return new UnavailableError(`${about} failed: ${messageOf(error)}`, { cause: error });
}

/** The headers of requests that bring none of their own: the same few objects each time, which nobody changes. */
class UsualHeaders {
  readonly #userAgent: string;
  readonly #byType = new Map<string, Readonly<Record<string, string>>>();

  constructor(userAgent: string) {
    this.#userAgent = userAgent;
  }

  /** `contentType`: empty without a body. */
  of(contentType: string, own: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
    const known = this.#byType.get(contentType) ?? this.#make(contentType);
    return own === undefined ? known : { ...known, ...own };
  }

  #make(contentType: string): Readonly<Record<string, string>> {
    const type = contentType === "" ? {} : { "content-type": contentType };
    const made = Object.freeze({ accept: "application/json", "user-agent": this.#userAgent, ...type });
    this.#byType.set(contentType, made);
    return made;
  }
}

function requestOf(
  {
    method,
    path,
    signal,
  }: { readonly method: string; readonly path: string; readonly signal: AbortSignal | undefined },
  options: ExchangeOptions,
  { headers, takesContent }: { readonly headers: UsualHeaders; readonly takesContent: boolean },
): TransportRequest {
  const { content } = options;
  const handed = takesContent ? content : undefined;
  const body = content === undefined || handed !== undefined ? options.body : JSON.stringify(content);
  const hasBody = body !== undefined || handed !== undefined;
  return {
    method,
    path,
    ...(signal === undefined ? {} : { signal }),
    headers: headers.of(hasBody ? (options.contentType ?? "application/json") : "", options.headers),
    ...(body === undefined ? {} : { body }),
    ...(handed === undefined ? {} : { content: handed }),
    ...(options.takesObjects === true ? { takesObjects: true } : {}),
  };
}

type Outcome = { readonly body: string } | { readonly object: JsonObject } | { readonly waitMs: number };

function read(text: string, about: string, { known }: ExchangeOptions): Answer {
  const before = known?.(text);
  if (before !== undefined) return { value: before, isShared: false };
  return { value: text === "" ? null : parseJson(text, about), isShared: false, text };
}

/** Stands between typed calls and a transport. */
export function createExchange(transport: Transport, clock: Clock, userAgent: string): Exchange {
  const by = { headers: new UsualHeaders(userAgent), takesContent: transport.isLocal === true };
  /** One exchange: the answer, or how long to wait before the next try. */
  const tryOnce = async (method: string, path: string, options: ExchangeOptions, attempt: number): Promise<Outcome> => {
    const about = `${method} ${path}`;
    const scope = scopeOf(clock, options, transport.isLocal === true);
    try {
      const asked = requestOf({ method, path, signal: scope.signal }, options, by);
      const response = await transport.request({ ...asked, wantsWhole: true });
      if (response.object !== undefined && response.status < 400) return { object: response.object };
      const body = await readText(response, about);
      if (response.status < 400) return { body };
      const waitMs = attempt < maxRetries ? retryAfterMs(response) : undefined;
      if (waitMs === undefined) throw failureFrom(response.status, body, about);
      return { waitMs };
    } catch (error) {
      // A kept connection that the server closed at this very moment: reading again on a new one is safe, and enough.
      const mayRepeat =
        method === "GET" && attempt === 0 && scope.signal?.aborted !== true && isBrokenConnection(error);
      if (mayRepeat) return { waitMs: 0 };
      throw translate(error, scope.signal, about);
    } finally {
      scope.release();
    }
  };

  const answer = async (method: string, path: string, options: ExchangeOptions): Promise<Answer> => {
    for (let attempt = 0; ; attempt += 1) {
      const outcome = await tryOnce(method, path, options, attempt);
      if ("object" in outcome) return { value: outcome.object, isShared: true };
      if ("body" in outcome) return read(outcome.body, `${method} ${path}`, options);
      if (outcome.waitMs > 0) await clock.sleep(outcome.waitMs, options.signal);
    }
  };

  return {
    answer,
    json: async (method, path, options = {}) => (await answer(method, path, options)).value,
    async watch(path, options = {}) {
      const about = `GET ${path}`;
      const scope = scopedSignal(clock, options.signal, options.timeoutMs ?? defaultTimeoutMs);
      try {
        const response = await transport.request(requestOf({ method: "GET", path, signal: scope.signal }, options, by));
        if (response.status >= 400) throw failureFrom(response.status, await readText(response, about), about);
        scope.stopTimer();
        return response.events === undefined
          ? { body: guardStream(response.body, scope, about) }
          : { events: guardStream(response.events, scope, about) };
      } catch (error) {
        scope.release();
        throw translate(error, scope.signal, about);
      }
    },
  };
}

async function* guardStream<T>(
  body: AsyncIterable<T>,
  scope: { readonly signal: AbortSignal; release(): void },
  about: string,
): AsyncGenerator<T> {
  try {
    yield* body;
  } catch (error) {
    throw translate(error, scope.signal, about);
  } finally {
    scope.release();
  }
}
