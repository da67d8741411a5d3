/** What the OpenAI paths share: bodies, models, error objects, parameters of generation. */
import { seededRandom } from "../../../kernel/clock/index.js";
import { type Http1Answer, type Http1Request, HttpError, readBody } from "../../../kernel/http1/index.js";
import { parseJson } from "../../../kernel/tensors/index.js";
import type { ServerContext } from "../context.js";
import { encodeAnswer } from "../http.js";
import { timeoutOf } from "../http-inference.js";
import type { Caller } from "../inference.js";
import { checkPrompt, type Generation } from "../text/generation.js";
import { openText, type TextModel } from "../text/models.js";
import { numberParam, ParamError, type Params, seedParam, stopParam, textParam } from "../text/params.js";
import { isJsonMap, readText } from "../v2.js";

/** A request whose body was read. */
export interface OpenAiRequest {
  readonly params: Params;
  readonly caller: Caller;
  readonly context: ServerContext;
}

/** Reads a request and answers it. */
export async function answerOpenAi(
  request: Http1Request,
  context: ServerContext,
  answer: (asked: OpenAiRequest) => Promise<Http1Answer>,
): Promise<Http1Answer> {
  const charge = context.chargeBody();
  try {
    const params = parseJson(readText(await readBody(request, context.maxBodyBytes, charge)));
    if (!isJsonMap(params)) throw new HttpError(400, "the request must be an object");
    const caller = { timeoutMs: timeoutOf(request), isGone: () => request.isGone };
    return await encodeAnswer(request, await answer({ params, caller, context }));
  } finally {
    charge.close();
  }
}

/** The model that a request names. Throws 400 without one, 404 for one that is not there. */
export async function modelOf({ params, context }: OpenAiRequest, task: "generate" | "embed"): Promise<TextModel> {
  const name = textParam(params, "model");
  if (name === undefined || name === "") throw new ParamError("model", "you must say which model: model is missing");
  return openText(context.inference.find(name, undefined), context.repository.config(name), task);
}

/** Counts a request's answer, or its fault, for the model. */
export async function measured<T>({ context }: OpenAiRequest, text: TextModel, run: () => Promise<T>): Promise<T> {
  const { clock, metrics } = context;
  const counters = metrics.of(text.model.name, text.model.version);
  const begun = clock.monotonicMs();
  try {
    const result = await run();
    counters.answered(0, clock.monotonicMs() - begun, 0, clock.now());
    return result;
  } catch (error) {
    counters.refused(clock.monotonicMs() - begun);
    throw error;
  }
}

/** Counts the tokens of an answer for its model. */
export function countTokens(
  { context }: OpenAiRequest,
  { text, promptTokens }: { readonly text: TextModel; readonly promptTokens: number },
  tokens: number,
): void {
  const counters = context.metrics.of(text.model.name, text.model.version);
  counters.promptTokens += promptTokens;
  counters.completionTokens += tokens;
}

/** Names that both kinds of completions know. */
export const COMMON_PARAMS = [
  ...[
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "n",
    "stop",
    "seed",
    "stream",
    "stream_options",
    "logprobs",
  ],
  ...["presence_penalty", "frequency_penalty", "logit_bias"],
  // These say who asks and how it is kept or billed, not what is answered.
  ...["user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"],
] as const;

const MAX_BIASES = 1024;

function biasOf(params: Params): Map<number, number> {
  const { logit_bias: bias } = params;
  if (bias === undefined || bias === null) return new Map();
  if (!isJsonMap(bias)) throw new ParamError("logit_bias", "logit_bias must be an object of token numbers");
  const entries = Object.entries(bias);
  if (entries.length > MAX_BIASES) throw new ParamError("logit_bias", `logit_bias has more than ${MAX_BIASES} entries`);
  return new Map(
    entries.map(([id, value]) => {
      if (!/^\d{1,9}$/.test(id) || typeof value !== "number" || Math.abs(value) > 100)
        throw new ParamError("logit_bias", "logit_bias must have token numbers as names and numbers from -100 to 100");
      return [Number(id), value];
    }),
  );
}

/** How the answers to one prompt are to be made; each of the `n` has chance of its own. */
export function generationsOf(
  { params, context }: OpenAiRequest,
  of: { text: TextModel; prompt: readonly number[]; maxTokens: number | undefined; alternatives: number },
): Generation[] {
  const { text, prompt, alternatives } = of;
  checkPrompt(text, prompt);
  const count = numberParam(params, "n", { low: 1, high: 128, whole: true }) ?? 1;
  const seed = seedParam(params);
  const room = text.maxTokens - prompt.length;
  const common = {
    ...{ text, prompt, stops: stopParam(params), maxTokens: Math.min(of.maxTokens ?? room, room) },
    sampling: {
      temperature: numberParam(params, "temperature", { low: 0, high: 2 }) ?? 1,
      topP: numberParam(params, "top_p", { low: 0, high: 1 }) ?? 1,
      topK: Math.max(0, numberParam(params, "top_k", { low: -1, high: 1_000_000, whole: true }) ?? 0),
      presencePenalty: numberParam(params, "presence_penalty", { low: -2, high: 2 }) ?? 0,
      frequencyPenalty: numberParam(params, "frequency_penalty", { low: -2, high: 2 }) ?? 0,
      bias: biasOf(params),
      alternatives,
    },
  };
  return Array.from({ length: count }, (_, index) => ({
    ...common,
    random: seed === undefined ? context.random : seededRandom(seed + index),
  }));
}

/** `max_tokens` and its like. */
export const maxTokensOf = (params: Params, name: string, low = 1): number | undefined =>
  numberParam(params, name, { low, high: 10_000_000, whole: true });

/** `stream_options.include_usage`. Throws 400 where there is no stream, or for other options. */
export function includesUsage(params: Params): boolean {
  const { stream_options: options, stream } = params;
  if (options === undefined || options === null) return false;
  if (stream !== true) throw new ParamError("stream_options", "stream_options go with stream only");
  if (!isJsonMap(options)) throw new ParamError("stream_options", "stream_options must be an object");
  const { include_usage: usage = false, include_obfuscation: padding = false, ...others } = options;
  if (typeof usage !== "boolean" || padding !== false || Object.keys(others).length > 0)
    throw new ParamError("stream_options", "of stream_options include_usage is known: true or false");
  return usage;
}

/** `usage` of an answer. */
export const usageOf = (prompt: number, completion: number) => ({
  ...{ prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion },
});
