/** HTTP towards stores: bounded waiting, redirects that keep secrets at home, refusals by name. */
import type { Agent, ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import { asDownloadError, DownloadError, type DownloadReason } from "./failures.js";

/** How a store is reached. */
export interface ClientOptions {
  /** PEM of the CAs to trust instead of the system's. */
  readonly ca?: string;
  /** Default true. */
  readonly checkCertificate?: boolean;
  /** Longest silence of a store; default 20 s. */
  readonly stallMs?: number;
  /** Breaks off what is under way. */
  readonly signal?: AbortSignal | undefined;
}

/** What is asked. */
export interface StoreRequest {
  readonly url: string;
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Headers that only the first server gets, and those that it names on the same origin. */
  readonly secrets?: Readonly<Record<string, string>>;
}

/** What is answered; its body must be read or dropped. */
export interface StoreAnswer {
  readonly status: number;
  header(name: string): string | undefined;
  readonly body: AsyncIterable<Uint8Array>;
  /** The body as text, at most `MAX_TEXT` bytes. */
  text(): Promise<string>;
  /** Gives the connection back without the body. */
  drop(): void;
}

const MAX_TEXT = 64 * 2 ** 20;
const MAX_REDIRECTS = 8;

const CONNECT_MS = 5_000;

/** Node's module for a scheme, and its connections. */
interface Way {
  readonly request: (url: URL, options: RequestOptions) => ClientRequest;
  readonly agent: Agent;
}

/** Connections to stores, over Node's own HTTP: pods wait for what fetches their models, and other clients take a tenth of a second to load. Failures are `DownloadError`. */
export class StoreClient {
  readonly #options: ClientOptions;
  readonly #ways = new Map<string, Promise<Way>>();
  #isClosed = false;

  constructor(options: ClientOptions = {}) {
    this.#options = options;
  }

  #way(protocol: string): Promise<Way> {
    const known = this.#ways.get(protocol) ?? this.#openWay(protocol);
    this.#ways.set(protocol, known);
    return known;
  }

  async #openWay(protocol: string): Promise<Way> {
    const { ca, checkCertificate = true } = this.#options;
    const common = { keepAlive: true, maxSockets: 16 };
    if (protocol === "http:") {
      const { Agent: Plain, request } = await import("node:http");
      return { request, agent: new Plain(common) };
    }
    const { Agent: Secure, request } = await import("node:https");
    const trust = { rejectUnauthorized: checkCertificate, ...(ca === undefined ? {} : { ca }) };
    return { request, agent: new Secure({ ...common, ...trust }) };
  }

  /** Sends and follows redirects; answers of every other status are the caller's. */
  async send(asked: StoreRequest): Promise<StoreAnswer> {
    const first = parseUrl(asked.url);
    let url = first;
    for (let count = 0; count <= MAX_REDIRECTS; count++) {
      const headers = { ...asked.headers, ...(url.origin === first.origin ? asked.secrets : {}) };
      const answer = await this.#sendOnce(url, { method: asked.method ?? "GET", headers, body: asked.body ?? null });
      const location = answer.header("location");
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined) return answer;
      answer.drop();
      const next = parseUrl(location, url);
      if (url.protocol === "https:" && next.protocol !== "https:")
        throw new DownloadError("AccessDenied", `${shown(url)} leads to ${shown(next)}, which is not encrypted`);
      url = next;
    }
    throw new DownloadError("InvalidSource", `${shown(first)} leads in circles: more than ${MAX_REDIRECTS} redirects`);
  }

  async #sendOnce(
    url: URL,
    init: { method: "GET" | "POST"; headers: Record<string, string>; body: string | null },
  ): Promise<StoreAnswer> {
    try {
      const body = await this.#exchange(url, init);
      // What is dropped ends with an error that nobody waits for.
      body.on("error", () => undefined);
      return {
        status: body.statusCode ?? 0,
        header: (name) => {
          const value = body.headers[name];
          return Array.isArray(value) ? value[0] : value;
        },
        body,
        text: () => textOf(body, url),
        drop: () => body.destroy(),
      };
    } catch (error) {
      throw asDownloadError(error, shown(url));
    }
  }

  /** Resolves with the answer's head; its body fails when the store stops sending. */
  async #exchange(
    url: URL,
    { method, headers, body }: { method: string; headers: Record<string, string>; body: string | null },
  ): Promise<IncomingMessage> {
    const { request, agent } = await this.#way(url.protocol);
    if (this.#isClosed) throw new DownloadError("Unavailable", `${shown(url)}: the client was closed`);
    const { stallMs = 20_000, signal } = this.#options;
    // Names and passwords in addresses are the caller's to use.
    const plain = new URL(url);
    plain.username = "";
    plain.password = "";
    return new Promise((resolve, reject) => {
      let answer: IncomingMessage | undefined;
      const outgoing = request(plain, { method, headers, agent, signal, timeout: CONNECT_MS });
      outgoing.on("socket", (socket) => {
        const connected = (): void => void socket.setTimeout(stallMs);
        if (socket.connecting) socket.once("connect", connected);
        else connected();
      });
      outgoing.on("timeout", () => {
        const stalled = new DownloadError("Stalled", `${shown(url)}: nothing came for too long`);
        (answer ?? outgoing).destroy(stalled);
      });
      outgoing.on("error", reject);
      outgoing.on("response", (message) => {
        answer = message;
        resolve(message);
      });
      outgoing.end(body ?? undefined);
    });
  }

  /** What is under way is broken off. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const way of this.#ways.values()) (await way).agent.destroy();
  }
}

async function textOf(body: AsyncIterable<Uint8Array>, url: URL): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of body) {
      size += chunk.length;
      if (size > MAX_TEXT)
        throw new DownloadError("InvalidSource", `${shown(url)} answers more than ${MAX_TEXT} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw asDownloadError(error, shown(url));
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseUrl(text: string, base?: URL): URL {
  const url = URL.canParse(text, base?.href) ? new URL(text, base) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:"))
    throw new DownloadError("InvalidSource", `${JSON.stringify(text)} is no http or https address`);
  return url;
}

/** A URL for people: queries may be signed, and names may have passwords. */
export function shown(url: URL | string): string {
  const { origin, pathname } = typeof url === "string" ? parseUrl(url) : url;
  return `${origin}${pathname}`;
}

const BY_STATUS: Readonly<Record<number, DownloadReason>> = {
  401: "AccessDenied",
  403: "AccessDenied",
  404: "NotFound",
  408: "Stalled",
  410: "NotFound",
  412: "ChangedDuringDownload",
  429: "Unavailable",
  507: "QuotaExceeded",
};

/** An answer that is none of those wanted, as an error; its body is used up. `hints` say what to do, by reason. */
export async function refusal(
  answer: StoreAnswer,
  what: string,
  hints: Partial<Record<DownloadReason, string>> = {},
): Promise<DownloadError> {
  const text = (await answer.text().catch(() => "")).slice(0, 2000);
  const { status } = answer;
  const reason = BY_STATUS[status] ?? (status >= 500 ? "Unavailable" : "InvalidSource");
  const said = saidIn(text);
  const hint = reason === "ChangedDuringDownload" ? "it was replaced while it was read" : hints[reason];
  const seconds = Number(answer.header("retry-after") ?? 0);
  const retryAfterMs = Number.isFinite(seconds) ? Math.min(60, Math.max(0, seconds)) * 1000 : 0;
  return new DownloadError(
    reason,
    `${what}: ${status}${said === "" ? "" : ` ${said}`}${hint === undefined ? "" : `; ${hint}`}`,
    {
      retryAfterMs,
    },
  );
}

/** The word or sentence in an error body, in the forms that stores use. */
function saidIn(text: string): string {
  const found =
    /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ??
    /"(?:message|error_description|detail|error)"\s*:\s*"([^"]{1,300})"/.exec(text)?.[1] ??
    "";
  return found.replaceAll(/\s+/g, " ").trim();
}
