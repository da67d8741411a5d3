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
  const budget = { limit, used: 0 };
  return () => new BudgetHold(budget);
}

/** A class: there is one a request. */
class BudgetHold implements BodyHold {
  readonly #budget: { readonly limit: number; used: number };
  #own = 0;

  constructor(budget: { readonly limit: number; used: number }) {
    this.#budget = budget;
  }

  take(bytes: number): void {
    const { limit, used } = this.#budget;
    if (used + bytes > limit) {
      const headers = { "retry-after": "1" };
      throw new HttpError(503, `requests with ${used} bytes of body are being worked on`, headers);
    }
    this.#own += bytes;
    this.#budget.used += bytes;
  }

  give(bytes: number): void {
    this.#own -= bytes;
    this.#budget.used -= bytes;
  }

  close(): void {
    this.#budget.used -= this.#own;
    this.#own = 0;
  }
}

/** Reads a body of at most `limit` bytes, before and after its content coding; at once when it is here and in none. Throws, or rejects with, 413, 415, 400, or 503 when `hold` refuses. */
export function readBody(request: Http1Request, limit: number, hold?: BodyHold): Promise<Buffer> | Buffer {
  const body = request.readBody(limit, hold);
  const coding = request.header("content-encoding");
  return coding === undefined ? body : readCoded(body, coding, { limit, hold });
}

async function readCoded(
  came: Promise<Buffer> | Buffer,
  coding: string,
  { limit, hold }: { limit: number; hold: BodyHold | undefined },
): Promise<Buffer> {
  const body = await came;
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
