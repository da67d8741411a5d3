/** `/completions`: prompts that are continued. */
import { type Http1Answer, HttpError } from "../../../kernel/http1/index.js";
import type { ExactJson } from "../../../kernel/tensors/index.js";
import { type Generation, type Runner, scorePrompt } from "../text/generation.js";
import type { TextModel } from "../text/models.js";
import { flagParam, numberParam, ParamError, type Params, refuseUnknown } from "../text/params.js";
import type { Chosen } from "../text/sampler.js";
import { sseEvent, streamAnswer } from "../text/streams.js";
import { tokenText } from "../text/tokenizer.js";
import { finishOf, makeChoices, stepChoices } from "./choices.js";
import { openAiError } from "./failure.js";
import {
  COMMON_PARAMS,
  countTokens,
  generationsOf,
  includesUsage,
  maxTokensOf,
  measured,
  modelOf,
  type OpenAiRequest,
  usageOf,
} from "./requests.js";

const KNOWN = new Set<string>([...COMMON_PARAMS, "prompt", "echo", "best_of", "suffix"]);
const MAX_TEXTS = 128;
const DEFAULT_TOKENS = 16;

interface Plan {
  readonly text: TextModel;
  readonly generations: readonly Generation[];
  /** Alternatives to tell with each token; `undefined`: no log probabilities. */
  readonly logprobs: number | undefined;
  /** The prompt of each text is shown before it. */
  readonly isEchoed: boolean;
  readonly promptTokens: number;
  /** A stream ends with the usage. */
  readonly withUsage: boolean;
  readonly head: {
    readonly id: string;
    readonly object: "text_completion";
    readonly created: number;
    readonly model: string;
  };
}

/** Answers one request. */
export async function complete(asked: OpenAiRequest): Promise<Http1Answer> {
  const plan = await planOf(asked);
  if (flagParam(asked.params, "stream") === true) return stream(asked, plan);
  return measured(asked, plan.text, async () => {
    const runner = { ...asked.context, caller: asked.caller };
    const [echoes, choices] = await Promise.all([echoesOf(plan, runner), makeChoices(plan.generations, runner)]);
    const tokens = choices.reduce((sum, { steps }) => sum + steps.length, 0);
    countTokens(asked, plan, tokens);
    return {
      status: 200,
      body: JSON.stringify({
        ...plan.head,
        choices: choices.map(({ text, steps, finish }, index) => ({
          text: (echoes[index]?.text ?? "") + text,
          index,
          logprobs: logprobsOf(plan, [...(echoes[index]?.tokens ?? []), ...steps.map(({ chosen }) => chosen)]),
          finish_reason: finishOf(finish),
        })),
        usage: usageOf(plan.promptTokens, tokens),
      }),
    };
  });
}

async function planOf(asked: OpenAiRequest): Promise<Plan> {
  const { params, context } = asked;
  const text = await modelOf(asked, "generate");
  refuseUnknown(params, KNOWN);
  const withUsage = includesUsage(params);
  if (params["suffix"] !== undefined && params["suffix"] !== null && params["suffix"] !== "")
    throw new ParamError("suffix", "suffix is not offered");
  const logprobs = numberParam(params, "logprobs", { low: 0, high: 20, whole: true });
  const isEchoed = flagParam(params, "echo") === true;
  const maxTokens = maxTokensOf(params, "max_tokens", 0) ?? DEFAULT_TOKENS;
  if (maxTokens === 0 && !isEchoed)
    throw new ParamError("max_tokens", "max_tokens is 0, which goes with echo: true only");
  const prompts = promptsOf(params, text);
  const perPrompt = prompts.map((prompt) =>
    generationsOf(asked, { text, prompt, maxTokens, alternatives: logprobs ?? 0 }),
  );
  const generations = perPrompt.flat();
  const each = perPrompt[0]?.length ?? 1;
  const bestOf = numberParam(params, "best_of", { low: 1, high: 128, whole: true });
  if (bestOf !== undefined && bestOf !== each)
    throw new ParamError("best_of", "best_of is offered with the value of n only");
  if (generations.length > MAX_TEXTS) throw new HttpError(400, `prompts times n are more than ${MAX_TEXTS}`);
  return {
    ...{ text, generations, logprobs, withUsage, isEchoed },
    promptTokens: prompts.reduce((sum, prompt) => sum + prompt.length, 0),
    head: {
      ...{ id: `cmpl-${context.random.uuid()}`, object: "text_completion" as const },
      ...{ created: Math.floor(context.clock.now() / 1000), model: text.model.name },
    },
  };
}

/** A prompt as it is shown before its text. */
interface Echo {
  readonly text: string;
  /** With what the model gives each of them, where that is wanted; the first has nothing before it. */
  readonly tokens: readonly Scored[];
}

interface Scored extends Pick<Chosen, "id"> {
  readonly logprob: number | null;
  readonly alternatives: Chosen["alternatives"] | undefined;
}

/** Each prompt is looked at once, however many texts follow it. */
async function echoesOf({ text, generations, logprobs, isEchoed }: Plan, runner: Runner): Promise<readonly Echo[]> {
  if (!isEchoed) return [];
  const known = new Map<readonly number[], Promise<Echo>>();
  const echoOf = async (prompt: readonly number[]): Promise<Echo> => {
    const scored = logprobs === undefined ? [] : await scorePrompt(text, prompt, logprobs, runner);
    const tokens = scored.map(
      (each, index): Scored => each ?? { id: prompt[index] ?? 0, logprob: null, alternatives: undefined },
    );
    return { text: textOf(text, prompt), tokens };
  };
  return Promise.all(
    generations.map(({ prompt }) => {
      const echo = known.get(prompt) ?? echoOf(prompt);
      known.set(prompt, echo);
      return echo;
    }),
  );
}

const textOf = ({ tokenizer }: TextModel, ids: readonly number[]): string =>
  Buffer.concat(ids.map((id) => tokenizer.bytesOf(id))).toString("utf8");

/** One text, several, the tokens of one, or those of several. */
function promptsOf(params: Params, text: TextModel): (readonly number[])[] {
  const { prompt } = params;
  const refused = new ParamError("prompt", "prompt must be text, a list of texts, or tokens as numbers");
  if (prompt === undefined || prompt === null) throw new ParamError("prompt", "prompt is missing");
  if (typeof prompt === "string") return [text.tokenizer.encode(prompt)];
  if (!Array.isArray(prompt) || prompt.length === 0) throw refused;
  if (prompt.length > MAX_TEXTS && typeof prompt[0] !== "number")
    throw new ParamError("prompt", `more than ${MAX_TEXTS} prompts`);
  if (isTokens(prompt)) return [prompt];
  return prompt.map((each) => {
    if (typeof each === "string") return text.tokenizer.encode(each);
    if (Array.isArray(each) && isTokens(each)) return each;
    throw refused;
  });
}

/** Whether a list is one of token numbers. */
export const isTokens = (list: readonly ExactJson[]): list is number[] =>
  list.every((each) => typeof each === "number");

function logprobsOf({ logprobs, text: { tokenizer } }: Plan, shown: readonly Scored[], start = 0) {
  if (logprobs === undefined) return null;
  let offset = start;
  const offsets: number[] = [];
  const tokens = shown.map(({ id }) => {
    const token = tokenText(tokenizer, id);
    offsets.push(offset);
    offset += token.length;
    return token;
  });
  return {
    tokens,
    token_logprobs: shown.map(({ logprob }) => logprob),
    top_logprobs:
      logprobs === 0
        ? null
        : shown.map(({ id, logprob, alternatives }) =>
            alternatives === undefined
              ? null
              : Object.fromEntries(
                  [...alternatives, { id, logprob }].map((each) => [tokenText(tokenizer, each.id), each.logprob]),
                ),
          ),
    text_offset: offsets,
  };
}

function stream(asked: OpenAiRequest, plan: Plan): Promise<Http1Answer> {
  const { withUsage } = plan;
  async function* events(): AsyncGenerator<string> {
    const event = (choice: object): string =>
      sseEvent({ ...plan.head, choices: [choice], ...(withUsage ? { usage: null } : {}) });
    let tokens = 0;
    try {
      const runner = { ...asked.context, caller: asked.caller };
      for (const [index, { text, tokens: prompt }] of (await echoesOf(plan, runner)).entries()) {
        const isAll = plan.generations[index]?.maxTokens === 0;
        yield event({ text, index, logprobs: logprobsOf(plan, prompt), finish_reason: isAll ? "length" : null });
      }
      for await (const { index, step } of stepChoices(plan.generations, runner)) {
        tokens++;
        const finish = step.finish === undefined ? null : finishOf(step.finish);
        yield event({ text: step.text, index, logprobs: logprobsOf(plan, [step.chosen]), finish_reason: finish });
      }
      if (withUsage) yield sseEvent({ ...plan.head, choices: [], usage: usageOf(plan.promptTokens, tokens) });
      yield sseEvent("[DONE]");
    } finally {
      countTokens(asked, plan, tokens);
    }
  }
  return measured(asked, plan.text, () => streamAnswer(events(), openAiError, () => undefined));
}
