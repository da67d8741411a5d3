/** Asking a Prometheus for one number. */
import { request } from "undici";
import { InputError, messageOf } from "../../../kernel/errors/index.js";
import { isObject } from "../../../kernel/schema/index.js";

const TIMEOUT_MS = 1500;
const MAX_BYTES = 1_000_000;

/** The value of a PromQL expression now. Throws `InputError` saying why there is none. */
export type MetricQuery = (query: string, signal: AbortSignal) => Promise<number>;

/** Asks the Prometheus at a base URL. A vector must have one sample; none counts as 0. */
export function prometheusQuery(baseUrl: string): MetricQuery {
  const url = new URL("api/v1/query", baseUrl.endsWith("/") ? baseUrl : `${baseUrl}/`);
  return async (query, signal) => {
    let text: string;
    try {
      const answer = await request(url, {
        method: "POST",
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: new URLSearchParams({ query }).toString(),
        signal,
        headersTimeout: TIMEOUT_MS,
        bodyTimeout: TIMEOUT_MS,
      });
      text = await answer.body.text();
    } catch (error) {
      throw new InputError(`Prometheus at ${url.origin} does not answer: ${messageOf(error)}`);
    }
    return numberIn(text.slice(0, MAX_BYTES), query);
  };
}

/** The number in an answer of `/api/v1/query`. */
export function numberIn(text: string, query: string): number {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new InputError(`Prometheus answered no JSON to ${query}`);
  }
  const data: unknown = isObject(answer) ? answer["data"] : undefined;
  if (!isObject(answer) || answer["status"] !== "success" || !isObject(data)) {
    const said: unknown = isObject(answer) ? answer["error"] : undefined;
    throw new InputError(`Prometheus refuses ${query}: ${typeof said === "string" ? said : "without a reason"}`);
  }
  const { resultType, result } = data;
  if (!Array.isArray(result)) throw new InputError(`Prometheus gave no result for ${query}`);
  if (resultType === "vector") {
    if (result.length > 1)
      throw new InputError(`${query} has ${result.length} series; it must have one, so sum() them`);
    const first: unknown = result[0];
    if (first === undefined) return 0;
    return numeric(isObject(first) ? first["value"] : undefined, query);
  }
  if (resultType === "scalar") return numeric(result, query);
  const type = typeof resultType === "string" ? resultType : "thing without a type";
  throw new InputError(`${query} is a ${type}; it must be a scalar, or a vector of one series`);
}

function numeric(sample: unknown, query: string): number {
  const value = Array.isArray(sample) ? Number(sample[1]) : Number.NaN;
  if (!Number.isFinite(value) || value < 0) throw new InputError(`${query} is ${String(value)}, which is no load`);
  return value;
}
