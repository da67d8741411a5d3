/** A client for steps: connections that are kept, answers that may be read as they come. */
import type { ConnectionOptions } from "node:tls";
import { abortReason, onAbort } from "../../kernel/clock/index.js";
import { answerFields, type ClientConnection, ClientPool } from "../../kernel/http-client/index.js";
import type { ResponseHead } from "../../kernel/http1/index.js";
import { StepReceiver } from "./receiver.js";

/** What came back, as far as it is here. */
export interface ClientAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly fields: ReadonlyMap<string, string>;
  /** `undefined`: its end is told otherwise. */
  readonly length: number | undefined;
  /** The body; to be read once, to its end, or given up by ending the loop. */
  readonly pieces: AsyncGenerator<Buffer>;
}

/** One request. */
export interface ClientRequest {
  readonly url: URL;
  readonly fields: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Ends the connection with its reason, also while the body is read. */
  readonly signal: AbortSignal;
}

const MAX_IDLE = 64;
const TIMES = { connectMs: 5000, idleMs: 30_000 };
const NOT_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/** Connections to any number of services. */
export class StepClient {
  readonly #pools = new Map<string, ClientPool>();
  readonly #tls: ConnectionOptions;

  /** `tls`: whom to trust, of services that are asked over https. */
  constructor(tls: ConnectionOptions = {}) {
    this.#tls = tls;
  }

  /** Posts. Rejects with `StepUnreachable`, or the signal's reason. */
  async post(request: ClientRequest): Promise<ClientAnswer> {
    const { url, signal } = request;
    const pool = this.#poolOf(url);
    const head = headOf(request);
    for (;;) {
      const connection = pool.take();
      try {
        return await exchange(pool, connection, { ...request, head });
      } catch (error) {
        if (!connection.isStale || signal.aborted) throw error;
      }
    }
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.destroy();
  }

  /** As many as the graph has services. */
  #poolOf(url: URL): ClientPool {
    const pool = this.#pools.get(url.origin) ?? new ClientPool({ ...TIMES, url, tls: this.#tls }, MAX_IDLE);
    this.#pools.set(url.origin, pool);
    return pool;
  }
}

async function exchange(
  pool: ClientPool,
  connection: ClientConnection,
  { head, url, body, signal }: ClientRequest & { readonly head: string },
): Promise<ClientAnswer> {
  const abort = (): void => connection.destroy(abortReason(signal));
  if (signal.aborted) abort();
  const unlink = onAbort(signal, abort);
  const give = (): void => {
    unlink();
    pool.give(connection);
  };
  const receiver = new StepReceiver(connection, url.host, signal);
  let answer: ResponseHead;
  try {
    answer = await receiver.exchange({ head, body });
  } catch (error) {
    unlink();
    throw error;
  }
  const { fields, status } = answer;
  const length = fields.isChunked || fields.contentLength < 0 ? undefined : fields.contentLength;
  return { status, fields: answerFields(answer), length, pieces: until(receiver.pieces(), give) };
}

async function* until(pieces: AsyncGenerator<Buffer>, end: () => void): AsyncGenerator<Buffer> {
  try {
    yield* pieces;
  } finally {
    end();
  }
}

function headOf({ url, fields }: ClientRequest): string {
  let head = `POST ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n`;
  for (const [name, value] of Object.entries(fields)) if (!NOT_A_VALUE.test(value)) head += `${name}: ${value}\r\n`;
  return head;
}
