/** A pending timer; `cancel` may be called any number of times. */
export interface Timer {
  cancel(): void;
}

/** Where time comes from. Production has one (`systemClock`); tests drive a virtual one. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds that never go backwards, for measuring. */
  monotonicMs(): number;
  /** Calls `fire` once after `delayMs`. A pending timer does not keep the process alive. */
  setTimer(delayMs: number, fire: () => void): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason when aborted. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** Where chance comes from: `systemRandom` in production, a seeded one in tests and simulations. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in [0, limit). */
  int(limit: number): number;
  /** Kubernetes' generated-name alphabet (no vowels, no look-alikes). */
  suffix(length: number): string;
  /** An RFC 9562 version 4 UUID. */
  uuid(): string;
}
