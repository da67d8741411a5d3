/** Entry point of the model server as a process (image `argosy.dev/model-server`). */
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { createLogger } from "../../kernel/log/index.js";
import { runModelServerProgram } from "./program.js";

const stopped = new Promise<void>((resolve) => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
});
const log = createLogger({ level: "info", write: (line) => process.stderr.write(line), clock: systemClock });
process.exitCode = await runModelServerProgram({
  args: process.argv.slice(2),
  env: process.env,
  clock: systemClock,
  random: systemRandom,
  log,
  stopped,
});
process.exit();
