import { InputError } from "../errors/index.js";

/** How a quantity is written: `500m`, `128Mi` or `12e6`. */
export type QuantityFormat = "DecimalSI" | "BinarySI" | "DecimalExponent";

/** Kubernetes' resource.Quantity: exact, in billionths. */
export interface Quantity {
  readonly nanos: bigint;
  readonly format: QuantityFormat;
}

const nano = 1_000_000_000n;
/** Binary quantities are capped here, as upstream does. */
const maxBinary = (2n ** 63n - 1n) * nano;
const pattern = /^([+-]?)(\d*)(?:\.(\d*))?(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d{1,3})?$/;
const maxDigits = 60;
const maxExponent = 40;

const binarySuffixes: readonly string[] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const decimalExponents: ReadonlyMap<string, number> = new Map([
  ["n", -9],
  ["u", -6],
  ["m", -3],
  ["", 0],
  ["k", 3],
  ["M", 6],
  ["G", 9],
  ["T", 12],
  ["P", 15],
  ["E", 18],
]);
const decimalSuffixes: ReadonlyMap<number, string> = new Map(
  [...decimalExponents].map(([suffix, exponent]) => [exponent, suffix]),
);

/** Zero, for sums. */
export const zeroQuantity: Quantity = { nanos: 0n, format: "DecimalSI" };

const absolute = (value: bigint): bigint => (value < 0n ? -value : value);
/** Division that rounds away from zero. */
const divideUp = (value: bigint, by: bigint): bigint => {
  const up = (absolute(value) + by - 1n) / by;
  return value < 0n ? -up : up;
};

function readSuffix(suffix: string): { format: QuantityFormat; numerator: bigint; denominator: bigint } | undefined {
  const binaryPower = binarySuffixes.indexOf(suffix);
  if (binaryPower > 0) return { format: "BinarySI", numerator: 1024n ** BigInt(binaryPower), denominator: 1n };
  const known = decimalExponents.get(suffix);
  const exponent = known ?? Number(suffix.slice(1));
  if (Math.abs(exponent) > maxExponent) return undefined;
  return {
    format: known === undefined ? "DecimalExponent" : "DecimalSI",
    numerator: 10n ** BigInt(Math.max(exponent, 0)),
    denominator: 10n ** BigInt(Math.max(-exponent, 0)),
  };
}

/** Quantities by their text: the same few are written again and again. */
const known = new Map<string | number, Quantity>();
const maxKnown = 1024;
const maxKnownLength = 24;

/** Parses a quantity, or gives `undefined` when it is none. What is finer than a billionth is rounded away from zero. */
export function tryParseQuantity(input: string | number): Quantity | undefined {
  const before = known.get(input);
  if (before !== undefined) return before;
  const quantity = read(input);
  if (quantity === undefined || (typeof input === "string" && input.length > maxKnownLength)) return quantity;
  if (known.size >= maxKnown) known.clear();
  known.set(input, quantity);
  return quantity;
}

function read(input: string | number): Quantity | undefined {
  const text = String(input).trim();
  const [, sign = "", whole = "", fraction = "", suffix = ""] = pattern.exec(text) ?? [];
  if (whole === "" && fraction === "") return undefined;
  if (whole.length + fraction.length > maxDigits) return undefined;
  const scale = readSuffix(suffix);
  if (scale === undefined) return undefined;
  const digits = BigInt(whole + fraction) * (sign === "-" ? -1n : 1n);
  const nanos = divideUp(digits * scale.numerator * nano, scale.denominator * 10n ** BigInt(fraction.length));
  if (scale.format !== "BinarySI") return { nanos, format: scale.format };
  const capped = nanos > maxBinary ? maxBinary : nanos < -maxBinary ? -maxBinary : nanos;
  return { nanos: capped, format: absolute(capped) < nano ? "DecimalSI" : "BinarySI" };
}

/** Parses `100m`, `1.5Gi`, `12e6`, … Throws `InputError` for anything else. */
export function parseQuantity(text: string | number): Quantity {
  const quantity = tryParseQuantity(text);
  if (quantity === undefined) {
    throw new InputError(
      `"${text}" is no quantity: write a number with an optional suffix such as 500m, 2, 128Mi, 1.5Gi or 12e6`,
    );
  }
  return quantity;
}

/** The canonical form: no fraction, the largest suffix that loses nothing. */
export function formatQuantity(quantity: Quantity): string {
  const { nanos, format } = quantity;
  if (nanos === 0n) return "0";
  const isBinary = format === "BinarySI" && nanos % nano === 0n && absolute(nanos) >= 1024n * nano;
  if (isBinary) {
    let value = nanos / nano;
    let power = 0;
    while (power < binarySuffixes.length - 1 && value % 1024n === 0n) {
      value /= 1024n;
      power += 1;
    }
    return `${value}${binarySuffixes[power] ?? ""}`;
  }
  let value = nanos;
  let exponent = -9;
  while (value % 1000n === 0n && (format === "DecimalExponent" || exponent < 18)) {
    value /= 1000n;
    exponent += 3;
  }
  if (format === "DecimalExponent") return exponent === 0 ? `${value}` : `${value}e${exponent}`;
  return `${value}${decimalSuffixes.get(exponent) ?? ""}`;
}

/** The canonical form of a quantity's text; throws `InputError` when it is none. */
export function canonicalQuantity(text: string | number): string {
  return formatQuantity(parseQuantity(text));
}

/** The sum, in the format of the first that is not zero. */
export function addQuantities(a: Quantity, b: Quantity): Quantity {
  return { nanos: a.nanos + b.nanos, format: a.nanos === 0n ? b.format : a.format };
}

/** Negative, zero or positive, as `a` is below, equal to or above `b`. */
export function compareQuantities(a: Quantity, b: Quantity): number {
  return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0;
}

/** As a number, exact up to 2^53: for scores, limits and display. */
export function quantityToNumber(quantity: Quantity): number {
  const whole = quantity.nanos / nano;
  return Number(whole) + Number(quantity.nanos - whole * nano) / 1e9;
}

/** In thousandths, rounded up: millicores of a CPU quantity. */
export function quantityToMillis(quantity: Quantity): number {
  return Number(divideUp(quantity.nanos, 1_000_000n));
}
