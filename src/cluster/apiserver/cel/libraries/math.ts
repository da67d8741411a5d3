import type { Engine } from "../engine.unsafe.js";
import { CelEvaluationError } from "../errors.js";

type Numeric = bigint | number;

function extreme(values: readonly Numeric[], isBetter: (a: Numeric, b: Numeric) => boolean): Numeric {
  const [first, ...rest] = values;
  if (first === undefined) throw new CelEvaluationError("math.@min(list) argument must not be empty");
  return rest.reduce((so, value) => (isBetter(value, so) ? value : so), first);
}

const pickers: Readonly<Record<string, (a: Numeric, b: Numeric) => boolean>> = {
  greatest: (a, b) => a > b,
  least: (a, b) => a < b,
};

const roundings: Readonly<Record<string, (value: number) => number>> = {
  ceil: Math.ceil,
  floor: Math.floor,
  trunc: Math.trunc,
  // Halves go away from zero.
  round: (value) => Math.sign(value) * Math.round(Math.abs(value)),
};

/** cel-go's extension `math`. */
export function defineMath(engine: Engine): void {
  const type = "CelMath";
  engine.declareNamespace("math", type);
  for (const [name, isBetter] of Object.entries(pickers)) {
    for (const item of ["int", "double"]) {
      engine.define(`${type}.${name}(list<${item}>): ${item}`, (_: unknown, list: Numeric[]) =>
        extreme(list, isBetter),
      );
      for (let count = 2; count <= 6; count++)
        engine.define(
          `${type}.${name}(${Array.from({ length: count }, () => item).join(", ")}): ${item}`,
          (_: unknown, ...values: Numeric[]) => extreme(values, isBetter),
        );
    }
  }
  for (const [name, round] of Object.entries(roundings))
    engine.define(`${type}.${name}(double): double`, (_: unknown, value: number) => round(value));
  engine.define(`${type}.abs(int): int`, (_: unknown, value: bigint) => (value < 0n ? -value : value));
  engine.define(`${type}.abs(double): double`, (_: unknown, value: number) => Math.abs(value));
  engine.define(`${type}.sign(int): int`, (_: unknown, value: bigint) => (value < 0n ? -1n : value > 0n ? 1n : 0n));
  engine.define(`${type}.sign(double): double`, (_: unknown, value: number) => Math.sign(value));
  engine.define(`${type}.isNaN(double): bool`, (_: unknown, value: number) => Number.isNaN(value));
  engine.define(
    `${type}.isInf(double): bool`,
    (_: unknown, value: number) => Math.abs(value) === Number.POSITIVE_INFINITY,
  );
  engine.define(`${type}.isFinite(double): bool`, (_: unknown, value: number) => Number.isFinite(value));
}
