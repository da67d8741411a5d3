/** Entry point of the gateway as a process: `main.js --directory DIR [--pod-network FILE]`. Starts in a fraction of the command line's time, which counts after a crash. */
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { messageOf } from "../../kernel/errors/index.js";
import { createLogger } from "../../kernel/log/index.js";
import { runGateway } from "./gateway.js";

const log = createLogger({ level: "info", write: (line) => process.stderr.write(line), clock: systemClock });
const [flag, directory, networkFlag, podNetworkFile, ...others] = process.argv.slice(2);

try {
  const isNetworkNamed = networkFlag === "--pod-network" && podNetworkFile !== undefined;
  if (
    flag !== "--directory" ||
    directory === undefined ||
    others.length > 0 ||
    (networkFlag !== undefined && !isNetworkNamed)
  ) {
    process.stderr.write("usage: main.js --directory DIR [--pod-network FILE] (DIR holds table.json)\n");
    process.exit(2);
  }
  const gateway = await runGateway({
    directory,
    clock: systemClock,
    random: systemRandom,
    log,
    ...(podNetworkFile === undefined ? {} : { podNetworkFile }),
  });
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
  });
  await gateway.close();
  process.exit(0);
} catch (error) {
  log.error("gateway cannot run", { reason: messageOf(error), err: error });
  process.exit(1);
}
