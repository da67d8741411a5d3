/** V2's generate extension: text in, text out, whole or as server-sent events. */
import { seededRandom } from "../../../kernel/clock/index.js";
import { type Http1Answer, type Http1Request, HttpError } from "../../../kernel/http1/index.js";
import { parseJson } from "../../../kernel/tensors/index.js";
import type { ServerContext } from "../context.js";
import { counted, type Wanted } from "../http-inference.js";
import type { Caller } from "../inference.js";
import type { ServedModel } from "../repository.js";
import { isJsonMap, readText } from "../v2.js";
import { checkPrompt, type FinishReason, type Generation, generateTokens, type Step } from "./generation.js";
import { openText } from "./models.js";
import {
  flagParam,
  numberParam,
  ParamError,
  type Params,
  refuseUnknown,
  seedParam,
  stopParam,
  textParam,
} from "./params.js";
import { sseEvent, streamAnswer } from "./streams.js";
import { tokenText } from "./tokenizer.js";

interface Asked {
  readonly id: string | undefined;
  readonly details: boolean;
  readonly generation: Generation;
}

const DEFAULT_TOKENS = 20;

/** Answers with the whole text. */
export function generate(request: Http1Request, context: ServerContext, wanted: Wanted): Promise<Http1Answer> {
  return counted(request, context, wanted, async ({ model, body, caller, marks }) => {
    const asked = await readRequest(body, { model, context, isStream: false });
    marks.read = context.clock.monotonicMs();
    let text = "";
    let finish: FinishReason = "length";
    const steps: Step[] = [];
    for await (const step of generateTokens(asked.generation, { ...context, caller })) {
      text += step.text;
      steps.push(step);
      finish = step.finish ?? finish;
    }
    marks.ran = context.clock.monotonicMs();
    count(context, asked, steps.length);
    const logprobs = steps.map((step) => tokenOf(asked, step));
    const details = asked.details ? { details: { finish_reason: finish, logprobs } } : {};
    return { status: 200, body: JSON.stringify({ ...headOf(asked), text_output: text, ...details }) };
  });
}

/** Answers with an event for each token. */
export function generateStream(request: Http1Request, context: ServerContext, wanted: Wanted): Promise<Http1Answer> {
  return counted(request, context, wanted, async ({ model, body, caller, marks }) => {
    const asked = await readRequest(body, { model, context, isStream: true });
    marks.read = context.clock.monotonicMs();
    const answer = await streamAnswer(
      events(asked, context, caller),
      ({ message }) => ({ error: message }),
      () => undefined,
    );
    marks.ran = context.clock.monotonicMs();
    return answer;
  });
}

async function* events(asked: Asked, context: ServerContext, caller: Caller): AsyncGenerator<string> {
  let tokens = 0;
  try {
    for await (const step of generateTokens(asked.generation, { ...context, caller })) {
      tokens++;
      const finish = step.finish === undefined ? {} : { finish_reason: step.finish };
      const details = asked.details ? { details: { token: tokenOf(asked, step), ...finish } } : {};
      yield sseEvent({ ...headOf(asked), text_output: step.text, ...details });
    }
  } finally {
    count(context, asked, tokens);
  }
}

function count({ metrics }: ServerContext, { generation: { text, prompt } }: Asked, tokens: number): void {
  const counters = metrics.of(text.model.name, text.model.version);
  counters.promptTokens += prompt.length;
  counters.completionTokens += tokens;
}

const headOf = ({ id, generation: { text } }: Asked) => ({
  ...(id === undefined ? {} : { id }),
  ...{ model_name: text.model.name, model_version: text.model.version },
});

function tokenOf({ generation: { text } }: Asked, { chosen }: Step) {
  const { id, logprob } = chosen;
  return { id, text: tokenText(text.tokenizer, id), logprob, special: text.tokenizer.isSpecial(id) };
}

/** What is asked with the text, within `parameters` or, as Triton takes it too, beside it. */
const KNOWN = new Set([
  ...["text_input", "id", "parameters", "max_tokens", "temperature", "top_p", "top_k"],
  ...["stop", "seed", "random_seed", "details", "stream"],
]);

interface At {
  readonly model: ServedModel;
  readonly context: ServerContext;
  readonly isStream: boolean;
}

async function readRequest(body: Buffer, { model, context, isStream }: At): Promise<Asked> {
  const request = parseJson(readText(body));
  if (!isJsonMap(request)) throw new HttpError(400, "the request must be an object with text_input");
  const { parameters = {}, id } = request;
  if (!isJsonMap(parameters)) throw new HttpError(400, "parameters must be an object");
  if (id !== undefined && typeof id !== "string") throw new HttpError(400, "id must be text");
  const input = textParam(request, "text_input");
  if (input === undefined) throw new HttpError(400, "text_input is missing; it must be text");
  // Triton takes parameters beside text_input as well.
  const params: Params = { ...request, ...parameters };
  refuseUnknown(params, KNOWN);
  if ((flagParam(params, "stream") ?? isStream) !== isStream)
    throw new ParamError("stream", `stream is ${!isStream}; ${isStream ? "generate" : "generate_stream"} is for that`);
  const text = await openText(model, context.repository.config(model.name), "generate");
  const prompt = text.tokenizer.encode(input);
  checkPrompt(text, prompt);
  const maxTokens = numberParam(params, "max_tokens", { low: 1, high: 1_000_000, whole: true }) ?? DEFAULT_TOKENS;
  const seed = seedParam(params) ?? seedParam(params, "random_seed");
  return {
    id,
    details: flagParam(params, "details") ?? false,
    generation: {
      ...{ text, prompt, stops: stopParam(params) },
      maxTokens: Math.min(maxTokens, text.maxTokens - prompt.length),
      sampling: {
        temperature: numberParam(params, "temperature", { low: 0, high: 100 }) ?? 1,
        topP: numberParam(params, "top_p", { low: 0, high: 1 }) ?? 1,
        topK: numberParam(params, "top_k", { low: 0, high: 1_000_000, whole: true }) ?? 0,
        ...{ presencePenalty: 0, frequencyPenalty: 0, bias: new Map(), alternatives: 0 },
      },
      random: seed === undefined ? context.random : seededRandom(seed),
    },
  };
}
