import { defineConfig } from "vitest/config";

// Tests load onnxruntime in threads, which have no hand in the environment that it looks at: nothing is kept or sent of its use.
process.env["ORT_DISABLE_TELEMETRY"] = "1";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "tests/**/*.test.ts", "examples/**/*.test.ts"],
    pool: "threads",
    isolate: false,
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
