import { randomFrom } from "./random.js";
import type { Random } from "./types.js";

/** A `Random` whose whole sequence follows from `seed` (any integer): SplitMix32, good enough for jitter and names, never for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const word = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  return randomFrom(
    () => word() / 0x1_0000_0000,
    (bytes) => {
      for (let i = 0; i < bytes.length; i += 1) bytes[i] = word() & 0xff;
    },
  );
}
