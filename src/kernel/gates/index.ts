/**
 * Gates of rollouts: what counted requests, or one number, must be like for a new revision to go on. In: counts since a watch began, bounds. Out: verdicts with words.
 * Pure, but for the baselines that a watch keeps. May use: nothing.
 */
export { amountOf, durationMs, durationText } from "./durations.js";
export {
  type Baseline,
  baselineOf,
  type Counts,
  type Gate,
  judge,
  judgeCounts,
  NO_COUNTS,
  quantileMs,
  since,
  sinceFirst,
  sum,
  type Verdict,
} from "./gates.js";
