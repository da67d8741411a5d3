import { ArgosyError } from "../../../kernel/errors/index.js";

/** An expression has no value: no such key, index out of bounds, … */
export class CelEvaluationError extends ArgosyError {
  constructor(message: string, options?: ErrorOptions) {
    super("CelEvaluation", message, options);
  }
}

/** An expression cost more than it may. */
export class CelCostError extends ArgosyError {
  constructor(message: string) {
    super("CelCost", message);
  }
}
