import { CelEvaluationError } from "../errors.js";
import { celEquals, compare, Duration, type Engine } from "../language/index.js";

function isAscending(list: readonly unknown[]): boolean {
  return list.every((item, index) => index === 0 || compare(list[index - 1], item) <= 0);
}

function best(list: readonly unknown[], name: string, sign: 1 | -1): unknown {
  if (list.length === 0) throw new CelEvaluationError(`${name} called on empty list`);
  return list.reduce((so, item) => (compare(item, so) === sign ? item : so));
}

function int(sum: bigint): bigint {
  if (sum < -(2n ** 63n) || sum >= 2n ** 63n) throw new CelEvaluationError("integer overflow");
  return sum;
}

const ordered = [
  "int",
  "uint",
  "double",
  "bool",
  "google.protobuf.Duration",
  "google.protobuf.Timestamp",
  "string",
  "bytes",
];

/** Kubernetes' functions of lists: isSorted, sum, min, max, indexOf, lastIndexOf; and those of sets. */
export function defineLists(engine: Engine): void {
  for (const item of ordered) {
    engine.define(`list<${item}>.isSorted(): bool`, isAscending);
    engine.define(`list<${item}>.min(): ${item}`, (list: readonly unknown[]) => best(list, "min", -1));
    engine.define(`list<${item}>.max(): ${item}`, (list: readonly unknown[]) => best(list, "max", 1));
  }
  engine.define("list<int>.sum(): int", (list: readonly bigint[]) => list.reduce((sum, item) => int(sum + item), 0n));
  engine.define("list<double>.sum(): double", (list: readonly number[]) => list.reduce((sum, item) => sum + item, 0));
  engine.define(
    "list<google.protobuf.Duration>.sum(): google.protobuf.Duration",
    (list: readonly Duration[]) => new Duration(list.reduce((sum, item) => int(sum + item.nanos), 0n)),
  );
  engine.define("list<T>.indexOf(T): int", (list: readonly unknown[], wanted: unknown) =>
    BigInt(list.findIndex((item) => celEquals(item, wanted))),
  );
  engine.define("list<T>.lastIndexOf(T): int", (list: readonly unknown[], wanted: unknown) =>
    BigInt(list.findLastIndex((item) => celEquals(item, wanted))),
  );
  defineSets(engine);
}

function defineSets(engine: Engine): void {
  const has = (list: readonly unknown[], item: unknown): boolean => list.some((other) => celEquals(item, other));
  const contains = (list: readonly unknown[], wanted: readonly unknown[]): boolean =>
    wanted.every((item) => has(list, item));
  engine.define("sets.contains(list<T>, list<T>): bool", contains);
  engine.define(
    "sets.equivalent(list<T>, list<T>): bool",
    (a: readonly unknown[], b: readonly unknown[]) => contains(a, b) && contains(b, a),
  );
  engine.define("sets.intersects(list<T>, list<T>): bool", (a: readonly unknown[], b: readonly unknown[]) =>
    a.some((item) => has(b, item)),
  );
}
