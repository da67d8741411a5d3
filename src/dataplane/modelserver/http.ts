/** HTTP below the protocols: bodies within bounds, content codings, answers. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gunzip, inflate } from "node:zlib";
import { RequestError } from "./failures.js";

/** An answer to be sent. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly type?: string;
  readonly body: string | Uint8Array;
}

const decoders = { gzip: promisify(gunzip), "x-gzip": promisify(gunzip), deflate: promisify(inflate) } as const;

/** What one request holds of the memory for bodies. */
export interface BodyCharge {
  /** Throws 503 when the bodies of all requests would be too much. */
  take(bytes: number): void;
  /** Gives everything back; may be called once. */
  close(): void;
}

/** Bounds the bodies of all requests that are being worked on, so that many large ones cannot take the process down. */
export function createBodyBudget(limit: number): () => BodyCharge {
  let used = 0;
  return () => {
    let own = 0;
    return {
      take(bytes) {
        if (used + bytes > limit) {
          const headers = { "retry-after": "1" };
          throw new RequestError(503, `requests with ${used} bytes of body are being worked on`, headers);
        }
        own += bytes;
        used += bytes;
      },
      close() {
        used -= own;
      },
    };
  };
}

/** Reads a body of at most `limit` bytes, before and after its content coding. Throws 413, 415, 400, or 503 when the charge refuses. */
export function readBody(request: IncomingMessage, limit: number, charge?: BodyCharge): Promise<Buffer> {
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > limit) return Promise.reject(tooLarge(limit));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const refuse = (error: unknown): void => {
      request.removeAllListeners("data");
      request.pause();
      reject(error);
    };
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) return refuse(tooLarge(limit));
      try {
        charge?.take(chunk.length);
      } catch (error) {
        return refuse(error);
      }
      chunks.push(chunk);
    });
    request.on("end", () => {
      const [first] = chunks;
      const body = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
      const coding = request.headers["content-encoding"];
      if (coding === undefined) return resolve(body);
      decode(body, coding.trim().toLowerCase(), limit)
        .then((decoded) => {
          charge?.take(decoded.length);
          return decoded;
        })
        .then(resolve, reject);
    });
    request.on("error", () => reject(new RequestError(400, "the body was cut short")));
  });
}

async function decode(body: Buffer, coding: string, limit: number): Promise<Buffer> {
  if (coding === "identity" || coding === "") return body;
  if (coding !== "gzip" && coding !== "x-gzip" && coding !== "deflate") {
    throw new RequestError(415, `content coding ${coding} is not offered; send gzip, deflate or none`, {
      "accept-encoding": "gzip, deflate",
    });
  }
  try {
    return await decoders[coding](body, { maxOutputLength: limit });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(limit);
    throw new RequestError(400, `the body is not ${coding}`);
  }
}

const tooLarge = (limit: number): RequestError => new RequestError(413, `the body is larger than ${limit} bytes`);

/** Sends an answer; to HEAD without its body. */
export function sendAnswer(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  if (response.writableEnded || response.destroyed) return;
  const length = typeof answer.body === "string" ? Buffer.byteLength(answer.body) : answer.body.length;
  response.writeHead(answer.status, {
    "content-type": answer.type ?? "application/json",
    "content-length": length,
    ...answer.headers,
  });
  response.end(request.method === "HEAD" ? undefined : answer.body);
}

/** The protocol's error object. */
export const errorAnswer = (error: RequestError): Answer => ({
  status: error.status,
  headers: error.headers,
  body: JSON.stringify({ error: error.message }),
});

/** A JSON answer. */
export const jsonAnswer = (value: unknown, status = 200): Answer => ({ status, body: JSON.stringify(value) });

/** A request that parsers could read in two ways is refused (RFC 9112 3.2, 6.1): two Host headers, or a length beside a coding. */
export function refuseAmbiguous(request: IncomingMessage): void {
  if (request.httpVersionMajor !== 1) throw new RequestError(400, "this is HTTP/1 only", { connection: "close" });
  const { rawHeaders } = request;
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name !== undefined && name.length === 4 && name.toLowerCase() === "host") hosts++;
  }
  const { headers } = request;
  const coded = headers["transfer-encoding"];
  if (hosts > 1 || (hosts === 0 && request.httpVersionMinor === 1))
    throw new RequestError(400, "a request needs exactly one Host header", { connection: "close" });
  if (
    coded !== undefined &&
    (headers["content-length"] !== undefined ||
      coded.trim().toLowerCase() !== "chunked" ||
      request.httpVersionMinor === 0)
  ) {
    throw new RequestError(400, "Transfer-Encoding must be chunked, alone, and HTTP/1.1", { connection: "close" });
  }
}
