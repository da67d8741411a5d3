/** IEEE 754 half precision: numbers to 16 bits and back. */

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

/** The nearest FP16 to a number, ties to even; overflow becomes infinity. */
export function toHalf(value: number): number {
  // Rounding once, from the double: through FP32 a value just above a tie would round twice.
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundEven(size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size));
  const exact = size < 2 ** exponent ? exponent - 1 : size >= 2 ** (exponent + 1) ? exponent + 1 : exponent;
  // A mantissa that rounds up to 1024 carries into the exponent, as it must.
  return sign | (((exact + 15) << 10) + roundEven((size / 2 ** exact - 1) * 1024));
}

/** The number that an FP16 stands for. */
export function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** The number that a BF16 stands for: the upper half of an FP32. */
export function fromBrainHalf(half: number): number {
  bits[0] = half << 16;
  return single[0] ?? 0;
}

function roundEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest > 0.5 || (rest === 0.5 && floor % 2 === 1)) return floor + 1;
  return floor;
}
