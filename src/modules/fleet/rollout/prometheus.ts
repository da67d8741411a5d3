import { request } from "undici";
import { ArgosyError, messageOf } from "../../../kernel/errors/index.js";
import { asObjects, asString, isObject } from "../../../kernel/schema/index.js";

const TIMEOUT_MS = 5000;
const MAX_BYTES = 1024 * 1024;

/** A gate cannot be asked just now. */
export class GateError extends ArgosyError {
  constructor(message: string) {
    super("GateUnanswered", message);
  }
}

/** Values of an instant query: one of a scalar, all of a vector. Throws `GateError`. */
export type AskPrometheus = (address: string, query: string, signal: AbortSignal) => Promise<readonly number[]>;

/** Asks a Prometheus server over HTTP (`GET /api/v1/query`). */
export const askPrometheus: AskPrometheus = async (address, query, signal) => {
  const url = `${address.replace(/\/+$/, "")}/api/v1/query?${new URLSearchParams({ query }).toString()}`;
  let text: string;
  try {
    const answer = await request(url, { signal, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
    const pieces: Buffer[] = [];
    let size = 0;
    for await (const piece of answer.body) {
      const bytes = Buffer.from(piece);
      size += bytes.length;
      if (size > MAX_BYTES) throw new GateError(`its answer is longer than ${MAX_BYTES} bytes`);
      pieces.push(bytes);
    }
    text = Buffer.concat(pieces).toString("utf8");
  } catch (error) {
    throw new GateError(`Prometheus at ${address} does not answer: ${messageOf(error)}`);
  }
  return valuesOf(text, address);
};

function valuesOf(text: string, address: string): readonly number[] {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new GateError(`Prometheus at ${address} answered no JSON`);
  }
  if (!isObject(answer) || answer["status"] !== "success") {
    const why = isObject(answer) ? asString(answer["error"]) : "";
    throw new GateError(`Prometheus at ${address} refused the query${why === "" ? "" : `: ${why.slice(0, 500)}`}`);
  }
  const data = isObject(answer["data"]) ? answer["data"] : {};
  const { resultType, result } = data;
  if (resultType === "scalar" && Array.isArray(result)) return [Number(result[1])];
  if (resultType !== "vector")
    throw new GateError(`the query's value is a ${asString(resultType)}, not one number or a vector`);
  return asObjects(result).flatMap(({ value }) => (Array.isArray(value) ? [Number(value[1])] : []));
}
