/** HTTP as the protocols use it: bodies within bounds, content codings, JSON answers. */
import { promisify } from "node:util";
import { type Http1Answer, type Http1Request, HttpError } from "../../kernel/http1/index.js";

/** Late: many servers never see a body in a coding. */
const zlib = async () => {
  const { deflate, gunzip, gzip, inflate } = await import("node:zlib");
  const unzip = promisify(gunzip);
  return {
    decoders: { gzip: unzip, "x-gzip": unzip, deflate: promisify(inflate) },
    encoders: { gzip: promisify(gzip), deflate: promisify(deflate) },
  };
};
let loaded: ReturnType<typeof zlib> | undefined;

function codings(): ReturnType<typeof zlib> {
  loaded ??= zlib();
  return loaded;
}

/** What one request holds of the memory for bodies. */
export interface BodyCharge {
  /** Throws 503 when the bodies of all requests would be too much. */
  take(bytes: number): void;
  /** Gives a part back. */
  give(bytes: number): void;
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
          throw new HttpError(503, `requests with ${used} bytes of body are being worked on`, headers);
        }
        own += bytes;
        used += bytes;
      },
      give(bytes) {
        own -= bytes;
        used -= bytes;
      },
      close() {
        used -= own;
        own = 0;
      },
    };
  };
}

/** Reads a body of at most `limit` bytes, before and after its content coding. Throws 413, 415, 400, or 503 when the charge refuses. */
export async function readBody(request: Http1Request, limit: number, charge?: BodyCharge): Promise<Buffer> {
  const body = await request.readBody(limit, charge === undefined ? undefined : (bytes) => charge.take(bytes));
  const coding = request.header("content-encoding");
  if (coding === undefined) return body;
  const decoded = await decode(body, coding.trim().toLowerCase(), limit);
  charge?.take(decoded.length);
  return decoded;
}

async function decode(body: Buffer, coding: string, limit: number): Promise<Buffer> {
  if (coding === "identity" || coding === "") return body;
  if (coding !== "gzip" && coding !== "x-gzip" && coding !== "deflate") {
    throw new HttpError(415, `content coding ${coding} is not offered; send gzip, deflate or none`, {
      "accept-encoding": "gzip, deflate",
    });
  }
  const { decoders } = await codings();
  try {
    return await decoders[coding](body, { maxOutputLength: limit });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(limit);
    throw new HttpError(400, `the body is not ${coding}`);
  }
}

const tooLarge = (limit: number): HttpError => new HttpError(413, `the body is larger than ${limit} bytes`);

/** The protocol's error object. */
export const errorAnswer = (error: HttpError): Http1Answer => ({
  status: error.status,
  headers: error.headers,
  body: JSON.stringify({ error: error.message }),
});

/** A JSON answer. */
export const jsonAnswer = (value: unknown, status = 200): Http1Answer => ({ status, body: JSON.stringify(value) });

/** Less is not worth it. */
const MIN_ENCODED_BYTES = 1024;

/** The answer in a coding that the client takes, where it is long enough for that. */
export function encodeAnswer(request: Http1Request, answer: Http1Answer): Http1Answer | Promise<Http1Answer> {
  const { body } = answer;
  const accepted = request.header("accept-encoding");
  if (accepted === undefined || !(typeof body === "string" || body instanceof Uint8Array)) return answer;
  if (body.length < MIN_ENCODED_BYTES) return answer;
  const coding = chooseCoding(accepted);
  return coding === undefined ? answer : encodeWith(coding, body, answer);
}

async function encodeWith(coding: Coding, body: string | Uint8Array, answer: Http1Answer): Promise<Http1Answer> {
  const { encoders } = await codings();
  const encoded = await encoders[coding](body, { level: 1 });
  return {
    ...answer,
    headers: { ...answer.headers, "content-encoding": coding, vary: "accept-encoding" },
    body: encoded,
  };
}

type Coding = "gzip" | "deflate";

/** The first of gzip and deflate that is not refused (RFC 9110 12.5.3). */
function chooseCoding(accepted: string): Coding | undefined {
  const weights = new Map<string, number>();
  for (const part of accepted.toLowerCase().split(",")) {
    const [name = "", ...parameters] = part.split(";").map((word) => word.trim());
    const quality = parameters.find((word) => word.startsWith("q="));
    weights.set(name, quality === undefined ? 1 : Number(quality.slice(2)));
  }
  const weightOf = (name: string): number => weights.get(name) ?? weights.get("*") ?? 0;
  const [gzipWeight, deflateWeight] = [weightOf("gzip"), weightOf("deflate")];
  if (!(gzipWeight > 0) && !(deflateWeight > 0)) return undefined;
  return gzipWeight >= deflateWeight ? "gzip" : "deflate";
}
