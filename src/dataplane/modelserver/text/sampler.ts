/** Choosing the next token. */
import type { Random } from "../../../kernel/clock/types.js";

/** How tokens are chosen. */
export interface Sampling {
  /** 0: always the likeliest. */
  readonly temperature: number;
  /** Only the likeliest tokens that together have this probability; 1: all. */
  readonly topP: number;
  /** Only so many of the likeliest; 0: all. */
  readonly topK: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** Added to the logits of these tokens. */
  readonly bias: ReadonlyMap<number, number>;
  /** How many alternatives are told with each token. */
  readonly alternatives: number;
}

/** A token with the logarithm of its probability, before temperature and cuts. */
export interface Chosen {
  readonly id: number;
  readonly logprob: number;
  readonly alternatives: readonly { readonly id: number; readonly logprob: number }[];
}

/** Chooses from one row of logits. `seen`: how often each token is in the text that was generated so far. */
export function chooseToken(
  logits: Float32Array,
  sampling: Sampling,
  seen: ReadonlyMap<number, number>,
  random: Pick<Random, "next">,
): Chosen {
  const scores = adjusted(logits, sampling, seen);
  const id = sampling.temperature === 0 ? greatest(scores) : sample(scores, sampling, random);
  return measure(scores, id, sampling.alternatives);
}

/** What one row of logits gives a token that stands in the text already. */
export const scoreToken = (logits: Float32Array, id: number, alternatives: number): Chosen =>
  measure(adjusted(logits, PLAIN, new Map()), id, alternatives);

const PLAIN = { presencePenalty: 0, frequencyPenalty: 0, bias: new Map<number, number>() };

function measure(scores: Float64Array, id: number, alternatives: number): Chosen {
  const total = logSumOf(scores);
  const logprob = (each: number): number => (scores[each] ?? 0) - total;
  const best = bestOf(scores, alternatives);
  return { id, logprob: logprob(id), alternatives: best.map((each) => ({ id: each, logprob: logprob(each) })) };
}

/** Numbers that are none count as impossible. */
function adjusted(
  logits: Float32Array,
  sampling: Pick<Sampling, "presencePenalty" | "frequencyPenalty" | "bias">,
  seen: ReadonlyMap<number, number>,
): Float64Array {
  const scores = Float64Array.from(logits, (value) => (Number.isNaN(value) ? -Infinity : Math.max(value, -1e30)));
  for (const [id, count] of seen)
    if (id < scores.length)
      scores[id] = (scores[id] ?? 0) - sampling.presencePenalty - sampling.frequencyPenalty * count;
  for (const [id, bias] of sampling.bias) if (id < scores.length) scores[id] = (scores[id] ?? 0) + bias;
  return scores;
}

function greatest(scores: Float64Array): number {
  let best = 0;
  for (let id = 1; id < scores.length; id++) if ((scores[id] ?? 0) > (scores[best] ?? 0)) best = id;
  return best;
}

function logSumOf(scores: Float64Array): number {
  const most = scores[greatest(scores)] ?? 0;
  let sum = 0;
  for (const score of scores) sum += Math.exp(score - most);
  return most + Math.log(sum);
}

/** The `count` likeliest, the likeliest first. */
function bestOf(scores: Float64Array, count: number): number[] {
  const best: number[] = [];
  if (count === 0) return best;
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id] ?? 0;
    if (best.length === count && score <= (scores[best.at(-1) ?? 0] ?? 0)) continue;
    let at = best.length;
    while (at > 0 && score > (scores[best[at - 1] ?? 0] ?? 0)) at--;
    best.splice(at, 0, id);
    if (best.length > count) best.pop();
  }
  return best;
}

function sample(scores: Float64Array, { temperature, topP, topK }: Sampling, random: Pick<Random, "next">): number {
  const most = scores[greatest(scores)] ?? 0;
  const weights = scores.map((score) => Math.exp((score - most) / temperature));
  let candidates = Array.from(weights.keys()).filter((id) => (weights[id] ?? 0) > 0);
  if (topK > 0 || topP < 1) {
    candidates.sort((a, b) => (weights[b] ?? 0) - (weights[a] ?? 0) || a - b);
    if (topK > 0) candidates = candidates.slice(0, topK);
    const wanted = topP * candidates.reduce((sum, id) => sum + (weights[id] ?? 0), 0);
    let sum = 0;
    const last = candidates.findIndex((id) => {
      sum += weights[id] ?? 0;
      return sum >= wanted;
    });
    if (last >= 0) candidates = candidates.slice(0, last + 1);
  }
  let left = random.next() * candidates.reduce((sum, id) => sum + (weights[id] ?? 0), 0);
  for (const id of candidates) {
    left -= weights[id] ?? 0;
    if (left < 0) return id;
  }
  return candidates.at(-1) ?? greatest(scores);
}
