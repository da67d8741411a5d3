/**
 * How many pods may be away at once. In: PodDisruptionBudgets, pods, what scales them. Out: the budgets' status, which
 * evictions spend. May use: kernel control and kinds; shared.
 */
export { disruptionController } from "./disruption.controller.js";
