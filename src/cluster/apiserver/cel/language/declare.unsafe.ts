import type { Environment } from "./environment.js";

/** Declares a function whose implementation knows what its signature says of its arguments. */
export function declare<A extends readonly unknown[]>(
  environment: Environment,
  signature: string,
  run: (...values: A) => unknown,
): void {
  environment.declareFunction(signature, run as never);
}
