import { CelCostError } from "../errors.js";

/** What is left for all evaluations of one request. */
export interface Budget {
  left: number;
}

/** The most that one evaluation may cost. */
const perCallLimit = 1_000_000;

/** What one evaluation may still cost: a step costs one, long texts and lists more. */
export class Meter {
  #left: number;
  readonly #granted: number;
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#granted = Math.min(budget.left, perCallLimit);
    this.#left = this.#granted;
    this.#budget = budget;
  }

  /** Throws `CelCostError` when nothing is left. */
  charge(cost: number): void {
    this.#left -= cost;
    if (this.#left < 0) throw new CelCostError("operation cancelled: actual cost limit exceeded");
  }

  /** Takes what was spent from the budget. */
  settle(): void {
    this.#budget.left -= this.#granted - Math.max(this.#left, 0);
  }
}
