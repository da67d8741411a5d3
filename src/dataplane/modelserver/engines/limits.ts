import { totalmem } from "node:os";

/** What models may take. The first three can be set for one model by a parameter of its configuration. */
export interface EngineLimits {
  /** Most milliseconds of a load; parameter `load_timeout_ms`. */
  readonly loadTimeoutMs: number;
  /** Most milliseconds of a run outside of the answering thread; parameter `run_timeout_ms`. */
  readonly runTimeoutMs: number;
  /** Most resident bytes of a model's own process, or of its thread's heap; parameter `memory_limit_bytes`. */
  readonly memoryBytes: number;
  /** Whether models may be code: `model.js`, `model.py`. */
  readonly allowCode: boolean;
  /**
   * Whether pickles (joblib, cloudpickle) may be opened: they are code in another dress, and harder to read. `yes`: where a
   * process can have namespaces of its own; `anywhere`: also where it cannot.
   */
  readonly allowPickles: "no" | "yes" | "anywhere";
  /** The Python that runs Python models. */
  readonly python: string;
}

/** Limits where nothing else is said. */
export const DEFAULT_LIMITS: EngineLimits = {
  loadTimeoutMs: 120_000,
  runTimeoutMs: 30_000,
  memoryBytes: 2 * 2 ** 30,
  allowCode: true,
  allowPickles: "no",
  python: "python3",
};

/** 70 % of the memory of the container, or else of the machine. */
export function defaultMemoryBudget(): number {
  const total = totalmem();
  const limit = process.constrainedMemory();
  return Math.floor(0.7 * (limit > 0 ? Math.min(limit, total) : total));
}
