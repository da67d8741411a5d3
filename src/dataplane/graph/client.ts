/** A client for steps: connections over HTTP/1.1 that are kept, answers that may be read as they come. */
import { onAbort } from "../../kernel/clock/index.js";
import { ArgosyError } from "../../kernel/errors/index.js";
import type { ResponseHead } from "../../kernel/http1/index.js";
import { StepConnection, StepUnreachable } from "./connection.js";

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
  readonly #idle = new Map<string, StepConnection[]>();
  readonly #all = new Set<StepConnection>();

  /** Posts. Rejects with `StepUnreachable`, or the signal's reason. */
  async post(request: ClientRequest): Promise<ClientAnswer> {
    const { url, signal } = request;
    const head = headOf(request);
    let connection = this.#idle.get(url.origin)?.pop();
    for (;;) {
      if (connection?.canBeUsed !== true) connection = this.#open(url);
      try {
        return await this.#exchange(connection, head, request);
      } catch (error) {
        // A kept connection may have been closed just when it was used: nobody has seen the request.
        const isStale = connection.isUsed && error instanceof StepUnreachable && error.isBefore && !signal.aborted;
        if (!isStale) throw error;
        connection = undefined;
      }
    }
  }

  close(): void {
    for (const connection of this.#all) connection.destroy();
  }

  async #exchange(
    connection: StepConnection,
    head: string,
    { url, body, signal }: ClientRequest,
  ): Promise<ClientAnswer> {
    const abort = (): void => connection.destroy(reasonOf(signal));
    if (signal.aborted) abort();
    const unlink = onAbort(signal, abort);
    let answer: ResponseHead;
    try {
      answer = await connection.exchange(head, body);
    } catch (error) {
      unlink();
      throw error;
    }
    const give = (): void => {
      unlink();
      const idle = this.#idle.get(url.origin) ?? [];
      if (!connection.canBeUsed || idle.length >= MAX_IDLE) connection.destroy();
      else this.#idle.set(url.origin, [...idle, connection]);
    };
    const { fields, status } = answer;
    const length = fields.isChunked || fields.contentLength < 0 ? undefined : fields.contentLength;
    return { status, fields: fieldsOf(fields.rest), length, pieces: until(connection.pieces(), give) };
  }

  #open(url: URL): StepConnection {
    const connection: StepConnection = new StepConnection(url, TIMES, () => {
      this.#all.delete(connection);
      const idle = this.#idle.get(url.origin)?.filter((each) => each !== connection) ?? [];
      if (idle.length === 0) this.#idle.delete(url.origin);
      else this.#idle.set(url.origin, idle);
    });
    this.#all.add(connection);
    return connection;
  }
}

async function* until(pieces: AsyncGenerator<Buffer>, end: () => void): AsyncGenerator<Buffer> {
  try {
    yield* pieces;
  } finally {
    end();
  }
}

/** Why a signal was aborted. */
function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new ArgosyError("Aborted", "the request was given up");
}

function headOf({ url, fields, body }: ClientRequest): string {
  let head = `POST ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\ncontent-length: ${body.length}\r\n`;
  for (const [name, value] of Object.entries(fields)) if (!NOT_A_VALUE.test(value)) head += `${name}: ${value}\r\n`;
  return `${head}\r\n`;
}

function fieldsOf(lines: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of lines.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return fields;
}
