/** Entry point of the router as a process (image `argosy.dev/inference-router`). */
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { createLogger } from "../../kernel/log/index.js";
import { runInferenceRouterProgram } from "./program.js";

const stopped = new Promise<void>((resolve) => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
});
const log = createLogger({ level: "info", write: (line) => process.stderr.write(line), clock: systemClock });
process.exitCode = await runInferenceRouterProgram({
  args: process.argv.slice(2),
  env: process.env,
  clock: systemClock,
  random: systemRandom,
  log,
  stopped,
});
process.exit();
