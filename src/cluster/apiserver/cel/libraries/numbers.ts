import { formatQuantity, type Quantity, tryParseQuantity } from "../../../../kernel/kinds/index.js";
import { CelEvaluationError } from "../errors.js";
import { type Engine, Opaque } from "../language/index.js";

class QuantityValue extends Opaque {
  readonly typeName = "kubernetes.Quantity";
  readonly quantity: Quantity;

  constructor(quantity: Quantity = { nanos: 0n, format: "DecimalSI" }) {
    super();
    this.quantity = quantity;
  }

  isEqual(other: Opaque): boolean {
    return other instanceof QuantityValue && other.quantity.nanos === this.quantity.nanos;
  }

  override toString(): string {
    return formatQuantity(this.quantity);
  }
}

const nano = 1_000_000_000n;

function quantityOf(text: string): QuantityValue {
  const quantity = text.trim() === text ? tryParseQuantity(text) : undefined;
  if (quantity !== undefined) return new QuantityValue(quantity);
  const isFormed = /^[+-]?(?:\d+\.?\d*|\.\d+)[eEinumkKMGTP]*(?:[-+]?\d*)$/.test(text);
  throw new CelEvaluationError(
    isFormed
      ? "unable to parse quantity's suffix"
      : "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
  );
}

function compare(a: QuantityValue, b: QuantityValue): number {
  return a.quantity.nanos < b.quantity.nanos ? -1 : a.quantity.nanos > b.quantity.nanos ? 1 : 0;
}

function isWhole({ quantity }: QuantityValue): boolean {
  const whole = quantity.nanos / nano;
  return quantity.nanos % nano === 0n && whole >= -(2n ** 63n) && whole < 2n ** 63n;
}

function moved({ quantity }: QuantityValue, by: bigint): QuantityValue {
  return new QuantityValue({ nanos: quantity.nanos + by, format: quantity.format });
}

/** Quantities: quantity, isQuantity, comparisons, sums. */
function defineQuantities(engine: Engine): void {
  const type = "kubernetes.Quantity";
  engine.declareType(type);
  engine.define(`quantity(string): ${type}`, quantityOf);
  engine.define(
    "isQuantity(string): bool",
    (text: string) => text.trim() === text && tryParseQuantity(text) !== undefined,
  );
  engine.define(`sign(${type}): int`, ({ quantity }: QuantityValue) =>
    quantity.nanos < 0n ? -1n : quantity.nanos > 0n ? 1n : 0n,
  );
  engine.define(`${type}.isInteger(): bool`, isWhole);
  engine.define(`${type}.asInteger(): int`, (value: QuantityValue) => {
    if (!isWhole(value)) throw new CelEvaluationError("cannot convert value to integer");
    return value.quantity.nanos / nano;
  });
  engine.define(`${type}.asApproximateFloat(): double`, ({ quantity }: QuantityValue) => Number(quantity.nanos) / 1e9);
  engine.define(`${type}.isLessThan(${type}): bool`, (a: QuantityValue, b: QuantityValue) => compare(a, b) < 0);
  engine.define(`${type}.isGreaterThan(${type}): bool`, (a: QuantityValue, b: QuantityValue) => compare(a, b) > 0);
  engine.define(`${type}.compareTo(${type}): int`, (a: QuantityValue, b: QuantityValue) => BigInt(compare(a, b)));
  engine.define(`${type}.add(${type}): ${type}`, (a: QuantityValue, b: QuantityValue) => moved(a, b.quantity.nanos));
  engine.define(`${type}.add(int): ${type}`, (a: QuantityValue, b: bigint) => moved(a, b * nano));
  engine.define(`${type}.sub(${type}): ${type}`, (a: QuantityValue, b: QuantityValue) => moved(a, -b.quantity.nanos));
  engine.define(`${type}.sub(int): ${type}`, (a: QuantityValue, b: bigint) => moved(a, -b * nano));
}

/** A version as semver.org defines it. */
class Version extends Opaque {
  readonly typeName = "kubernetes.Semver";
  readonly numbers: readonly bigint[];
  readonly labels: readonly string[];

  constructor(numbers: readonly bigint[] = [], labels: readonly string[] = []) {
    super();
    this.numbers = numbers;
    this.labels = labels;
  }

  isEqual(other: Opaque): boolean {
    return other instanceof Version && compareVersions(this, other) === 0;
  }
}

const number = "(0|[1-9]\\d*)";
const label = "(?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)";
const semverPattern = new RegExp(
  `^${number}\\.${number}\\.${number}(?:-(${label}(?:\\.${label})*))?(?:\\+[0-9a-zA-Z-]+(?:\\.[0-9a-zA-Z-]+)*)?$`,
);

function readVersion(text: string, lenient: boolean): Version | undefined {
  const match = semverPattern.exec(lenient ? completed(text) : text);
  if (match === null) return undefined;
  const [, major = "0", minor = "0", patch = "0", labels] = match;
  return new Version([BigInt(major), BigInt(minor), BigInt(patch)], labels === undefined ? [] : labels.split("."));
}

/** `v1.2` → `1.2.0`, leading zeros gone. */
function completed(text: string): string {
  const [, core = "", rest = ""] = /^v?([\d.]*)(.*)$/s.exec(text) ?? [];
  const parts = core.split(".").map((part) => part.replace(/^0+(?=\d)/, ""));
  while (parts.length < 3 && rest === "") parts.push("0");
  return parts.join(".") + rest;
}

function compareVersions(a: Version, b: Version): number {
  for (const [index, value] of a.numbers.entries()) {
    const other = b.numbers[index] ?? 0n;
    if (value !== other) return value < other ? -1 : 1;
  }
  if (a.labels.length === 0 || b.labels.length === 0) return Math.sign(b.labels.length - a.labels.length);
  for (const [index, left] of a.labels.entries()) {
    const right = b.labels[index];
    if (right === undefined) return 1;
    const order = compareLabels(left, right);
    if (order !== 0) return order;
  }
  return a.labels.length < b.labels.length ? -1 : 0;
}

function compareLabels(a: string, b: string): number {
  const [isNumber, isOtherNumber] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (isNumber && isOtherNumber) return BigInt(a) < BigInt(b) ? -1 : BigInt(a) > BigInt(b) ? 1 : 0;
  if (isNumber !== isOtherNumber) return isNumber ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function defineVersions(engine: Engine): void {
  const type = "kubernetes.Semver";
  engine.declareType(type);
  const parse = (text: string, lenient: boolean): Version => {
    const version = readVersion(text, lenient);
    if (version === undefined) throw new CelEvaluationError(`invalid semantic version ${JSON.stringify(text)}`);
    return version;
  };
  engine.define(`semver(string): ${type}`, (text: string) => parse(text, false));
  engine.define(`semver(string, bool): ${type}`, parse);
  engine.define("isSemver(string): bool", (text: string) => readVersion(text, false) !== undefined);
  engine.define(
    "isSemver(string, bool): bool",
    (text: string, lenient: boolean) => readVersion(text, lenient) !== undefined,
  );
  for (const [index, name] of ["major", "minor", "patch"].entries())
    engine.define(`${type}.${name}(): int`, ({ numbers }: Version) => numbers[index] ?? 0n);
  engine.define(`${type}.isLessThan(${type}): bool`, (a: Version, b: Version) => compareVersions(a, b) < 0);
  engine.define(`${type}.isGreaterThan(${type}): bool`, (a: Version, b: Version) => compareVersions(a, b) > 0);
  engine.define(`${type}.compareTo(${type}): int`, (a: Version, b: Version) => BigInt(compareVersions(a, b)));
}

/** Quantities, semantic versions. */
export function defineNumbers(engine: Engine): void {
  defineQuantities(engine);
  defineVersions(engine);
}
