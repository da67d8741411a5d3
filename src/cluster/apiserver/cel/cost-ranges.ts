/** How big something is or what it costs, at least and at most. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

export const fixed = (value: number): Range => ({ min: value, max: value });
export const nothing: Range = fixed(0);
export const unknown: Range = { min: 0, max: Number.POSITIVE_INFINITY };

/** Without the nothing that is no number. */
const times = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : a * b);

export const add = (a: Range, b: Range): Range => ({ min: a.min + b.min, max: a.max + b.max });
export const multiply = (a: Range, b: Range): Range => ({ min: times(a.min, b.min), max: times(a.max, b.max) });
export const either = (a: Range, b: Range): Range => ({ min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) });

/** A cost for each unit of a size, rounded up. */
export const scaled = (size: Range, factor: number): Range => ({
  min: Math.ceil(times(size.min, factor)),
  max: Math.ceil(times(size.max, factor)),
});
