/** HTTP towards stores: bounded waiting, redirects that keep secrets at home, refusals by name. */
import { messageOf } from "../../../kernel/errors/index.js";
import { answerFields, ClientPool, requestHead, type StreamedAnswer } from "../../../kernel/http-client/index.js";
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

/** Shorter than stores usually are. */
const IDLE_MS = 4_000;

/** Connections to stores. Failures are `DownloadError`. */
export class StoreClient {
  readonly #options: ClientOptions;
  readonly #pools = new Map<string, ClientPool>();
  #isClosed = false;

  constructor(options: ClientOptions = {}) {
    this.#options = options;
  }

  #poolOf(url: URL): ClientPool {
    const known = this.#pools.get(url.origin);
    if (known !== undefined) return known;
    const { ca, checkCertificate = true, stallMs: silenceMs = 20_000 } = this.#options;
    const tls = { rejectUnauthorized: checkCertificate, ...(ca === undefined ? {} : { ca }) };
    const pool = new ClientPool({ url, tls, connectMs: CONNECT_MS, idleMs: IDLE_MS, silenceMs });
    this.#pools.set(url.origin, pool);
    return pool;
  }

  /** Sends and follows redirects; answers of every other status are the caller's. */
  async send(asked: StoreRequest): Promise<StoreAnswer> {
    const first = parseUrl(asked.url);
    let url = first;
    for (let count = 0; count <= MAX_REDIRECTS; count++) {
      const headers = { ...asked.headers, ...(url.origin === first.origin ? asked.secrets : {}) };
      const { method = "GET", body } = asked;
      const answer = await this.#sendOnce(url, { method, headers, ...(body === undefined ? {} : { body }) });
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

  async #sendOnce(url: URL, asked: Asked): Promise<StoreAnswer> {
    if (this.#isClosed) throw new DownloadError("Unavailable", `${shown(url)}: the client was closed`);
    const { signal } = this.#options;
    let answer: StreamedAnswer;
    try {
      const request = { head: headOf(url, asked), body: asked.body };
      answer = await this.#poolOf(url).stream(request, { signal, isRepeatable: true });
    } catch (error) {
      throw asDownloadError(error, shown(url));
    }
    const fields = answerFields(answer.head);
    return {
      status: answer.head.status,
      header: (name) => fields.get(name),
      body: answer.body,
      text: () => textOf(answer.body, url),
      drop: answer.drop,
    };
  }

  /** What is under way is broken off. */
  close(): Promise<void> {
    this.#isClosed = true;
    for (const pool of this.#pools.values()) pool.destroy();
    return Promise.resolve();
  }
}

type Asked = Required<Pick<StoreRequest, "method" | "headers">> & Pick<StoreRequest, "body">;

function headOf(url: URL, { method, headers }: Asked): string {
  try {
    return requestHead(method, url, headers);
  } catch (error) {
    throw new DownloadError("InvalidSource", `${shown(url)}: ${messageOf(error)}`, { cause: error });
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
