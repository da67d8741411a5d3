/** HTTP as the protocols use it: JSON answers, content codings. */
import { promisify } from "node:util";
import type { Http1Answer, Http1Request, HttpError } from "../../kernel/http1/index.js";

/** Late: many servers never send a body in a coding. */
const zlib = async () => {
  const { deflate, gzip } = await import("node:zlib");
  return { gzip: promisify(gzip), deflate: promisify(deflate) };
};
let loaded: ReturnType<typeof zlib> | undefined;

function codings(): ReturnType<typeof zlib> {
  loaded ??= zlib();
  return loaded;
}

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
  const encoders = await codings();
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
