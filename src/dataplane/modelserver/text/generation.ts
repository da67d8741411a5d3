/** The loop over a model's logits: no state is kept in the model, so each step runs the whole text. */
import { setImmediate as turn } from "node:timers/promises";
import type { Clock, Random } from "../../../kernel/clock/types.js";
import { HttpError } from "../../../kernel/http1/index.js";
import { fromHalf, type TensorSpec, type TensorValue } from "../../../kernel/tensors/index.js";
import type { Caller, Inference } from "../inference.js";
import type { TextModel } from "./models.js";
import { type Chosen, chooseToken, type Sampling, scoreToken } from "./sampler.js";
import { StopScanner } from "./stops.js";
import { TextJoiner } from "./tokenizer.js";

/** What to generate. */
export interface Generation {
  readonly text: TextModel;
  readonly prompt: readonly number[];
  /** 0: nothing is generated. */
  readonly maxTokens: number;
  readonly stops: readonly string[];
  readonly sampling: Sampling;
  readonly random: Pick<Random, "next">;
}

/** Why a text ended. */
export type FinishReason = "length" | "eos_token" | "stop_sequence";

/** One token further. */
export interface Step {
  readonly chosen: Chosen;
  /** What may be shown now: held back while it may become a stop sequence or is no whole character. */
  readonly text: string;
  readonly finish: FinishReason | undefined;
}

/** What runs the model. */
export interface Runner {
  readonly inference: Inference;
  readonly clock: Clock;
  readonly caller: Caller;
}

/** Gives token after token, the last with the reason of the end. Throws as `Inference.run`, and 499 when the caller went away. */
export async function* generateTokens(generation: Generation, runner: Runner): AsyncGenerator<Step> {
  const { text, maxTokens, sampling, random } = generation;
  const { clock, caller } = runner;
  const until = clock.monotonicMs() + (caller.timeoutMs ?? Number.POSITIVE_INFINITY);
  const ids = [...generation.prompt];
  const seen = new Map<number, number>();
  const joiner = new TextJoiner(text.tokenizer);
  const scanner = new StopScanner(generation.stops);
  for (let count = 1; maxTokens > 0; count++) {
    if (caller.isGone()) throw new HttpError(499, "nobody waits for the answer any more");
    const left = until === Number.POSITIVE_INFINITY ? undefined : until - clock.monotonicMs();
    const logits = await nextLogits(text, ids, { ...runner, caller: { ...caller, timeoutMs: left } });
    const chosen = chooseToken(logits, sampling, seen, random);
    if (text.tokenizer.isEnd(chosen.id)) {
      yield { chosen, text: scanner.push(joiner.end()) + scanner.end(), finish: "eos_token" };
      return;
    }
    ids.push(chosen.id);
    seen.set(chosen.id, (seen.get(chosen.id) ?? 0) + 1);
    const shown = scanner.push(joiner.push(chosen.id));
    const isLast = count >= maxTokens;
    if (scanner.found !== undefined || isLast) {
      const rest = scanner.found === undefined ? scanner.push(joiner.end()) + scanner.end() : "";
      yield { chosen, text: shown + rest, finish: scanner.found === undefined ? "length" : "stop_sequence" };
      return;
    }
    yield { chosen, text: shown, finish: undefined };
  }
}

/** Rows of logits that are looked at in one turn. */
const ROWS_PER_TURN = 32;

/** What the model gives the tokens of a prompt, each after those before it; nothing is said of the first. Throws 400 where the model says less. */
export async function scorePrompt(
  text: TextModel,
  ids: readonly number[],
  alternatives: number,
  { inference, caller }: Runner,
): Promise<(Chosen | undefined)[]> {
  const rows = floatsOf(text, await inference.run(text.model, tokenInputs(text, ids), caller));
  const size = text.output.shape.at(-1) ?? 0;
  if (rows.length !== ids.length * size)
    throw new HttpError(
      400,
      `model ${text.model.name} gives the logits of the last token only: prompts have no log probabilities`,
    );
  const scored: (Chosen | undefined)[] = [];
  for (const [index, id] of ids.entries()) {
    if (index % ROWS_PER_TURN === ROWS_PER_TURN - 1) {
      await turn();
      if (caller.isGone()) throw new HttpError(499, "nobody waits for the answer any more");
    }
    scored.push(
      index === 0 ? undefined : scoreToken(rows.subarray((index - 1) * size, index * size), id, alternatives),
    );
  }
  return scored;
}

async function nextLogits(
  text: TextModel,
  ids: readonly number[],
  { inference, caller }: Runner,
): Promise<Float32Array> {
  const outputs = await inference.run(text.model, tokenInputs(text, ids), caller);
  const rows = floatsOf(text, outputs);
  const size = text.output.shape.at(-1) ?? 0;
  return rows.subarray(rows.length - size);
}

/** The output that counts. */
function floatsOf({ output, model }: TextModel, outputs: readonly TensorValue[]): Float32Array {
  const data = outputs.find(({ name }) => name === output.name)?.data;
  if (data instanceof Float32Array) return data;
  if (data instanceof Uint16Array) return Float32Array.from(data, fromHalf);
  throw new HttpError(500, `model ${model.name} did not give ${output.name}`);
}

/** A row of tokens as the model's inputs. */
function tokenInputs({ model }: TextModel, ids: readonly number[]): TensorValue[] {
  const valueAt: Readonly<Record<string, (index: number) => number>> = {
    input_ids: (index) => ids[index] ?? 0,
    attention_mask: () => 1,
    position_ids: (index) => index,
    token_type_ids: () => 0,
  };
  return model.inputs.map((spec: TensorSpec) => {
    const at = valueAt[spec.name] ?? (() => 0);
    const data =
      spec.datatype === "INT32"
        ? Int32Array.from(ids, (_, index) => at(index))
        : BigInt64Array.from(ids, (_, index) => BigInt(at(index)));
    return { name: spec.name, datatype: spec.datatype, shape: [1, ids.length], data };
  });
}

/** The vector of a text: the model's own, or the mean of its states, scaled to length 1. */
export async function embedTokens(
  text: TextModel,
  ids: readonly number[],
  { inference, caller }: Runner,
): Promise<Float32Array> {
  const data = floatsOf(text, await inference.run(text.model, tokenInputs(text, ids), caller));
  const size = text.output.shape.at(-1) ?? 0;
  if (text.output.shape.length === 2) return data;
  const mean = new Float32Array(size);
  for (const [index, value] of data.entries()) mean[index % size] = (mean[index % size] ?? 0) + value;
  const length = Math.hypot(...mean) || 1;
  return mean.map((value) => value / length);
}

/** Refuses what does not fit the model. Throws 400. */
export function checkPrompt(text: TextModel, ids: readonly number[]): void {
  if (ids.length === 0) throw new HttpError(400, "the text has no tokens");
  if (ids.length >= text.maxTokens)
    throw new HttpError(
      400,
      `the text has ${ids.length} tokens; model ${text.model.name} takes less than ${text.maxTokens}`,
    );
  const size = text.task === "generate" ? (text.output.shape.at(-1) ?? 0) : text.tokenizer.size;
  const wrong = ids.find((id) => !Number.isSafeInteger(id) || id < 0 || (size > 0 && id >= size));
  if (wrong !== undefined) throw new HttpError(400, `${wrong} is no token of model ${text.model.name}`);
}
