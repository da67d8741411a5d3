/** `/chat/completions`: a conversation that is answered. */
import { type Http1Answer, HttpError } from "../../../kernel/http1/index.js";
import { describe, type ExactJson } from "../../../kernel/tensors/index.js";
import type { Generation, Step } from "../text/generation.js";
import type { TextModel } from "../text/models.js";
import { flagParam, numberParam, ParamError, type Params, refuseUnknown, stopParam } from "../text/params.js";
import { sseEvent, streamAnswer } from "../text/streams.js";
import { tokenText } from "../text/tokenizer.js";
import { isJsonMap } from "../v2.js";
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

const KNOWN = new Set<string>([
  ...COMMON_PARAMS,
  ...["messages", "max_completion_tokens", "top_logprobs", "response_format", "tools", "tool_choice"],
  ...["parallel_tool_calls", "modalities", "reasoning_effort", "verbosity"],
]);
const MAX_MESSAGES = 2048;

interface Message {
  readonly role: string;
  readonly content: string;
}

interface Plan {
  readonly text: TextModel;
  readonly generations: readonly Generation[];
  /** Alternatives to tell with each token; `undefined`: no log probabilities. */
  readonly logprobs: number | undefined;
  readonly promptTokens: number;
  /** A stream ends with the usage. */
  readonly withUsage: boolean;
  readonly head: { readonly id: string; readonly created: number; readonly model: string };
}

/** Answers one request. */
export async function chat(asked: OpenAiRequest): Promise<Http1Answer> {
  const plan = await planOf(asked);
  if (flagParam(asked.params, "stream") === true) return stream(asked, plan);
  return measured(asked, plan.text, async () => {
    const choices = await makeChoices(plan.generations, { ...asked.context, caller: asked.caller });
    const tokens = choices.reduce((sum, { steps }) => sum + steps.length, 0);
    countTokens(asked, plan, tokens);
    return {
      status: 200,
      body: JSON.stringify({
        ...{ ...plan.head, object: "chat.completion" },
        choices: choices.map(({ text, steps, finish }, index) => ({
          index,
          message: { role: "assistant", content: text, refusal: null },
          logprobs: logprobsOf(plan, steps),
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
  refuseOthers(params);
  const messages = messagesOf(params);
  const { prompt, ends } = render(text, messages);
  const withLogprobs = flagParam(params, "logprobs") === true;
  const top = numberParam(params, "top_logprobs", { low: 0, high: 20, whole: true });
  if (top !== undefined && !withLogprobs) throw new ParamError("top_logprobs", "top_logprobs goes with logprobs only");
  const maxTokens = maxTokensOf(params, "max_completion_tokens") ?? maxTokensOf(params, "max_tokens");
  const generations = generationsOf(asked, { text, prompt, maxTokens, alternatives: withLogprobs ? (top ?? 0) : 0 });
  const stops = [...stopParam(params), ...ends];
  return {
    ...{ text, withUsage, promptTokens: prompt.length, logprobs: withLogprobs ? (top ?? 0) : undefined },
    generations: generations.map((each) => ({ ...each, stops })),
    head: {
      ...{ id: `chatcmpl-${context.random.uuid()}`, created: Math.floor(context.clock.now() / 1000) },
      model: text.model.name,
    },
  };
}

/** What would change the answer and is not done must not be swallowed. */
function refuseOthers(params: Params): void {
  const { tools, tool_choice: choice, response_format: format, modalities } = params;
  // With tool_choice none they change nothing.
  if (choice !== "none" && (Array.isArray(tools) ? tools.length > 0 : tools !== undefined && tools !== null))
    throw new ParamError("tools", "tools are not offered: the model calls none; tool_choice none says so");
  if (choice !== undefined && choice !== null && choice !== "none" && choice !== "auto")
    throw new ParamError("tool_choice", "tools are not offered");
  const isText = isJsonMap(format) && format["type"] === "text";
  if (format !== undefined && format !== null && !isText)
    throw new ParamError("response_format", "of response_format text is offered");
  const isPlain = Array.isArray(modalities) && modalities.every((each) => each === "text");
  if (modalities !== undefined && modalities !== null && !isPlain)
    throw new ParamError("modalities", "of modalities text is offered");
}

const ROLES = new Set(["system", "developer", "user", "assistant", "tool"]);

function messagesOf(params: Params): Message[] {
  const { messages } = params;
  if (!Array.isArray(messages) || messages.length === 0)
    throw new ParamError("messages", "messages must be a list with a message at least");
  if (messages.length > MAX_MESSAGES)
    throw new ParamError("messages", `messages has more than ${MAX_MESSAGES} entries`);
  // Calls of tools by their ids, with the tools' names.
  const called = new Map<string, string>();
  return messages.map((message, index) => {
    const where = `messages[${index}]`;
    if (!isJsonMap(message)) throw new ParamError("messages", `${where} is ${describe(message)}; it must be an object`);
    const { role, content } = message;
    if (typeof role !== "string" || !ROLES.has(role))
      throw new ParamError("messages", `${where}.role is ${describe(role)}; there are ${[...ROLES].join(", ")}`);
    if (role === "tool") return { role, content: answerOfTool(message, called, where) };
    const calls = role === "assistant" ? callsOf(message["tool_calls"], called, where) : [];
    const said = calls.length > 0 && (content === undefined || content === null) ? "" : contentOf(content, where);
    const text = [...(said === "" && calls.length > 0 ? [] : [said]), ...calls].join("\n");
    return { role: role === "developer" ? "system" : role, content: text };
  });
}

/** What an assistant called, in the form in which models of ChatML write it. */
function callsOf(calls: ExactJson | undefined, called: Map<string, string>, where: string): string[] {
  if (calls === undefined || calls === null) return [];
  const wrong = (what: string): ParamError => new ParamError("messages", `${where}.tool_calls ${what}`);
  if (!Array.isArray(calls)) throw wrong("must be a list");
  return calls.map((call) => {
    const made = isJsonMap(call) ? call["function"] : undefined;
    if (!isJsonMap(call) || !isJsonMap(made)) throw wrong("holds what is no call of a function");
    const { name, arguments: given } = made;
    if (typeof call["id"] !== "string" || typeof name !== "string" || typeof given !== "string")
      throw wrong("must each have an id, and a function with name and arguments as text");
    called.set(call["id"], name);
    return `<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": ${argumentsOf(given)}}\n</tool_call>`;
  });
}

/** Arguments are JSON as a text; what is none stays a text. */
function argumentsOf(text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch {
    return JSON.stringify(text);
  }
}

function answerOfTool(
  message: { [key: string]: ExactJson },
  called: ReadonlyMap<string, string>,
  where: string,
): string {
  const { tool_call_id: id, content } = message;
  const name = typeof id === "string" ? called.get(id) : undefined;
  if (name === undefined)
    throw new ParamError(
      "messages",
      `${where}.tool_call_id is ${describe(id)}, which no tool_calls of a message before it has`,
    );
  const text = JSON.stringify(contentOf(content, where));
  return `<tool_response>\n{"name": ${JSON.stringify(name)}, "content": ${text}}\n</tool_response>`;
}

function contentOf(content: ExactJson | undefined, where: string): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content))
    throw new ParamError("messages", `${where}.content is ${describe(content)}; it must be text`);
  return content
    .map((part) => {
      if (!isJsonMap(part) || part["type"] !== "text" || typeof part["text"] !== "string")
        throw new ParamError("messages", `${where}.content has a part that is no text, which the model cannot read`);
      return part["text"];
    })
    .join("");
}

/** A conversation as ChatML where the model has its tokens, else as lines of a role and what it says. */
function render({ tokenizer }: TextModel, messages: readonly Message[]): { prompt: number[]; ends: string[] } {
  if (tokenizer.special("<|im_start|>") !== undefined) {
    const turns = messages.map(({ role, content }) => `<|im_start|>${role}\n${content}<|im_end|>\n`).join("");
    return { prompt: tokenizer.encode(`${turns}<|im_start|>assistant\n`), ends: [] };
  }
  const turns = messages.map(({ role, content }) => `${role}: ${content}\n`).join("");
  return { prompt: tokenizer.encode(`${turns}assistant: `), ends: ["\nuser:"] };
}

function logprobsOf({ logprobs, text: { tokenizer } }: Plan, steps: readonly Step[]) {
  if (logprobs === undefined) return null;
  const entry = (id: number, logprob: number) => ({
    ...{ token: tokenText(tokenizer, id), logprob, bytes: [...tokenizer.bytesOf(id)] },
  });
  return {
    content: steps.map(({ chosen }) => ({
      ...entry(chosen.id, chosen.logprob),
      top_logprobs: chosen.alternatives.map(({ id, logprob }) => entry(id, logprob)),
    })),
    refusal: null,
  };
}

function stream(asked: OpenAiRequest, plan: Plan): Promise<Http1Answer> {
  const { withUsage } = plan;
  if (plan.generations.length === 0) throw new HttpError(400, "n must be 1 at least");
  async function* events(): AsyncGenerator<string> {
    const head = { ...plan.head, object: "chat.completion.chunk" };
    const event = (index: number, delta: object, more: object = {}): string =>
      sseEvent({
        ...head,
        choices: [{ index, delta, logprobs: null, finish_reason: null, ...more }],
        ...(withUsage ? { usage: null } : {}),
      });
    let tokens = 0;
    try {
      // The model is asked before anything is said: what it refuses is then an ordinary refusal.
      const steps = stepChoices(plan.generations, { ...asked.context, caller: asked.caller });
      const begun = new Set<number>();
      for await (const { index, step } of steps) {
        tokens++;
        if (!begun.has(index)) yield event(index, { role: "assistant", content: "" });
        begun.add(index);
        const { text, finish } = step;
        if (text !== "" || plan.logprobs !== undefined)
          yield event(index, { content: text }, { logprobs: logprobsOf(plan, [step]) });
        if (finish !== undefined) yield event(index, {}, { finish_reason: finishOf(finish) });
      }
      if (withUsage) yield sseEvent({ ...head, choices: [], usage: usageOf(plan.promptTokens, tokens) });
      yield sseEvent("[DONE]");
    } finally {
      countTokens(asked, plan, tokens);
    }
  }
  return measured(asked, plan.text, () => streamAnswer(events(), openAiError, () => undefined));
}
