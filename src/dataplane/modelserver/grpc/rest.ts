/** REST over HTTP/2: a stream becomes a request as HTTP/1.1 has them, once its body is here. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { Fields, type Http1Answer, Http1Request, HttpError, normalisePath } from "../../../kernel/http1/index.js";
import type { BodyCharge } from "../http.js";

/** The routes as HTTP/1.1's server asks them. */
export interface RestHost {
  readonly maxBodyBytes: number;
  readonly chargeBody: () => BodyCharge;
  readonly answer: (request: Http1Request) => Http1Answer | Promise<Http1Answer>;
  readonly fail: (error: unknown, request: Http1Request | undefined) => Http1Answer;
}

/** Answers one request. */
export function answerRest(host: RestHost, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const pieces: Buffer[] = [];
  const charge = host.chargeBody();
  let size = 0;
  let isOver = false;
  const send = (answer: Http1Answer): void => {
    if (isOver) return;
    isOver = true;
    charge.close();
    void sendAnswer(stream, answer, headers[":method"] === "HEAD");
  };
  stream.on("close", () => {
    isOver = true;
    charge.close();
  });
  stream.on("data", (chunk: Buffer) => {
    if (isOver) return;
    try {
      size += chunk.length;
      if (size > host.maxBodyBytes) throw new HttpError(413, `the body is larger than ${host.maxBodyBytes} bytes`);
      charge.take(chunk.length);
      pieces.push(chunk);
    } catch (error) {
      send(host.fail(error, undefined));
    }
  });
  stream.on("end", () => {
    if (isOver) return;
    // The routes charge for it from here on.
    charge.close();
    const request = requestOf(headers, Buffer.concat(pieces), () => stream.destroyed);
    try {
      Promise.resolve(host.answer(request)).then(send, (error: unknown) => send(host.fail(error, request)));
    } catch (error) {
      send(host.fail(error, request));
    }
  });
}

function requestOf(headers: IncomingHttpHeaders, body: Buffer, isGone: () => boolean): Http1Request {
  const fields = new Fields();
  fields.contentLength = body.length;
  for (const [name, value] of Object.entries(headers))
    if (!name.startsWith(":") && name !== "content-length" && typeof value === "string")
      fields.rest += `${name}: ${value}\r\n`;
  const method = headers[":method"] ?? "GET";
  const target = normalisePath(headers[":path"] ?? "/");
  const host = (headers[":authority"] ?? headers.host ?? "").replace(/:\d*$/, "").toLowerCase();
  const request = new Http1Request({ method, target, minor: 1, host, fields }, { wantBody: () => undefined, isGone });
  if (body.length > 0) request.feed(body, 0);
  return request;
}

async function sendAnswer(stream: ServerHttp2Stream, answer: Http1Answer, isHead: boolean): Promise<void> {
  const { status, type = "application/json", headers = {}, body } = answer;
  const fields: OutgoingHttpHeaders = { ":status": status, "content-type": type, ...headers };
  try {
    if (typeof body === "string" || body instanceof Uint8Array) {
      const bytes = Buffer.from(body);
      stream.respond({ ...fields, "content-length": bytes.length }, { endStream: isHead });
      if (!isHead) stream.end(bytes);
      return;
    }
    stream.respond(fields);
    for await (const piece of body) {
      if (stream.destroyed) return;
      if (!stream.write(piece)) await drained(stream);
    }
    stream.end();
  } catch {
    // The head is out, or the client away: only a reset says that the answer is not whole.
    stream.destroy();
  }
}

const drained = (stream: ServerHttp2Stream): Promise<void> =>
  new Promise((resolve) => {
    stream.once("drain", resolve);
    stream.once("close", resolve);
  });
