import type { Engine } from "../engine.unsafe.js";
import { CelEvaluationError } from "../errors.js";
import { celEquals } from "../values.js";

type Ordered = bigint | number | string | boolean | Date;

function isAscending(list: readonly Ordered[]): boolean {
  return list.every((item, index) => {
    const before = list[index - 1];
    return before === undefined || before <= item;
  });
}

function best(list: readonly Ordered[], name: string, isBetter: (a: Ordered, b: Ordered) => boolean): Ordered {
  const [first, ...rest] = list;
  if (first === undefined) throw new CelEvaluationError(`${name} called on empty list`);
  return rest.reduce((so, item) => (isBetter(item, so) ? item : so), first);
}

/** Kubernetes' functions of lists: isSorted, sum, min, max, indexOf, lastIndexOf; and those of sets. */
export function defineLists(engine: Engine): void {
  const { meter } = engine;
  const costly =
    <T, R>(work: (list: readonly T[]) => R) =>
    (list: readonly T[]): R => {
      meter.charge(list.length);
      return work(list);
    };
  for (const item of [
    "int",
    "double",
    "string",
    "bool",
    "bytes",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
  ]) {
    engine.define(`list<${item}>.isSorted(): bool`, costly(isAscending));
    engine.define(
      `list<${item}>.min(): ${item}`,
      costly((list: readonly Ordered[]) => best(list, "min", (a, b) => a < b)),
    );
    engine.define(
      `list<${item}>.max(): ${item}`,
      costly((list: readonly Ordered[]) => best(list, "max", (a, b) => a > b)),
    );
  }
  engine.define(
    "list<int>.sum(): int",
    costly((list: readonly bigint[]) => list.reduce((sum, item) => sum + item, 0n)),
  );
  engine.define(
    "list<double>.sum(): double",
    costly((list: readonly number[]) => list.reduce((sum, item) => sum + item, 0)),
  );
  engine.define("list<T>.indexOf(T): int", (list: readonly unknown[], wanted: unknown) => {
    meter.charge(list.length);
    return BigInt(list.findIndex((item) => celEquals(item, wanted)));
  });
  engine.define("list<T>.lastIndexOf(T): int", (list: readonly unknown[], wanted: unknown) => {
    meter.charge(list.length);
    return BigInt(list.findLastIndex((item) => celEquals(item, wanted)));
  });
  defineSets(engine);
}

function defineSets(engine: Engine): void {
  const { meter } = engine;
  const contains = (list: readonly unknown[], wanted: readonly unknown[]): boolean => {
    meter.charge(list.length * wanted.length);
    return wanted.every((item) => list.some((other) => celEquals(item, other)));
  };
  engine.declareNamespace("sets", "CelSets");
  engine.define("CelSets.contains(list<T>, list<T>): bool", (_: unknown, list: unknown[], wanted: unknown[]) =>
    contains(list, wanted),
  );
  engine.define(
    "CelSets.equivalent(list<T>, list<T>): bool",
    (_: unknown, a: unknown[], b: unknown[]) => contains(a, b) && contains(b, a),
  );
  engine.define("CelSets.intersects(list<T>, list<T>): bool", (_: unknown, a: unknown[], b: unknown[]) => {
    meter.charge(a.length * b.length);
    return a.some((item) => b.some((other) => celEquals(item, other)));
  });
}
