const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of `90s`, `1h30m`; the schema lets nothing else through. */
export function durationMs(text: string | undefined, otherwiseMs: number): number {
  if (text === undefined) return otherwiseMs;
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+)(ms|s|m|h)/g)) sum += Number(amount) * (UNITS_MS[unit ?? ""] ?? 0);
  return sum;
}

/** `1h30m` of milliseconds, in whole seconds rounded up. */
export function durationText(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  const parts = [
    [Math.floor(seconds / 3600), "h"],
    [Math.floor((seconds % 3600) / 60), "m"],
    [seconds % 60, "s"],
  ].filter(([amount]) => amount !== 0);
  return parts.length === 0 ? "0s" : parts.map(([amount, unit]) => `${amount}${unit}`).join("");
}

/** A number of clusters given as 3 or as 25%, of `total`. */
export function amountOf(value: number | string, total: number, round: (value: number) => number): number {
  const text = String(value);
  const match = /^(\d{1,6})(%?)$/.exec(text);
  if (match?.[1] === undefined) return 0;
  return match[2] === "%" ? round((Number(match[1]) * total) / 100) : Number(match[1]);
}
