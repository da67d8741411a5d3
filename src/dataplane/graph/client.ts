/** A client for steps: connections that are kept, answers that may be read as they come. */
import type { ConnectionOptions } from "node:tls";
import { abortReason } from "../../kernel/clock/index.js";
import { ArgosyError, messageOf } from "../../kernel/errors/index.js";
import { errnoOf } from "../../kernel/files/index.js";
import {
  answerFields,
  ClientPool,
  isFieldValue,
  requestHead,
  type StreamedAnswer,
} from "../../kernel/http-client/index.js";
import type { GrpcClient } from "./grpc-client.js";

/** There was no answer, or not all of one. */
export class StepUnreachable extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("StepUnreachable", message, options);
  }
}

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
  /** Of an answer that has to be read as a whole first. */
  readonly mostBytes: number;
  /** Ends the connection with its reason, also while the body is read. */
  readonly signal: AbortSignal;
}

const MAX_IDLE = 64;
const TIMES = { connectMs: 5000, idleMs: 30_000 };

/** Connections to any number of services. */
export class StepClient {
  readonly #pools = new Map<string, ClientPool>();
  readonly #tls: ConnectionOptions;
  #grpc: Promise<GrpcClient> | undefined;

  /** `tls`: whom to trust, of services that are asked over https. */
  constructor(tls: ConnectionOptions = {}) {
    this.#tls = tls;
  }

  /** Posts, or asks by gRPC where the address says so. Rejects with `StepUnreachable`, or the signal's reason. */
  async post(request: ClientRequest): Promise<ClientAnswer> {
    const { url, body, signal } = request;
    if (isGrpc(url)) return (await this.#startGrpc()).post(request);
    const failure = (error: unknown): Error =>
      signal.aborted
        ? abortReason(signal)
        : new StepUnreachable(`${url.host}: ${messageOf(error)}${hintFor(error)}`, { cause: error });
    let answer: StreamedAnswer;
    try {
      answer = await this.#poolOf(url).stream({ head: headOf(request), body }, { signal, isRepeatable: true });
    } catch (error) {
      throw failure(error);
    }
    const { status, fields } = answer.head;
    const length = fields.isChunked || fields.contentLength < 0 ? undefined : fields.contentLength;
    return { status, fields: answerFields(answer.head), length, pieces: failing(answer.body, failure) };
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.destroy();
    void this.#grpc?.then((client) => client.close());
  }

  /** Few graphs need it. */
  #startGrpc(): Promise<GrpcClient> {
    this.#grpc ??= import("./grpc-client.js").then(({ GrpcClient }) => new GrpcClient(this.#tls));
    return this.#grpc;
  }

  /** As many as the graph has services. */
  #poolOf(url: URL): ClientPool {
    const pool = this.#pools.get(url.origin) ?? new ClientPool({ ...TIMES, url, tls: this.#tls }, MAX_IDLE);
    this.#pools.set(url.origin, pool);
    return pool;
  }
}

const isGrpc = ({ protocol }: URL): boolean => protocol === "grpc:" || protocol === "grpcs:";

/** What to do where a certificate's authority is not known. */
function hintFor(error: unknown): string {
  const code = errnoOf(error) ?? "";
  return /SELF_SIGNED|UNABLE_TO|ISSUER/.test(code)
    ? "; name its authority in --ca-bundle, or in the graph's annotation serving.argosy.dev/ca-bundle"
    : "";
}

async function* failing(pieces: AsyncGenerator<Buffer>, failure: (error: unknown) => Error): AsyncGenerator<Buffer> {
  try {
    yield* pieces;
  } catch (error) {
    throw failure(error);
  }
}

function headOf({ url, fields }: ClientRequest): string {
  const sent = Object.entries(fields).filter(([, value]) => isFieldValue(value));
  return requestHead("POST", url, Object.fromEntries(sent));
}
