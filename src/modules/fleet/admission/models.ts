import type { JsonObject } from "../../../kernel/kinds/index.js";

/** Where the last class of nodes ends: the greatest whole number that Karmada counts with. */
export const MOST = "9223372036854775807";

/** Ends of the classes of nodes that a cluster has when it names none; each begins where the one before ends. */
const CPU_ENDS = ["1", "2", "4", "8", "16", "32", "64", "128", MOST] as const;
const MEMORY_ENDS = ["4Gi", "16Gi", "32Gi", "64Gi", "128Gi", "256Gi", "512Gi", "1Ti", MOST] as const;

/** Karmada's classes of nodes by size, 0 to 8. */
export const DEFAULT_MODELS: JsonObject[] = CPU_ENDS.map((cpu, grade) => ({
  grade,
  ranges: [
    { name: "cpu", min: CPU_ENDS[grade - 1] ?? "0", max: cpu },
    { name: "memory", min: MEMORY_ENDS[grade - 1] ?? "0", max: MEMORY_ENDS[grade] ?? MOST },
  ],
}));
