/** Steps that are asked over gRPC: V2's ModelInfer, over one HTTP/2 connection to each service. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import type { ConnectionOptions } from "node:tls";
import { abortReason, onAbort } from "../../kernel/clock/index.js";
import { errnoOf } from "../../kernel/files/index.js";
import { HttpError } from "../../kernel/http1/index.js";
import { type ClientAnswer, type ClientRequest, StepUnreachable } from "./client.js";
import { FRAME_HEAD, readInferAnswer, writeInferCall } from "./infer-call.js";
import { Message } from "./message.js";
import { stepModel } from "./read.js";

const PATH = "/inference.GRPCInferenceService/ModelInfer";
const CONNECT_MS = 5000;
/** What belongs to the body, to the connection, or is said otherwise. */
const NOT_METADATA =
  /^(:.*|content-.*|inference-header-content-length|x-request-timeout-ms|host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|accept.*|grpc-.*|user-agent)$/;
/** HTTP's status for gRPC's. */
const STATUS: Readonly<Record<number, number>> = {
  ...{ 0: 200, 1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400 },
  ...{ 12: 501, 14: 503, 16: 401 },
};

/** Connections to any number of services. */
export class GrpcClient {
  readonly #sessions = new Map<string, ClientHttp2Session>();
  readonly #tls: ConnectionOptions;

  constructor(tls: ConnectionOptions) {
    this.#tls = tls;
  }

  /** Asks the model of the address. Rejects with `StepUnreachable`, a 400 `HttpError` for a request that is none of V2, or the signal's reason. */
  async post(request: ClientRequest): Promise<ClientAnswer> {
    const { url, fields, body, signal } = request;
    const model = stepModel(url);
    if (model === undefined) throw new StepUnreachable(`${url.href} names no model`);
    const call = writeInferCall(new Message(body, fields), model);
    const answer = await this.#ask(request, call.frame).catch((error: unknown) => {
      if (signal.aborted) throw abortReason(signal);
      throw error;
    });
    if (!("frame" in answer)) return answerOf(answer.status, jsonError(answer.message));
    try {
      return answerOf(200, readInferAnswer(answer.frame, call.isBinary));
    } catch (error) {
      if (error instanceof HttpError) throw new StepUnreachable(`${url.host}: its answer: ${error.message}`);
      throw error;
    }
  }

  close(): void {
    for (const session of this.#sessions.values()) session.destroy();
    this.#sessions.clear();
  }

  async #ask(request: ClientRequest, frame: Buffer): Promise<Outcome> {
    for (let tries = 1; ; tries++) {
      const session = this.#session(request.url);
      try {
        return await exchange(session, request, frame);
      } catch (error) {
        // What a server has not looked at may be sent again, over another connection.
        if (tries > 1 || request.signal.aborted || !(error instanceof NotTaken)) throw error;
      }
    }
  }

  #session(url: URL): ClientHttp2Session {
    const isSafe = url.protocol === "grpcs:";
    const key = `${url.protocol}//${url.host}`;
    const known = this.#sessions.get(key);
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connect(`${isSafe ? "https" : "http"}://${url.host}`, isSafe ? { ...this.#tls } : {});
    this.#sessions.set(key, session);
    const forget = (): void => {
      if (this.#sessions.get(key) === session) this.#sessions.delete(key);
    };
    // Its streams hear of what it fails with.
    session.on("error", forget);
    session.on("goaway", forget);
    session.on("close", forget);
    session.setTimeout(CONNECT_MS, () => session.destroy(new Error(`no connection within ${CONNECT_MS} ms`)));
    session.once("connect", () => session.setTimeout(0));
    return session;
  }
}

class NotTaken extends StepUnreachable {}

type Outcome = { readonly frame: Buffer } | { readonly status: number; readonly message: string };

function exchange(session: ClientHttp2Session, request: ClientRequest, frame: Buffer): Promise<Outcome> {
  const { url, signal, mostBytes } = request;
  return new Promise((resolve, reject) => {
    const stream = session.request(headersOf(request));
    const pieces: Buffer[] = [];
    let bytes = 0;
    let head: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const fail = (words: string): void => {
      stream.close(constants.NGHTTP2_CANCEL);
      reject(new StepUnreachable(`${url.host}: ${words}`));
    };
    const unlink = onAbort(signal, () => {
      stream.close(constants.NGHTTP2_CANCEL);
      reject(abortReason(signal));
    });
    stream.on("response", (headers) => (head = headers));
    stream.on("trailers", (headers) => (trailers = headers));
    stream.on("data", (piece: Buffer) => {
      bytes += piece.length;
      if (bytes > mostBytes + FRAME_HEAD) fail(`it answered with more than ${mostBytes} bytes`);
      else pieces.push(piece);
    });
    stream.on("error", (error) => reject(failureOf(error, stream, url)));
    stream.on("close", () => {
      unlink();
      try {
        resolve(outcomeOf({ head, trailers, body: Buffer.concat(pieces) }));
      } catch (error) {
        reject(error instanceof StepUnreachable ? new StepUnreachable(`${url.host}: ${error.message}`) : error);
      }
    });
    stream.end(frame);
  });
}

function headersOf({ url, fields }: ClientRequest): OutgoingHttpHeaders {
  const metadata = Object.entries(fields).filter(([name]) => !NOT_METADATA.test(name.toLowerCase()));
  const leftMs = Number(fields["x-request-timeout-ms"] ?? Number.NaN);
  return {
    ":method": "POST",
    ":path": PATH,
    ":scheme": url.protocol === "grpcs:" ? "https" : "http",
    ":authority": url.host,
    "content-type": "application/grpc+proto",
    te: "trailers",
    "user-agent": "argosy-inference-router",
    ...(leftMs > 0 ? { "grpc-timeout": `${Math.min(99_999_999, Math.ceil(leftMs))}m` } : {}),
    ...Object.fromEntries(metadata),
  };
}

function failureOf(error: Error, stream: ClientHttp2Stream, { host }: URL): StepUnreachable {
  const isRefused =
    stream.rstCode === constants.NGHTTP2_REFUSED_STREAM || errnoOf(error) === "ERR_HTTP2_GOAWAY_SESSION";
  const Kind = isRefused ? NotTaken : StepUnreachable;
  return new Kind(`${host}: ${error.message}`, { cause: error });
}

/** What came of a call. Throws `StepUnreachable` where that was no gRPC. */
function outcomeOf({
  head,
  trailers,
  body,
}: {
  readonly head: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}): Outcome {
  const said = trailers["grpc-status"] ?? head["grpc-status"];
  const code = Number(said);
  if (said === undefined || !Number.isInteger(code))
    throw new StepUnreachable(
      head[":status"] === undefined
        ? "the connection ended before an answer"
        : `it answered with HTTP's status ${String(head[":status"])} and none of gRPC`,
    );
  if (code !== 0) {
    const message = String(trailers["grpc-message"] ?? head["grpc-message"] ?? `gRPC status ${code}`);
    return { status: STATUS[code] ?? 500, message: decoded(message) };
  }
  const length = body.length < FRAME_HEAD ? -1 : body.readUInt32BE(1);
  if (body[0] !== 0 || length !== body.length - FRAME_HEAD)
    throw new StepUnreachable("its answer is not one uncompressed message");
  return { frame: body.subarray(FRAME_HEAD) };
}

function decoded(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}

const jsonError = (error: string): Message =>
  new Message(Buffer.from(JSON.stringify({ error })), { "content-type": "application/json" });

function answerOf(status: number, { body, fields }: Message): ClientAnswer {
  return { status, fields: new Map(Object.entries(fields)), length: body.length, pieces: inOne(body) };
}

async function* inOne(body: Buffer): AsyncGenerator<Buffer> {
  yield body;
}
