/** REST over HTTP/2: a stream becomes a request as HTTP/1.1 has them, once its body is here. */
import {
  type BodyHold,
  Fields,
  type Http1Answer,
  Http1Request,
  HttpError,
  KnownHead,
  normalisePath,
} from "../../../kernel/http1/index.js";
import { CODES, encodeHeaders, type Field, type Http2Stream } from "../../../kernel/http2/index.js";

/** The routes as HTTP/1.1's server asks them. */
export interface RestHost {
  readonly maxBodyBytes: number;
  readonly chargeBody: () => BodyHold;
  readonly answer: (request: Http1Request) => Http1Answer | Promise<Http1Answer>;
  readonly fail: (error: unknown, request: Http1Request | undefined) => Http1Answer;
}

/** Answers one request. */
export function answerRest(host: RestHost, stream: Http2Stream): void {
  const pieces: Buffer[] = [];
  const charge = host.chargeBody();
  let size = 0;
  let isOver = false;
  const send = (answer: Http1Answer): void => {
    if (isOver) return;
    isOver = true;
    charge.close();
    void sendAnswer(stream, answer, stream.headers.get(":method") === "HEAD");
  };
  stream.onClose = () => {
    isOver = true;
    charge.close();
  };
  stream.onData = (chunk) => {
    if (isOver) return;
    try {
      size += chunk.length;
      if (size > host.maxBodyBytes) throw new HttpError(413, `the body is larger than ${host.maxBodyBytes} bytes`);
      charge.take(chunk.length);
      pieces.push(chunk);
    } catch (error) {
      send(host.fail(error, undefined));
    }
  };
  stream.onEnd = () => {
    if (isOver) return;
    // The routes charge for it from here on.
    charge.close();
    const request = requestOf(stream.headers, Buffer.concat(pieces), () => stream.isClosed);
    try {
      Promise.resolve(host.answer(request)).then(send, (error: unknown) => send(host.fail(error, request)));
    } catch (error) {
      send(host.fail(error, request));
    }
  };
}

function requestOf(headers: ReadonlyMap<string, string>, body: Buffer, isGone: () => boolean): Http1Request {
  const fields = new Fields();
  fields.contentLength = body.length;
  for (const [name, value] of headers)
    if (!name.startsWith(":") && name !== "content-length") fields.rest += `${name}: ${value}\r\n`;
  const method = headers.get(":method") ?? "GET";
  const target = normalisePath(headers.get(":path") ?? "/");
  const host = (headers.get(":authority") ?? headers.get("host") ?? "").replace(/:\d*$/, "").toLowerCase();
  const request = new Http1Request(new KnownHead({ method, target, minor: 1, host, fields }), {
    wantBody: () => undefined,
    isGone,
  });
  if (body.length > 0) request.feed(body, 0);
  return request;
}

async function sendAnswer(stream: Http2Stream, answer: Http1Answer, isHead: boolean): Promise<void> {
  const { status, type = "application/json", headers = {}, body } = answer;
  const fields: Field[] = [[":status", String(status)], ["content-type", type], ...Object.entries(headers)];
  if (typeof body === "string" || body instanceof Uint8Array) {
    const bytes = Buffer.from(body);
    stream.respond(encodeHeaders([...fields, ["content-length", String(bytes.length)]]), isHead);
    if (!isHead) stream.end(bytes);
  } else {
    stream.respond(encodeHeaders(fields));
    await sendPieces(stream, body);
  }
  // What the client still sends is not wanted.
  if (!stream.isRemoteEnded && !stream.hasWaiting) stream.reset(CODES.NO_ERROR);
}

async function sendPieces(stream: Http2Stream, pieces: AsyncIterable<string | Uint8Array>): Promise<void> {
  try {
    for await (const piece of pieces) {
      if (stream.isClosed) return;
      if (!stream.write(Buffer.from(piece))) await drained(stream);
    }
    stream.end();
  } catch {
    // The head is out: only a reset says that the answer is not whole.
    stream.reset(CODES.INTERNAL_ERROR);
  }
}

const drained = (stream: Http2Stream): Promise<void> =>
  new Promise((resolve) => {
    stream.onDrain = resolve;
  });
