import { promisify } from "node:util";
import { HttpError } from "./answer.js";
import type { Http1Request } from "./request.js";

/** What one request holds of the memory for bodies. */
export interface BodyHold {
  /** Throws a 503 `HttpError` when the bodies of all requests would be too much. */
  take(bytes: number): void;
  /** Gives a part back. */
  give(bytes: number): void;
  /** Gives everything back. */
  close(): void;
}

/** Bounds the bodies of all requests that are being worked on, so that many large ones cannot take the process down. */
export function createBodyBudget(limit: number): () => BodyHold {
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

/** Reads a body of at most `limit` bytes, before and after its content coding. Throws 413, 415, 400, or 503 when `hold` refuses. */
export async function readBody(request: Http1Request, limit: number, hold?: BodyHold): Promise<Buffer> {
  const body = await request.readBody(limit, hold === undefined ? undefined : (bytes) => hold.take(bytes));
  const coding = request.header("content-encoding");
  if (coding === undefined) return body;
  const decoded = await decode(body, coding.trim().toLowerCase(), limit);
  if (decoded !== body) hold?.take(decoded.length);
  return decoded;
}

/** Late: many servers never see a body in a coding. */
const zlib = async () => {
  const { gunzip, inflate } = await import("node:zlib");
  const unzip = promisify(gunzip);
  return { gzip: unzip, "x-gzip": unzip, deflate: promisify(inflate) };
};
let loaded: ReturnType<typeof zlib> | undefined;

async function decode(body: Buffer, coding: string, limit: number): Promise<Buffer> {
  if (coding === "identity" || coding === "") return body;
  if (coding !== "gzip" && coding !== "x-gzip" && coding !== "deflate") {
    throw new HttpError(415, `content coding ${coding.slice(0, 40)} is not offered; send gzip, deflate or none`, {
      "accept-encoding": "gzip, deflate",
    });
  }
  loaded ??= zlib();
  const decoders = await loaded;
  try {
    return await decoders[coding](body, { maxOutputLength: limit });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE")
      throw new HttpError(413, `the body is larger than ${limit} bytes`);
    throw new HttpError(400, `the body is not ${coding}`);
  }
}
