/** Several texts at once: each is an index and a generation; their steps share the model's runs. */
import { type FinishReason, type Generation, generateTokens, type Runner, type Step } from "../text/generation.js";

/** A step of one of the texts. */
export interface ChoiceStep {
  readonly index: number;
  readonly step: Step;
}

/** A text that is whole. */
export interface Choice {
  readonly text: string;
  readonly steps: readonly Step[];
  readonly finish: FinishReason;
}

/** Why a text ended, in OpenAI's words. */
export const finishOf = (finish: FinishReason): "length" | "stop" => (finish === "length" ? "length" : "stop");

/** All texts, whole. */
export function makeChoices(generations: readonly Generation[], runner: Runner): Promise<Choice[]> {
  return Promise.all(
    generations.map(async (generation) => {
      const steps: Step[] = [];
      let text = "";
      let finish: FinishReason = "length";
      for await (const step of generateTokens(generation, runner)) {
        steps.push(step);
        text += step.text;
        finish = step.finish ?? finish;
      }
      return { text, steps, finish };
    }),
  );
}

/** The steps of all texts, round by round: those of one round are run together. */
export async function* stepChoices(generations: readonly Generation[], runner: Runner): AsyncGenerator<ChoiceStep> {
  let running = generations.map((generation, index) => ({ index, steps: generateTokens(generation, runner) }));
  try {
    while (running.length > 0) {
      const round = await Promise.all(running.map(({ steps }) => steps.next()));
      for (const [at, { index }] of running.entries()) {
        const next = round[at];
        if (next !== undefined && next.done !== true) yield { index, step: next.value };
      }
      running = running.filter((_, at) => round[at]?.done !== true);
    }
  } finally {
    await Promise.all(running.map(({ steps }) => steps.return(undefined)));
  }
}
